//! Each item of IMDS that is read, answered in each way that no IMDS answers.

use fakecloud::{Calls, Cloud};

use super::hostile::{KINDS, Kind, every_pair, measured};
use crate::harness::*;

/// A run that goes well needs about 8 MiB, and 15 MiB in a build without optimization; an answer is cut off at
/// 64 KiB, of which a few copies are made.
const MEMORY: u64 = 24 << 10;

/// What the program reads from IMDS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    /// The session token, without the header that says how long it is good for.
    Token,
    /// A token that is to be good for longer than time lasts, whatever its text.
    TokenForAges,
    /// The same with a header as it should be: what can stand in a header is then sent as the token.
    TokenWithTtl,
    Document,
    Macs,
    InterfaceId,
    DeviceNumber,
    LocalIps,
    Lifecycle,
    OwnTag,
    GroupTag,
    RoleName,
    Credentials,
    PublicIps,
}

const ITEMS: [Item; 14] = {
    use Item::*;
    [
        Token,
        TokenForAges,
        TokenWithTtl,
        Document,
        Macs,
        InterfaceId,
        DeviceNumber,
        LocalIps,
        Lifecycle,
        OwnTag,
        GroupTag,
        RoleName,
        Credentials,
        PublicIps,
    ]
};

impl Item {
    /// The request that asks for it; `mac` is that of the interface.
    fn request(self, mac: &str) -> String {
        let interface = |item: &str| format!("GET /latest/meta-data/network/interfaces/macs/{mac}/{item}$");
        match self {
            Item::Token | Item::TokenForAges | Item::TokenWithTtl => "PUT /latest/api/token$".into(),
            Item::Document => "GET /latest/dynamic/instance-identity/document$".into(),
            Item::Macs => "GET /latest/meta-data/network/interfaces/macs/$".into(),
            Item::InterfaceId => interface("interface-id"),
            Item::DeviceNumber => interface("device-number"),
            Item::LocalIps => interface("local-ipv4s"),
            Item::PublicIps => interface("public-ipv4s"),
            Item::Lifecycle => "GET /latest/meta-data/autoscaling/target-lifecycle-state$".into(),
            Item::OwnTag => "GET /latest/meta-data/tags/instance/asg$".into(),
            Item::GroupTag => "GET /latest/meta-data/tags/instance/aws:autoscaling:groupName$".into(),
            Item::RoleName => "GET /latest/meta-data/iam/security-credentials/$".into(),
            Item::Credentials => "GET /latest/meta-data/iam/security-credentials/eip-claim$".into(),
        }
    }

    /// What the error says of it; a failure of the token is told of the item that it was for.
    fn named(self) -> &'static str {
        match self {
            Item::Token | Item::TokenForAges | Item::TokenWithTtl => "IMDS",
            Item::Document => "dynamic/instance-identity/document",
            Item::Macs => "meta-data/network/interfaces/macs/",
            Item::InterfaceId => "/interface-id",
            Item::DeviceNumber => "/device-number",
            Item::LocalIps => "/local-ipv4s",
            Item::PublicIps => "/public-ipv4s",
            Item::Lifecycle => "meta-data/autoscaling/target-lifecycle-state",
            Item::OwnTag => "meta-data/tags/instance/asg",
            Item::GroupTag => "meta-data/tags/instance/aws:autoscaling:groupName",
            Item::RoleName | Item::Credentials => "meta-data/iam/security-credentials/",
        }
    }
}

