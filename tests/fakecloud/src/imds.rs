//! An instance's metadata service, version 2 only: a token first, then paths.

use crate::query::Answer;
use crate::types::timestamp;
use crate::world::{Instance, World, scramble};
use percent_encoding::percent_decode_str;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

/// The longest that a token lives, in seconds.
const LONGEST: u64 = 21_600;

/// The tokens that were given out: whose, and until when.
#[derive(Default)]
pub(crate) struct Tokens {
    given: HashMap<String, (String, Duration)>,
}

/// Answers one request to the metadata service of an instance.
pub(crate) fn answer(
    world: &World,
    tokens: &mut Tokens,
    instance: &str,
    method: &str,
    path: &str,
    headers: &BTreeMap<String, String>,
) -> Answer {
    if !world.instance(instance).imds.enabled {
        return refused(403);
    }
    match method {
        "PUT" if path == "/latest/api/token" => token(world, tokens, instance, headers),
        // Tokens are to be had of no other version, and nothing else can be put.
        "PUT" => refused(if path.ends_with("/api/token") { 403 } else { 405 }),
        "GET" if path == "/latest/api/token" => refused(405),
        "GET" => {
            let given = headers.get("x-aws-ec2-metadata-token").and_then(|token| tokens.given.get(token));
            match given {
                Some((owner, until)) if owner == instance && world.now < *until => read(world, instance, path),
                _ => refused(401),
            }
        }
        _ => refused(405),
    }
}

fn token(world: &World, tokens: &mut Tokens, instance: &str, headers: &BTreeMap<String, String>) -> Answer {
    const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
    if headers.contains_key("x-forwarded-for") {
        return refused(403);
    }
    let ttl = headers.get(TTL).and_then(|ttl| ttl.parse().ok()).filter(|ttl| (1..=LONGEST).contains(ttl));
    let Some(ttl) = ttl else { return refused(400) };
    let n = scramble(tokens.given.len() as u64);
    let token = format!("AQAEAFake{n:016x}{:016x}==", scramble(n));
    tokens.given.insert(token.clone(), (instance.into(), world.now + Duration::from_secs(ttl)));
    let mut answer = text(token);
    answer.headers.push((TTL, ttl.to_string()));
    answer
}

fn read(world: &World, instance: &str, path: &str) -> Answer {
    let (path, _) = path.split_once('?').unwrap_or((path, ""));
    let mut steps = path.trim_start_matches('/').splitn(2, '/');
    let version = steps.next().unwrap_or_default();
    let dated = version.len() == 10 && version.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    if version != "latest" && !dated {
        return refused(404);
    }
    let Ok(path) = percent_decode_str(steps.next().unwrap_or_default()).decode_utf8() else { return refused(404) };
    // The associations may be seen late; the rest of the instance is as it is.
    let seen = world.now.saturating_sub(world.options.imds_lag);
    let truth = world.instance(instance);
    let mut shown = truth.clone();
    shown.nics = world.instances[instance].at(seen).unwrap_or(truth).nics.clone();
    let leaves = leaves(world, &shown);
    // A slash at the end is nothing to a value: botocore asks so for the availability zone.
    let path = path.trim_end_matches('/');
    if let Some(value) = leaves.get(path) {
        return text(value.clone());
    }
    let folder = if path.is_empty() { String::new() } else { format!("{path}/") };
    let below = leaves.keys().filter_map(|leaf| leaf.strip_prefix(&folder));
    let names: BTreeSet<&str> = below.map(|rest| rest.split_inclusive('/').next().unwrap_or_default()).collect();
    match names.is_empty() {
        true => refused(404),
        false => text(Vec::from_iter(names).join("\n")),
    }
}

