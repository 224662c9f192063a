//! SIGTERM, SIGINT and SIGHUP: a request to stop, which waits while an address hangs between two instances.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, Default)]
struct State {
    asked: bool,
    holds: u32,
}

/// The request to stop, and whether it has to wait.
#[derive(Debug)]
pub struct Stop(watch::Sender<State>);

/// As long as it lives, a request to stop waits.
#[derive(Debug)]
pub struct Hold<'a>(&'a Stop);

impl Stop {
    /// A stop that the signals of this process ask for; needs a tokio runtime.
    ///
    /// # Errors
    /// The system refuses the signal handlers.
    pub fn on_signals() -> io::Result<Self> {
        let sender = watch::Sender::new(State::default());
        // The claim itself can cut the connection of the person who runs it by hand: that is a SIGHUP.
        for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
            let mut signals = signal(kind)?;
            let asked = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    asked.send_modify(|state| state.asked = true);
                }
            });
        }
        Ok(Self(sender))
    }

    /// Returns when a stop was asked for and nothing holds it up.
    pub async fn requested(&self) {
        let mut state = self.0.subscribe();
        // The sender lives as long as `self`, so the wait ends only with the state that it waits for.
        let _ = state.wait_for(|state| state.asked && state.holds == 0).await;
    }

    /// Holds a stop up.
    pub fn hold(&self) -> Hold<'_> {
        self.0.send_modify(|state| state.holds += 1);
        Hold(self)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.holds -= 1);
    }
}
