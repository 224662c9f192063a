//! A connection to an HTTP/1.1 server: its name, TCP, a proxy where the environment names one, and TLS.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use aws_smithy_types::body::SdkBody;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::{Request, Uri};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::names;
use crate::race::first;

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// A connection that is ready for a request.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) requests: SendRequest<SdkBody>,
    /// The proxy at its other end, which is to be told whole URLs.
    proxy: Option<Intercept>,
}

impl Connection {
    /// Aims a request at `uri`, as this connection's other end wants it.
    pub(crate) fn aim(&self, request: &mut Request<SdkBody>, uri: &Uri) {
        if let Ok(host) = HeaderValue::from_str(&host_header(uri)) {
            request.headers_mut().entry(HOST).or_insert(host);
        }
        let Some(proxy) = &self.proxy else {
            let path = uri.path_and_query().cloned();
            *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
            return;
        };
        *request.uri_mut() = uri.clone();
        if let Some(authorization) = proxy.basic_auth() {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
    }
}

/// Opens a connection for requests to `uri`, by the proxy that `proxies` name for it.
///
/// # Errors
/// Which step fails, and why.
pub(crate) async fn connect(uri: &Uri, proxies: Option<&Matcher>) -> Result<Connection, Failure> {
    let is_https = uri.scheme_str() == Some("https");
    let Some(proxy) = proxies.and_then(|proxies| proxies.intercept(uri)) else {
        let stream = reach(uri).await?;
        return serve(if is_https { encrypt(stream, uri).await? } else { stream }, None).await;
    };
    let stream = match proxy.uri().scheme_str() {
        Some("http") => reach(proxy.uri()).await?,
        Some("https") => encrypt(reach(proxy.uri()).await?, proxy.uri()).await?,
        _ => return Err(format!("the proxy {} speaks neither http nor https", proxy.uri()).into()),
    };
    if is_https {
        let through = tunnel(stream, uri, &proxy).await?;
        return serve(encrypt(through, uri).await?, None).await;
    }
    serve(stream, Some(proxy)).await
}

/// The host and the port of `uri` as a server is told them, and as they are signed: without the usual port.
fn host_header(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    match (uri.port_u16(), uri.scheme_str()) {
        (None, _) | (Some(80), Some("http")) | (Some(443), Some("https")) => host.to_owned(),
        (Some(port), _) => format!("{host}:{port}"),
    }
}

/// What bytes go through.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn serve(stream: Box<dyn Stream>, proxy: Option<Intercept>) -> Result<Connection, Failure> {
    let (requests, connection) = handshake(TokioIo::new(stream)).await?;
    // How it ends, the request under way is told.
    tokio::spawn(connection);
    Ok(Connection { requests, proxy })
}

/// A TCP connection to the host of `uri`: its addresses one after the other, and beside those that do not answer.
async fn reach(uri: &Uri) -> Result<Box<dyn Stream>, Failure> {
    let (host, port) = place(uri)?;
    let ips = names::resolve(host).await?;
    let connected = first(ips.into_iter().map(|ip| to(ip, port))).await;
    let stream = connected.map_err(|error| error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

async fn to(ip: IpAddr, port: u16) -> Result<TcpStream, io::Error> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("no connection to {ip} port {port}: {error}"));
    TcpStream::connect((ip, port)).await.map_err(named)
}

/// The way through `proxy` to the host of `uri` (CONNECT).
async fn tunnel(stream: Box<dyn Stream>, uri: &Uri, proxy: &Intercept) -> Result<Box<dyn Stream>, Failure> {
    let (mut requests, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let (host, port) = place(uri)?;
    let there = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = Request::connect(&there).header(HOST, &there);
    if let Some(authorization) = proxy.basic_auth() {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    let answer = requests.send_request(request.body(SdkBody::empty())?).await?;
    if !answer.status().is_success() {
        let refusal = format!("the proxy {} answers CONNECT {there} with HTTP status", proxy.uri());
        return Err(format!("{refusal} {}", answer.status().as_u16()).into());
    }
    Ok(Box::new(TokioIo::new(hyper::upgrade::on(answer).await?)))
}

async fn encrypt(stream: Box<dyn Stream>, uri: &Uri) -> Result<Box<dyn Stream>, Failure> {
    let name = ServerName::try_from(place(uri)?.0)?.to_owned();
    Ok(Box::new(TlsConnector::from(trust()?).connect(name, stream).await?))
}

/// Whom to trust: what `SSL_CERT_FILE` or `SSL_CERT_DIR` name, or the system's bundle.
/// Read at the first use, and once: parsing it is a third of the work of a whole claim.
fn trust() -> Result<Arc<ClientConfig>, Failure> {
    static TRUST: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = TRUST.get() {
        return Ok(config.clone());
    }
    let is_named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    // The system's folder has the same certificates as its bundle, each in a file of its own.
    let bundle = if is_named { None } else { openssl_probe::probe().cert_file };
    let of_bundle = bundle.map(|file| rustls_native_certs::load_certs_from_paths(Some(&file), None));
    let found =
        of_bundle.filter(|found| !found.certs.is_empty()).unwrap_or_else(rustls_native_certs::load_native_certs);
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!("no certificate to trust was found{why}: install ca-certificates").into());
    }
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions()?;
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    Ok(TRUST.get_or_init(|| config).clone())
}

/// The host of `uri`, without the brackets of an IPv6 address, and the port.
///
/// # Errors
/// It names none.
pub(crate) fn place(uri: &Uri) -> Result<(&str, u16), String> {
    let host = uri.host().ok_or_else(|| format!("{uri} names no host"))?;
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Ok((host.trim_start_matches('[').trim_end_matches(']'), uri.port_u16().unwrap_or(usual)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_told_its_port_only_where_it_is_not_the_usual_one() {
        for (url, told) in [
            ("https://ec2.example:443/", "ec2.example"),
            ("http://169.254.169.254:80/", "169.254.169.254"),
            ("https://ec2.example:80/", "ec2.example:80"),
            ("http://[fd00:ec2::254]/", "[fd00:ec2::254]"),
            ("http://[::1]:8080/", "[::1]:8080"),
        ] {
            assert_eq!(host_header(&Uri::from_static(url)), told, "{url}");
        }
    }

    #[test]
    fn the_place_of_a_url_is_its_host_and_port() {
        for (url, there) in [
            ("https://ec2.eu-west-1.amazonaws.com", ("ec2.eu-west-1.amazonaws.com", 443)),
            ("http://127.0.0.1:4566/path?x", ("127.0.0.1", 4566)),
            ("http://[::1]:80/", ("::1", 80)),
            ("http://proxy", ("proxy", 80)),
            ("https://[fd00::1]", ("fd00::1", 443)),
        ] {
            assert_eq!(place(&Uri::from_static(url)), Ok(there), "{url}");
        }
    }
}
