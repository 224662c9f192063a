//! The instance metadata service as a thing to read from: one client, one session token, one attempt a read.
//!
//! An item that is not there (404) is `None`; everything else that goes wrong is an error with a class.

use std::error::Error as StdError;
use std::io;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::imds::Client;
use aws_config::imds::client::EndpointMode;
use aws_config::imds::client::error::{ImdsError, TokenError};
use aws_config::provider_config::ProviderConfig;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use tokio::time::timeout;

use crate::endpoints::{is_url, set};
use crate::error::{Class, Error};
use crate::http;
use crate::retry::{Deadline, Pace};
use crate::sanity;

/// IMDS answers within milliseconds or not at all.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

/// The metadata service of this instance.
#[derive(Debug, Clone)]
pub(crate) struct Metadata {
    client: Arc<Mutex<Client>>,
    deadline: Deadline,
}

impl Metadata {
    /// The service at the endpoint that the environment names, or the link-local one; no read outlives `deadline`.
    ///
    /// # Errors
    /// The environment names no endpoint that could be one.
    pub(crate) fn from_env(deadline: Deadline) -> Result<Self, Error> {
        Ok(Self { client: Arc::new(Mutex::new(client()?)), deadline })
    }

    /// What `parse` makes of the item at `path`, which every instance has.
    ///
    /// # Errors
    /// It is not there (yet), cannot be read, or does not parse.
    pub(crate) async fn required<T>(&self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Error> {
        self.optional(path, parse)
            .await?
            .ok_or_else(|| Error::new(Class::NotYet, "ImdsItemAbsent", format!("IMDS has no {path} (HTTP status 404)")))
    }

    /// What `parse` makes of the item at `path`, if there is one.
    ///
    /// # Errors
    /// It cannot be read, or does not parse.
    pub(crate) async fn optional<T>(
        &self,
        path: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Error> {
        let client = self.client();
        let read = timeout(self.deadline.remaining(), client.get(format!("/latest/{path}"))).await;
        match read.map_err(|_| Error::cut_short(path))? {
            Ok(text) => parse(text.as_ref().trim()).map(Some).map_err(|why| nonsense(path, &why)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.failure(path, &error)),
        }
    }

    /// When reads must be over.
    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// The SDK's client, for its credentials provider.
    pub(crate) fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The failure that `error`, of the SDK's client or of something that uses it, amounts to.
    pub(crate) fn failure(&self, path: &str, error: &(dyn StdError + 'static)) -> Error {
        if let Some(why) = sanity::nonsense(error) {
            return nonsense(path, why);
        }
        if chain(error).any(is_no_token) {
            return nonsense(path, "the session token that came first is none");
        }
        match chain(error).find_map(status) {
            Some(403) => Error::new(Class::MetadataOff, "MetadataOff", "IMDS refuses to answer (HTTP status 403)"),
            Some(status) => {
                if status == 401 {
                    self.forget_token();
                }
                let message = format!("IMDS answered {path} with HTTP status {status}");
                Error::new(Class::NotYet, "ImdsError", message)
            }
            None => {
                let message = format!("no answer from IMDS about {path}");
                let pace = if chain(error).any(is_no_route) { Pace::Local } else { Pace::Usual };
                Error { pace, ..Error::new(Class::NotYet, "ImdsUnreachable", message).caused_by(error) }
            }
        }
    }

    /// The SDK's client keeps its token for hours, even when IMDS does not know it any more.
    fn forget_token(&self) {
        if let Ok(fresh) = client() {
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }
}

fn client() -> Result<Client, Error> {
    let usage = |name: &str, value: &str| {
        Error::new(Class::Usage, "InvalidEnvironment", format!("{name} has an invalid value: `{value}`"))
    };
    // An endpoint is always set, so that no profile file is read.
    let (name, mode_name) = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
    let builder = Client::builder()
        .configure(&config())
        .max_attempts(1)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(ATTEMPT_TIMEOUT);
    let endpoint = match (set(name), set(mode_name)) {
        // In the clear alone: there is no TLS on the way to IMDS.
        (Some(url), _) if !is_url(&url) || url.starts_with("https:") => return Err(usage(name, &url)),
        (Some(url), _) => url,
        (_, Some(mode)) => match EndpointMode::from_str(&mode).map_err(|_| usage(mode_name, &mode))? {
            EndpointMode::IpV6 => "http://[fd00:ec2::254]".to_owned(),
            _ => "http://169.254.169.254".to_owned(),
        },
        _ => "http://169.254.169.254".to_owned(),
    };
    Ok(builder.endpoint(&endpoint).map_err(|_| usage(name, &endpoint))?.build())
}

/// No profile files, no region: the environment's `AWS_EC2_METADATA_DISABLED` is all that the SDK adds.
pub(crate) fn config() -> ProviderConfig {
    ProviderConfig::empty().with_http_client(http::to_imds())
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&e| e.source())
}

/// The HTTP status in an error of the SDK, for an item or for the token.
fn status(error: &(dyn StdError + 'static)) -> Option<u16> {
    let response = match (error.downcast_ref::<ImdsError>(), error.downcast_ref::<SdkError<TokenError, HttpResponse>>())
    {
        (Some(ImdsError::ErrorResponse(context)), _) => context.response(),
        (_, Some(token)) => token.raw_response()?,
        _ => return None,
    };
    Some(response.status()).filter(|status| !status.is_success()).map(|status| status.as_u16())
}

/// The SDK's client makes a token of every text that a header can have; IMDS says with it how long it is good for.
fn is_no_token(error: &(dyn StdError + 'static)) -> bool {
    let error = error.downcast_ref::<SdkError<TokenError, HttpResponse>>();
    matches!(error, Some(SdkError::ServiceError(token)) if token.raw().status().is_success())
}

/// Whether this machine has no way to IMDS: while it boots, no interface may have an address yet.
fn is_no_route(error: &(dyn StdError + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NetworkUnreachable)
}

/// Whether `error` is, or comes from, one of the SDK's client.
pub(crate) fn is_of_imds(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|error| error.is::<ImdsError>() || error.is::<SdkError<TokenError, HttpResponse>>())
}

/// An answer that cannot be what it should be.
pub(crate) fn nonsense(path: &str, why: &str) -> Error {
    Error::new(Class::Nonsense, "ImdsNonsense", format!("the answer of IMDS about {path} makes no sense: {why}"))
}
