//! The proof: success is reported only after a read, begun after the write, has shown the address here.

use std::time::{Duration, Instant};

use fakecloud::{Allocation, Calls, Cloud, Fault, Options, Request};
use serde_json::json;

use crate::fence::{Succession, succession};
use crate::harness::*;

const CLAIM: [&str; 3] = ["--tag=asg=test", "--timeout=40s", "--attempt-timeout=5s"];
const LOOK: &str = "DescribeAddresses";
const WRITE: &str = "AssociateAddress";

/// The position of the first write in the log, and the log.
fn around_the_write(cloud: &Cloud) -> (usize, Vec<Request>) {
    let log = cloud.log();
    let write = log.iter().position(|r| r.action == WRITE && !r.dry_run).expect("something was written");
    (write, log)
}

/// The claim that looks at nothing before it writes.
fn always(address: &Allocation) -> [String; 4] {
    let id = format!("--allocation-id={}", address.allocation_id);
    ["--takeover=always".to_owned(), id, "--timeout=20s".to_owned(), "--attempt-timeout=2s".to_owned()]
}

fn run_always(cloud: &Cloud, me: &str, address: &Allocation) -> Run {
    let options = always(address);
    run(cloud, me, &options.each_ref().map(String::as_str))
}

#[test]
fn the_proof_is_a_read_on_a_connection_that_was_opened_after_the_write() {
    for connections_die_on_swap in [false, true] {
        let (cloud, address, me) = one_of_each();
        cloud.set_connections_die_on_swap(connections_die_on_swap);
        let run = run(&cloud, &me, &CLAIM);
        let json = run.expect(0, "claimed");
        let (write, log) = around_the_write(&cloud);
        let proofs: Vec<_> = log[write + 1..].iter().filter(|r| r.action == LOOK).collect();
        assert_eq!(proofs.len(), 1, "{:?}", sent(&cloud));
        let old: Vec<_> = log[..=write].iter().map(|r| r.connection).collect();
        assert!(!old.contains(&proofs[0].connection), "dying: {connections_die_on_swap}, {log:#?}");
        assert_eq!((writes(&cloud).len(), holder(&cloud, &address)), (1, Some(me)));
        let association = cloud.holder(&address.allocation_id).expect("it is held").association_id;
        assert_eq!(json["association_id"], association.as_str());
        assert_eq!(json["public_ip"], address.public_ip.to_string());
        assert_eq!(json["verified_by"], json!(["api"]));
    }
}

#[test]
fn a_read_that_lags_behind_is_repeated_until_it_shows_the_address() {
    let lag = Duration::from_secs(2);
    let (cloud, address, me) = one_of_each();
    cloud.set_read_lag(lag);
    run(&cloud, &me, &CLAIM).expect(0, "claimed");
    let (write, log) = around_the_write(&cloud);
    let proofs: Vec<_> = log[write + 1..].iter().filter(|r| r.action == LOOK).collect();
    let last = proofs.last().expect("the proof");
    // The write takes effect a moment after it arrives, so the lag is not quite from arrival to arrival.
    assert!(proofs.len() >= 2 && last.at + Duration::from_millis(1) >= log[write].at + lag, "{log:#?}");
    assert_eq!((writes(&cloud).len(), holder(&cloud, &address)), (1, Some(me)));
}

#[test]
fn a_takeover_is_proven_while_reads_lag_and_connections_die() {
    let Succession { cloud, address, me, .. } = succession(Options::default());
    cloud.set_read_lag(Duration::from_secs(1));
    cloud.set_connections_die_on_swap(true);
    run(&cloud, &me, &CLAIM).expect(0, "claimed");
    assert_eq!(holder(&cloud, &address), Some(me.clone()));
    let moves = cloud.history().iter().filter(|e| e.by.as_ref() == Some(&me) && e.to.is_some()).count();
    assert_eq!(moves, 1, "{:#?}", cloud.history());
}

#[test]
fn a_write_that_goes_unanswered_is_found_by_a_look_before_the_attempt_times_out() {
    let (cloud, address, me) = one_of_each();
    cloud.fault(WRITE, Calls::Nth(1), Fault::CommitThenHang);
    let run = run(&cloud, &me, &["--tag=asg=test", "--timeout=40s", "--attempt-timeout=20s"]);
    run.expect(0, "claimed");
    let (write, log) = around_the_write(&cloud);
    let waited = log[write + 1].at - log[write].at;
    assert!(waited >= Duration::from_millis(1_400) && waited < Duration::from_secs(10), "{waited:?}");
    assert!(log[..=write].iter().all(|r| r.connection != log[write + 1].connection), "{log:#?}");
    assert_eq!((writes(&cloud).len(), holder(&cloud, &address)), (1, Some(me)));
}

