//! The error table, row by row, as far as EC2 answers it: what is retried, what ends at once, and with which code.
//!
//! Denials are in `denied.rs`, the metadata service is in `metadata_errors.rs`, takeovers are in `fence.rs`.

use std::time::{Duration, Instant};

use fakecloud::{Allocation, Calls, Cloud, Fault, InstanceState, Options, Service};

use crate::fence::{Succession, succession};
use crate::harness::*;

/// For claims that succeed once the fault has ended.
const CLAIM: [&str; 3] = ["--tag=asg=test", "--timeout=40s", "--attempt-timeout=5s"];
/// For claims that the deadline ends.
const BRIEFLY: [&str; 3] = ["--tag=asg=test", "--timeout=3s", "--attempt-timeout=500ms"];

const LOOK: &str = "DescribeAddresses";
const WRITE: &str = "AssociateAddress";

/// Asserts what every failure owes its reader, and that it ended with `exit` and `code`.
fn failed(row: &str, run: &Run, exit: i32, code: &str) {
    assert_eq!(ended(run), (exit, "failed".to_owned()), "{row}: {run:#?}");
    assert_eq!(run.error("code"), code, "{row}: {run:#?}");
    assert!(!run.error("message").is_empty() && !run.error("remedy").is_empty(), "{row}: {run:#?}");
}

fn claimed(row: &str, run: &Run, cloud: &Cloud, address: &Allocation, me: &str) {
    assert_eq!(ended(run), (0, "claimed".to_owned()), "{row}: {run:#?}");
    assert_eq!(holder(cloud, address).as_deref(), Some(me), "{row}");
}

/// What may go away by itself, with the code under which it is reported if it does not.
fn transient() -> Vec<(&'static str, Fault, &'static str)> {
    let page = |code| Fault::Status { code, body: "<html>it is the proxy's fault</html>".into() };
    vec![
        ("no answer", Fault::Hang, "AttemptTimeout"),
        ("reset", Fault::Reset, "ConnectionFailed"),
        ("closed", Fault::Close, "ConnectionFailed"),
        ("InternalError", answer(500, "InternalError", "An internal error has occurred"), "InternalError"),
        ("ServiceUnavailable", answer(503, "ServiceUnavailable", "Try again later"), "ServiceUnavailable"),
        ("Unavailable", answer(503, "Unavailable", "The server is overloaded"), "Unavailable"),
        ("a 5xx with an unknown code", answer(500, "SomethingNew", "?"), "SomethingNew"),
        ("a page with 502", page(502), "HttpStatus502"),
        ("a page with 504", page(504), "HttpStatus504"),
    ]
}

fn throttled() -> Vec<(&'static str, Fault)> {
    let rows = [
        (503, "RequestLimitExceeded"),
        (400, "Throttling"),
        (400, "ThrottlingException"),
        (503, "SlowDown"),
        (400, "EC2ThrottledException"),
    ];
    rows.map(|(status, code)| (code, answer(status, code, "Request limit exceeded."))).to_vec()
}

fn not_yet() -> Vec<(&'static str, Fault)> {
    let row = |code, message| (code, answer(400, code, message));
    vec![
        row("InvalidInstanceID.NotFound", "The instance ID 'i-1' does not exist"),
        row("InvalidInstanceID", "The pending instance 'i-1' is not in a valid state for this operation."),
        row(
            "IncorrectInstanceState",
            "The pending-instance-creation instance to which 'eni-1' is attached is not in a valid state for this operation",
        ),
    ]
}

#[test]
fn a_write_that_failed_is_repeated_after_a_look() {
    let rows = transient().into_iter().map(|(row, fault, _)| (row, fault));
    each(rows.chain(throttled()).chain(not_yet()), |(row, fault)| {
        let (cloud, address, me) = one_of_each();
        let options = ["--tag=asg=test", "--timeout=40s", patience(&fault)];
        cloud.fault(WRITE, Calls::First(2), fault);
        claimed(row, &run(&cloud, &me, &options), &cloud, &address, &me);
        assert_eq!(sent(&cloud), [LOOK, WRITE, LOOK, WRITE, LOOK, WRITE, LOOK], "{row}");
    });
}

