//! Who and where this instance is, by the instance metadata service (IMDSv2 only).
//!
//! Nothing here retries: the caller does.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::SystemTime;

use serde_json::Value;

use crate::error::Error;
use crate::gate::GROUP_TAG;
use crate::ids::{InstanceId, InterfaceId};
use crate::metadata::{Metadata, nonsense};
use crate::retry::Deadline;

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
    /// Its private addresses, the primary first; none on an interface for IPv6 only.
    pub private_ips: Vec<Ipv4Addr>,
}

/// The instance metadata service.
#[derive(Debug, Clone)]
pub struct Imds {
    metadata: Metadata,
}

impl Imds {
    /// The service at the endpoint that the environment names, or the link-local one; no read outlives `deadline`.
    ///
    /// # Errors
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT` is not a URL, or `…_MODE` neither `IPv4` nor `IPv6`.
    pub fn from_env(deadline: Deadline) -> Result<Self, Error> {
        Ok(Self { metadata: Metadata::from_env(deadline)? })
    }

    /// The service itself, for the credentials that it has.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Identity and interfaces of this instance.
    ///
    /// # Errors
    /// IMDS is not reachable (yet), is switched off, or its answer makes no sense.
    pub async fn identity(&self) -> Result<Identity, Error> {
        let (document, interfaces) = tokio::try_join!(
            self.metadata.required("dynamic/instance-identity/document", |text| {
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
        self.metadata.optional("meta-data/autoscaling/target-lifecycle-state", |text| Ok(text.to_owned())).await
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
        self.metadata.optional(&format!("meta-data/tags/instance/{}", escape(key)), |text| Ok(text.to_owned())).await
    }

    /// The public addresses of `interface`, as the instance itself sees them.
    ///
    /// # Errors
    /// See [`Imds::identity`].
    pub async fn public_ips(&self, interface: &Interface) -> Result<Vec<Ipv4Addr>, Error> {
        let path = format!("meta-data/network/interfaces/macs/{}/public-ipv4s", interface.mac);
        Ok(self.metadata.optional(&path, parse_lines).await?.unwrap_or_default())
    }

    async fn interfaces(&self) -> Result<Vec<Interface>, Error> {
        let macs = "meta-data/network/interfaces/macs/";
        let listed = self.metadata.required(macs, |text| Ok(text.to_owned())).await?;
        let mut interfaces = BTreeMap::new();
        for mac in listed.lines().map(|line| line.trim().trim_end_matches('/')).filter(|mac| is_mac(mac)) {
            let path = |item: &str| format!("{macs}{mac}/{item}");
            let (id, device, private_ips) = (path("interface-id"), path("device-number"), path("local-ipv4s"));
            let (id, device, private_ips) = tokio::try_join!(
                self.metadata.required(&id, parse),
                self.metadata.required(&device, parse),
                self.metadata.optional(&private_ips, parse_lines),
            )?;
            interfaces.insert(
                (device, mac.to_owned()),
                Interface { id, mac: mac.to_owned(), device, private_ips: private_ips.unwrap_or_default() },
            );
        }
        if interfaces.is_empty() {
            return Err(nonsense(macs, "no interface"));
        }
        Ok(interfaces.into_values().collect())
    }
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
