//! The status: what is there and what a claim would do, told without changing anything.

use std::time::Duration;

use fakecloud::{Allocation, Calls, Cloud, Fault, Interface, Launch, Options, Request, tags};
use serde_json::Value;

use crate::harness::*;
use crate::requests::{HASTY, held_since};

const LOOK: &str = "DescribeAddresses";

fn status(cloud: &Cloud, instance: &str, arguments: &[&str]) -> Run {
    run(cloud, instance, &[&["status", "--tag=asg"], arguments].concat())
}

/// Whether a request changes nothing, and does not even try whether it could.
fn only_reads(request: &Request) -> bool {
    request.action.starts_with("Describe") || request.action.starts_with("GET ") || request.action.starts_with("PUT ")
}

/// Asserts that the run changed nothing, and returns what it told.
fn told(cloud: &Cloud, run: &Run, exit: i32, outcome: &str) -> Value {
    assert_no_writes(cloud);
    let log = cloud.log();
    assert!(log.iter().all(|request| only_reads(request) && !request.dry_run), "{log:#?}");
    run.expect(exit, outcome)
}

type World = fn(&Cloud, &Allocation, &str);

/// What is the case, how to make it so, the options on top, what is planned, and how a claim then ends.
type Row = (&'static str, World, &'static [&'static str], &'static str, (i32, &'static str));

const ROWS: [Row; 12] = [
    ("a free address", |_, _, _| {}, &[], "associate", (0, "claimed")),
    ("held already", |cloud, a, me| cloud.associate(&a.allocation_id, me), &[], "already_held", (0, "already_held")),
    ("an older holder", |cloud, a, _| drop(held_since(cloud, a, 2 * OLD)), &[], "take_over", (0, "claimed")),
    ("a stopped holder", stopped, &[], "take_over", (0, "claimed")),
    ("a newer holder", |cloud, a, _| drop(held_since(cloud, a, OLD / 2)), &[], "yield", (69, "yielded")),
    ("to be left", |cloud, a, _| drop(held_since(cloud, a, 2 * OLD)), &["--takeover=never"], "wait", (75, "failed")),
    (
        "to be robbed",
        |cloud, a, _| drop(held_since(cloud, a, OLD / 2)),
        &["--takeover=always"],
        "associate",
        (0, "claimed"),
    ),
    ("in a group without a word", group, &["--takeover=always"], "associate", (0, "claimed")),
    ("a pool of live siblings", siblings, &[], "wait", (75, "failed")),
    ("a pool with an impaired one", impaired, &[], "take_over", (0, "claimed")),
    ("Standby", |cloud, _, me| cloud.set_lifecycle(me, Some("Standby")), &[], "skip", (0, "skipped")),
    (
        "no address",
        |cloud, a, _| cloud.edit_address(&a.allocation_id, |a| a.tags.clear()),
        &[],
        "no_match",
        (78, "failed"),
    ),
];

fn stopped(cloud: &Cloud, address: &Allocation, _: &str) {
    let holder = held_since(cloud, address, OLD / 2);
    cloud.stop(&holder);
}

fn group(cloud: &Cloud, address: &Allocation, me: &str) {
    held_since(cloud, address, OLD / 2);
    cloud.set_lifecycle(me, None);
}

fn siblings(cloud: &Cloud, address: &Allocation, _: &str) {
    let another = cloud.allocate(&[("asg", "test")]);
    for address in [address, &another] {
        held_since(cloud, address, 2 * OLD);
    }
}

fn impaired(cloud: &Cloud, address: &Allocation, me: &str) {
    siblings(cloud, address, me);
    let sick = holder(cloud, address).expect("it is held");
    cloud.set_impaired(&sick, true);
}

#[test]
fn the_plan_is_what_a_claim_then_does() {
    each(ROWS, |(row, world, options, decision, end)| {
        let (cloud, address, me) = one_of_each();
        world(&cloud, &address, &me);
        let options = [HASTY, options].concat();
        let told = told(&cloud, &status(&cloud, &me, &options), 0, "ok");
        assert_eq!(told["plan"]["decision"], decision, "{row}: {told:#}");
        let claim = run(&cloud, &me, &[&["--tag=asg"], &options[..]].concat());
        assert_eq!(ended(&claim), (end.0, end.1.to_owned()), "{row}: {claim:#?}");
        // The claim gives the same reason in the same words.
        let said = claim.error("message");
        let sentence = told["plan"]["sentence"].as_str().expect("a sentence");
        assert!(said.is_empty() || sentence.ends_with(&said), "{row}: {sentence} {said}");
    });
}

#[test]
fn every_matching_address_is_shown_with_its_holder_and_what_is_known_of_it() {
    let (cloud, mine, me) = one_of_each();
    cloud.associate(&mine.allocation_id, &me);
    let [theirs, free, bare] = [(); 3].map(|()| cloud.allocate(&[("asg", "test"), ("Name", "x")]));
    let other = held_since(&cloud, &theirs, 2 * OLD);
    cloud.associate_bare_interface(&bare.allocation_id);
    cloud.allocate(&[("asg", "other")]);
    let told = told(&cloud, &status(&cloud, &me, &[]), 0, "ok");
    let rows = told["addresses"].as_array().expect("a list");
    assert_eq!(rows.len(), 4, "{told:#}");
    let row = |address: &Allocation| rows.iter().find(|row| row["allocation_id"] == address.allocation_id.as_str());
    for (address, holder) in [(&mine, Some(&me)), (&theirs, Some(&other)), (&free, None), (&bare, None)] {
        let row = row(address).expect("it is shown");
        assert_eq!(row["public_ip"], address.public_ip.to_string(), "{row:#}");
        assert_eq!(row["tags"], serde_json::json!({"asg": "test"}), "only the tags that were asked for: {row:#}");
        assert_eq!(row["mine"], holder == Some(&me), "{row:#}");
        assert_eq!(row["holder"]["instance_id"].as_str(), holder.map(String::as_str), "{row:#}");
        let association = cloud.holder(&address.allocation_id).map(|holder| holder.association_id);
        assert_eq!(row["association_id"].as_str(), association.as_deref(), "{row:#}");
    }
    let held = row(&theirs).expect("it is shown");
    assert_eq!(held["holder"]["state"], "running");
    assert_eq!(held["holder"]["availability_zone"], "ap-northeast-2a");
    let launched = humantime::format_rfc3339_millis(cloud.launch_time(&other)).to_string();
    assert_eq!(held["holder"]["launch_time"], launched);
    let left_alone = row(&bare).expect("it is shown")["left_alone"].as_str().map(str::to_owned);
    assert!(left_alone.is_some_and(|why| why.contains("without an instance")), "{told:#}");
}

#[test]
fn a_person_gets_a_table_and_the_sentence_that_claim_would_act_on() {
    let (cloud, address, me) = one_of_each();
    let newer = held_since(&cloud, &address, OLD / 2);
    let (ip, launched) = (address.public_ip, humantime::format_rfc3339_millis(cloud.launch_time(&newer)));
    let run = status(&cloud, &me, &["--output=text"]);
    assert_eq!(run.exit, 0, "{run:#?}");
    let lines: Vec<_> = run.stdout.lines().collect();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert!(
        lines[0].starts_with("addresses tagged asg=test in ap-northeast-2, for ") && lines[0].ends_with(&me),
        "{run:#?}"
    );
    assert_eq!(words(lines[1]), ["ADDRESS", "TAGS", "HOLDER", "STATE", "ZONE", "LAUNCHED", "MINE"]);
    let row = format!("{ip} asg=test {newer} running ap-northeast-2a {launched} no");
    assert_eq!(words(lines[2]), words(&row), "{run:#?}");
    assert_eq!(lines[1].find("HOLDER"), lines[2].find(&newer), "{run:#?}");
    assert!(lines[3].starts_with(&format!("claim would yield: {ip} stays with {newer} (running)")), "{run:#?}");
    // How a person moves it here on purpose, and that it would not stay.
    let advice = format!("eip-claim --takeover=always --allocation-id={}", address.allocation_id);
    assert!(lines[4].contains(&advice) && lines[4].contains("takes it back"), "{run:#?}");
    assert_eq!(lines.len(), 5, "{run:#?}");
}

#[test]
fn only_what_may_go_away_at_any_moment_is_tried_again() {
    let rows = [
        (LOOK, Fault::Reset, 3, (0, "ok")),
        (LOOK, answer(503, "ServiceUnavailable", "?"), 3, (0, "ok")),
        ("DescribeInstances", answer(500, "InternalError", "?"), 4, (0, "ok")),
        (LOOK, answer(503, "RequestLimitExceeded", "Request limit exceeded."), 1, (75, "failed")),
        (LOOK, answer(403, "UnauthorizedOperation", "You may not"), 1, (77, "failed")),
        (LOOK, answer(400, "InvalidAllocationID.NotFound", "?"), 1, (78, "failed")),
        ("GET /latest/dynamic/instance-identity/document", answer(500, "", ""), 0, (75, "failed")),
    ];
    each(rows, |(action, fault, times, end)| {
        let row = format!("{action} {fault:?}");
        let (cloud, address, _) = one_of_each();
        held_since(&cloud, &address, 2 * OLD);
        // A young instance, for whose permissions a claim would wait.
        let me = cloud.launch(Launch { launched: None, ..launch(OLD) });
        cloud.fault(action, Calls::First(2), fault);
        let run = status(&cloud, &me, &[]);
        let told = told(&cloud, &run, end.0, end.1);
        assert_eq!(told["error"].is_null(), end.0 == 0, "{row}: {told:#}");
        assert_eq!(sent(&cloud).iter().filter(|sent| *sent == action).count(), times, "{row}: {:?}", sent(&cloud));
        assert!(run.took < Duration::from_secs(20), "{row}: {:?}", run.took);
    });
}

#[test]
fn no_match_and_a_holder_that_is_not_known_are_told_at_once() {
    let (cloud, address, me) = one_of_each();
    let told_no_match = told(&cloud, &run(&cloud, &me, &["status", "--tag=asg=none"]), 0, "ok");
    assert_eq!(told_no_match["plan"]["decision"], "no_match");
    held_since(&cloud, &address, OLD / 2);
    cloud.set_new_instance_hidden_for(2 * OLD);
    let run = status(&cloud, &me, &[]);
    let told = told(&cloud, &run, 0, "ok");
    assert_eq!(told["plan"]["decision"], "wait");
    assert!(told["addresses"][0]["holder"]["state"].is_null(), "{told:#}");
    assert!(run.took < Duration::from_secs(10), "{:?}", run.took);
}

#[test]
fn where_the_holders_may_not_be_looked_at_the_rest_is_shown_and_the_plan_only_if_they_do_not_matter() {
    let (cloud, address, me) = one_of_each();
    let older = held_since(&cloud, &address, 2 * OLD);
    cloud.deny(Some(&me), "ec2:DescribeInstances");
    let shown = told(&cloud, &status(&cloud, &me, &[]), 77, "failed");
    assert_eq!(shown["addresses"][0]["holder"]["instance_id"], older.as_str());
    assert!(shown["addresses"][0]["holder"]["state"].is_null() && shown["plan"].is_null(), "{shown:#}");
    assert!(shown["error"]["message"].as_str().is_some_and(|text| text.contains("DescribeInstances")), "{shown:#}");
    let never = told(&cloud, &status(&cloud, &me, &["--takeover=never"]), 0, "ok");
    assert_eq!(never["plan"]["decision"], "wait");
}

#[test]
fn an_address_elsewhere_on_this_instance_is_not_where_it_belongs() {
    let cloud = Cloud::start(Options::default());
    let address = cloud.allocate(&[("asg", "test")]);
    let me = cloud.launch(Launch { interfaces: vec![Interface::default(), Interface::default()], ..launch(OLD) });
    cloud.associate(&address.allocation_id, &me);
    for (options, mine, decision) in [(&[][..], true, "already_held"), (&["--device-index=1"], false, "take_over")] {
        let told = told(&cloud, &status(&cloud, &me, options), 0, "ok");
        assert_eq!((told["addresses"][0]["mine"].as_bool(), &told["plan"]["decision"]), (Some(mine), &decision.into()));
    }
}

#[test]
fn without_a_metadata_service_it_says_so_and_asks_nobody_else() {
    let (cloud, _, me) = one_of_each();
    let mut variables = cloud.env(&me);
    variables[0].1 = "http://127.0.0.1:9".to_owned();
    let run = finish(command(&variables, &["status"]).spawn().expect("the binary starts"));
    run.expect(75, "failed");
    assert_eq!((run.error("code").as_str(), cloud.log().len()), ("ImdsUnreachable", 0), "{run:#?}");
    assert!(run.took < Duration::from_secs(3), "{:?}", run.took);
}

#[test]
fn the_default_selector_is_that_of_the_claim() {
    let cloud = Cloud::start(Options::default());
    let address = cloud.allocate(&[("eip-claim", "web")]);
    let me = cloud.launch(Launch { tags: tags(&[("eip-claim", "web")]), ..launch(OLD) });
    let told = told(&cloud, &run(&cloud, &me, &["status"]), 0, "ok");
    assert_eq!(told["addresses"][0]["allocation_id"], address.allocation_id.as_str());
}
