//! Who and where this instance is, by the instance metadata service (IMDSv2 only).
//!
//! One client, one session token, and one attempt a call: the caller retries.
//! An item that IMDS does not have (404) is `None`; everything else that goes wrong is an error with a class.

use std::collections::BTreeMap;
use std::env;
use std::error::Error as StdError;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::imds::Client;
use aws_config::imds::client::EndpointMode;
use aws_config::imds::client::error::{ImdsError, TokenError};
use aws_config::provider_config::ProviderConfig;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use serde_json::Value;

use crate::error::{Class, Error};
use crate::http;
use crate::ids::{InstanceId, InterfaceId};

/// IMDS answers within milliseconds or not at all.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// The tag by which an Auto Scaling group marks its instances.
const GROUP_TAG: &str = "aws:autoscaling:groupName";

/// What IMDS says about this instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// This instance.
    pub instance: InstanceId,
    /// Its region.
    pub region: String,
    /// Its Availability Zone.
    pub zone: String,
    /// When it was launched.
    pub launched: SystemTime,
    /// Its network interfaces, in the order of their device numbers.
    pub interfaces: Vec<Interface>,
}

/// A network interface of this instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its id.
    pub id: InterfaceId,
    /// Its hardware address, by which IMDS knows it.
    pub mac: String,
    /// Its place on the instance; 0 is the primary interface.
    pub device: u32,
    /// Its private addresses, the primary first.
    pub private_ips: Vec<Ipv4Addr>,
}

/// The instance metadata service.
#[derive(Debug, Clone)]
pub struct Imds {
    client: Arc<Mutex<Client>>,
}

