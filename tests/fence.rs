//! The takeover: what is sent in which order, and that nobody loses an address to a mistake.

use std::time::Duration;

use fakecloud::{Allocation, Calls, Cloud, Fault, Launch, Options, Request};

use crate::harness::*;
use crate::requests::FENCE;

/// Enough for every takeover that succeeds, with three attempts to spare.
const CLAIM: [&str; 3] = ["--tag=asg=test", "--timeout=40s", "--attempt-timeout=5s"];
/// For claims that never succeed: as short as a takeover may be.
const BRIEFLY: [&str; 3] = ["--tag=asg=test", "--timeout=3s", "--attempt-timeout=500ms"];

/// The first trial and the first association of a takeover are the first two calls of the same action.
const DRY_RUN: Calls = Calls::Nth(1);
const FIRST_ASSOCIATION: Calls = Calls::Nth(2);

/// An address, its holder, and an instance that was launched later and may take it over.
pub struct Succession {
    pub cloud: Cloud,
    pub address: Allocation,
    pub holder: String,
    pub me: String,
    /// The association of the holder.
    pub judged: String,
}

/// All of them older than any role that still propagates.
pub fn succession(options: Options) -> Succession {
    let cloud = Cloud::start(options);
    let address = cloud.allocate(&[("asg", "test")]);
    let (holder, me) = (cloud.launch(launch(OLD * 2)), cloud.launch(launch(OLD)));
    cloud.associate(&address.allocation_id, &holder);
    cloud.settle();
    let judged = cloud.holder(&address.allocation_id).expect("it was just associated").association_id;
    Succession { cloud, address, holder, me, judged }
}

fn request(cloud: &Cloud, action: &str, n: usize) -> Request {
    cloud.requests(action).get(n).unwrap_or_else(|| panic!("no {action} number {n}: {:?}", sent(cloud))).clone()
}

fn associations(cloud: &Cloud) -> Vec<Request> {
    writes(cloud).into_iter().filter(|r| r.action == "AssociateAddress").collect()
}

fn disassociations(cloud: &Cloud) -> Vec<Request> {
    cloud.requests("DisassociateAddress")
}

#[test]
fn a_takeover_is_seven_calls_and_a_last_look_at_the_gate() {
    let Succession { cloud, address, holder, me, judged } = succession(Options::default());
    let run = run(&cloud, &me, &CLAIM);
    let json = run.expect(0, "claimed");
    assert_eq!(sent(&cloud), FENCE);
    assert_eq!(holder_of(&cloud, &address), Some(me.clone()));
    assert_eq!(json["previous_holder"]["instance_id"], holder.as_str());
    assert_eq!(json["previous_holder"]["state"], "running");
    assert_eq!(json["verified_by"], serde_json::json!(["api"]));

    let values = |r: &Request| {
        let mut values: Vec<_> =
            r.params.iter().filter(|(k, _)| k.contains(".Value.")).map(|(_, v)| v.clone()).collect();
        values.sort();
        values
    };
    let instances = request(&cloud, "DescribeInstances", 0);
    let mut both = vec![holder, me.clone()];
    both.sort();
    assert_eq!((instances.params["Filter.1.Name"].as_str(), values(&instances)), ("instance-id", both));

    let mine = &cloud.interfaces(&me)[0].interface_id;
    let target = request(&cloud, "DescribeAddresses", 1);
    assert_eq!(
        (target.params["Filter.1.Name"].as_str(), values(&target)),
        ("network-interface-id", vec![mine.clone()])
    );

    assert_eq!(request(&cloud, "DisassociateAddress", 0).params["AssociationId"], judged);
    for n in [0, 1] {
        let association = request(&cloud, "AssociateAddress", n);
        assert_eq!(association.params["AllocationId"], address.allocation_id, "{association:?}");
        assert_eq!(association.params["InstanceId"], me, "{association:?}");
        assert_eq!(association.params["AllowReassociation"], "false", "{association:?}");
    }

    let log = cloud.log();
    let position = |action: &str| log.iter().position(|r| r.action == action).expect("it was sent");
    let gate = |r: &Request| r.action.ends_with("/autoscaling/target-lifecycle-state");
    let last_gate = log.iter().rposition(gate).expect("the gate was read");
    assert!(position("DescribeInstances") < last_gate && last_gate < position("DisassociateAddress"), "{log:#?}");

    let (proof, before) = log.split_last().expect("much was sent");
    assert!(before.iter().all(|r| r.connection != proof.connection), "the proof came over an old connection");
}