/// Everything there is to read, by its path after the version.
fn leaves(world: &World, instance: &Instance) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    let mut put = |path: String, value: String| {
        leaves.insert(path, value);
    };
    let region = &world.options.region;
    let nic = &instance.nics[0];
    for (path, value) in [
        ("instance-id", instance.id.as_str()),
        ("ami-id", "ami-0123456789abcdef0"),
        ("instance-type", "t4g.nano"),
        ("local-ipv4", &nic.primary().ip.to_string()),
        ("mac", &nic.mac),
        ("placement/availability-zone", &instance.zone),
        ("placement/region", region),
        ("services/domain", "amazonaws.com"),
        ("services/partition", "aws"),
    ] {
        put(format!("meta-data/{path}"), value.into());
    }
    if let Some(ip) = nic.public_of(nic.primary()) {
        put("meta-data/public-ipv4".into(), ip.to_string());
    }
    if let Some(target) = &instance.lifecycle {
        put("meta-data/autoscaling/target-lifecycle-state".into(), target.clone());
    }
    if instance.tags_in_metadata {
        for (key, value) in &instance.tags {
            put(format!("meta-data/tags/instance/{key}"), value.clone());
        }
    }
    for (device, nic) in instance.nics.iter().enumerate() {
        let folder = format!("meta-data/network/interfaces/macs/{}", nic.mac);
        let lines = |ips: Vec<String>| ips.join("\n");
        put(format!("{folder}/device-number"), device.to_string());
        put(format!("{folder}/interface-id"), nic.id.clone());
        put(format!("{folder}/mac"), nic.mac.clone());
        put(format!("{folder}/owner-id"), world.options.account.clone());
        put(format!("{folder}/local-ipv4s"), lines(nic.private_ips.iter().map(|p| p.ip.to_string()).collect()));
        let pairs: Vec<_> = nic.private_ips.iter().filter_map(|p| Some((nic.public_of(p)?, p.ip))).collect();
        for (public, private) in &pairs {
            put(format!("{folder}/ipv4-associations/{public}"), private.to_string());
        }
        if !pairs.is_empty() {
            put(format!("{folder}/public-ipv4s"), lines(pairs.iter().map(|(public, _)| public.to_string()).collect()));
        }
    }
    if let Some(role) = &instance.role {
        let updated = seconds(world.clock());
        let info = json!({
            "Code": "Success",
            "LastUpdated": updated,
            "InstanceProfileArn": format!("arn:aws:iam::{}:instance-profile/{role}", world.options.account),
            "InstanceProfileId": "AIPAFAKECLOUDPROFILE0",
        });
        let key = world.iam.key(&instance.id);
        let credentials = json!({
            "Code": "Success",
            "LastUpdated": updated,
            "Type": "AWS-HMAC",
            "AccessKeyId": key.access,
            "SecretAccessKey": key.secret,
            "Token": key.token,
            "Expiration": seconds(world.expiration()),
        });
        put("meta-data/iam/info".into(), pretty(&info));
        put(format!("meta-data/iam/security-credentials/{role}"), pretty(&credentials));
    }
    let document = json!({
        "accountId": world.options.account,
        "architecture": "arm64",
        "availabilityZone": instance.zone,
        "billingProducts": null,
        "imageId": "ami-0123456789abcdef0",
        "instanceId": instance.id,
        "instanceType": "t4g.nano",
        "pendingTime": seconds(instance.launch_time),
        "privateIp": nic.primary().ip.to_string(),
        "region": region,
        "version": "2017-09-30",
    });
    put("dynamic/instance-identity/document".into(), pretty(&document));
    leaves
}

fn seconds(time: SystemTime) -> String {
    let text = timestamp(time);
    format!("{}Z", text.split('.').next().unwrap_or_default())
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}")
}

fn text(body: String) -> Answer {
    let headers = vec![("content-type", "text/plain".into()), ("server", "EC2ws".into())];
    Answer { status: 200, headers, body: body.into_bytes(), ..Answer::default() }
}

fn refused(status: u16) -> Answer {
    let title = match status {
        400 => "400 - Bad Request",
        401 => "401 - Unauthorized",
        403 => "403 - Forbidden",
        404 => "404 - Not Found",
        _ => "405 - Method Not Allowed",
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n<html><head><title>{title}</title></head>\
         <body><h1>{title}</h1></body></html>\n"
    );
    let headers = vec![("content-type", "text/html".into()), ("server", "EC2ws".into())];
    Answer { status, headers, body: body.into_bytes(), ..Answer::default() }
}