#[test]
fn a_look_that_failed_is_repeated() {
    let rows = transient().into_iter().map(|(row, fault, _)| (row, fault));
    each(rows.chain(throttled()), |(row, fault)| {
        let (cloud, address, me) = one_of_each();
        let options = ["--tag=asg=test", "--timeout=40s", patience(&fault)];
        cloud.fault(LOOK, Calls::First(2), fault);
        claimed(row, &run(&cloud, &me, &options), &cloud, &address, &me);
        assert_eq!(sent(&cloud), [LOOK, LOOK, LOOK, WRITE, LOOK], "{row}");
    });
}

#[test]
fn what_may_go_away_is_retried_to_the_deadline_and_reported_as_itself() {
    let on_looks = transient().into_iter().map(|(row, fault, code)| (row, LOOK, fault, code));
    let on_looks = on_looks.chain(throttled().into_iter().map(|(code, fault)| (code, LOOK, fault, code)));
    let rows = on_looks.chain(not_yet().into_iter().map(|(code, fault)| (code, WRITE, fault, code)));
    each(rows, |(row, action, fault, code)| {
        let (cloud, address, me) = one_of_each();
        cloud.fault(action, Calls::All, fault);
        let run = run(&cloud, &me, &BRIEFLY);
        failed(row, &run, 75, code);
        let calls = cloud.requests(action).len();
        assert!(calls >= 2 && run.json()["attempts"].as_u64() >= Some(2), "{row}: {calls} calls, {run:#?}");
        assert!(run.took >= Duration::from_secs(1) && run.took < Duration::from_secs(6), "{row}: {:?}", run.took);
        assert_eq!(holder(&cloud, &address), None, "{row}");
    });
}

#[test]
fn a_write_that_was_done_without_an_answer_is_found_by_a_look_and_not_repeated() {
    let error = |status, code: &str| Fault::CommitThenError { status, code: code.into(), message: "?".into() };
    let rows = [
        ("no answer", Fault::CommitThenHang),
        ("reset", Fault::CommitThenReset),
        ("half an answer", Fault::Truncate),
        ("InternalError", error(500, "InternalError")),
        ("Unavailable", error(503, "Unavailable")),
    ];
    each(rows, |(row, fault)| {
        let (cloud, address, me) = one_of_each();
        let options = ["--tag=asg=test", "--timeout=40s", patience(&fault)];
        cloud.fault(WRITE, Calls::Nth(1), fault);
        let run = run(&cloud, &me, &options);
        claimed(row, &run, &cloud, &address, &me);
        assert_eq!(sent(&cloud), [LOOK, WRITE, LOOK], "{row}");
        assert_eq!(run.json()["verified_by"], serde_json::json!(["api"]), "{row}");
    });
}

#[test]
fn a_hung_peer_costs_one_attempt_and_never_the_deadline() {
    let (cloud, address, me) = one_of_each();
    cloud.fault("EC2", Calls::First(1), Fault::Hang);
    claimed(
        "once",
        &run(&cloud, &me, &["--tag=asg=test", "--timeout=40s", patience(&Fault::Hang)]),
        &cloud,
        &address,
        &me,
    );
    assert_eq!(sent(&cloud), [LOOK, LOOK, WRITE, LOOK]);

    let (cloud, _, me) = one_of_each();
    cloud.fault("EC2", Calls::All, Fault::Hang);
    let run = run(&cloud, &me, &["--tag=asg=test", "--timeout=2s", "--attempt-timeout=1m"]);
    failed("for ever", &run, 75, "DeadlineReached");
    assert!(run.took < Duration::from_secs(4), "{:?}", run.took);
    assert_eq!(sent(&cloud), [LOOK]);
}

#[test]
fn an_api_that_refuses_connections_is_waited_for() {
    let (cloud, address, me) = one_of_each();
    cloud.outage(Service::Ec2, true);
    let child = start(&cloud, &me, &CLAIM);
    std::thread::sleep(Duration::from_millis(700));
    cloud.outage(Service::Ec2, false);
    let ended = finish(child);
    claimed("until it is back", &ended, &cloud, &address, &me);
    assert!(ended.json()["attempts"].as_u64() >= Some(2), "{ended:#?}");
    assert_eq!(sent(&cloud), [LOOK, WRITE, LOOK]);

    let (cloud, _, me) = one_of_each();
    cloud.outage(Service::Ec2, true);
    failed("for ever", &run(&cloud, &me, &BRIEFLY), 75, "ConnectionFailed");
}

