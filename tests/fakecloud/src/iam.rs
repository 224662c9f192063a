//! Who calls: access keys, and the form of signatures. What they may do is in `permissions.rs`.

use crate::types::{Service, timestamp};
use crate::world::{ApiError, World, scramble};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// How far the two clocks may be apart.
const SKEW: Duration = Duration::from_secs(5 * 60);
/// As long as EC2 hands out credentials for.
const LIFETIME: Duration = Duration::from_secs(6 * 3600);

/// Counts the keys of all clouds of the process: ids repeat from cloud to cloud, keys must not.
static KEYS: AtomicU64 = AtomicU64::new(0);

/// An access key. Those of instances come with a session token.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) access: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
}

pub(crate) struct Iam {
    pub(crate) administrator: Key,
    /// The instance of every key there ever was.
    owners: HashMap<String, String>,
    /// Each instance's key that is valid now.
    keys: HashMap<String, Key>,
}

/// Who signed a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Administrator,
    Instance(String),
}

impl Caller {
    pub(crate) fn instance(&self) -> Option<&str> {
        match self {
            Caller::Administrator => None,
            Caller::Instance(id) => Some(id),
        }
    }
}

impl Iam {
    pub(crate) fn new(account: &str) -> Iam {
        let administrator = Key {
            access: format!("AKIAADMIN{:0>11}", account.get(..11).unwrap_or(account)),
            secret: "fake+secret+of+the+administrator/0123456".into(),
            token: None,
        };
        Iam { administrator, owners: HashMap::new(), keys: HashMap::new() }
    }

    /// A new key for the instance; its old one is worth nothing any more.
    pub(crate) fn new_key(&mut self, instance: &str) {
        let salt = KEYS.fetch_add(1, Ordering::Relaxed);
        let key = Key {
            access: format!("ASIA{:016X}", scramble(salt << 8)),
            secret: format!("fake/secret/{:016x}{:012x}", scramble(salt << 8 | 1), scramble(salt << 8 | 2) >> 16),
            token: Some(format!(
                "FakeSessionToken//////////{:016x}{:016x}==",
                scramble(salt << 8 | 3),
                scramble(salt << 8 | 4)
            )),
        };
        self.owners.insert(key.access.clone(), instance.into());
        self.keys.insert(instance.into(), key);
    }

    pub(crate) fn key(&self, instance: &str) -> &Key {
        self.keys.get(instance).unwrap_or_else(|| panic!("there is no instance {instance}"))
    }

    /// The instance whose key, valid or not, signed the request.
    pub(crate) fn owner(&self, headers: &BTreeMap<String, String>) -> Option<&str> {
        self.owners.get(access_key(headers)?).map(String::as_str)
    }
}

/// `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=…, Signature=…`
fn access_key(headers: &BTreeMap<String, String>) -> Option<&str> {
    let (_, rest) = headers.get("authorization")?.split_once("Credential=")?;
    rest.split('/').next()
}

impl World {
    /// When the credentials of instances expire that are fetched now.
    pub(crate) fn expiration(&self) -> SystemTime {
        self.clock() + LIFETIME
    }