#[test]
fn a_newer_holder_that_slips_in_before_the_disassociation_keeps_the_address() {
    let cases = ["DescribeInstances", "AssociateAddress"].into_iter().flat_map(|at| [(at, false), (at, true)]);
    each(cases, |(delayed, stale_association_not_found)| {
        let options = Options { stale_association_not_found, ..Options::default() };
        let Succession { cloud, address, me, judged, .. } = succession(options);
        let newer = cloud.launch(launch(OLD / 2));
        cloud.fault(delayed, Calls::Nth(1), Fault::Delay(Duration::from_millis(500)));
        let child = start(&cloud, &me, &CLAIM);
        wait_until("the takeover is under way", || !cloud.requests(delayed).is_empty());
        cloud.associate(&address.allocation_id, &newer);
        let run = finish(child);
        let row = format!("{delayed}, stale ids not found: {stale_association_not_found}");
        assert_eq!(ended(&run), (69, "yielded".to_owned()), "{row}: {run:#?}");
        assert_eq!(run.error("code"), "NewerHolder", "{row}");
        assert_eq!(holder_of(&cloud, &address), Some(newer), "{row}");
        assert!(cloud.history().iter().all(|event| event.by.is_none()), "{row}: {:#?}", cloud.history());
        let named: Vec<_> = disassociations(&cloud).iter().map(|r| r.params["AssociationId"].clone()).collect();
        assert_eq!(named, [judged], "{row}: only what was judged is ended");
        let refused: Vec<_> = associations(&cloud).iter().map(|r| r.error_code.clone()).collect();
        assert_eq!(refused, [Some("Resource.AlreadyAssociated".to_owned())], "{row}");
    });
}

#[test]
fn an_older_holder_that_slips_in_is_judged_anew_and_then_taken_over() {
    let Succession { cloud, address, me, judged, .. } = succession(Options::default());
    let other = cloud.launch(launch(OLD * 3));
    cloud.fault("AssociateAddress", DRY_RUN, Fault::Delay(Duration::from_millis(500)));
    let child = start(&cloud, &me, &CLAIM);
    wait_until("the trial is sent", || !cloud.requests("AssociateAddress").is_empty());
    cloud.associate(&address.allocation_id, &other);
    let between = cloud.holder(&address.allocation_id).expect("it was just associated").association_id;
    let json = finish(child).expect(0, "claimed");
    assert_eq!(json["previous_holder"]["instance_id"], other.as_str());
    assert_eq!(holder_of(&cloud, &address), Some(me));
    let named: Vec<_> = disassociations(&cloud).iter().map(|r| r.params["AssociationId"].clone()).collect();
    assert_eq!(named, [judged, between]);
}

#[test]
fn an_address_that_became_free_in_between_ends_here_whatever_ec2_says_of_the_stale_association() {
    for stale_association_not_found in [false, true] {
        let options = Options { stale_association_not_found, ..Options::default() };
        let Succession { cloud, address, me, .. } = succession(options);
        cloud.fault("AssociateAddress", DRY_RUN, Fault::Delay(Duration::from_millis(500)));
        let child = start(&cloud, &me, &CLAIM);
        wait_until("the trial is sent", || !cloud.requests("AssociateAddress").is_empty());
        cloud.disassociate(&address.allocation_id);
        finish(child).expect(0, "claimed");
        assert_eq!(sent(&cloud), FENCE, "stale ids not found: {stale_association_not_found}");
        assert_eq!(holder_of(&cloud, &address), Some(me));
    }
}

