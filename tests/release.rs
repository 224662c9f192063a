//! The release: what this instance holds is given back, what others hold is never touched.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use fakecloud::{Allocation, Calls, Cloud, Fault, Interface, Launch, Options};

use crate::harness::*;
use crate::requests::{Folder, HASTY, PATIENT, filters, held_since, params, run_with, these, wait_for};

const LOOK: &str = "DescribeAddresses";
const WRITE: &str = "DisassociateAddress";

fn release(cloud: &Cloud, instance: &str, arguments: &[&str]) -> Run {
    run(cloud, instance, &[&["release", "--tag=asg"], arguments].concat())
}

/// A cloud with one address, and the instance that has had it for an hour.
fn one_held(options: Options) -> (Cloud, Allocation, String) {
    let cloud = Cloud::start(options);
    let address = cloud.allocate(&[("asg", "test")]);
    let instance = held_since(&cloud, &address, OLD);
    (cloud, address, instance)
}

fn committed(cloud: &Cloud) -> usize {
    writes(cloud).iter().filter(|r| r.committed).count()
}

#[test]
fn what_this_instance_holds_is_given_back_by_its_association_and_that_is_proven() {
    let (cloud, address, me) = one_held(Options::default());
    let association = cloud.holder(&address.allocation_id).expect("it is held").association_id;
    let result = release(&cloud, &me, PATIENT).expect(0, "released");
    assert_eq!(sent(&cloud), [LOOK, WRITE, LOOK]);
    assert_eq!(params(&cloud.requests(WRITE)[0]), [("AssociationId", association.as_str())]);
    let looks = cloud.requests(LOOK);
    assert_ne!(looks[0].connection, looks[1].connection, "the proof came over a new connection");
    assert_eq!(holder(&cloud, &address), None);
    let mut keys: Vec<_> = result.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, KEYS);
    let ip = address.public_ip.to_string();
    for (field, value) in [("public_ip", &ip), ("association_id", &association), ("instance_id", &me)] {
        assert_eq!(result[field], value.as_str(), "{field}");
    }
    assert_eq!(result["verified_by"], serde_json::json!(["api"]));
    assert!(result["error"].is_null() && result["previous_holder"].is_null(), "{result}");
    let again = release(&cloud, &me, PATIENT).expect(0, "not_held");
    assert!(again["association_id"].is_null() && again["verified_by"] == serde_json::json!([]), "{again}");
}

type World = fn(&Cloud, &Allocation);

#[test]
fn where_nothing_is_held_nothing_is_written() {
    let rows: [(&str, World); 5] = [
        ("a free address", |_, _| {}),
        ("an older holder", |cloud, address| drop(held_since(cloud, address, 2 * OLD))),
        ("a newer holder", |cloud, address| drop(held_since(cloud, address, OLD / 2))),
        ("a bare interface", |cloud, address| cloud.associate_bare_interface(&address.allocation_id)),
        ("no address", |cloud, address| cloud.edit_address(&address.allocation_id, |a| a.tags.clear())),
    ];
    each(rows, |(row, world)| {
        let (cloud, address, me) = one_of_each();
        world(&cloud, &address);
        let before = cloud.holder(&address.allocation_id);
        let run = release(&cloud, &me, HASTY);
        assert_eq!(ended(&run), (0, "not_held".to_owned()), "{row}: {run:#?}");
        assert_eq!(sent(&cloud), [LOOK], "{row}");
        assert_eq!(cloud.holder(&address.allocation_id), before, "{row}");
    });
}

#[test]
fn of_several_addresses_only_the_one_on_the_target_is_given_back() {
    let cloud = Cloud::start(Options::default());
    let [theirs, ours, free] = [(); 3].map(|()| cloud.allocate(&[("asg", "test")]));
    let stranger = cloud.allocate(&[("asg", "other")]);
    let two = Launch { interfaces: vec![Interface::default(), Interface::default()], ..launch(OLD) };
    let (me, other) = (cloud.launch(two), held_since(&cloud, &theirs, OLD));
    cloud.associate(&ours.allocation_id, &me);
    assert_eq!(ended(&release(&cloud, &me, &["--device-index=1"])), (0, "not_held".to_owned()));
    assert_no_writes(&cloud);
    let result = release(&cloud, &me, PATIENT).expect(0, "released");
    assert_eq!(result["allocation_id"], ours.allocation_id.as_str());
    assert_eq!((writes(&cloud).len(), holder(&cloud, &theirs)), (1, Some(other)));
    assert_eq!([&ours, &free, &stranger].map(|address| holder(&cloud, address)), [None, None, None]);
}