#[test]
fn an_answer_that_comes_late_is_still_waited_for_when_no_look_shows_the_address() {
    let (cloud, address, me) = one_of_each();
    cloud.set_read_lag(Duration::from_secs(5));
    cloud.fault(WRITE, Calls::Nth(1), Fault::CommitThenDelay(Duration::from_millis(2_500)));
    run(&cloud, &me, &["--tag=asg=test", "--timeout=40s", "--attempt-timeout=20s"]).expect(0, "claimed");
    assert_eq!(writes(&cloud)[0].status, Some(200));
    assert_eq!((writes(&cloud).len(), holder(&cloud, &address)), (1, Some(me)));
}

#[test]
fn an_address_that_is_still_free_ten_seconds_after_a_write_that_succeeded_is_associated_again() {
    let (cloud, address, me) = one_of_each();
    // EC2 says yes, and forgets about it.
    let yes = r#"<AssociateAddressResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>1</requestId>
        <return>true</return><associationId>eipassoc-0123456789abcdef0</associationId></AssociateAddressResponse>"#;
    let yes = Fault::Garbage { content_type: "text/xml".into(), body: yes.into() };
    cloud.fault(WRITE, Calls::Nth(1), yes);
    let json = run(&cloud, &me, &["--tag=asg=test", "--timeout=40s", "--attempt-timeout=2s"]).expect(0, "claimed");
    let written = writes(&cloud);
    assert_eq!(written.iter().map(|r| r.committed).collect::<Vec<_>>(), [false, true]);
    let pause = written[1].at - written[0].at;
    assert!(pause >= Duration::from_millis(9_500) && pause < Duration::from_secs(18), "{pause:?}");
    assert_ne!(json["association_id"], "eipassoc-0123456789abcdef0");
    assert_eq!(holder(&cloud, &address), Some(me));
}

#[test]
fn an_address_that_somebody_takes_right_after_the_write_is_no_success() {
    let (cloud, address, me) = one_of_each();
    let newer = cloud.launch(launch(OLD / 2));
    cloud.fault(WRITE, Calls::Nth(1), Fault::CommitThenDelay(Duration::from_millis(500)));
    let child = start(&cloud, &me, &CLAIM);
    wait_until("the address is here", || holder(&cloud, &address).as_ref() == Some(&me));
    cloud.associate(&address.allocation_id, &newer);
    let run = finish(child);
    run.expect(69, "yielded");
    assert_eq!(run.json()["previous_holder"]["instance_id"], newer.as_str());
    assert_eq!(run.json()["verified_by"], json!([]));
    assert_eq!((writes(&cloud).len(), holder(&cloud, &address)), (1, Some(newer)));
}

#[test]
fn a_proof_that_never_comes_is_no_success() {
    let (cloud, _, me) = one_of_each();
    cloud.fault(LOOK, Calls::From(2), answer(500, "InternalError", "An internal error has occurred"));
    let run = run(&cloud, &me, &["--tag=asg=test", "--timeout=3s", "--attempt-timeout=1s"]);
    run.expect(75, "failed");
    assert_eq!(run.json()["verified_by"], json!([]));
    assert_eq!(writes(&cloud).len(), 1, "{:?}", sent(&cloud));
    assert!(cloud.requests(LOOK).len() > 2, "{:?}", sent(&cloud));
}

#[test]
fn an_address_that_is_here_is_not_written_again() {
    let (cloud, address, me) = one_of_each();
    cloud.associate(&address.allocation_id, &me);
    for policy in ["--takeover=successor", "--takeover=never", "--takeover=always"] {
        cloud.clear_log();
        let json = run(&cloud, &me, &[&CLAIM[..], &[policy]].concat()).expect(0, "already_held");
        assert_eq!((sent(&cloud), &json["verified_by"]), (vec![LOOK.to_owned()], &json!(["api"])), "{policy}");
    }
}

#[test]
fn with_takeover_always_and_one_allocation_id_the_write_comes_first_and_the_api_proves_it() {
    let Succession { cloud, address, me, .. } = succession(Options::default());
    let json = run_always(&cloud, &me, &address).expect(0, "claimed");
    assert_eq!(sent(&cloud), [WRITE, LOOK]);
    assert_eq!(writes(&cloud)[0].params["AllowReassociation"], "true");
    assert_eq!((holder(&cloud, &address), &json["verified_by"]), (Some(me), &json!(["api"])));
}

