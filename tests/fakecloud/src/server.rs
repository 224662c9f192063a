//! The listeners and their connections, on one thread: HTTP/1.1 with keep-alive, and every way in
//! which an answer can fail to arrive.

use crate::payload::Payload;
use crate::query::{self, Answer, Call};
use crate::region::Region;
use crate::traffic::{Meter, Traffic};
use crate::types::{Fault, Service};
use crate::world::ApiError;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio_rustls::TlsAcceptor;

/// The longest body that is read.
const LONGEST: usize = 1 << 20;

/// Which door a connection came in by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Door {
    /// An API's.
    Api(Service),
    /// The metadata service's, of one instance.
    Imds(String),
}

/// What the handle tells the thread.
pub(crate) enum Order {
    /// Serve what comes to this socket, which listens already.
    Open(Door, std::net::TcpListener),
    /// Close the socket and reset its connections, then say so.
    Close(Door, std::sync::mpsc::Sender<()>),
}

/// Runs until the other end of `orders` is dropped. With `tls`, that is what the APIs speak.
pub(crate) fn run(region: Arc<Region>, tls: Option<TlsAcceptor>, mut orders: mpsc::UnboundedReceiver<Order>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.expect("a runtime can be had on any machine that can run tests");
    runtime.block_on(async {
        // Whoever serves a door holds a receiver: it sees the closing, and its end shows in the sender.
        let mut doors: HashMap<Door, watch::Sender<bool>> = HashMap::new();
        while let Some(order) = orders.recv().await {
            match order {
                Order::Open(door, listener) => {
                    let listener = TcpListener::from_std(listener).expect("the socket was made non-blocking");
                    let (sender, closing) = watch::channel(false);
                    let tls = tls.clone().filter(|_| matches!(door, Door::Api(_)));
                    tokio::spawn(accept(region.clone(), door.clone(), tls, listener, closing));
                    doors.insert(door, sender);
                }
                Order::Close(door, done) => {
                    if let Some(sender) = doors.remove(&door) {
                        let _ = sender.send(true);
                        sender.closed().await;
                    }
                    let _ = done.send(());
                }
            }
        }
    });
}

async fn accept(
    region: Arc<Region>,
    door: Door,
    tls: Option<TlsAcceptor>,
    listener: TcpListener,
    mut closing: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            _ = closing.changed() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let number = region.lock().world.open_connection();
                    let connection = Connection { region: region.clone(), door: door.clone(), number, end: Arc::default() };
                    connection.meter().add(Traffic { connections: 1, ..Traffic::default() });
                    tokio::spawn(connection.serve(stream, tls.clone(), closing.clone()));
                }
                // Out of descriptors, say: others may close theirs.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
}

/// How a connection is to end, when not by itself.
#[derive(Default)]
pub(crate) struct End {
    now: Notify,
    reset: AtomicBool,
}

impl End {
    pub(crate) fn close(&self) {
        self.now.notify_one();
    }

    fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
        self.close();
    }
}

/// A socket that is counted, and ends in a reset if it is told to.
struct Wire {
    stream: TcpStream,
    end: Arc<End>,
    region: Arc<Region>,
    meter: fn(&Region) -> &Meter,
}

impl Wire {
    fn count(&self, traffic: Traffic) {
        (self.meter)(&self.region).add(traffic);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.end.reset.load(Ordering::Relaxed) {
            let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context, buf: &mut ReadBuf) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.count(Traffic { received: (buf.filled().len() - before) as u64, ..Traffic::default() });
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(sent)) = written {
            self.count(Traffic { sent: sent as u64, ..Traffic::default() });
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[derive(Clone)]
struct Connection {
    region: Arc<Region>,
    door: Door,
    number: u64,
    end: Arc<End>,
}

impl Connection {
    fn meter(&self) -> &Meter {
        meter(&self.door)(&self.region)
    }

    async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>, closing: watch::Receiver<bool>) {
        let _ = stream.set_nodelay(true);
        let (end, region) = (self.end.clone(), self.region.clone());
        let wire = Wire { stream, end, region, meter: meter(&self.door) };
        match tls {
            None => self.speak(wire, closing).await,
            // Who fails to shake hands is gone, or will say so itself.
            Some(tls) => {
                if let Ok(inside) = tls.accept(wire).await {
                    self.speak(inside, closing).await;
                }
            }
        }
    }

    /// Speaks HTTP over the wire, or inside of TLS over it.
    async fn speak(self, wire: impl AsyncRead + AsyncWrite + Unpin, mut closing: watch::Receiver<bool>) {
        let end = self.end.clone();
        let service = service_fn(move |request| {
            let this = self.clone();
            async move { Ok::<_, Infallible>(this.answer(request).await) }
        });
        let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(wire), service);
        let mut served = pin!(served);
        tokio::select! {
            // First, so that what is written leaves before the connection ends.
            biased;
            _ = &mut served => {}
            () = end.now.notified() => {}
            _ = closing.changed() => end.reset(),
        }
    }