#[test]
fn an_address_that_moves_away_under_way_stays_where_it_went() {
    each([false, true], |stale_association_not_found| {
        let (cloud, address, me) = one_held(Options { stale_association_not_found, ..Options::default() });
        let other = cloud.launch(launch(OLD / 2));
        cloud.fault(WRITE, Calls::First(1), Fault::Delay(Duration::from_millis(600)));
        let child = start(&cloud, &me, &["release", "--tag=asg", "--timeout=30s"]);
        wait_for(&cloud, WRITE, 1);
        cloud.associate(&address.allocation_id, &other);
        let run = finish(child);
        assert_eq!(run.exit, 0, "{run:#?}");
        assert_eq!(sent(&cloud), [LOOK, WRITE, LOOK], "{run:#?}");
        assert_eq!(holder(&cloud, &address), Some(other), "{run:#?}");
    });
}

#[test]
fn what_may_go_away_is_tried_again_and_nothing_is_given_back_twice() {
    let internal = || answer(500, "InternalError", "An internal error has occurred");
    let done = Fault::CommitThenError { status: 500, code: "InternalError".into(), message: "?".into() };
    let rows = [
        (WRITE, Fault::Reset),
        (WRITE, Fault::Hang),
        (WRITE, internal()),
        (WRITE, answer(503, "RequestLimitExceeded", "Request limit exceeded.")),
        (WRITE, Fault::CommitThenReset),
        (WRITE, Fault::CommitThenHang),
        (WRITE, Fault::Truncate),
        (WRITE, done),
        (LOOK, Fault::Reset),
        (LOOK, Fault::Hang),
        (LOOK, internal()),
        ("PUT /latest/api/token", Fault::Reset),
    ];
    each(rows, |(action, fault)| {
        let row = format!("{action} {fault:?}");
        let (cloud, address, me) = one_held(Options::default());
        cloud.fault(action, Calls::First(1), fault.clone());
        let run = release(&cloud, &me, &["--timeout=30s", "--attempt-timeout=3s"]);
        assert_eq!(ended(&run), (0, "released".to_owned()), "{row}: {run:#?}");
        assert_eq!((holder(&cloud, &address), committed(&cloud)), (None, 1), "{row}: {:?}", sent(&cloud));
        assert_eq!(sent(&cloud).last().map(String::as_str), Some(LOOK), "{row}: it was proven");
    });
}

#[test]
fn a_read_that_lags_behind_is_no_proof_and_no_reason_to_write_again() {
    let (cloud, address, me) = one_held(Options::default());
    cloud.set_read_lag(Duration::from_millis(700));
    let run = release(&cloud, &me, PATIENT);
    run.expect(0, "released");
    assert!(run.took >= Duration::from_millis(600), "{:?}", run.took);
    assert_eq!((holder(&cloud, &address), writes(&cloud).len()), (None, 1), "{:?}", sent(&cloud));
}

#[test]
fn an_answer_lost_with_the_public_address_is_looked_for_on_a_new_connection() {
    let (cloud, address, me) = one_held(Options { connections_die_on_swap: true, ..Options::default() });
    let run = release(&cloud, &me, &["--timeout=30s", "--attempt-timeout=20s"]);
    run.expect(0, "released");
    assert!(run.took < Duration::from_secs(10), "{:?}: it waited for the answer", run.took);
    assert_eq!((holder(&cloud, &address), committed(&cloud)), (None, 1));
}

#[test]
fn without_a_way_to_ec2_afterwards_the_metadata_service_is_the_proof() {
    each([Calls::From(2), Calls::All], |calls| {
        let row = format!("{calls:?}");
        let before = matches!(calls, Calls::From(_));
        let (cloud, address, me) = one_held(Options { auto_assign_public_ip: false, ..Options::default() });
        cloud.fault(LOOK, calls, Fault::Reset);
        let run = release(&cloud, &me, HASTY);
        match before {
            true => assert_eq!(run.expect(0, "released")["verified_by"], serde_json::json!(["imds"]), "{row}"),
            // What was never given back, IMDS does not prove to be.
            false => drop(run.expect(75, "failed")),
        }
        assert_eq!((holder(&cloud, &address).is_none(), committed(&cloud)), (before, usize::from(before)), "{row}");
    });
}

#[test]
fn what_iam_denies_is_explained_at_once_even_on_a_young_instance() {
    each([LOOK, WRITE], |action| {
        let (cloud, address, _) = one_of_each();
        let me = cloud.launch(Launch { launched: None, ..launch(OLD) });
        cloud.associate(&address.allocation_id, &me);
        cloud.deny(Some(&me), &format!("ec2:{action}"));
        let run = release(&cloud, &me, PATIENT);
        assert_eq!(ended(&run), (77, "failed".to_owned()), "{action}: {run:#?}");
        assert!(run.error("message").contains(action), "{action}: {run:#?}");
        assert_eq!(run.error("decoded").contains(&address.allocation_id), action == WRITE, "{action}: {run:#?}");
        assert_eq!((cloud.requests(action).len(), committed(&cloud)), (1, 0), "{action}");
        assert_eq!(holder(&cloud, &address), Some(me), "{action}");
    });
}