#[test]
fn a_trial_that_is_denied_leaves_the_holder_alone() {
    let Succession { cloud, address, holder, me, .. } = succession(Options::default());
    cloud.deny(Some(&me), "ec2:AssociateAddress");
    let run = run(&cloud, &me, &CLAIM);
    run.expect(77, "failed");
    assert_no_writes(&cloud);
    assert_eq!(cloud.requests("AssociateAddress").len(), 1, "{:?}", sent(&cloud));
    assert!(run.error("decoded").contains("ec2:AssociateAddress"), "{run:#?}");
    assert_eq!(holder_of(&cloud, &address), Some(holder));
}

#[test]
fn a_disassociation_that_is_denied_leaves_the_holder_alone() {
    let Succession { cloud, address, holder, me, .. } = succession(Options::default());
    cloud.deny(Some(&me), "ec2:DisassociateAddress");
    let run = run(&cloud, &me, &CLAIM);
    run.expect(77, "failed");
    assert_eq!((disassociations(&cloud).len(), associations(&cloud).len()), (1, 0), "{:?}", sent(&cloud));
    assert!(run.error("decoded").contains("ec2:DisassociateAddress"), "{run:#?}");
    assert_eq!(holder_of(&cloud, &address), Some(holder));
}

#[test]
fn a_takeover_without_time_for_three_attempts_is_not_begun() {
    let Succession { cloud, address, holder, me, .. } = succession(Options::default());
    let run = run(&cloud, &me, &["--tag=asg=test", "--timeout=4s", "--attempt-timeout=2s"]);
    run.expect(75, "failed");
    assert_no_writes(&cloud);
    assert!(run.error("remedy").contains("--timeout"), "{run:#?}");
    assert_eq!(holder_of(&cloud, &address), Some(holder));
}

#[test]
fn a_target_with_another_address_takes_nothing_over() {
    let Succession { cloud, address, holder, me, .. } = succession(Options::default());
    let other = cloud.allocate(&[]);
    cloud.associate(&other.allocation_id, &me);
    let run = run(&cloud, &me, &CLAIM);
    run.expect(78, "failed");
    assert_no_writes(&cloud);
    assert!(run.error("message").contains(&other.public_ip.to_string()), "{run:#?}");
    assert_eq!(holder_of(&cloud, &address), Some(holder));
    assert_eq!(holder_of(&cloud, &other), Some(me));
}

#[test]
fn an_address_that_is_left_unassociated_is_reported_with_the_command_that_repairs_it() {
    let on_interface = "resource eni-1 is already associated with associate-id eipassoc-1";
    let rows = [
        ("Gateway.NotAttached", answer(400, "Gateway.NotAttached", "Network vpc-1 is not attached"), 78),
        ("UnauthorizedOperation", answer(403, "UnauthorizedOperation", "You are not authorized"), 77),
        ("InternalError", answer(500, "InternalError", "An internal error has occurred"), 75),
        ("RequestLimitExceeded", answer(503, "RequestLimitExceeded", "Request limit exceeded."), 75),
        // No read shows another address on the target: it may be one of ours that is not shown yet.
        ("Resource.AlreadyAssociated", answer(400, "Resource.AlreadyAssociated", on_interface), 75),
        ("InvalidAllocationID.NotFound", answer(400, "InvalidAllocationID.NotFound", "It does not exist"), 78),
        ("AttemptTimeout", Fault::Hang, 75),
        ("ConnectionFailed", Fault::Reset, 75),
    ];
    each(rows, |(code, fault, exit)| {
        let Succession { cloud, address, me, .. } = succession(Options::default());
        cloud.fault("AssociateAddress", Calls::From(2), fault);
        let run = run(&cloud, &me, &BRIEFLY);
        assert_eq!(ended(&run), (exit, "failed".to_owned()), "{code}: {run:#?}");
        assert_eq!((run.error("code").as_str(), holder_of(&cloud, &address)), (code, None), "{code}: {run:#?}");
        assert_eq!(disassociations(&cloud).len(), 1, "{code}: {:?}", sent(&cloud));
        assert!(run.error("message").contains("left unassociated"), "{code}: {run:#?}");
        assert!(run.took < Duration::from_secs(6), "{code}: {:?}", run.took);
        let repair = format!(
            "aws ec2 associate-address --region ap-northeast-2 --allocation-id {} --instance-id {me}",
            address.allocation_id
        );
        assert!(run.error("remedy").contains(&repair), "{code}: {run:#?}");
    });
}

