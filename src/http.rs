//! HTTP to AWS: answers that AWS may have given, by proxies from the environment, over connections that are kept
//! for the next request and can be dropped all at once.
//!
//! An association changes the public address of the instance, and connections opened before it may be dead
//! without a word. [`Connections::renew`] makes every later call open a new one.
//! HTTP/1.1 is enough for a handful of calls; the rest of the house is the SDK's.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::Uri;
use http::uri::{Authority, Scheme};
use hyper_util::client::proxy::matcher::Matcher;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::connect::{Connection, Failure, connect};
use crate::sanity::{self, Check};

/// A TCP connection within a region takes milliseconds.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An item of IMDS has a line or a few; the longest that is read here, the credentials, has two thousand bytes.
const LONGEST_METADATA: usize = 64 << 10;
/// DescribeAddresses has no pages: ten thousand addresses, far beyond any quota, are three million bytes.
const LONGEST_ANSWER: usize = 16 << 20;
/// An address and a line end have sixteen bytes; an error page has some more.
const LONGEST_PAGE: usize = 64 << 10;

/// The connections to the AWS APIs.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Mutex<Http>>);

impl Connections {
    /// Opens a connection for the next call to `url`; should that fail, the call opens one itself, and says why.
    pub(crate) fn open(&self, url: &str) {
        if let Ok(uri) = url.parse() {
            locked(&self.0).open(uri);
        }
    }

    /// Lets go of all connections; calls under way keep theirs.
    pub fn renew(&self) {
        *locked(&self.0) = Http::to_apis();
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Http::to_apis())))
    }
}

impl HttpClient for Connections {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(locked(&self.0).clone())
    }
}

/// HTTP to IMDS: link-local and in the clear, and never through a proxy.
pub fn to_imds() -> SharedHttpClient {
    let http = Http::new(Way::Direct, LONGEST_METADATA, sanity::is_of_imds);
    http_client_fn(move |_, _| SharedHttpConnector::new(http.clone()))
}

/// By which way a page is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Never through a proxy.
    Direct,
    /// As the AWS APIs are, through the proxy that the environment names.
    AsTheApis,
}

/// What a page answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// When it was given, by the other side's clock.
    pub(crate) date: Option<String>,
    pub(crate) body: String,
}

/// Asks `url`, once, on a connection of its own.
///
/// # Errors
/// No answer, or none that is a text of usual length.
pub(crate) async fn get(url: &str, way: Way) -> Result<Answer, ConnectorError> {
    let mut request = HttpRequest::get(url).map_err(|error| ConnectorError::user(error.into()))?;
    request.headers_mut().insert("user-agent", concat!("eip-claim/", env!("CARGO_PKG_VERSION")));
    let answer = Http::new(way, LONGEST_PAGE, |_, _| Ok(())).call(request).await?;
    let status = answer.status().as_u16();
    let date = answer.headers().get("date").map(str::to_owned);
    let body = answer.body().bytes().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
    Ok(Answer { status, date, body })
}

/// HTTP/1.1 on connections that are kept.
#[derive(Clone)]
struct Http(Arc<Shared>);

struct Shared {
    proxies: Option<Matcher>,
    /// How long an answer may be, in bytes.
    longest: usize,
    /// What else is asked of an answer that reports success.
    check: Check,
    /// The connections that wait for a request, each with where it leads.
    idle: Mutex<Vec<(Origin, Connection)>>,
    /// The one that is being opened ahead of the first request.
    opening: Mutex<Option<(Origin, Opening)>>,
}

type Opening = JoinHandle<Result<Connection, ConnectorError>>;

type Origin = (Option<Scheme>, Option<Authority>);

impl Http {
    fn new(way: Way, longest: usize, check: Check) -> Self {
        let proxies = (way == Way::AsTheApis).then(Matcher::from_env);
        Self(Arc::new(Shared { proxies, longest, check, idle: Mutex::default(), opening: Mutex::default() }))
    }

    fn to_apis() -> Self {
        Self::new(Way::AsTheApis, LONGEST_ANSWER, sanity::is_of_an_api)
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let mut request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let uri = request.uri().clone();
        let (connection, answer) = loop {
            let waiting = self.waiting(&uri).await?;
            let is_kept = waiting.is_some();
            let mut connection = match waiting {
                Some(connection) => connection,
                None => self.connect(&uri).await?,
            };
            connection.aim(&mut request, &uri);
            match connection.requests.try_send_request(request).await {
                Ok(answer) => break (connection, answer),
                Err(mut error) => match error.take_message() {
                    // The other end had closed it, and nothing was sent.
                    Some(unsent) if is_kept => request = unsent,
                    _ => return Err(ConnectorError::io(error.into_error().into())),
                },
            }
        };
        let (head, body) = answer.into_parts();
        let text = sanity::text(body, self.0.longest).await.map_err(broken)?;
        if head.status.is_success() {
            (self.0.check)(&head.headers, &text).map_err(|flaw| broken(flaw.into()))?;
        }
        locked(&self.0.idle).push((origin(&uri), connection));
        let answer = http::Response::from_parts(head, SdkBody::from(text));
        HttpResponse::try_from(answer).map_err(|error| broken(error.into()))
    }

    fn open(&self, uri: Uri) {
        let (http, origin) = (self.clone(), origin(&uri));
        let opening = tokio::spawn(async move { http.connect(&uri).await });
        *locked(&self.0.opening) = Some((origin, opening));
    }

    /// A connection to where `uri` leads that waits for a request, if one is still open or just being opened.
    async fn waiting(&self, uri: &Uri) -> Result<Option<Connection>, ConnectorError> {
        let origin = origin(uri);
        let opening = locked(&self.0.opening).take_if(|(there, _)| *there == origin);
        if let Some((_, opening)) = opening {
            let is_under_way = !opening.is_finished();
            match opening.await {
                Ok(Ok(connection)) => return Ok(Some(connection)),
                // Whoever has waited for it need not fail in the same way once more.
                Ok(Err(error)) if is_under_way => return Err(error),
                _ => {}
            }
        }
        loop {
            let mut connection = {
                let mut idle = locked(&self.0.idle);
                let Some(at) = idle.iter().position(|(there, _)| *there == origin) else { return Ok(None) };
                idle.swap_remove(at).1
            };
            if connection.requests.ready().await.is_ok() {
                return Ok(Some(connection));
            }
        }
    }

    async fn connect(&self, uri: &Uri) -> Result<Connection, ConnectorError> {
        match timeout(CONNECT_TIMEOUT, connect(uri, self.0.proxies.as_ref())).await {
            Ok(connected) => connected.map_err(ConnectorError::io),
            Err(_) => {
                let host = uri.host().unwrap_or_default();
                let limit = humantime::format_duration(CONNECT_TIMEOUT);
                Err(ConnectorError::timeout(format!("no connection to {host} within {limit}").into()))
            }
        }
    }
}

impl HttpConnector for Http {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let http = self.clone();
        HttpConnectorFuture::new(async move { http.exchange(request).await })
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Http").finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn origin(uri: &Uri) -> Origin {
    (uri.scheme().cloned(), uri.authority().cloned())
}

fn broken(error: Failure) -> ConnectorError {
    ConnectorError::other(error, None)
}
