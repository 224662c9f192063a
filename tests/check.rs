//! The check: each thing that can be missing on a real instance is found, named, and comes with its remedy.

use std::time::Duration;

use fakecloud::{Allocation, Calls, Cloud, Fault, Interface, Launch, Options, Request};
use serde_json::Value;

use crate::harness::*;
use crate::requests::{held_since, run_with};

/// The items, in the order of a claim.
const NAMES: [&str; 17] = [
    "environment",
    "metadata",
    "identity",
    "target",
    "gate",
    "credentials",
    "endpoint",
    "clock",
    "tags",
    "addresses",
    "DescribeInstances",
    "DescribeInstanceStatus",
    "AssociateAddress",
    "DisassociateAddress",
    "sts",
    "DecodeAuthorizationMessage",
    "auto-scaling",
];

fn check(cloud: &Cloud, instance: &str, arguments: &[&str]) -> Run {
    run(cloud, instance, &[&["check"], arguments].concat())
}

/// Asserts that nothing was changed and that every item is there, and returns the items.
fn items(cloud: &Cloud, run: &Run) -> Vec<Value> {
    assert_no_writes(cloud);
    let changes =
        |r: &Request| ["CompleteLifecycleAction", "SetInstanceHealth"].contains(&r.action.as_str()) || r.committed;
    assert!(!cloud.log().iter().any(changes), "{:#?}", cloud.log());
    let json = run.json();
    let items = json["items"].as_array().expect("a list").clone();
    let names: Vec<_> = items.iter().filter_map(|item| item["name"].as_str()).collect();
    assert_eq!(names, NAMES, "{run:#?}");
    assert_eq!(json["outcome"], if run.exit == 0 { "ok" } else { "failed" });
    for item in &items {
        assert!(item["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{item:#}");
        assert!(item["ok"] != false || item["remedy"].is_string(), "each failure has its remedy: {item:#}");
    }
    items
}

fn item<'a>(items: &'a [Value], name: &str) -> &'a Value {
    items.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("{name} is no item"))
}

fn detail(items: &[Value], name: &str) -> String {
    item(items, name)["detail"].as_str().unwrap_or_default().to_owned()
}

fn remedy(items: &[Value], name: &str) -> String {
    item(items, name)["remedy"].as_str().unwrap_or_default().to_owned()
}

/// The names of the items that failed.
fn failed(items: &[Value]) -> Vec<&str> {
    items.iter().filter(|item| item["ok"] == false).filter_map(|item| item["name"].as_str()).collect()
}

#[test]
fn on_a_good_instance_every_item_is_good_or_not_needed_and_nothing_is_changed() {
    let (cloud, address, me) = one_of_each();
    let run = check(&cloud, &me, &["--tag=asg"]);
    let items = items(&cloud, &run);
    assert_eq!((run.exit, failed(&items)), (0, vec![]), "{run:#?}");
    let unknown: Vec<_> = items.iter().filter(|item| item["ok"].is_null()).map(|item| item["name"].clone()).collect();
    assert_eq!(unknown, ["DescribeInstanceStatus", "auto-scaling"], "{run:#?}");
    let interface = cloud.interfaces(&me)[0].clone();
    for (name, parts) in [
        ("identity", vec![me.as_str(), "ap-northeast-2a"]),
        ("target", vec![interface.interface_id.as_str(), "device 0", "the only interface"]),
        ("gate", vec!["in service"]),
        ("credentials", vec!["role eip-claim", "good until", "given out"]),
        ("endpoint", vec!["over IPv4 at 127.0.0.1"]),
        ("clock", vec![" s from that of the endpoint"]),
        ("tags", vec!["are on", "tagged asg=test"]),
        ("addresses", vec!["the only match", address.allocation_id.as_str(), "free"]),
        ("sts", vec!["assumed-role/eip-claim"]),
    ] {
        for part in parts {
            assert!(detail(&items, name).contains(part), "{name}: {part}: {run:#?}");
        }
    }
    // Each permission was tried once, by a trial.
    let trials = ["DescribeInstances (DryRun)", "DisassociateAddress (DryRun)", "AssociateAddress (DryRun)"];
    assert_eq!(sent(&cloud).iter().filter(|sent| sent.contains("DryRun")).collect::<Vec<_>>(), trials.each_ref());
}

