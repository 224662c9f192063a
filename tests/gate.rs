//! The gate: what Auto Scaling wants this instance to be decides whether it claims at all.

use std::thread::{scope, sleep};
use std::time::Duration;

use fakecloud::{Calls, Cloud, Fault, Launch, Service, tags};

use crate::harness::{OLD, assert_no_writes, each, holder, launch, one_of_each, sent, writes};
use crate::requests::{FENCE, FREE, HASTY, PATIENT, claim, held_since, params, wait_for};

const STATE: &str = "GET /latest/meta-data/autoscaling/target-lifecycle-state";
const POLICIES: [&str; 3] = ["successor", "never", "always"];

/// A cloud with one address, held by a live older instance, and an instance that Auto Scaling wants to be `target`.
fn held(target: Option<&str>) -> (Cloud, fakecloud::Allocation, String, String) {
    let (cloud, address, instance) = one_of_each();
    let older = held_since(&cloud, &address, 2 * OLD);
    cloud.set_lifecycle(&instance, target);
    (cloud, address, older, instance)
}

/// An instance of a group that has not said yet what it wants it to be.
fn undecided() -> Launch {
    Launch { lifecycle: None, tags: tags(&[("asg", "test"), ("aws:autoscaling:groupName", "web")]), ..launch(OLD) }
}

#[test]
fn an_instance_that_shall_not_serve_is_skipped_without_a_call_to_aws() {
    for state in ["Standby", "Terminated", "Warmed:Stopped", "Warmed:Running", "Warmed:Hibernated", "Warmed:Terminated"]
    {
        for policy in POLICIES {
            let (cloud, address, instance) = one_of_each();
            cloud.set_lifecycle(&instance, Some(state));
            let run = claim(&cloud, &instance, HASTY, &["--tag=asg", "--takeover", policy]);
            let result = run.expect(0, "skipped");
            assert!(result["error"].is_null() && result["public_ip"].is_null(), "{state} {policy}: {result}");
            let called: Vec<_> = cloud.log().into_iter().filter(|r| r.service != Service::Imds).collect();
            assert_eq!(called.len(), 0, "{state} {policy}: {called:#?}");
            assert_eq!(holder(&cloud, &address), None, "{state} {policy}");
        }
    }
}

#[test]
fn a_skipped_instance_keeps_what_it_has() {
    let (cloud, address, instance) = one_of_each();
    cloud.associate(&address.allocation_id, &instance);
    cloud.set_lifecycle(&instance, Some("Standby"));
    claim(&cloud, &instance, HASTY, &["--tag=asg"]).expect(0, "skipped");
    assert_eq!(sent(&cloud).len(), 0, "{:?}", sent(&cloud));
    assert_eq!(holder(&cloud, &address), Some(instance));
}

#[test]
fn an_instance_in_service_or_outside_a_group_claims_what_is_free_and_what_is_held() {
    for state in [Some("InService"), None] {
        let (cloud, address, instance) = one_of_each();
        cloud.set_lifecycle(&instance, state);
        claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
        assert_eq!(holder(&cloud, &address), Some(instance), "{state:?}");
        assert_eq!(sent(&cloud), FREE, "{state:?}");

        let (cloud, address, _, instance) = held(state);
        claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
        assert_eq!(holder(&cloud, &address), Some(instance), "{state:?}");
        assert_eq!(sent(&cloud), FENCE, "{state:?}");
    }
}

#[test]
fn a_detached_instance_or_one_in_an_unknown_state_takes_a_free_address() {
    for state in ["Detached", "SomethingNew"] {
        for policy in POLICIES {
            let (cloud, address, instance) = one_of_each();
            cloud.set_lifecycle(&instance, Some(state));
            claim(&cloud, &instance, PATIENT, &["--tag=asg", "--takeover", policy]).expect(0, "claimed");
            assert_eq!(holder(&cloud, &address), Some(instance), "{state} {policy}");
            let written = writes(&cloud);
            assert_eq!(written.len(), 1, "{state} {policy}");
            let refuses = params(&written[0]).contains(&("AllowReassociation", "false"));
            assert!(refuses, "{state} {policy}: whoever has it by now keeps it: {written:#?}");
        }
    }
}