impl Imds {
    /// The service at the endpoint that the environment names, or the link-local one.
    ///
    /// # Errors
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT` is not a URL, or `…_MODE` neither `IPv4` nor `IPv6`.
    pub fn from_env() -> Result<Self, Error> {
        Ok(Self { client: Arc::new(Mutex::new(client()?)) })
    }

    /// Identity and interfaces of this instance.
    ///
    /// # Errors
    /// IMDS is not reachable (yet), is switched off, or its answer makes no sense.
    pub async fn identity(&self) -> Result<Identity, Error> {
        let (document, interfaces) = tokio::try_join!(
            self.required("dynamic/instance-identity/document", |text| {
                serde_json::from_str::<Value>(text).map_err(|_| "not JSON".to_owned())
            }),
            self.interfaces(),
        )?;
        let field = |name: &str| {
            document[name].as_str().ok_or_else(|| nonsense("dynamic/instance-identity/document", &format!("no {name}")))
        };
        let malformed = |why: String| nonsense("dynamic/instance-identity/document", &why);
        Ok(Identity {
            instance: field("instanceId")?.parse().map_err(|e| malformed(format!("{e}")))?,
            region: parse_region(field("region")?).map_err(malformed)?,
            zone: field("availabilityZone")?.to_owned(),
            launched: humantime::parse_rfc3339(field("pendingTime")?)
                .map_err(|e| malformed(format!("pendingTime: {e}")))?,
            interfaces,
        })
    }

    /// The state that Auto Scaling wants this instance in; `None` outside a group, and before the first transition.
    ///
    /// # Errors
    /// See [`Imds::identity`].
    pub async fn target_lifecycle_state(&self) -> Result<Option<String>, Error> {
        self.optional("meta-data/autoscaling/target-lifecycle-state", |text| Ok(text.to_owned())).await
    }

    /// Whether this instance's own tags say that an Auto Scaling group made it.
    ///
    /// # Errors
    /// See [`Imds::identity`].
    pub async fn is_in_group(&self) -> Result<bool, Error> {
        Ok(self.tag(GROUP_TAG).await?.is_some())
    }

    /// This instance's own tag `key`; `None` as well where instance tags are off in IMDS, or cannot have the key.
    ///
    /// # Errors
    /// See [`Imds::identity`].
    pub async fn tag(&self, key: &str) -> Result<Option<String>, Error> {
        if key.contains(['/', ' ']) {
            return Ok(None);
        }
        self.optional(&format!("meta-data/tags/instance/{}", escape(key)), |text| Ok(text.to_owned())).await
    }

    /// The public addresses of `interface`, as the instance itself sees them.
    ///
    /// # Errors
    /// See [`Imds::identity`].
    pub async fn public_ips(&self, interface: &Interface) -> Result<Vec<Ipv4Addr>, Error> {
        let path = format!("meta-data/network/interfaces/macs/{}/public-ipv4s", interface.mac);
        Ok(self.optional(&path, parse_lines).await?.unwrap_or_default())
    }

    async fn interfaces(&self) -> Result<Vec<Interface>, Error> {
        let macs = "meta-data/network/interfaces/macs/";
        let listed = self.required(macs, |text| Ok(text.to_owned())).await?;
        let mut interfaces = BTreeMap::new();
        for mac in listed.lines().map(|line| line.trim().trim_end_matches('/')).filter(|mac| is_mac(mac)) {
            let path = |item: &str| format!("{macs}{mac}/{item}");
            let (id, device, private_ips) = (path("interface-id"), path("device-number"), path("local-ipv4s"));
            let (id, device, private_ips) = tokio::try_join!(
                self.required(&id, parse),
                self.required(&device, parse),
                self.required(&private_ips, parse_lines),
            )?;
            interfaces.insert((device, mac.to_owned()), Interface { id, mac: mac.to_owned(), device, private_ips });
        }
        if interfaces.is_empty() {
            return Err(nonsense(macs, "no interface"));
        }
        Ok(interfaces.into_values().collect())
    }

    async fn required<T>(&self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Error> {
        self.optional(path, parse)
            .await?
            .ok_or_else(|| Error::new(Class::NotYet, "ImdsItemAbsent", format!("IMDS has no {path} (HTTP status 404)")))
    }

    async fn optional<T>(&self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, Error> {
        match self.client().get(format!("/latest/{path}")).await {
            Ok(text) => parse(text.as_ref().trim()).map(Some).map_err(|why| nonsense(path, &why)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.failure(path, &error)),
        }
    }

    /// The SDK's client, for its credentials provider.
    pub(crate) fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The failure that `error`, of the SDK's client or of something that uses it, amounts to.
    pub(crate) fn failure(&self, path: &str, error: &(dyn StdError + 'static)) -> Error {
        match chain(error).find_map(status) {
            Some(403) => Error::new(Class::MetadataOff, "MetadataOff", "IMDS refuses to answer (HTTP status 403)"),
            Some(status) => {
                if status == 401 {
                    self.forget_token();
                }
                let message = format!("IMDS answered {path} with HTTP status {status}");
                Error::new(Class::NotYet, "ImdsError", message)
            }
            None => Error::new(Class::NotYet, "ImdsUnreachable", format!("no answer from IMDS about {path}"))
                .caused_by(error),
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
        .connect_timeout(ATTEMPT_TIMEOUT)
        .read_timeout(ATTEMPT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(ATTEMPT_TIMEOUT);
    let endpoint = match (env::var(name), env::var(mode_name)) {
        (Ok(url), _) => url,
        (_, Ok(mode)) => match EndpointMode::from_str(&mode).map_err(|_| usage(mode_name, &mode))? {
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

fn nonsense(path: &str, why: &str) -> Error {
    Error::new(Class::Nonsense, "ImdsNonsense", format!("the answer of IMDS about {path} makes no sense: {why}"))
}

fn parse<T: FromStr>(text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn parse_lines<T: FromStr>(text: &str) -> Result<Vec<T>, String>
where
    T::Err: std::fmt::Display,
{
    text.lines().map(|line| parse(line.trim())).collect()
}

/// The region becomes part of a host name.
fn parse_region(text: &str) -> Result<String, String> {
    let shaped = !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if shaped { Ok(text.to_owned()) } else { Err(format!("`{text}` is not a region")) }
}

fn is_mac(text: &str) -> bool {
    text.len() == 17 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
}

/// Percent-encodes what may not stand in a URL path as it is.
fn escape(key: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:@=+,".contains(&b);
    key.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_fit_to_be_part_of_a_host_name() {
        assert!(parse_region("us-gov-west-1").is_ok());
        for wrong in ["", "evil.example/", "US-EAST-1", "us east"] {
            assert!(parse_region(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tag_keys_are_escaped_as_one_path_segment() {
        assert_eq!(escape("aws:autoscaling:groupName"), "aws:autoscaling:groupName");
        assert_eq!(escape("é?#%"), "%C3%A9%3F%23%25");
    }
}