#[test]
fn no_secret_is_shown() {
    let (cloud, _, me) = one_of_each();
    let run = check(&cloud, &me, &["--tag=asg", "--log-level=trace"]);
    let headers = |name: &str| cloud.log().iter().find_map(|r| r.headers.get(name).cloned()).expect("it was sent");
    let authorization = headers("authorization");
    let key = authorization.split_once("Credential=").and_then(|(_, rest)| rest.split('/').next()).expect("a key");
    for secret in
        [headers("x-amz-security-token"), headers("x-aws-ec2-metadata-token"), key.to_owned(), "fake/secret".into()]
    {
        assert!(!run.stdout.contains(&secret) && !run.stderr.contains(&secret), "{secret}: {run:#?}");
    }
}

type World = fn(&Cloud, &Allocation, &str);

/// What is missing, how to make it so, the items that fail, the exit code, and what the first one says and advises.
type Row = (&'static str, World, &'static [&'static str], i32, &'static str, &'static str);

const ROWS: [Row; 14] = [
    ("IMDS off", |cloud, _, me| cloud.set_imds_enabled(me, false), &["metadata"], 78, "403", "HttpEndpoint"),
    ("nonsense for an identity", no_identity, &["identity"], 70, "makes no sense", "in place of AWS"),
    (
        "no role",
        |cloud, _, me| cloud.set_role(me, None),
        &["credentials", "addresses", "DescribeInstances", "DisassociateAddress"],
        75,
        "no IAM role",
        "instance profile",
    ),
    ("EC2 does not answer", no_answer, &["endpoint"], 75, "TCP connects", "internet gateway"),
    (
        "no own tag",
        |cloud, _, me| cloud.set_instance_tag(me, "asg", None),
        &["tags"],
        78,
        "has no tag asg",
        "PropagateAtLaunch",
    ),
    (
        "no address",
        |cloud, a, _| cloud.edit_address(&a.allocation_id, |a| a.tags.clear()),
        &["addresses"],
        78,
        "no address tagged asg=test",
        "check the tags",
    ),
    (
        "a NAT gateway's address",
        |cloud, a, _| cloud.associate_bare_interface(&a.allocation_id),
        &["addresses"],
        69,
        "without an instance",
        "",
    ),
    (
        "may not describe",
        |cloud, _, me| cloud.deny(Some(me), "ec2:DescribeAddresses"),
        &["addresses"],
        77,
        "DescribeAddresses",
        r#"{"Effect":"Allow","Action":"ec2:DescribeAddresses","Resource":"*"}"#,
    ),
    (
        "may not see holders",
        |cloud, _, me| cloud.deny(Some(me), "ec2:DescribeInstances"),
        &["DescribeInstances"],
        77,
        "DescribeInstances",
        r#""Action":"ec2:DescribeInstances""#,
    ),
    (
        "may not associate",
        |cloud, _, me| cloud.deny(Some(me), "ec2:AssociateAddress"),
        &["AssociateAddress"],
        77,
        "AssociateAddress",
        r#""Action":"ec2:AssociateAddress","Resource":["arn:aws:ec2:ap-northeast-2:*:elastic-ip/eipalloc-"#,
    ),
    (
        "may not disassociate",
        |cloud, _, me| cloud.deny(Some(me), "ec2:DisassociateAddress"),
        &["DisassociateAddress"],
        77,
        "DisassociateAddress",
        r#""Action":"ec2:DisassociateAddress""#,
    ),
    (
        "may nothing",
        |cloud, _, me| cloud.deny(Some(me), "ec2:*"),
        &["addresses", "DescribeInstances", "DisassociateAddress"],
        77,
        "DescribeAddresses",
        "policy",
    ),
    (
        "a wrong clock",
        |cloud, _, _| cloud.set_clock_offset(1_200),
        &["clock"],
        77,
        " s from that of the endpoint",
        "169.254.169.123",
    ),
    ("nothing is wrong", |_, _, _| {}, &[], 0, "", ""),
];

fn no_answer(cloud: &Cloud, _: &Allocation, _: &str) {
    cloud.fault("EC2", Calls::All, Fault::Reset);
}

fn no_identity(cloud: &Cloud, _: &Allocation, _: &str) {
    let page = Fault::Garbage { content_type: "text/html".into(), body: b"<html>".to_vec() };
    cloud.fault("GET /latest/dynamic/instance-identity/document", Calls::All, page);
}

#[test]
fn what_is_missing_is_found_and_comes_with_its_remedy_and_the_exit_code_of_the_first_failure() {
    each(ROWS, |(row, world, expected, exit, says, advises)| {
        let (cloud, address, me) = one_of_each();
        world(&cloud, &address, &me);
        let run = check(&cloud, &me, &["--tag=asg"]);
        let items = items(&cloud, &run);
        assert_eq!((run.exit, failed(&items)), (exit, expected.to_vec()), "{row}: {run:#?}");
        if let Some(first) = expected.first() {
            assert!(detail(&items, first).contains(says), "{row}: {}", detail(&items, first));
            assert!(remedy(&items, first).contains(advises), "{row}: {}", remedy(&items, first));
        }
        assert!(run.took < Duration::from_secs(20), "{row}: {:?}", run.took);
    });
}

#[test]
fn all_that_can_be_looked_at_is_looked_at_even_when_something_before_it_fails() {
    let (cloud, _, me) = one_of_each();
    cloud.deny(Some(&me), "ec2:DescribeInstances");
    cloud.deny(Some(&me), "ec2:DisassociateAddress");
    cloud.set_lifecycle(&me, Some("Standby"));
    let run = check(&cloud, &me, &["--tag=asg", "--device-index=7"]);
    let found = items(&cloud, &run);
    assert_eq!(failed(&found), ["target", "DescribeInstances", "DisassociateAddress"], "{run:#?}");
    assert_eq!(run.exit, 78, "that of the first");
    assert!(detail(&found, "gate").contains("Standby: a claim would be skipped"), "{run:#?}");
    for good in ["credentials", "endpoint", "clock", "tags", "addresses", "AssociateAddress", "sts"] {
        assert_eq!(item(&found, good)["ok"], true, "{good}: {run:#?}");
    }
}

#[test]
fn off_ec2_it_says_within_three_seconds_that_this_is_no_instance() {
    let (cloud, _, me) = one_of_each();
    // Nobody listens; and somebody listens who never answers.
    cloud.fault("IMDS", Calls::All, Fault::Hang);
    for endpoint in ["http://127.0.0.1:9".to_owned(), format!("http://{}", cloud.imds_endpoint(&me))] {
        let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.as_str())];
        let run = run_with(&cloud, &me, &variables, &["check"]);
        let found = items(&cloud, &run);
        assert_eq!((run.exit, failed(&found)), (75, vec!["metadata"]), "{run:#?}");
        assert!(
            detail(&found, "metadata").starts_with("this is no EC2 instance, or cannot see that it is"),
            "{run:#?}"
        );
        assert!(run.took < Duration::from_secs(3), "{endpoint}: {:?}", run.took);
        let rest = found.iter().filter(|item| item["ok"].is_null()).count();
        assert_eq!(rest, NAMES.len() - 2, "the rest is not tried: {run:#?}");
    }
}