#[test]
fn a_detached_instance_or_one_in_an_unknown_state_never_takes_a_held_address() {
    let rows = ["Detached", "SomethingNew"].into_iter().flat_map(|state| POLICIES.map(|policy| (state, policy)));
    each(rows, |(state, policy)| {
        let (cloud, address, older, instance) = held(Some(state));
        let run = claim(&cloud, &instance, HASTY, &["--tag=asg", "--takeover", policy]);
        run.expect(75, "failed");
        assert_no_writes(&cloud);
        assert_eq!(holder(&cloud, &address), Some(older), "{state} {policy}");
    });
}

#[test]
fn a_detached_instance_that_claims_unseen_is_refused_by_ec2_itself() {
    let (cloud, address, older, instance) = held(Some("Detached"));
    let id = format!("--allocation-id={}", address.allocation_id);
    claim(&cloud, &instance, HASTY, &[&id, "--takeover=always"]).expect(75, "failed");
    assert_eq!(holder(&cloud, &address), Some(older));
    assert!(!writes(&cloud).is_empty());
    for write in writes(&cloud) {
        assert!(params(&write).contains(&("AllowReassociation", "false")), "{write:#?}");
    }
}

#[test]
fn a_detached_instance_keeps_what_it_has_without_a_write() {
    let (cloud, address, instance) = one_of_each();
    cloud.associate(&address.allocation_id, &instance);
    cloud.set_lifecycle(&instance, Some("Detached"));
    claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "already_held");
    assert_eq!(sent(&cloud), ["DescribeAddresses"]);
}

#[test]
fn while_the_group_has_not_said_a_free_address_is_taken_at_once() {
    let (cloud, address, _) = one_of_each();
    let instance = cloud.launch(undecided());
    let run = claim(&cloud, &instance, PATIENT, &["--tag=asg"]);
    run.expect(0, "claimed");
    assert_eq!(holder(&cloud, &address), Some(instance));
    assert_eq!(sent(&cloud), FREE);
    assert!(run.took < Duration::from_secs(15), "{:?}", run.took);
}

#[test]
fn while_the_group_has_not_said_a_held_address_is_left_where_it_is() {
    let (cloud, address, _) = one_of_each();
    let older = held_since(&cloud, &address, 2 * OLD);
    let instance = cloud.launch(undecided());
    claim(&cloud, &instance, HASTY, &["--tag=asg"]).expect(75, "failed");
    assert_no_writes(&cloud);
    assert_eq!(holder(&cloud, &address), Some(older));
    assert!(cloud.requests(STATE).len() > 1, "the state is read again");
}

#[test]
fn where_the_metadata_shows_no_tags_ec2_tells_that_a_group_made_the_instance() {
    let (cloud, address, _) = one_of_each();
    let older = held_since(&cloud, &address, 2 * OLD);
    let instance = cloud.launch(Launch { tags_in_metadata: false, ..undecided() });
    claim(&cloud, &instance, HASTY, &["--tag=asg=test"]).expect(75, "failed");
    assert_no_writes(&cloud);
    assert_eq!(holder(&cloud, &address), Some(older));
}

#[test]
fn a_held_address_is_taken_once_the_group_has_said_so() {
    let (cloud, address, _) = one_of_each();
    held_since(&cloud, &address, 2 * OLD);
    let instance = cloud.launch(undecided());
    let said = scope(|scope| {
        let said = scope.spawn(|| {
            sleep(Duration::from_secs(2));
            let said = cloud.elapsed();
            cloud.set_lifecycle(&instance, Some("InService"));
            said
        });
        claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
        said.join().expect("no panic")
    });
    assert_eq!(holder(&cloud, &address), Some(instance));
    assert!(writes(&cloud)[0].at >= said, "{said:?}: {:#?}", writes(&cloud));
    assert_eq!(writes(&cloud).len(), 2);
}

#[test]
fn a_group_that_decides_against_the_instance_while_it_waits_ends_the_claim() {
    let (cloud, address, _) = one_of_each();
    let older = held_since(&cloud, &address, 2 * OLD);
    let instance = cloud.launch(undecided());
    scope(|scope| {
        scope.spawn(|| {
            wait_for(&cloud, "DescribeAddresses", 1);
            cloud.set_lifecycle(&instance, Some("Warmed:Stopped"));
        });
        claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "skipped");
    });
    assert_no_writes(&cloud);
    assert_eq!(holder(&cloud, &address), Some(older));
}