#[test]
fn a_disassociation_that_is_done_at_the_second_attempt_and_never_answered_is_not_forgotten() {
    let Succession { cloud, address, me, .. } = succession(Options::default());
    cloud.fault("DisassociateAddress", Calls::Nth(1), Fault::Reset);
    cloud.fault("DisassociateAddress", Calls::Nth(2), Fault::CommitThenReset);
    // The trial, and the association that says what the first attempt came to.
    cloud.fault("AssociateAddress", Calls::From(3), Fault::Reset);
    let run = run(&cloud, &me, &BRIEFLY);
    assert_eq!(ended(&run), (75, "failed".to_owned()), "{run:#?}");
    assert_eq!(holder_of(&cloud, &address), None, "{run:#?}");
    assert!(run.error("message").contains("may be unassociated"), "{run:#?}");
    assert!(run.error("remedy").contains("aws ec2 associate-address"), "{run:#?}");
}

#[test]
fn a_disassociation_that_goes_unanswered_is_not_forgotten_when_the_second_one_is_refused() {
    let Succession { cloud, me, judged, .. } = succession(Options::default());
    cloud.fault("DisassociateAddress", Calls::Nth(1), Fault::Reset);
    cloud.fault("DisassociateAddress", Calls::From(2), answer(403, "UnauthorizedOperation", "You are not authorized"));
    let run = run(&cloud, &me, &BRIEFLY);
    assert_eq!(ended(&run), (77, "failed".to_owned()), "{run:#?}");
    assert_eq!(disassociations(&cloud).len(), 2, "{:?}", sent(&cloud));
    assert!(disassociations(&cloud).iter().all(|r| r.params["AssociationId"] == judged), "{run:#?}");
    // The first one may be under way yet.
    assert!(run.error("message").contains("may be unassociated"), "{run:#?}");
    assert!(run.error("remedy").contains("aws ec2 associate-address"), "{run:#?}");
}

#[test]
fn an_association_that_ec2_accepts_and_never_shows_leaves_the_address_on_nobody_and_the_error_says_so() {
    let Succession { cloud, address, me, .. } = succession(Options::default());
    let body = "<AssociateAddressResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><return>true</return>\
                <associationId>eipassoc-0123456789abcdef0</associationId></AssociateAddressResponse>";
    let in_vain = Fault::Garbage { content_type: "text/xml".to_owned(), body: body.into() };
    cloud.fault("AssociateAddress", Calls::From(2), in_vain);
    let run = run(&cloud, &me, &BRIEFLY);
    assert_eq!(ended(&run), (75, "failed".to_owned()), "{run:#?}");
    assert_eq!(holder_of(&cloud, &address), None, "{run:#?}");
    assert!(run.error("message").contains("left unassociated"), "{run:#?}");
    assert!(run.error("remedy").contains("aws ec2 associate-address"), "{run:#?}");
}

#[test]
fn credentials_that_are_not_accepted_after_the_disassociation_are_fetched_anew_at_once() {
    let Succession { cloud, address, me, .. } = succession(Options::default());
    cloud.fault("AssociateAddress", Calls::Nth(2), answer(400, "RequestExpired", "Request has expired."));
    let run = run(&cloud, &me, &BRIEFLY);
    assert_eq!(ended(&run), (0, "claimed".to_owned()), "{run:#?}");
    assert_eq!(holder_of(&cloud, &address), Some(me));
    assert_eq!(sent(&cloud), [&FENCE[..6], &["AssociateAddress", "DescribeAddresses"]].concat());
}

#[test]
fn a_trial_that_is_refused_because_somebody_has_the_address_yet_is_passed() {
    let Succession { cloud, address, me, judged, .. } = succession(Options::default());
    let text = format!("resource {} is already associated with associate-id {judged}", address.allocation_id);
    cloud.fault("AssociateAddress", Calls::Nth(1), answer(400, "Resource.AlreadyAssociated", &text));
    let run = run(&cloud, &me, &BRIEFLY);
    assert_eq!(ended(&run), (0, "claimed".to_owned()), "{run:#?}");
    assert_eq!(sent(&cloud), FENCE);
    assert_eq!(holder_of(&cloud, &address), Some(me));
}

