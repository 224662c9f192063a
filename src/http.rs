//! HTTP to AWS: one TLS stack, names resolved without the C library, proxies from the environment,
//! answers that AWS may have given, and connections that can be dropped all at once.
//!
//! An association changes the public address of the instance, and connections opened before it may be dead
//! without a word. [`Connections::renew`] makes every later call open a new one.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::HttpError;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use crate::sanity::{Sane, is_of_an_api, is_of_imds};

/// The resolver of every VPC, for the moments of a boot in which `/etc/resolv.conf` is not there yet.
const VPC_RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 253));
/// Two attempts fit into the time that a connection may take.
const NAME_SERVER_TIMEOUT: Duration = Duration::from_millis(800);
/// An item of IMDS has a line or a few; the longest that is read here, the credentials, has two thousand bytes.
const LONGEST_METADATA: usize = 64 << 10;
/// DescribeAddresses has no pages: ten thousand addresses, far beyond any quota, are three million bytes.
const LONGEST_ANSWER: usize = 16 << 20;
/// An address and a line end have sixteen bytes; an error page has some more.
const LONGEST_PAGE: usize = 64 << 10;

/// The connections to the AWS APIs.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Mutex<Option<SharedHttpConnector>>>);

impl Connections {
    /// Lets go of all connections; calls under way keep theirs.
    pub fn renew(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl HttpClient for Connections {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            let connector = SharedHttpConnector::new(connector(settings, components));
            SharedHttpConnector::new(Sane { connector, longest: LONGEST_ANSWER, check: is_of_an_api })
        };
        current.get_or_insert_with(fresh).clone()
    }
}

fn connector(settings: &HttpConnectorSettings, components: &RuntimeComponents) -> Connector {
    let mut builder = Connector::builder()
        .connector_settings(settings.clone())
        .proxy_config(ProxyConfig::from_env())
        .tls_provider(Provider::Rustls(CryptoMode::Ring));
    builder.set_sleep_impl(components.sleep_impl());
    builder.build_with_resolver(Names)
}

/// HTTP to IMDS: link-local and in the clear, and never through a proxy.
pub fn to_imds() -> SharedHttpClient {
    let client = Builder::new().build_http();
    http_client_fn(move |settings, components| {
        let connector = client.http_connector(settings, components);
        SharedHttpConnector::new(Sane { connector, longest: LONGEST_METADATA, check: is_of_imds })
    })
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
    let user = |error: HttpError| ConnectorError::user(error.into());
    let mut request = HttpRequest::get(url).map_err(user)?;
    request.headers_mut().insert("user-agent", concat!("eip-claim/", env!("CARGO_PKG_VERSION")));
    let proxy = match way {
        Way::Direct => ProxyConfig::disabled(),
        Way::AsTheApis => ProxyConfig::from_env(),
    };
    let connector = Connector::builder().proxy_config(proxy).tls_provider(Provider::Rustls(CryptoMode::Ring));
    let connector = SharedHttpConnector::new(connector.build_with_resolver(Names));
    let answer = Sane { connector, longest: LONGEST_PAGE, check: |_, _| Ok(()) }.call(request).await?;
    let status = answer.status().as_u16();
    let date = answer.headers().get("date").map(str::to_owned);
    let body = answer.body().bytes().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
    Ok(Answer { status, date, body })
}

/// The addresses of `host`, which may be one itself.
///
/// # Errors
/// In a few words: it has none.
pub(crate) async fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    match host.parse() {
        Ok(ip) => Ok(vec![ip]),
        Err(_) => Names.resolve_dns(host).await.map_err(|error| deepest(&error)),
    }
}

fn deepest(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), deepest)
}

/// Resolves names by `/etc/hosts` and the servers in `/etc/resolv.conf`, read anew each time:
/// while an instance boots, both change.
#[derive(Debug, Clone)]
struct Names;

impl ResolveDns for Names {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
                let servers = ResolverConfig::from_name_servers(vec![NameServerConfig::udp_and_tcp(VPC_RESOLVER)]);
                TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default())
            });
            builder.options_mut().timeout = NAME_SERVER_TIMEOUT;
            let resolver = builder.build().map_err(ResolveDnsError::new)?;
            let found = resolver.lookup_ip(name).await.map_err(ResolveDnsError::new)?;
            Ok(found.iter().collect())
        })
    }
}