    /// Who signed the request, if the signature has the right form, key, token, scope and time.
    pub(crate) fn authenticate(
        &self,
        service: Service,
        headers: &BTreeMap<String, String>,
    ) -> Result<Caller, ApiError> {
        let Some(authorization) = headers.get("authorization") else {
            let text = "Request is missing Authentication Token";
            return Err(ApiError::new(403, "MissingAuthenticationToken", text));
        };
        let parts = signature_parts(authorization, headers)
            .map_err(|why| ApiError::bad("IncompleteSignature", format!("{why}: {authorization}")))?;
        let date = headers.get("x-amz-date").map_or("", String::as_str);
        let signed = parse_date(date)
            .ok_or_else(|| ApiError::bad("IncompleteSignature", format!("X-Amz-Date is not a date: '{date}'")))?;
        let scope = [&date[..8], &self.options.region, scope_name(service), "aws4_request"];
        if parts.scope != scope {
            let text = format!("Credential should be scoped to {}, not {}", scope.join("/"), parts.scope.join("/"));
            return Err(not_valid(service, &text));
        }
        let clock = self.clock();
        let skew = clock.duration_since(signed).or_else(|_| signed.duration_since(clock)).unwrap_or_default();
        if skew > SKEW {
            let text = format!("Signature expired: {date} is too far from {}", timestamp(clock));
            return Err(match service {
                Service::Ec2 => ApiError::bad("RequestExpired", "Request has expired."),
                _ => ApiError::new(403, "SignatureDoesNotMatch", text),
            });
        }
        let unknown = match service {
            Service::Ec2 => "AWS was not able to validate the provided access credentials",
            _ => "The security token included in the request is invalid.",
        };
        let (caller, key) = match self.iam.owners.get(parts.access) {
            Some(id) => (Caller::Instance(id.clone()), self.iam.key(id)),
            None => (Caller::Administrator, &self.iam.administrator),
        };
        let token = headers.get("x-amz-security-token");
        if key.access != parts.access || key.token.as_ref() != token {
            return Err(not_valid(service, unknown));
        }
        Ok(caller)
    }

    /// The name that IAM knows the caller by, and its unique id.
    pub(crate) fn principal(&self, caller: &Caller) -> (String, String) {
        let account = &self.options.account;
        match caller {
            Caller::Administrator => {
                (format!("arn:aws:iam::{account}:user/administrator"), "AIDAFAKEADMINISTRATOR".into())
            }
            Caller::Instance(id) => {
                let role = self.instance(id).role.as_deref().unwrap_or("none");
                let arn = format!("arn:aws:sts::{account}:assumed-role/{role}/{id}");
                (arn, format!("AROAFAKECLOUDROLE0000:{id}"))
            }
        }
    }
}

fn not_valid(service: Service, text: &str) -> ApiError {
    match service {
        Service::Ec2 => ApiError::new(401, "AuthFailure", text),
        _ => ApiError::new(403, "InvalidClientTokenId", text),
    }
}

fn scope_name(service: Service) -> &'static str {
    match service {
        Service::Ec2 => "ec2",
        Service::Sts => "sts",
        Service::AutoScaling => "autoscaling",
        Service::Imds => "nothing",
    }
}

struct SignatureParts<'a> {
    access: &'a str,
    scope: Vec<&'a str>,
}

/// Takes a signature apart; it is not computed again.
fn signature_parts<'a>(
    authorization: &'a str,
    headers: &BTreeMap<String, String>,
) -> Result<SignatureParts<'a>, &'static str> {
    let rest = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or("unknown algorithm")?;
    let part = |name: &str| {
        rest.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=')).ok_or("a part is missing")
    };
    let mut scope: Vec<&str> = part("Credential")?.split('/').collect();
    let signature = part("Signature")?;
    if signature.len() != 64 || !signature.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("the signature is not 64 hexadecimal digits");
    }
    let signed: Vec<&str> = part("SignedHeaders")?.split(';').collect();
    if !signed.is_sorted() {
        return Err("the signed headers are not sorted");
    }
    let must = headers.keys().map(String::as_str).filter(|name| name.starts_with("x-amz-") || *name == "host");
    if must.into_iter().any(|name| !signed.contains(&name)) {
        return Err("host and every x-amz- header must be signed");
    }
    if signed.iter().any(|name| !headers.contains_key(*name)) {
        return Err("a signed header is missing");
    }
    Ok(SignatureParts { access: scope.remove(0), scope })
}

/// `20150830T123600Z`
fn parse_date(date: &str) -> Option<SystemTime> {
    if date.len() != 16 || !date.is_ascii() {
        return None;
    }
    let (day, time) = (&date[..8], &date[9..15]);
    let text = format!("{}-{}-{}T{}:{}:{}Z", &day[..4], &day[4..6], &day[6..], &time[..2], &time[2..4], &time[4..]);
    humantime::parse_rfc3339(&text).ok()
}