#[test]
fn where_reads_are_denied_imds_proves_the_only_write() {
    for is_held in [true, false] {
        let Succession { cloud, address, holder: old, me, .. } = succession(Options::default());
        if !is_held {
            cloud.terminate(&old);
        }
        cloud.deny(Some(&me), "ec2:Describe*");
        cloud.deny(Some(&me), "ec2:DisassociateAddress");
        let json = run_always(&cloud, &me, &address).expect(0, "claimed");
        assert_eq!(sent(&cloud), [WRITE, LOOK], "one write, and one denied read that is not repeated");
        assert_eq!(cloud.requests(LOOK)[0].status, Some(403));
        assert_eq!(holder(&cloud, &address), Some(me.clone()));
        assert_eq!(json["verified_by"], json!(["imds"]));
        assert_eq!(json["public_ip"], address.public_ip.to_string());
        let association = cloud.holder(&address.allocation_id).expect("it is held").association_id;
        assert_eq!(json["association_id"], association.as_str());
        let (write, log) = around_the_write(&cloud);
        let is_proof = |r: &Request| r.action.ends_with("/public-ipv4s");
        assert!(log[..write].iter().any(is_proof) && log[write..].iter().any(is_proof), "read before and after");
    }
}

#[test]
fn an_instance_without_a_public_address_of_its_own_is_proven_by_imds_too() {
    let Succession { cloud, address, me, .. } =
        succession(Options { auto_assign_public_ip: false, ..Options::default() });
    cloud.deny(Some(&me), LOOK_PERMISSION);
    let json = run_always(&cloud, &me, &address).expect(0, "claimed");
    assert_eq!((holder(&cloud, &address), &json["verified_by"]), (Some(me), &json!(["imds"])));
    assert_eq!(json["public_ip"], address.public_ip.to_string());
    assert_eq!(sent(&cloud), [WRITE, LOOK]);
}

const LOOK_PERMISSION: &str = "ec2:DescribeAddresses";

#[test]
fn imds_that_lags_behind_is_asked_until_it_shows_the_address() {
    let Succession { cloud, address, me, .. } = succession(Options::default());
    let lag = Duration::from_secs(2);
    cloud.set_imds_lag(lag);
    cloud.deny(Some(&me), LOOK_PERMISSION);
    let json = run_always(&cloud, &me, &address).expect(0, "claimed");
    assert_eq!(json["verified_by"], json!(["imds"]));
    assert_eq!(json["public_ip"], address.public_ip.to_string());
    let (write, log) = around_the_write(&cloud);
    let last = log.last().expect("the proof");
    assert!(last.at + Duration::from_millis(1) >= log[write].at + lag, "{log:#?}");
    assert_eq!(sent(&cloud), [WRITE, LOOK]);
    assert_eq!(holder(&cloud, &address), Some(me));
}

#[test]
fn an_address_that_was_ours_already_is_proven_by_imds_showing_it_for_ten_seconds() {
    let (cloud, address, me) = one_of_each();
    cloud.associate(&address.allocation_id, &me);
    cloud.deny(Some(&me), LOOK_PERMISSION);
    let start = Instant::now();
    let json = run_always(&cloud, &me, &address).expect(0, "claimed");
    assert!(start.elapsed() >= Duration::from_millis(9_500), "{:?}", start.elapsed());
    assert_eq!(json["verified_by"], json!(["imds"]));
    assert_eq!(json["public_ip"], address.public_ip.to_string());
    assert_eq!(sent(&cloud), [WRITE, LOOK]);
    assert_eq!(holder(&cloud, &address), Some(me));
}

#[test]
fn where_reads_are_denied_and_imds_never_shows_the_address_there_is_no_success() {
    let Succession { cloud, address, me, .. } =
        succession(Options { auto_assign_public_ip: false, ..Options::default() });
    cloud.set_imds_lag(Duration::from_secs(600));
    cloud.deny(Some(&me), LOOK_PERMISSION);
    let options = always(&address);
    let mut options = options.each_ref().map(String::as_str);
    options[2] = "--timeout=3s";
    let run = run(&cloud, &me, &options);
    run.expect(75, "failed");
    assert_eq!(run.json()["verified_by"], json!([]));
    assert_eq!(sent(&cloud), [WRITE, LOOK]);
}
