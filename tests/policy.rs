//! The takeover policies, each on one matching address: from whom it is taken, how, and with whom it is left.

use std::thread::{scope, sleep};
use std::time::{Duration, SystemTime};

use fakecloud::{Allocation, Cloud, InstanceState, Options};
use serde_json::{Value, json};

use crate::harness::{OLD, assert_no_writes, holder, launch, one_of_each, sent, writes};
use crate::requests::{FENCE, FREE, HASTY, PATIENT, claim, filters, held_since, params, these, wait_for};

const POLICIES: [&str; 3] = ["successor", "never", "always"];
/// Launched before the instance that claims, which is as old as `OLD`.
const OLDER: Duration = Duration::from_secs(2 * 60 * 60);
/// Launched after it.
const NEWER: Duration = Duration::from_secs(10 * 60);

/// A cloud with one address, held by an instance that was launched `ago`, and an instance that claims.
fn held(ago: Duration) -> (Cloud, Allocation, String, String) {
    let (cloud, address, instance) = one_of_each();
    let holder = held_since(&cloud, &address, ago);
    (cloud, address, holder, instance)
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

#[test]
fn under_every_policy_a_free_address_is_associated_with_one_write() {
    for (policy, reassociation) in [("successor", "false"), ("never", "false"), ("always", "true")] {
        let (cloud, address, instance) = one_of_each();
        let run = claim(&cloud, &instance, PATIENT, &["--tag=asg", "--takeover", policy]);
        let result = run.expect(0, "claimed");
        assert_eq!(result["previous_holder"], Value::Null, "{policy}");
        assert_eq!(holder(&cloud, &address), Some(instance.clone()), "{policy}");
        assert_eq!(sent(&cloud), FREE, "{policy}");
        let write = &writes(&cloud)[0];
        let expected = [
            ("AllocationId", address.allocation_id.as_str()),
            ("AllowReassociation", reassociation),
            ("InstanceId", instance.as_str()),
        ];
        assert_eq!(params(write), expected, "{policy}");
    }
}

#[test]
fn under_every_policy_an_address_that_is_ours_costs_one_read_and_no_write() {
    for policy in POLICIES {
        let (cloud, address, instance) = one_of_each();
        cloud.associate(&address.allocation_id, &instance);
        let truth = cloud.holder(&address.allocation_id).expect("it is held");
        let run = claim(&cloud, &instance, PATIENT, &["--tag=asg", "--takeover", policy]);
        let result = run.expect(0, "already_held");
        assert_eq!(sent(&cloud), ["DescribeAddresses"], "{policy}");
        assert_eq!(result["association_id"], truth.association_id, "{policy}");
        assert_eq!(result["verified_by"], json!(["api"]), "{policy}");
        assert_eq!(cloud.holder(&address.allocation_id), Some(truth), "{policy}");
    }
}

#[test]
fn a_successor_takes_the_address_of_an_older_live_holder_behind_the_fence() {
    for state in [InstanceState::Running, InstanceState::Pending] {
        let (cloud, address, older, instance) = held(OLDER);
        cloud.set_state(&older, state);
        let judged = cloud.holder(&address.allocation_id).expect("it is held").association_id;
        claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
        assert_eq!(holder(&cloud, &address), Some(instance.clone()));
        assert_eq!(sent(&cloud), FENCE, "{state:?}");
        let mut both = [older.as_str(), instance.as_str()];
        both.sort_unstable();
        assert_eq!(filters(&cloud.requests("DescribeInstances")[0]), these(&[("instance-id", &both)]), "{state:?}");
        let written = writes(&cloud);
        assert_eq!(params(&written[0]), [("AssociationId", judged.as_str())], "{state:?}");
        let expected = [
            ("AllocationId", address.allocation_id.as_str()),
            ("AllowReassociation", "false"),
            ("InstanceId", instance.as_str()),
        ];
        assert_eq!(params(&written[1]), expected, "{state:?}");
    }
}

#[test]
fn before_the_fence_the_target_is_looked_at_and_the_very_same_association_is_tried_out() {
    let (cloud, _, _, instance) = held(OLDER);
    claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
    let interface = cloud.interfaces(&instance)[0].interface_id.clone();
    let on_target = these(&[("network-interface-id", &[&interface])]);
    assert_eq!(filters(&cloud.requests("DescribeAddresses")[1]), on_target);
    let associations = cloud.requests("AssociateAddress");
    let (trial, real) = (params(&associations[0]), params(&associations[1]));
    let without = |p: &[(&str, &str)]| {
        p.iter().filter(|(name, _)| *name != "DryRun").map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>()
    };
    assert_eq!(without(&trial), without(&real));
    assert!(trial.contains(&("DryRun", "true")), "{trial:?}");
}

#[test]
fn a_successor_yields_to_a_live_holder_that_was_launched_later() {
    for state in [InstanceState::Running, InstanceState::Pending] {
        let (cloud, address, newer, instance) = held(NEWER);
        cloud.set_state(&newer, state);
        let run = claim(&cloud, &instance, PATIENT, &["--tag=asg"]);
        let result = run.expect(69, "yielded");
        assert_eq!(sent(&cloud), ["DescribeAddresses", "DescribeInstances"], "{state:?}");
        assert_eq!(holder(&cloud, &address), Some(newer.clone()), "{state:?}");
        let launched = rfc3339(cloud.launch_time(&newer));
        let expected = json!({"instance_id": newer, "state": state.name(), "launch_time": launched});
        assert_eq!(result["previous_holder"], expected, "{state:?}");
        assert_eq!(result["association_id"], Value::Null, "{state:?}");
        assert_eq!(result["verified_by"], json!([]), "{state:?}");
        assert!(run.error("message").contains(&newer), "{state:?}: {}", run.error("message"));
        assert!(run.error("remedy").contains("--takeover=always"), "{state:?}: {}", run.error("remedy"));
    }
}

#[test]
fn a_successor_takes_the_address_of_a_holder_that_is_gone_however_late_it_was_launched() {
    use InstanceState::{ShuttingDown, Stopped, Stopping, Terminated};
    for state in [Stopping, Stopped, ShuttingDown, Terminated] {
        let (cloud, address, newer, instance) = held(NEWER);
        cloud.set_state(&newer, state);
        // A terminated instance has let go by itself; there is a moment before that.
        cloud.associate(&address.allocation_id, &newer);
        let run = claim(&cloud, &instance, PATIENT, &["--tag=asg"]);
        assert_eq!(run.expect(0, "claimed")["previous_holder"]["state"], state.name());
        assert_eq!(holder(&cloud, &address), Some(instance), "{state:?}");
        assert_eq!(sent(&cloud), FENCE, "{state:?}");
    }
}

#[test]
fn equal_launch_times_are_ordered_by_instance_id() {
    for (claims_greater, exit, outcome) in [(true, 0, "claimed"), (false, 69, "yielded")] {
        let (cloud, address, instance) = one_of_each();
        let other = cloud.launch(launch(OLD));
        let time = SystemTime::now() - OLD;
        [&instance, &other].into_iter().for_each(|id| cloud.set_launch_time(id, time));
        let (greater, lesser) = if instance > other { (instance, other) } else { (other, instance) };
        let (claims, holds) = if claims_greater { (&greater, &lesser) } else { (&lesser, &greater) };
        cloud.associate(&address.allocation_id, holds);
        claim(&cloud, claims, PATIENT, &["--tag=asg"]).expect(exit, outcome);
        assert_eq!(holder(&cloud, &address).as_ref(), Some(&greater), "{outcome}");
        assert_eq!(writes(&cloud).len(), if claims_greater { 2 } else { 0 }, "{outcome}");
    }
}

#[test]
fn a_holder_that_ec2_does_not_know_yet_is_not_gone_and_keeps_the_address() {
    let (cloud, address, newest, instance) = held(NEWER);
    cloud.set_new_instance_hidden_for(Duration::from_secs(60 * 60));
    let run = claim(&cloud, &instance, HASTY, &["--tag=asg"]);
    let result = run.expect(69, "yielded");
    assert_eq!(run.error("code"), "UnknownHolder");
    assert!(run.error("message").contains(&newest), "{}", run.error("message"));
    assert_eq!(result["previous_holder"]["instance_id"], newest.as_str());
    assert!(result["previous_holder"]["state"].is_null(), "{result}");
    assert!(cloud.requests("DescribeInstances").len() > 1, "it waits until EC2 knows");
    assert_no_writes(&cloud);
    assert_eq!(holder(&cloud, &address), Some(newest));
}

#[test]
fn a_holder_is_judged_as_soon_as_ec2_knows_it() {
    for (ago, exit, outcome) in [(OLDER, 0, "claimed"), (NEWER, 69, "yielded")] {
        let cloud = Cloud::start(Options { new_instance_hidden_for: Duration::from_secs(2), ..Options::default() });
        let address = cloud.allocate(&[("asg", "test")]);
        let instance = cloud.launch(launch(OLD));
        held_since(&cloud, &address, ago);
        claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(exit, outcome);
        assert!(cloud.requests("DescribeInstances").len() > 1, "{outcome}");
        assert_eq!(holder(&cloud, &address) == Some(instance), exit == 0, "{outcome}");
        assert_eq!(writes(&cloud).len(), if exit == 0 { 2 } else { 0 }, "{outcome}");
    }
}

#[test]
fn an_instance_that_was_stopped_and_started_is_the_newest() {
    let (cloud, address, newer, instance) = held(NEWER);
    cloud.stop(&instance);
    cloud.start_again(&instance);
    let run = claim(&cloud, &instance, PATIENT, &["--tag=asg"]);
    assert_eq!(run.expect(0, "claimed")["previous_holder"]["instance_id"], newer);
    assert_eq!(holder(&cloud, &address), Some(instance.clone()));
    cloud.clear_log();
    claim(&cloud, &newer, PATIENT, &["--tag=asg"]).expect(69, "yielded");
    assert_no_writes(&cloud);
    assert_eq!(holder(&cloud, &address), Some(instance));
}

#[test]
fn an_older_instance_that_was_rebooted_does_not_steal_the_address_back() {
    let (cloud, address, older, instance) = held(OLDER);
    claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
    cloud.reboot(&older);
    cloud.clear_log();
    claim(&cloud, &older, PATIENT, &["--tag=asg"]).expect(69, "yielded");
    assert_no_writes(&cloud);
    assert_eq!(holder(&cloud, &address), Some(instance));
}

#[test]
fn never_takes_from_nobody_not_even_from_one_that_is_gone() {
    for state in [InstanceState::Running, InstanceState::Stopped] {
        let (cloud, address, older, instance) = held(OLDER);
        cloud.set_state(&older, state);
        let run = claim(&cloud, &instance, HASTY, &["--tag=asg", "--takeover=never"]);
        run.expect(75, "failed");
        assert!(run.error("message").contains(&older), "{state:?}: {}", run.error("message"));
        assert!(run.took >= Duration::from_secs(2), "{state:?}: it waits: {:?}", run.took);
        assert_no_writes(&cloud);
        assert_eq!(cloud.requests("DescribeInstances").len(), 0, "{state:?}: no holder matters");
        assert_eq!(holder(&cloud, &address), Some(older), "{state:?}");
    }
}

#[test]
fn never_waits_for_a_free_address_and_takes_it_when_it_is_released() {
    let (cloud, address, _, instance) = held(OLDER);
    scope(|scope| {
        scope.spawn(|| {
            wait_for(&cloud, "DescribeAddresses", 3);
            cloud.disassociate(&address.allocation_id);
        });
        let run = claim(&cloud, &instance, PATIENT, &["--tag=asg", "--takeover=never"]);
        let result = run.expect(0, "claimed");
        assert!(result["attempts"].as_u64() >= Some(4), "{result}");
        assert_eq!(result["previous_holder"], Value::Null);
    });
    assert_eq!(holder(&cloud, &address), Some(instance));
    let written = writes(&cloud);
    assert_eq!(written.len(), 1, "{written:#?}");
    assert!(params(&written[0]).contains(&("AllowReassociation", "false")), "{written:#?}");
}

#[test]
fn always_with_an_allocation_id_is_one_write_with_no_read_before_it() {
    type Before = fn(&Cloud, &Allocation);
    let cases: [(&str, Before); 4] = [
        ("free", |_, _| ()),
        ("older", |cloud, address| drop(held_since(cloud, address, OLDER))),
        ("newer", |cloud, address| drop(held_since(cloud, address, NEWER))),
        ("stopped", |cloud, address| cloud.stop(&held_since(cloud, address, NEWER))),
    ];
    for (name, before) in cases {
        let (cloud, address, instance) = one_of_each();
        before(&cloud, &address);
        let id = format!("--allocation-id={}", address.allocation_id);
        let run = claim(&cloud, &instance, PATIENT, &[&id, "--takeover=always"]);
        let result = run.expect(0, "claimed");
        assert_eq!(holder(&cloud, &address), Some(instance.clone()), "{name}");
        assert_eq!(sent(&cloud), ["AssociateAddress", "DescribeAddresses"], "{name}");
        let expected = [
            ("AllocationId", address.allocation_id.as_str()),
            ("AllowReassociation", "true"),
            ("InstanceId", instance.as_str()),
        ];
        assert_eq!(params(&writes(&cloud)[0]), expected, "{name}");
        assert_eq!(result["verified_by"], json!(["api"]), "{name}");
        assert_eq!(result["public_ip"], address.public_ip.to_string(), "{name}");
    }
}

#[test]
fn always_with_a_tag_looks_at_the_address_and_never_at_its_holder() {
    for ago in [OLDER, NEWER] {
        let (cloud, address, loser, instance) = held(ago);
        let run = claim(&cloud, &instance, PATIENT, &["--tag=asg", "--takeover=always"]);
        let previous = json!({"instance_id": loser, "state": null, "launch_time": null});
        assert_eq!(run.expect(0, "claimed")["previous_holder"], previous, "{ago:?}");
        assert_eq!(holder(&cloud, &address), Some(instance), "{ago:?}");
        assert_eq!(sent(&cloud), FREE, "{ago:?}");
        assert!(params(&writes(&cloud)[0]).contains(&("AllowReassociation", "true")), "{ago:?}");
    }
}

#[test]
fn always_with_a_bare_interface_unseen_is_refused_once_and_not_tried_again() {
    let (cloud, address, instance) = one_of_each();
    cloud.associate_bare_interface(&address.allocation_id);
    let before = cloud.holder(&address.allocation_id);
    let id = format!("--allocation-id={}", address.allocation_id);
    let run = claim(&cloud, &instance, PATIENT, &[&id, "--takeover=always"]);
    run.expect(69, "failed");
    assert!(run.took < Duration::from_secs(15), "there is nothing to wait for: {:?}", run.took);
    assert_eq!(writes(&cloud).len(), 1, "{:#?}", sent(&cloud));
    assert_eq!(cloud.holder(&address.allocation_id), before);
}

#[test]
fn the_result_of_a_takeover_tells_the_truth_in_every_field() {
    let (cloud, address, older, instance) = held(OLDER);
    let run = claim(&cloud, &instance, PATIENT, &["--tag=asg"]);
    let mut result = run.expect(0, "claimed");
    let now = cloud.holder(&address.allocation_id).expect("it is held");
    let elapsed = result["elapsed_ms"].take().as_u64().expect("a number");
    assert!((1..=run.took.as_millis() as u64).contains(&elapsed), "{elapsed} ms of {:?}", run.took);
    let expected = json!({
        "outcome": "claimed",
        "public_ip": address.public_ip.to_string(),
        "allocation_id": address.allocation_id,
        "association_id": now.association_id,
        "instance_id": instance,
        "network_interface_id": now.interface_id,
        "private_ip": now.private_ip.to_string(),
        "region": "ap-northeast-2",
        "availability_zone": "ap-northeast-2a",
        "previous_holder": {
            "instance_id": older,
            "state": "running",
            "launch_time": rfc3339(cloud.launch_time(&older)),
        },
        "verified_by": ["api"],
        "attempts": 1,
        "elapsed_ms": null,
        "error": null,
    });
    assert_eq!(result, expected);
}

#[test]
fn facts_that_are_not_known_are_null() {
    let cloud = Cloud::start(Options::default());
    let instance = cloud.launch(launch(OLD));
    let result = claim(&cloud, &instance, HASTY, &["--tag=asg"]).expect(78, "failed");
    for field in ["public_ip", "allocation_id", "association_id", "previous_holder"] {
        assert_eq!(result[field], Value::Null, "{field}: {result}");
    }
    assert_eq!(result["error"]["decoded"], Value::Null);
    assert_eq!(result["instance_id"], instance);
    assert!(result["attempts"].as_u64() > Some(1), "{result}");
}

#[test]
fn the_attempts_are_those_that_were_made() {
    let (cloud, address, _, instance) = held(OLDER);
    scope(|scope| {
        scope.spawn(|| {
            sleep(Duration::from_secs(1));
            cloud.disassociate(&address.allocation_id);
        });
        let result = claim(&cloud, &instance, PATIENT, &["--tag=asg", "--takeover=never"]).expect(0, "claimed");
        // Each attempt looked once, and the last one confirmed.
        assert_eq!(result["attempts"].as_u64(), Some(cloud.requests("DescribeAddresses").len() as u64 - 1));
    });
}
