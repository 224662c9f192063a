//! Who and where this instance is, by the instance metadata service (IMDSv2 only).
//!
//! Nothing here retries: the caller does.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::SystemTime;

use serde_json::Value;

use crate::error::Error;
use crate::gate::GROUP_TAG;
use crate::ids::{InstanceId, InterfaceId};
use crate::metadata::{Metadata, nonsense};
use crate::report::rfc3339;
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

    /// When reads must be over.
    pub(crate) fn deadline(&self) -> Deadline {
        self.metadata.deadline()
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
        let (identity, interfaces) = tokio::try_join!(self.document(), self.interfaces())?;
        Ok(Identity { interfaces, ..identity })
    }

    /// The identity alone, without the interfaces.
    ///
    /// # Errors
    /// See [`Imds::identity`].
    pub(crate) async fn document(&self) -> Result<Identity, Error> {
        self.metadata.required("dynamic/instance-identity/document", parse_document).await
    }

    /// The state that Auto Scaling wants this instance in; `None` outside a group, and before the first transition.
    ///
    /// # Errors
    /// See [`Imds::identity`].
    pub async fn target_lifecycle_state(&self) -> Result<Option<String>, Error> {
        self.metadata.optional("meta-data/autoscaling/target-lifecycle-state", parse_state).await
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
        self.metadata.optional(&format!("meta-data/tags/instance/{}", escape(key)), parse_tag_value).await
    }

    /// The public addresses of `interface`, as the instance itself sees them.
    ///
    /// # Errors
    /// See [`Imds::identity`].
    pub async fn public_ips(&self, interface: &Interface) -> Result<Vec<Ipv4Addr>, Error> {
        let path = format!("meta-data/network/interfaces/macs/{}/public-ipv4s", interface.mac);
        Ok(self.metadata.optional(&path, parse_lines).await?.unwrap_or_default())
    }

    /// The IPv6 addresses of `interface`.
    ///
    /// # Errors
    /// See [`Imds::identity`].
    pub(crate) async fn ipv6s(&self, interface: &Interface) -> Result<Vec<Ipv6Addr>, Error> {
        let path = format!("meta-data/network/interfaces/macs/{}/ipv6s", interface.mac);
        Ok(self.metadata.optional(&path, parse_lines).await?.unwrap_or_default())
    }

    /// Whether this instance's tags are to be seen here.
    ///
    /// # Errors
    /// See [`Imds::identity`].
    pub(crate) async fn shows_tags(&self) -> Result<bool, Error> {
        Ok(self.metadata.optional("meta-data/tags/instance/", |_| Ok(())).await?.is_some())
    }

    /// When the credentials of the instance profile were given out.
    ///
    /// # Errors
    /// See [`Imds::identity`].
    pub(crate) async fn profile_updated(&self) -> Result<Option<String>, Error> {
        let updated = |text: &str| {
            let info: Value = serde_json::from_str(text).map_err(|_| "not JSON".to_owned())?;
            Ok(info["LastUpdated"].as_str().and_then(|time| humantime::parse_rfc3339(time).ok()).map(rfc3339))
        };
        Ok(self.metadata.optional("meta-data/iam/info", updated).await?.flatten())
    }

    /// The network interfaces, in the order of their device numbers.
    ///
    /// # Errors
    /// See [`Imds::identity`].
    pub(crate) async fn interfaces(&self) -> Result<Vec<Interface>, Error> {
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

/// The document, without interfaces, of which it says nothing.
fn parse_document(text: &str) -> Result<Identity, String> {
    let document: Value = serde_json::from_str(text).map_err(|_| "not JSON".to_owned())?;
    let field = |name: &str| document[name].as_str().ok_or_else(|| format!("no {name}"));
    let malformed = |name: &'static str| move |why: String| format!("{name}: {why}");
    Ok(Identity {
        instance: parse(field("instanceId")?).map_err(malformed("instanceId"))?,
        region: parse_place(field("region")?).map_err(malformed("region"))?,
        zone: parse_place(field("availabilityZone")?).map_err(malformed("availabilityZone"))?,
        launched: humantime::parse_rfc3339(field("pendingTime")?)
            .map_err(|e| malformed("pendingTime")(e.to_string()))?,
        interfaces: Vec::new(),
    })
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

/// A region or a zone; the region becomes part of a host name, whose parts have at most 63 bytes.
fn parse_place(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let shaped = (1..=63).contains(&text.len()) && text.bytes().all(fits);
    if shaped { Ok(text.to_owned()) } else { Err(format!("`{text}` is no part of a host name")) }
}

/// A lifecycle state, known to us or not, is a word such as `Warmed:Running`; a page in its place is none.
fn parse_state(text: &str) -> Result<String, String> {
    let shaped = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_".contains(&b));
    if shaped { Ok(text.to_owned()) } else { Err(format!("`{text}` is not a lifecycle state")) }
}

/// EC2 takes no longer value.
fn parse_tag_value(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length <= 256 { Ok(text.to_owned()) } else { Err(format!("a tag value of {length} characters")) }
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
    use proptest::prelude::*;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_region_is_fit_to_be_part_of_a_host_name() {
        assert!(parse_place("us-gov-west-1").is_ok());
        for wrong in ["", "evil.example/", "US-EAST-1", "us east"] {
            assert!(parse_place(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tag_keys_are_escaped_as_one_path_segment() {
        assert_eq!(escape("aws:autoscaling:groupName"), "aws:autoscaling:groupName");
        assert_eq!(escape("é?#%"), "%C3%A9%3F%23%25");
    }

    const FIELDS: [&str; 4] = ["instanceId", "region", "availabilityZone", "pendingTime"];

    /// The fields of a document, those that are read and others, in any order.
    fn document() -> impl Strategy<Value = Vec<(String, Value)>> {
        let others = prop::collection::vec(
            ("[b-d]{1,6}", prop_oneof![Just(json!(null)), Just(json!([{}, 1])), Just(json!("é"))]),
            0..6,
        );
        let read = (
            "i-[0-9a-f]{8,17}",
            "[a-z]{2}-[a-z]{1,10}-[1-9]",
            "[a-z]{2}-[a-z]{1,10}-[1-9](-lax-1)?[a-f]",
            0..253_402_300_800_u64,
        );
        (read, others)
            .prop_map(|((instance, region, zone, launched), others)| {
                let launched = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(launched);
                let launched = humantime::format_rfc3339_seconds(launched).to_string();
                let read =
                    FIELDS.map(str::to_owned).into_iter().zip([instance, region, zone, launched].map(Value::from));
                read.chain(others).collect::<Vec<_>>()
            })
            .prop_shuffle()
    }

    fn written(fields: &[(String, Value)]) -> String {
        let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\n \"{name}\" : {value}")).collect();
        format!("{{{}\n}}", fields.join(","))
    }

    proptest! {
        #[test]
        fn a_document_is_read_whatever_else_is_in_it_and_in_whatever_order(fields in document()) {
            let read = parse_document(&written(&fields)).expect("it is a document");
            let launched = humantime::format_rfc3339_seconds(read.launched).to_string();
            let read = [read.instance.to_string(), read.region, read.zone, launched];
            for (name, read) in FIELDS.into_iter().zip(read) {
                let written = fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone());
                prop_assert_eq!(written, Some(Value::from(read)), "{}", name);
            }
        }

        #[test]
        fn a_field_that_is_missing_or_of_another_type_is_named(
            mut fields in document(), which in prop::sample::select(FIELDS.to_vec()),
            wrong in prop::option::of(prop::sample::select(vec![
                json!(null), json!(7), json!(true), json!(["i-1"]), json!({"a": "i-1"}), json!(""), json!("no such\nthing"),
            ])),
        ) {
            fields.retain(|(name, _)| name != which || wrong.is_some());
            for (name, value) in &mut fields {
                if let (true, Some(wrong)) = (name == which, &wrong) {
                    value.clone_from(wrong);
                }
            }
            let why = parse_document(&written(&fields)).expect_err("a field is missing or wrong");
            prop_assert!(why.contains(which), "{}: {}", which, why);
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in prop_oneof![any::<String>(), r#"[\[{}\]:,"0-9aein.\\-]{0,200}"#, r"[0-9.\n ]{0,40}"]) {
            prop_assert!(parse_document(&text).is_err(), "no such text is a document");
            let ips = parse_lines::<Ipv4Addr>(&text);
            prop_assert!(ips.is_err() || ips.is_ok_and(|ips| ips.len() == text.lines().count()));
            prop_assert_eq!(parse_place(&text).is_ok_and(|read| read == text && text.len() < 64), parse_place(&text).is_ok());
            prop_assert_eq!(parse_tag_value(&text).is_ok(), text.chars().count() <= 256);
            let is_short_word = text.len() <= 64 && !text.contains(['<', '{', ' ', '\n']);
            prop_assert!(parse_state(&text).is_err() || is_short_word);
        }

        #[test]
        fn an_escaped_key_is_one_segment_of_a_path_and_means_itself(key in any::<String>()) {
            let escaped = escape(&key);
            prop_assert!(escaped.bytes().all(|b| b.is_ascii_graphic() && !b"/?#\"<>\\^`{|}".contains(&b)), "{}", escaped);
            let mut bytes = Vec::new();
            let mut rest = escaped.as_str();
            while let Some(first) = rest.bytes().next() {
                let length = if first == b'%' { 3 } else { 1 };
                bytes.push(if first == b'%' { u8::from_str_radix(&rest[1..3], 16).expect("two digits") } else { first });
                rest = &rest[length..];
            }
            prop_assert_eq!(String::from_utf8(bytes).expect("UTF-8"), key);
        }
    }
}