/// The exit code that the contract has for it, and why.
fn exit(item: Item, kind: Kind) -> i32 {
    use Kind::*;
    match (kind, item) {
        // No whole answer: a connection that broke or hangs, which may heal.
        (Cut | Trickle, _) => 75,
        // Longer than any item, or no text: nothing that IMDS would say.
        (Huge | Endless | NotUtf8, _) => 70,
        // It cannot be a token, as IMDS says with it how long it is good for.
        (_, Item::Token | Item::TokenForAges) => 70,
        // A token may be any text that can stand in a header. IMDS then does not know it (401), which the next one heals.
        (Whitespace | Page | WrongTypes | Array | Nul, Item::TokenWithTtl) => 70,
        (_, Item::TokenWithTtl) => 75,
        // A list of nothing is a list, and an instance may have nothing: only the configuration can want more.
        (Empty | Whitespace, Item::LocalIps) => 78,
        (Empty | Whitespace, Item::PublicIps) => 0,
        // A state that this program does not know: free addresses only, and this one is free.
        (Empty | Whitespace, Item::Lifecycle) => 0,
        // Any short text may be a tag's value. No address has this one.
        (Deep | LongLine, Item::OwnTag | Item::GroupTag) => 70,
        (_, Item::OwnTag) => 78,
        // There is a group, whatever its name: free addresses only until it says what it wants.
        (_, Item::GroupTag) => 0,
        // No role (yet), or one without credentials (yet), which IMDS itself reports in such a document.
        (Empty | Whitespace, Item::RoleName) => 75,
        (_, Item::Credentials) => 75,
        _ => 70,
    }
}

fn hostile(item: Item, kind: Kind) -> u64 {
    let row = format!("{item:?} {kind:?}");
    let (cloud, address, me) = one_of_each();
    let mac = cloud.interfaces(&me)[0].mac.clone();
    let ttl = match item {
        Item::TokenWithTtl => Some("21600".to_owned()),
        Item::TokenForAges => Some(u64::MAX.to_string()),
        _ => None,
    };
    let headers = ttl.map(|seconds| ("x-aws-ec2-metadata-token-ttl-seconds", seconds)).into_iter().collect();
    let request = item.request(&mac);
    cloud.fault(&request, Calls::All, kind.fault(headers));
    let allocation = format!("--allocation-id={}", address.allocation_id);
    let selector: &[&str] = match item {
        Item::OwnTag => &["--tag=asg"],
        // Only a claim without a look asks what the instance itself sees.
        Item::PublicIps => &[&allocation, "--takeover=always"],
        _ => &["--tag=asg=test"],
    };
    if item == Item::GroupTag {
        cloud.set_lifecycle(&me, None);
    }
    let measured = measured(&cloud, &me, &[selector, &["--attempt-timeout=1s"]].concat());
    measured.is_sound(&row, &cloud, MEMORY);
    assert!(!cloud.requests(request.trim_end_matches('$')).is_empty(), "{row}: it is asked for");
    judge(&row, &measured.run, exit(item, kind), item, &cloud);
    let expected = (exit(item, kind) == 0).then_some(me);
    assert_eq!(holder(&cloud, &address), expected, "{row}");
    measured.peak
}

fn judge(row: &str, run: &Run, exit: i32, item: Item, cloud: &Cloud) {
    let outcome = if exit == 0 { "claimed" } else { "failed" };
    assert_eq!(ended(run), (exit, outcome.to_owned()), "{row}: {run:#?}");
    if exit == 0 {
        return;
    }
    assert_no_writes(cloud);
    assert!(!run.error("remedy").is_empty(), "{row}: {run:#?}");
    // No role, no private address and no address with such a tag are said in these words.
    let in_words = exit == 78 || run.error("code") == "NoRole";
    assert!(in_words || run.error("message").contains(item.named()), "{} is named: {row}: {run:#?}", item.named());
    assert!(exit != 70 || run.error("code") == "ImdsNonsense", "{row}: {run:#?}");
}

/// The whole table is 182 rows of two seconds each; the short size takes every third row, in diagonals:
/// every item with four or five kinds, every kind with four or five items.
#[test]
fn whatever_imds_says_the_run_ends_as_documented_in_time_and_in_little_memory() {
    every_pair("IMDS", &ITEMS, &KINDS, hostile);
}