#[test]
fn a_disassociation_that_is_never_answered_leaves_the_address_in_doubt_and_says_so() {
    let rows = [
        ("no answer", Fault::Hang),
        ("reset", Fault::Reset),
        ("500", answer(500, "InternalError", "An internal error has occurred")),
    ];
    each(rows, |(row, fault)| {
        let Succession { cloud, address, holder, me, .. } = succession(Options::default());
        cloud.fault("DisassociateAddress", Calls::All, fault);
        let run = run(&cloud, &me, &BRIEFLY);
        assert_eq!(ended(&run), (75, "failed".to_owned()), "{row}: {run:#?}");
        assert_eq!(holder_of(&cloud, &address), Some(holder), "{row}");
        assert!(run.error("message").contains("may be unassociated"), "{row}: {run:#?}");
        // The repair is safe where there is nothing to repair.
        assert!(run.error("remedy").contains("--no-allow-reassociation"), "{row}: {run:#?}");
    });
}

#[test]
fn on_a_young_instance_a_denial_after_the_disassociation_is_waited_out() {
    let Succession { cloud, address, .. } = succession(Options::default());
    let me = cloud.launch(Launch { launched: None, ..launch(OLD) });
    let denied = answer(403, "UnauthorizedOperation", "You are not authorized to perform this operation.");
    cloud.fault("AssociateAddress", Calls::Range(2..=3), denied);
    run(&cloud, &me, &CLAIM).expect(0, "claimed");
    assert_eq!(sent(&cloud), [&FENCE[..5], &["AssociateAddress"; 2], &FENCE[5..]].concat());
    assert_eq!(holder_of(&cloud, &address), Some(me));
}

#[test]
fn credentials_that_expire_after_the_disassociation_are_fetched_anew_and_the_address_ends_here() {
    let Succession { cloud, address, me, .. } = succession(Options::default());
    cloud.fault("AssociateAddress", FIRST_ASSOCIATION, answer(400, "RequestExpired", "Request has expired."));
    run(&cloud, &me, &CLAIM).expect(0, "claimed");
    assert_eq!((disassociations(&cloud).len(), associations(&cloud).len()), (1, 2), "{:?}", sent(&cloud));
    assert_eq!(holder_of(&cloud, &address), Some(me));
}

#[test]
fn a_disassociation_whose_answer_is_lost_is_repeated_only_if_it_was_not_done() {
    let rows = [
        ("done, no answer", Fault::CommitThenHang, 1),
        ("done, reset", Fault::CommitThenReset, 1),
        ("done, 500", Fault::CommitThenError { status: 500, code: "InternalError".into(), message: "?".into() }, 1),
        ("done, half an answer", Fault::Truncate, 1),
        ("no answer", Fault::Hang, 2),
        ("reset", Fault::Reset, 2),
        ("500", answer(500, "InternalError", "?"), 2),
    ];
    let all = rows.into_iter().flat_map(|row| [(row.clone(), false), (row, true)]);
    each(all, |((row, fault, times), stale_association_not_found)| {
        let options = Options { stale_association_not_found, ..Options::default() };
        let Succession { cloud, address, me, judged, .. } = succession(options);
        let options = ["--tag=asg=test", "--timeout=40s", patience(&fault)];
        cloud.fault("DisassociateAddress", Calls::Nth(1), fault);
        let run = run(&cloud, &me, &options);
        assert_eq!(ended(&run), (0, "claimed".to_owned()), "{row}: {run:#?}");
        assert_eq!(holder_of(&cloud, &address), Some(me), "{row}");
        let ended = disassociations(&cloud);
        assert_eq!(ended.len(), times, "{row}: {:?}", sent(&cloud));
        assert!(ended.iter().all(|r| r.params["AssociationId"] == judged), "{row}: {ended:#?}");
        assert_eq!(associations(&cloud).len(), times, "{row}: {:?}", sent(&cloud));
    });
}