#[test]
fn the_gate_of_the_claim_does_not_hold_up_a_release() {
    let (cloud, address, me) = one_held(Options::default());
    cloud.set_lifecycle(&me, Some("Terminated"));
    release(&cloud, &me, PATIENT).expect(0, "released");
    assert_eq!(holder(&cloud, &address), None);
}

#[test]
fn a_stop_ends_a_release_at_once() {
    let (cloud, address, me) = one_held(Options::default());
    cloud.fault(LOOK, Calls::All, Fault::Hang);
    let child = start(&cloud, &me, &["release", "--tag=asg"]);
    wait_for(&cloud, LOOK, 1);
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill is everywhere");
    let since = Instant::now();
    let run = finish(child);
    assert!(since.elapsed() < Duration::from_millis(2_500), "{:?}", since.elapsed());
    run.expect(75, "failed");
    assert_eq!((run.error("code").as_str(), holder(&cloud, &address)), ("Interrupted", Some(me)));
    assert_no_writes(&cloud);
}

#[test]
fn a_release_has_the_options_and_the_variables_of_a_claim() {
    let (cloud, address, me) = one_held(Options::default());
    let ip = address.public_ip.to_string();
    let variables = [("EIP_CLAIM_PUBLIC_IP", ip.as_str()), ("EIP_CLAIM_TIMEOUT", "30s")];
    run_with(&cloud, &me, &variables, &["release"]).expect(0, "released");
    assert_eq!(filters(&cloud.requests(LOOK)[0]), these(&[("public-ip", &[&ip])]));
    let bad = run(&cloud, &me, &["release", "--timeout=soon"]);
    assert_eq!((bad.exit, bad.stdout.as_str()), (64, ""), "{bad:#?}");
}

#[test]
fn the_text_is_one_line_that_names_the_address() {
    let (cloud, address, me) = one_held(Options::default());
    let ip = address.public_ip;
    for expected in
        [format!("{ip} released by {me} in "), format!("nothing to release: {me} does not hold {ip}, seen in ")]
    {
        let run = release(&cloud, &me, &["--output=text"]);
        assert_eq!((run.exit, run.stdout.lines().count()), (0, 1), "{run:#?}");
        assert!(run.stdout.starts_with(&expected), "{run:#?}");
    }
}

#[test]
fn the_drop_in_gives_the_address_back_and_survives_a_claim_that_failed() {
    let drop_in = include_str!("../systemd/release-on-stop.conf");
    let setting = |name: &str| drop_in.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let command = setting("ExecStop").expect("it is what the drop-in is for");
    let arguments = command.strip_prefix("/usr/bin/eip-claim ").expect("the program of the unit");
    assert_eq!(setting("RemainAfterExit"), Some("yes"), "or it would be stopped as soon as it has claimed");
    let (cloud, address, me) = one_held(Options::default());
    let folder = Folder::new();
    for (outcome, held) in [("released", 1), ("not_held", 0)] {
        assert_eq!(usize::from(holder(&cloud, &address).is_some()), held);
        let mut process = Command::new(binary());
        process.args(arguments.split(' ')).env_clear().envs(cloud.env(&me)).env("EIP_CLAIM_TAG", "asg");
        process.env("RUNTIME_DIRECTORY", &folder.0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let run = finish(process.spawn().expect("the binary starts"));
        assert_eq!(run.exit, 0, "{run:#?}");
        let result = fs::read_to_string(folder.0.join("result.json")).expect("the result is kept");
        assert!(result.contains(&format!("\"outcome\":\"{outcome}\"")), "{result}");
    }
    assert_eq!(holder(&cloud, &address), None);
}

#[test]
fn a_claim_and_a_release_at_the_same_time_leave_everybody_elses_address_alone() {
    let (cloud, address, me) = one_held(Options::default());
    let newer = cloud.launch(launch(OLD / 2));
    cloud.set_latency(Duration::from_millis(20));
    scope(|threads| {
        threads.spawn(|| run(&cloud, &newer, &["--tag=asg", "--timeout=30s"]).expect(0, "claimed"));
        sleep(Duration::from_millis(40));
        assert_eq!(release(&cloud, &me, PATIENT).exit, 0);
    });
    assert_eq!(holder(&cloud, &address), Some(newer));
}