#[test]
fn a_pending_instance_waits_until_it_runs() {
    for is_takeover in [false, true] {
        let Succession { cloud, address, holder: old, me, .. } = succession(Options::default());
        if !is_takeover {
            cloud.terminate(&old);
        }
        cloud.set_state(&me, InstanceState::Pending);
        let child = start(&cloud, &me, &CLAIM);
        let action = if is_takeover { "DescribeInstances" } else { WRITE };
        wait_until("it has been tried twice", || cloud.requests(action).len() >= 2);
        cloud.set_state(&me, InstanceState::Running);
        claimed("pending", &finish(child), &cloud, &address, &me);
        let done = writes(&cloud).iter().filter(|r| r.committed).count();
        assert_eq!(done, if is_takeover { 2 } else { 1 }, "{:?}", sent(&cloud));
    }
}

#[test]
fn a_free_address_that_somebody_takes_first_is_looked_at_again() {
    let (cloud, address, me) = one_of_each();
    let newer = cloud.launch(launch(OLD / 2));
    cloud.fault(WRITE, Calls::Nth(1), Fault::Delay(Duration::from_millis(500)));
    let child = start(&cloud, &me, &CLAIM);
    wait_until("the write is under way", || !cloud.requests(WRITE).is_empty());
    cloud.associate(&address.allocation_id, &newer);
    let run = finish(child);
    run.expect(69, "yielded");
    assert_eq!(sent(&cloud), [LOOK, WRITE, LOOK, "DescribeInstances"]);
    assert_eq!(writes(&cloud)[0].params["AllowReassociation"], "false");
    assert_eq!(writes(&cloud)[0].error_code.as_deref(), Some("Resource.AlreadyAssociated"));
    assert_eq!(holder(&cloud, &address), Some(newer));
}

#[test]
fn every_way_to_say_that_the_address_is_taken_leads_to_another_look() {
    each([false, true], |by_ip| {
        let (cloud, address, me) = one_of_each();
        let message = if by_ip {
            format!("resource {} is already associated with associate-id eipassoc-1", address.public_ip)
        } else {
            format!("resource {} is already associated with associate-id eipassoc-1", address.allocation_id)
        };
        cloud.fault(WRITE, Calls::Nth(1), answer(400, "Resource.AlreadyAssociated", &message));
        claimed(&message, &run(&cloud, &me, &CLAIM), &cloud, &address, &me);
        assert_eq!(sent(&cloud), [LOOK, WRITE, LOOK, WRITE, LOOK], "{message}");
    });
}

#[test]
fn a_target_that_has_another_address_keeps_it() {
    let (cloud, address, me) = one_of_each();
    let other = cloud.allocate(&[]);
    cloud.associate(&other.allocation_id, &me);
    let run = run(&cloud, &me, &CLAIM);
    failed("a real one", &run, 78, "TargetTaken");
    assert!(run.error("message").contains(&other.public_ip.to_string()), "{run:#?}");
    assert!(run.error("remedy").contains("disassociate"), "{run:#?}");
    assert_eq!(sent(&cloud), [LOOK, WRITE, LOOK], "the last look finds out which address it is");
    assert_eq!(writes(&cloud)[0].params["AllowReassociation"], "false");
    assert_eq!((holder(&cloud, &other), holder(&cloud, &address)), (Some(me), None));
}