#[test]
fn a_throttled_disassociation_is_repeated_after_another_look() {
    let Succession { cloud, address, me, .. } = succession(Options::default());
    cloud.fault("DisassociateAddress", Calls::Nth(1), answer(503, "RequestLimitExceeded", "Request limit exceeded."));
    run(&cloud, &me, &CLAIM).expect(0, "claimed");
    assert_eq!(holder_of(&cloud, &address), Some(me));
    let throttled = &FENCE[..5];
    assert_eq!(sent(&cloud), [throttled, FENCE].concat());
}

#[test]
fn after_the_disassociation_the_association_is_retried_before_anything_else() {
    let rows = [
        ("reset", Fault::Reset),
        ("closed", Fault::Close),
        ("no answer", Fault::Hang),
        ("500", answer(500, "InternalError", "An internal error has occurred")),
        ("503", answer(503, "Unavailable", "The server is overloaded and can't handle the request.")),
        ("throttled", answer(503, "RequestLimitExceeded", "Request limit exceeded.")),
        ("not yet", answer(400, "InvalidInstanceID", "The pending instance 'i-1' is not in a valid state")),
    ];
    each(rows, |(row, fault)| {
        let Succession { cloud, address, me, .. } = succession(Options::default());
        let options = ["--tag=asg=test", "--timeout=40s", patience(&fault)];
        cloud.fault("AssociateAddress", Calls::Range(2..=3), fault);
        let run = run(&cloud, &me, &options);
        assert_eq!(ended(&run), (0, "claimed".to_owned()), "{row}: {run:#?}");
        assert_eq!(holder_of(&cloud, &address), Some(me), "{row}");
        assert_eq!(sent(&cloud), [&FENCE[..5], &["AssociateAddress"; 2], &FENCE[5..]].concat(), "{row}");
    });
}

#[test]
fn an_association_in_the_fence_whose_answer_is_lost_is_the_end_of_it() {
    let error = Fault::CommitThenError { status: 500, code: "InternalError".into(), message: "?".into() };
    let rows = [
        ("done, no answer", Fault::CommitThenHang),
        ("done, reset", Fault::CommitThenReset),
        ("done, half an answer", Fault::Truncate),
        ("done, 500", error),
    ];
    each(rows, |(row, fault)| {
        let Succession { cloud, address, holder, me, .. } = succession(Options::default());
        let options = ["--tag=asg=test", "--timeout=40s", patience(&fault)];
        cloud.fault("AssociateAddress", FIRST_ASSOCIATION, fault);
        let run = run(&cloud, &me, &options);
        assert_eq!(ended(&run), (0, "claimed".to_owned()), "{row}: {run:#?}");
        assert_eq!(run.json()["previous_holder"]["instance_id"], holder.as_str(), "{row}");
        assert_eq!(holder_of(&cloud, &address), Some(me.clone()), "{row}");
        assert_eq!(disassociations(&cloud).len(), 1, "{row}: {:?}", sent(&cloud));
        let moves = cloud.history().iter().filter(|e| e.by.as_ref() == Some(&me) && !e.remap && e.to.is_some()).count();
        assert_eq!(moves, 1, "{row}: {:#?}", cloud.history());
    });
}

#[test]
fn an_association_in_the_fence_that_goes_unanswered_is_found_by_a_look_before_it_times_out() {
    let Succession { cloud, address, me, .. } = succession(Options::default());
    cloud.fault("AssociateAddress", FIRST_ASSOCIATION, Fault::CommitThenHang);
    let run = run(&cloud, &me, &["--tag=asg=test", "--timeout=50s", "--attempt-timeout=15s"]);
    run.expect(0, "claimed");
    assert!(run.took < Duration::from_secs(12), "{:?}", run.took);
    assert_eq!((writes(&cloud).len(), holder_of(&cloud, &address)), (2, Some(me)));
}

/// Under another name, since `holder` is a part of every succession here.
fn holder_of(cloud: &Cloud, address: &Allocation) -> Option<String> {
    holder(cloud, address)
}