    /// Answers one request, or never.
    async fn answer(&self, request: Request<Incoming>) -> Response<Payload> {
        let call = match self.read(request).await {
            Ok(call) => call,
            Err(answer) => return self.payload(answer),
        };
        let arrival = self.region.lock().arrive(&call, self.number);
        let Some(arrival) = arrival else { return pending().await };
        if !arrival.latency.is_zero() {
            tokio::time::sleep(arrival.latency).await;
        }
        let carry_out = || self.region.lock().carry_out(&call, arrival.number);
        let Some(fault) = arrival.fault else { return self.send(&call, arrival.number, carry_out()).await };
        let answer = match fault {
            Fault::Hang => return pending().await,
            Fault::Reset => {
                self.end.reset();
                return pending().await;
            }
            Fault::Close => {
                self.end.close();
                return pending().await;
            }
            Fault::Delay(delay) => {
                tokio::time::sleep(delay).await;
                carry_out()
            }
            Fault::Status { code, body } => Answer { status: code, body: body.into_bytes(), ..Answer::default() },
            Fault::Error { status, code, message } => self.error(&call, ApiError { status, code, message }),
            Fault::Garbage { content_type, body } => {
                let headers = vec![("content-type", content_type)];
                Answer { status: 200, headers, body, ..Answer::default() }
            }
            Fault::Raw { done, status, headers, body, flow } => {
                if done {
                    carry_out();
                }
                let answer = Answer { status, headers, ..Answer::default() };
                let mut response = self.send(&call, arrival.number, answer).await;
                *response.body_mut() = Payload::flowing(body, flow, &self.end);
                return response;
            }
            Fault::Truncate => {
                let answer = carry_out();
                let mut response = self.send(&call, arrival.number, answer).await;
                response.body_mut().cut(self.end.clone());
                return response;
            }
            Fault::CommitThenHang => {
                carry_out();
                return pending().await;
            }
            Fault::CommitThenReset => {
                carry_out();
                self.end.reset();
                return pending().await;
            }
            Fault::CommitThenError { status, code, message } => {
                carry_out();
                self.error(&call, ApiError { status, code, message })
            }
            Fault::CommitThenDelay(delay) => {
                let answer = carry_out();
                tokio::time::sleep(delay).await;
                answer
            }
        };
        self.send(&call, arrival.number, answer).await
    }

    /// Reads a request, or says why it is none.
    async fn read(&self, request: Request<Incoming>) -> Result<Call, Answer> {
        let (head, body) = request.into_parts();
        let plain = |status| Answer { status, ..Answer::default() };
        let body = Limited::new(body, LONGEST).collect().await.map_err(|_| plain(413))?.to_bytes();
        let headers: BTreeMap<String, String> = head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        match &self.door {
            Door::Imds(instance) => Ok(Call {
                service: Service::Imds,
                action: format!("{} {}", head.method, head.uri.path()),
                params: BTreeMap::new(),
                headers,
                instance: Some(instance.clone()),
            }),
            Door::Api(service) => {
                if head.method != hyper::Method::POST && head.method != hyper::Method::GET {
                    return Err(plain(405));
                }
                let query = query::form(head.uri.query().unwrap_or_default().as_bytes());
                let params: BTreeMap<String, String> = query.chain(query::form(&body)).collect();
                let action = params.get("Action").cloned().unwrap_or_default();
                let instance = self.region.lock().world.iam.owner(&headers).map(String::from);
                Ok(Call { service: *service, action, params, headers, instance })
            }
        }
    }

    fn error(&self, call: &Call, error: ApiError) -> Answer {
        query::error(&mut self.region.lock().world, call.service, &error)
    }

    async fn send(&self, call: &Call, number: usize, answer: Answer) -> Response<Payload> {
        let sent = self.region.lock().depart(call, self.number, number, &answer);
        if !sent {
            return pending().await;
        }
        self.payload(answer)
    }

    fn payload(&self, answer: Answer) -> Response<Payload> {
        let clock = self.region.lock().world.clock();
        let mut response = Response::new(Payload::whole(answer.body));
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let date = ("date", http_date(clock));
        // An answer may have a date of its own.
        for (name, value) in [date].into_iter().chain(answer.headers) {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

fn meter(door: &Door) -> fn(&Region) -> &Meter {
    match door {
        Door::Api(_) => |region| &region.apis,
        Door::Imds(_) => |region| &region.metadata,
    }
}

fn http_date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}