#[test]
fn the_way_out_fits_what_the_metadata_show() {
    let ipv6s = |cloud: &Cloud, me: &str| {
        let path = format!("GET /latest/meta-data/network/interfaces/macs/{}/ipv6s", cloud.interfaces(me)[0].mac);
        let body = b"2001:db8::1".to_vec();
        cloud.fault(&path, Calls::All, Fault::Garbage { content_type: "text/plain".into(), body });
    };
    let rows = [
        ("a public address", true, false, "", "routes 0.0.0.0/0 to an internet gateway"),
        ("IPv6", false, true, "", "set AWS_USE_DUALSTACK_ENDPOINT=true"),
        ("IPv6 in use", false, true, "true", "route ::/0 of its subnet"),
        ("nothing", false, false, "", "a NAT gateway or a VPC endpoint for ec2"),
    ];
    each(rows, |(row, auto_assign_public_ip, has_ipv6, dual_stack, advises)| {
        let cloud = Cloud::start(Options { auto_assign_public_ip, ..Options::default() });
        let me = cloud.launch(launch(OLD));
        if has_ipv6 {
            ipv6s(&cloud, &me);
        }
        let nowhere = ("AWS_ENDPOINT_URL_EC2", "http://127.0.0.1:9");
        let variables = [nowhere, ("AWS_USE_DUALSTACK_ENDPOINT", dual_stack)];
        let run = run_with(&cloud, &me, &variables, &["check", "--tag=asg"]);
        let found = items(&cloud, &run);
        assert_eq!((run.exit, failed(&found)), (75, vec!["endpoint"]), "{row}: {run:#?}");
        assert!(detail(&found, "endpoint").contains("no connection to 127.0.0.1 port 9"), "{row}: {run:#?}");
        assert!(remedy(&found, "endpoint").contains(advises), "{row}: {run:#?}");
    });
}