#[test]
fn an_instance_with_an_interface_that_imds_does_not_show_is_claimed_for_by_interface() {
    let text = "There are multiple interfaces attached to instance 'i-1'. \
                Please specify an interface ID for the operation instead.";
    // In a takeover it is said at the trial, or, should that not look so closely, after the disassociation.
    let rows = [
        ("free", false, 1, vec![LOOK, WRITE, LOOK, WRITE, LOOK]),
        ("at the trial", true, 1, vec![]),
        ("after the disassociation", true, 2, vec![]),
    ];
    each(rows, |(row, is_takeover, nth, exactly)| {
        let Succession { cloud, address, holder: old, me, .. } = succession(Options::default());
        if !is_takeover {
            cloud.terminate(&old);
        }
        cloud.fault(WRITE, Calls::Nth(nth), answer(400, "InvalidInstanceID", text));
        claimed(row, &run(&cloud, &me, &CLAIM), &cloud, &address, &me);
        assert!(exactly.is_empty() || sent(&cloud) == exactly, "{row}: {:?}", sent(&cloud));
        let asked = cloud.requests(WRITE);
        let interface = &cloud.interfaces(&me)[0];
        let (before, after) = asked.split_at(nth as usize);
        assert!(!after.is_empty() && before.iter().all(|r| r.params["InstanceId"] == me), "{row}: {asked:#?}");
        for request in after {
            assert!(!request.params.contains_key("InstanceId"), "{row}: {request:#?}");
            assert_eq!(request.params["NetworkInterfaceId"], interface.interface_id, "{row}");
            assert_eq!(request.params["PrivateIpAddress"], interface.private_ips[0].to_string(), "{row}");
        }
        let disassociations = cloud.requests("DisassociateAddress").len();
        assert_eq!(disassociations, usize::from(is_takeover), "{row}: {:?}", sent(&cloud));
    });
}

#[test]
fn an_address_that_is_not_visible_yet_is_waited_for() {
    let rows = [
        (LOOK, "InvalidAddress.NotFound", "Address '203.0.113.1' not found."),
        (LOOK, "InvalidAllocationID.NotFound", "The allocation ID 'eipalloc-1' does not exist"),
        (WRITE, "InvalidAllocationID.NotFound", "The allocation ID 'eipalloc-1' does not exist"),
        (WRITE, "InvalidAddress.NotFound", "Address '203.0.113.1' not found."),
    ];
    each(rows, |(action, code, message)| {
        let row = format!("{action}: {code}");
        let (cloud, address, me) = one_of_each();
        cloud.fault(action, Calls::First(2), answer(400, code, message));
        claimed(&row, &run(&cloud, &me, &CLAIM), &cloud, &address, &me);
        cloud.disassociate(&address.allocation_id);
        cloud.fault(action, Calls::All, answer(400, code, message));
        // The deadline cuts the half minute short, and the code stays that of the class.
        failed(&row, &run(&cloud, &me, &BRIEFLY), 78, code);
        assert_eq!(holder(&cloud, &address), None, "{row}");
    });
}

#[test]
fn a_tag_that_comes_late_is_waited_for_and_one_that_never_comes_is_named() {
    let (cloud, address, me) = one_of_each();
    cloud.edit_address(&address.allocation_id, |record| record.tags.clear());
    let child = start(&cloud, &me, &CLAIM);
    wait_until("it has looked twice", || cloud.requests(LOOK).len() >= 2);
    assert_no_writes(&cloud);
    cloud.edit_address(&address.allocation_id, |record| record.tags = fakecloud::tags(&[("asg", "test")]));
    claimed("late", &finish(child), &cloud, &address, &me);

    let (cloud, _, me) = one_of_each();
    let run = run(&cloud, &me, &["--tag=asg=nobody", "--timeout=3s"]);
    failed("never", &run, 78, "NoAddressMatches");
    for part in ["asg=nobody", "ap-northeast-2"] {
        assert!(run.error("message").contains(part), "{part}: {run:#?}");
    }
    assert_no_writes(&cloud);
}

#[test]
fn an_address_that_ec2_refuses_gives_way_to_the_next_candidate() {
    each([false, true], |other_border_group| {
        let mut attempts = Vec::new();
        for refused in [0, 1] {
            let (cloud, first, me) = one_of_each();
            let both = [first, cloud.allocate(&[("asg", "test")])];
            refuse(&cloud, &both[refused], other_border_group);
            claimed("a pool", &run(&cloud, &me, &CLAIM), &cloud, &both[1 - refused], &me);
            let tried: Vec<_> = writes(&cloud).into_iter().map(|r| r.params["AllocationId"].clone()).collect();
            attempts.push(tried.len());
        }
        attempts.sort_unstable();
        // The order of the two is a hash: in one of the two worlds the refused one comes first.
        assert_eq!(attempts, [1, 2], "another border group: {other_border_group}");
    });
}

