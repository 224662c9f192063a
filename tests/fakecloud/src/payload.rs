//! The bodies of answers: whole, cut short, slow, or without end.

use crate::server::End;
use crate::types::Flow;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The pause between the bytes of a trickle: none of them is late, all of them together are.
const DRIP: Duration = Duration::from_millis(50);

/// A body that is sent piece by piece, over and over again until all of it is sent.
pub(crate) struct Payload {
    bytes: Bytes,
    /// Where in `bytes` the next piece begins.
    at: usize,
    /// How long a piece is at most.
    step: usize,
    /// How much is yet to be sent.
    left: u64,
    /// What the answer says of its length; nothing, for an answer in chunks.
    declared: Option<u64>,
    /// What is waited for before each piece.
    pause: Option<Interval>,
    /// The connection, which ends with the body.
    cut: Option<Arc<End>>,
}

impl Payload {
    pub(crate) fn whole(bytes: Vec<u8>) -> Payload {
        let (step, left) = (bytes.len(), bytes.len() as u64);
        Payload { bytes: bytes.into(), at: 0, step, left, declared: Some(left), pause: None, cut: None }
    }

    /// The bytes, in the way that is asked for; `end` is the end of the connection.
    pub(crate) fn flowing(bytes: Vec<u8>, flow: Flow, end: &Arc<End>) -> Payload {
        let whole = Payload::whole(bytes);
        match flow {
            Flow::Whole => whole,
            Flow::Cut => {
                let declared = Some(whole.left * 2 + 1);
                Payload { declared, cut: Some(end.clone()), ..whole }
            }
            Flow::Trickle => {
                let mut pause = interval(DRIP);
                pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
                Payload { step: 1, pause: Some(pause), ..whole }
            }
            Flow::Repeated(left) => Payload { left, declared: Some(left), ..whole },
            Flow::Endless => Payload { left: u64::MAX, declared: None, ..whole },
        }
    }

    /// Half of it, then the end of the connection.
    pub(crate) fn cut(&mut self, end: Arc<End>) {
        self.left /= 2;
        self.cut = Some(end);
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 || self.bytes.is_empty() {
            let Some(end) = &self.cut else { return Poll::Ready(None) };
            end.close();
            return Poll::Pending;
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.poll_tick(cx));
        }
        let rest = self.bytes.slice(self.at..);
        let length = rest.len().min(self.step).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.at = (self.at + length) % self.bytes.len();
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(rest.slice(..length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.declared.map(SizeHint::with_exact).unwrap_or_default()
    }
}