#[test]
fn a_state_that_changes_between_look_and_write_ends_the_claim_without_a_write() {
    for policy in POLICIES {
        let (cloud, address, instance) = one_of_each();
        cloud.fault("DescribeAddresses", Calls::First(1), Fault::Delay(Duration::from_secs(1)));
        scope(|scope| {
            scope.spawn(|| {
                wait_for(&cloud, "DescribeAddresses", 1);
                cloud.set_lifecycle(&instance, Some("Standby"));
            });
            claim(&cloud, &instance, PATIENT, &["--tag=asg", "--takeover", policy]).expect(0, "skipped");
        });
        assert_no_writes(&cloud);
        assert_eq!(holder(&cloud, &address), None, "{policy}");
        assert_eq!(sent(&cloud), ["DescribeAddresses"], "{policy}");
    }
}

#[test]
fn a_state_that_changes_while_a_takeover_is_prepared_ends_it_without_a_write() {
    for (last_read, nth) in [("DescribeInstances", 1), ("DescribeAddresses", 2), ("AssociateAddress", 1)] {
        let (cloud, address, older, instance) = held(Some("InService"));
        cloud.fault(last_read, Calls::Nth(nth), Fault::Delay(Duration::from_secs(1)));
        scope(|scope| {
            scope.spawn(|| {
                wait_for(&cloud, last_read, nth as usize);
                cloud.set_lifecycle(&instance, Some("Standby"));
            });
            claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "skipped");
        });
        assert_no_writes(&cloud);
        assert_eq!(holder(&cloud, &address), Some(older), "{last_read} {nth}");
    }
}

#[test]
fn an_instance_that_is_detached_between_look_and_takeover_takes_nothing() {
    let (cloud, address, older, instance) = held(Some("InService"));
    cloud.fault("DescribeInstances", Calls::First(1), Fault::Delay(Duration::from_secs(1)));
    scope(|scope| {
        scope.spawn(|| {
            wait_for(&cloud, "DescribeInstances", 1);
            cloud.set_lifecycle(&instance, Some("Detached"));
        });
        claim(&cloud, &instance, &["--timeout=5s", "--attempt-timeout=1500ms"], &["--tag=asg"]).expect(75, "failed");
    });
    assert_no_writes(&cloud);
    assert_eq!(holder(&cloud, &address), Some(older));
}

#[test]
fn a_state_that_changes_behind_the_fence_cuts_nobody_off_a_second_time() {
    for state in ["Standby", "Detached"] {
        let (cloud, address, older, instance) = held(Some("InService"));
        cloud.fault("DisassociateAddress", Calls::First(1), Fault::Reset);
        // After the trial: the one that says that the association is there yet.
        cloud.fault("AssociateAddress", Calls::Nth(2), Fault::Delay(Duration::from_secs(1)));
        let run = scope(|scope| {
            scope.spawn(|| {
                wait_for(&cloud, "AssociateAddress", 2);
                cloud.set_lifecycle(&instance, Some(state));
            });
            claim(&cloud, &instance, &["--timeout=6s", "--attempt-timeout=1500ms"], &["--tag=asg"])
        });
        run.expect(75, "failed");
        assert_eq!(cloud.requests("DisassociateAddress").len(), 1, "{state}: {:?}", sent(&cloud));
        assert_eq!(holder(&cloud, &address), Some(older), "{state}");
        // The first one may be under way yet.
        assert!(run.error("message").contains("may be unassociated"), "{state}: {run:#?}");
    }
}

#[test]
fn with_ignore_lifecycle_the_state_is_not_even_read() {
    for state in ["Standby", "Terminated", "Warmed:Running", "Detached"] {
        let (cloud, address, _, instance) = held(Some(state));
        claim(&cloud, &instance, PATIENT, &["--tag=asg", "--ignore-lifecycle"]).expect(0, "claimed");
        assert_eq!(holder(&cloud, &address), Some(instance), "{state}");
        assert_eq!(cloud.requests(STATE).len(), 0, "{state}");
        assert_eq!(sent(&cloud), FENCE, "{state}");
    }
}