#[test]
fn an_only_address_that_ec2_refuses_is_tried_once() {
    each([false, true], |other_border_group| {
        let (cloud, address, me) = one_of_each();
        refuse(&cloud, &address, other_border_group);
        let start = Instant::now();
        let run = run(&cloud, &me, &CLAIM);
        let code = if other_border_group { "InvalidParameterCombination" } else { "AuthFailure" };
        failed(code, &run, 69, code);
        assert_eq!(sent(&cloud), [LOOK, WRITE], "{code}");
        assert_eq!(holder(&cloud, &address), None, "{code}");
        assert!(start.elapsed() < Duration::from_secs(10), "{code}: nothing to wait for");
    });
}

fn refuse(cloud: &Cloud, address: &Allocation, other_border_group: bool) {
    cloud.edit_address(&address.allocation_id, |record| match other_border_group {
        true => record.network_border_group = "ap-northeast-2-wl1-sel-wlz-1".into(),
        false => record.owner = "210987654321".into(),
    });
}

#[test]
fn what_no_retry_would_mend_ends_at_once() {
    let rows = [
        (400, "Gateway.NotAttached", "Network vpc-1 is not attached to any internet gateway", "internet gateway"),
        (401, "OptInRequired", "You are not subscribed to this service.", "subscribed"),
        (400, "InvalidParameterValue", "Value () for parameter privateIpAddress is invalid.", "--private-ip"),
        (400, "InvalidParameterCombination", "The parameters may not be combined", "value"),
        (400, "OperationNotPermitted", "You may not do that", "allow"),
        (400, "UnknownParameter", "The parameter X is not recognized", "endpoint"),
        (400, "IncorrectInstanceState", "The instance is in no state for this", "state"),
    ];
    each(rows, |(status, code, message, remedy)| {
        let (cloud, address, me) = one_of_each();
        cloud.fault(WRITE, Calls::All, answer(status, code, message));
        let run = run(&cloud, &me, &CLAIM);
        failed(code, &run, 78, code);
        assert!(run.error("message").contains(message), "{code}: {run:#?}");
        assert!(run.error("remedy").contains(remedy), "{code}: {run:#?}");
        assert_eq!(sent(&cloud), [LOOK, WRITE], "{code}");
        assert_eq!(holder(&cloud, &address), None, "{code}");
    });
}

#[test]
fn an_instance_that_is_on_its_way_out_claims_nothing_and_says_so() {
    each([InstanceState::ShuttingDown, InstanceState::Terminated], |state| {
        let (cloud, address, me) = one_of_each();
        cloud.set_state(&me, state);
        let run = run(&cloud, &me, &CLAIM);
        failed(state.name(), &run, 78, "InvalidInstanceID");
        assert!(run.error("message").contains(state.name()), "{run:#?}");
        assert_eq!(sent(&cloud), [LOOK, WRITE], "{state:?}");
        assert_eq!(holder(&cloud, &address), None, "{state:?}");
    });
}

#[test]
fn a_refusal_with_an_unknown_code_ends_the_run_at_once() {
    let (cloud, address, me) = one_of_each();
    cloud.fault(WRITE, Calls::All, answer(418, "Teapot", "I am one"));
    let run = run(&cloud, &me, &BRIEFLY);
    failed("an unknown code", &run, 78, "Teapot");
    assert_eq!(sent(&cloud), [LOOK, WRITE]);
    assert_eq!(holder(&cloud, &address), None);
}

#[test]
fn an_answer_that_makes_no_sense_is_a_failure_of_its_own() {
    let page = Fault::Status { code: 404, body: "<html>a captive portal</html>".into() };
    let rows = [("a page for a look", LOOK, page.clone()), ("a page for a write", WRITE, page)];
    each(rows, |(row, action, fault)| {
        let (cloud, address, me) = one_of_each();
        cloud.fault(action, Calls::All, fault);
        let run = run(&cloud, &me, &BRIEFLY);
        assert_eq!(ended(&run), (70, "failed".to_owned()), "{row}: {run:#?}");
        assert!(!run.error("code").is_empty() && !run.error("remedy").is_empty(), "{row}: {run:#?}");
        assert_eq!(holder(&cloud, &address), None, "{row}");
    });
}