#[test]
fn a_name_that_nobody_knows_is_the_first_step_that_fails() {
    let (cloud, _, me) = one_of_each();
    let variables = [("AWS_ENDPOINT_URL_EC2", "http://no-such-host.invalid")];
    let run = run_with(&cloud, &me, &variables, &["check", "--tag=asg"]);
    let found = items(&cloud, &run);
    assert_eq!(failed(&found), ["endpoint"], "{run:#?}");
    assert!(detail(&found, "endpoint").contains("the name no-such-host.invalid cannot be resolved"), "{run:#?}");
}

#[test]
fn several_matches_are_told_to_be_a_pool_with_what_a_pool_needs() {
    let (cloud, address, me) = one_of_each();
    let another = cloud.allocate(&[("asg", "test")]);
    held_since(&cloud, &address, 2 * OLD);
    cloud.deny(Some(&me), "ec2:DescribeInstanceStatus");
    let run = check(&cloud, &me, &["--tag=asg"]);
    let found = items(&cloud, &run);
    assert_eq!((run.exit, failed(&found)), (77, vec!["DescribeInstanceStatus"]), "{run:#?}");
    let detail = detail(&found, "addresses");
    for part in ["a pool of 2", &address.allocation_id, &another.allocation_id, "free", "held by i-"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
}

#[test]
fn what_the_options_do_not_need_is_not_asked_for() {
    let (cloud, address, me) = one_of_each();
    cloud.deny(Some(&me), "ec2:Describe*");
    cloud.deny(Some(&me), "ec2:DisassociateAddress");
    let id = format!("--allocation-id={}", address.allocation_id);
    let run = check(&cloud, &me, &["--takeover=always", &id]);
    let found = items(&cloud, &run);
    assert_eq!((run.exit, failed(&found)), (0, vec![]), "{run:#?}");
    assert!(item(&found, "addresses")["ok"].is_null() && remedy(&found, "addresses").contains("Allow"), "{run:#?}");
    assert_eq!(item(&found, "AssociateAddress")["ok"], true, "{run:#?}");
}

#[test]
fn what_a_claim_can_do_without_is_told_and_fails_nothing() {
    let (cloud, _, me) = one_of_each();
    cloud.deny(Some(&me), "sts:DecodeAuthorizationMessage");
    let run = check(&cloud, &me, &["--tag=asg"]);
    let found = items(&cloud, &run);
    assert_eq!((run.exit, failed(&found)), (0, vec![]), "{run:#?}");
    let decode = item(&found, "DecodeAuthorizationMessage");
    assert!(decode["ok"].is_null(), "{decode:#}");
    assert!(
        remedy(&found, "DecodeAuthorizationMessage").contains(r#""Action":"sts:DecodeAuthorizationMessage""#),
        "{decode:#}"
    );
    let nowhere = [("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")];
    let run = run_with(&cloud, &me, &nowhere, &["check", "--tag=asg"]);
    assert_eq!((run.exit, failed(&items(&cloud, &run))), (0, vec![]), "{run:#?}");
}

#[test]
fn instance_tags_that_are_off_are_told_and_read_where_that_is_allowed() {
    let cloud = Cloud::start(Options::default());
    cloud.allocate(&[("asg", "test")]);
    let me = cloud.launch(Launch { tags_in_metadata: false, ..launch(OLD) });
    let run = check(&cloud, &me, &["--tag=asg"]);
    assert!(detail(&items(&cloud, &run), "tags").contains("are off"), "{run:#?}");
    cloud.deny(Some(&me), "ec2:DescribeTags");
    let run = check(&cloud, &me, &["--tag=asg"]);
    let found = items(&cloud, &run);
    assert_eq!((run.exit, failed(&found)), (77, vec!["tags"]), "{run:#?}");
    for part in ["InstanceMetadataTags=enabled", r#"{"Effect":"Allow","Action":"ec2:DescribeTags","Resource":"*"}"#] {
        assert!(remedy(&found, "tags").contains(part), "{run:#?}");
    }
}

#[test]
fn the_group_is_looked_for_where_a_hook_asks_for_it() {
    let (cloud, _, me) = one_of_each();
    let rows: [(&[&str], i32, &str); 3] = [
        (&["--lifecycle-hook=claim"], 78, "is in no Auto Scaling group"),
        (&["--unhealthy-on-failure", "--auto-scaling-group=web"], 0, "group web"),
        (&[], 0, "neither --lifecycle-hook nor"),
    ];
    for (options, exit, says) in rows {
        let run = check(&cloud, &me, &[&["--tag=asg"], options].concat());
        let found = items(&cloud, &run);
        assert_eq!(run.exit, exit, "{run:#?}");
        assert!(detail(&found, "auto-scaling").contains(says), "{run:#?}");
    }
    cloud.deny(Some(&me), "autoscaling:*");
    let run = check(&cloud, &me, &["--tag=asg", "--lifecycle-hook=claim"]);
    assert!(
        remedy(&items(&cloud, &run), "auto-scaling").contains("autoscaling:DescribeAutoScalingInstances"),
        "{run:#?}"
    );
}

#[test]
fn what_may_go_away_at_any_moment_is_tried_again() {
    each(["DescribeAddresses", "AssociateAddress", "GET /latest/dynamic/instance-identity/document"], |action| {
        let (cloud, _, me) = one_of_each();
        cloud.fault(
            action,
            Calls::First(1),
            if action.starts_with("GET") { Fault::Delay(Duration::from_millis(300)) } else { Fault::Reset },
        );
        let run = check(&cloud, &me, &["--tag=asg"]);
        assert_eq!((run.exit, failed(&items(&cloud, &run))), (0, vec![]), "{action}: {run:#?}");
    });
}

#[test]
fn several_interfaces_are_told_and_the_one_meant_is_named() {
    let cloud = Cloud::start(Options::default());
    cloud.allocate(&[("asg", "test")]);
    let me = cloud.launch(Launch { interfaces: vec![Interface::default(), Interface::default()], ..launch(OLD) });
    let run = check(&cloud, &me, &["--tag=asg", "--device-index=1"]);
    let found = items(&cloud, &run);
    let second = cloud.interfaces(&me)[1].interface_id.clone();
    assert!(detail(&found, "target").contains(&second) && detail(&found, "target").contains("one of 2"), "{run:#?}");
    let trial = &cloud.requests("AssociateAddress")[0];
    assert!(trial.dry_run && trial.params["NetworkInterfaceId"] == second, "{trial:#?}");
}

#[test]
fn a_person_gets_a_line_for_each_item_in_plain_words_and_below_it_what_to_do() {
    let (cloud, _, me) = one_of_each();
    cloud.deny(Some(&me), "ec2:AssociateAddress");
    let run = check(&cloud, &me, &["--tag=asg", "--output=text"]);
    assert_eq!(run.exit, 77, "{run:#?}");
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(lines.len(), NAMES.len() + 1, "{}", run.stdout);
    let at = lines.iter().position(|line| line.starts_with("FAIL  AssociateAddress ")).expect("it failed");
    assert!(lines[at + 1].starts_with("      what to do: add to the policy"), "{}", run.stdout);
    assert!(lines.iter().filter(|line| line.starts_with("ok    ")).count() >= 12, "{}", run.stdout);
    assert!(!run.stdout.contains('\x1b') && !run.stdout.contains('✓'), "{}", run.stdout);
}
