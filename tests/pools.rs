//! Several matching addresses: which one, in which order, and never a live sibling's.

use std::collections::BTreeSet;
use std::thread::scope;
use std::time::Duration;

use fakecloud::{AddressRecord, Allocation, Calls, Cloud, Fault, InstanceState, Options};

use crate::harness::{OLD, assert_no_writes, each, finish, holder, launch, sent, start, writes};
use crate::requests::{FENCE, FREE, HASTY, PATIENT, claim, held_since, params, wait_for};

const OLDER: Duration = Duration::from_secs(2 * 60 * 60);

/// A cloud with `size` addresses and an instance that claims one of them.
fn pool(size: usize) -> (Cloud, Vec<Allocation>, String) {
    let cloud = Cloud::start(Options::default());
    let pool = (0..size).map(|_| cloud.allocate(&[("asg", "test")])).collect();
    let instance = cloud.launch(launch(OLD));
    (cloud, pool, instance)
}

/// Which of `size` free addresses the instance of [`pool`] tries first: the ids are the same in every cloud.
fn first_choice(size: usize) -> usize {
    let (cloud, pool, instance) = pool(size);
    claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
    let taken = |address: &Allocation| holder(&cloud, address).is_some();
    pool.iter().position(taken).expect("one of them is taken")
}

#[test]
fn this_instance_s_own_address_comes_first() {
    for own in 0..3 {
        for policy in ["successor", "never", "always"] {
            let (cloud, pool, instance) = pool(3);
            cloud.associate(&pool[own].allocation_id, &instance);
            let run = claim(&cloud, &instance, PATIENT, &["--tag=asg", "--takeover", policy]);
            let result = run.expect(0, "already_held");
            assert_eq!(result["allocation_id"], pool[own].allocation_id, "{own} {policy}");
            assert_eq!(sent(&cloud), ["DescribeAddresses"], "{own} {policy}");
        }
    }
}

#[test]
fn a_free_address_comes_before_held_ones_and_no_holder_is_looked_at() {
    for free in 0..3 {
        for policy in ["successor", "never", "always"] {
            let (cloud, pool, instance) = pool(3);
            let held: Vec<_> = pool.iter().enumerate().filter(|(n, _)| *n != free).map(|(_, a)| a).collect();
            let holders: Vec<_> = held.iter().map(|a| held_since(&cloud, a, OLDER)).collect();
            // One that is gone is no better than a free one.
            cloud.stop(&holders[0]);
            claim(&cloud, &instance, PATIENT, &["--tag=asg", "--takeover", policy]).expect(0, "claimed");
            assert_eq!(holder(&cloud, &pool[free]), Some(instance), "{free} {policy}");
            assert_eq!(sent(&cloud), FREE, "{free} {policy}");
            let write = &writes(&cloud)[0];
            assert!(params(write).contains(&("AllowReassociation", "false")), "{free} {policy}: {write:#?}");
            for (address, before) in held.iter().zip(holders) {
                assert_eq!(holder(&cloud, address), Some(before), "{free} {policy}");
            }
        }
    }
}

#[test]
fn the_address_of_a_holder_that_is_gone_is_taken_over() {
    use InstanceState::{ShuttingDown, Stopped, Stopping};
    for (gone, state) in [(0, Stopping), (1, Stopped), (2, ShuttingDown)] {
        let (cloud, pool, instance) = pool(3);
        let holders: Vec<_> = pool.iter().map(|a| held_since(&cloud, a, OLDER)).collect();
        cloud.set_state(&holders[gone], state);
        let result = claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
        assert_eq!(result["previous_holder"]["instance_id"], holders[gone], "{state:?}");
        for (n, address) in pool.iter().enumerate() {
            let expected = if n == gone { &instance } else { &holders[n] };
            assert_eq!(holder(&cloud, address).as_ref(), Some(expected), "{state:?} {n}");
        }
        let fence: Vec<_> = sent(&cloud).into_iter().filter(|call| call != "DescribeInstanceStatus").collect();
        assert_eq!(fence, FENCE, "{state:?}");
        for status in cloud.requests("DescribeInstanceStatus") {
            assert!(!status.params.values().any(|id| *id == holders[gone]), "{state:?}: {status:#?}");
        }
    }
}

#[test]
fn the_address_of_an_impaired_holder_is_taken_over() {
    let (cloud, pool, instance) = pool(3);
    let holders: Vec<_> = pool.iter().map(|a| held_since(&cloud, a, OLDER)).collect();
    cloud.set_impaired(&holders[1], true);
    let result = claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
    assert_eq!(result["previous_holder"]["instance_id"], holders[1]);
    assert_eq!(holder(&cloud, &pool[1]), Some(instance));
    assert_eq!(holder(&cloud, &pool[0]), Some(holders[0].clone()));
    assert_eq!(holder(&cloud, &pool[2]), Some(holders[2].clone()));
    let asked = &cloud.requests("DescribeInstanceStatus")[0];
    let mut ids: Vec<_> = params(asked).into_iter().map(|(_, id)| id.to_owned()).collect();
    let mut live = holders.clone();
    ids.sort_unstable();
    live.sort_unstable();
    assert_eq!(ids, live, "exactly the live holders are asked for");
}

#[test]
fn an_impaired_holder_of_the_only_match_is_judged_by_its_age_alone() {
    let (cloud, pool, instance) = pool(1);
    let newer = held_since(&cloud, &pool[0], Duration::from_secs(10 * 60));
    cloud.set_impaired(&newer, true);
    claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(69, "yielded");
    assert_eq!(sent(&cloud), ["DescribeAddresses", "DescribeInstances"]);
    assert_eq!(holder(&cloud, &pool[0]), Some(newer));
}

#[test]
fn a_live_sibling_is_never_displaced_merely_because_it_is_older() {
    each(["successor", "never", "always"], |policy| {
        let (cloud, pool, instance) = pool(2);
        let holders: Vec<_> = pool.iter().map(|a| held_since(&cloud, a, OLDER)).collect();
        let run = claim(&cloud, &instance, HASTY, &["--tag=asg", "--takeover", policy]);
        run.expect(75, "failed");
        assert!(run.took >= Duration::from_secs(2), "{policy}: a predecessor may be on its way out: {:?}", run.took);
        assert_no_writes(&cloud);
        assert_eq!(pool.iter().map(|a| holder(&cloud, a)).collect::<Option<Vec<_>>>(), Some(holders), "{policy}");
        assert!(run.error("message").contains("no address is free"), "{policy}: {}", run.error("message"));
        if policy != "successor" {
            assert_eq!(cloud.requests("DescribeInstances").len(), 0, "{policy}: no holder matters");
        }
    });
}

#[test]
fn an_address_that_is_released_meanwhile_is_taken() {
    for policy in ["successor", "never", "always"] {
        let (cloud, pool, instance) = pool(3);
        let holders: Vec<_> = pool.iter().map(|a| held_since(&cloud, a, OLDER)).collect();
        scope(|scope| {
            scope.spawn(|| {
                wait_for(&cloud, "DescribeAddresses", 2);
                cloud.terminate(&holders[2]);
            });
            claim(&cloud, &instance, PATIENT, &["--tag=asg", "--takeover", policy]).expect(0, "claimed");
        });
        assert_eq!(holder(&cloud, &pool[2]), Some(instance), "{policy}");
        assert_eq!(holder(&cloud, &pool[0]), Some(holders[0].clone()), "{policy}");
        assert_eq!(holder(&cloud, &pool[1]), Some(holders[1].clone()), "{policy}");
    }
}

#[test]
fn an_address_lost_to_another_claimer_is_not_tried_first_again() {
    let (cloud, pool, instance) = pool(4);
    let code = "Resource.AlreadyAssociated".to_owned();
    let message = format!(
        "resource {} is already associated with associate-id eipassoc-00000000000000001",
        pool[0].allocation_id
    );
    // Refused, though every address stays free: so nothing but memory keeps the claim from the same one.
    cloud.fault("AssociateAddress", Calls::First(3), Fault::Error { status: 400, code, message });
    claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
    let tried: Vec<_> = writes(&cloud).iter().map(|w| w.params["AllocationId"].clone()).collect();
    assert_eq!(tried.len(), 4, "{tried:?}");
    assert_eq!(BTreeSet::from_iter(&tried).len(), 4, "{tried:?}");
}

#[test]
fn an_address_lost_in_earnest_stays_with_the_winner() {
    let first = first_choice(2);
    let (cloud, pool, instance) = pool(2);
    let winner = cloud.launch(launch(OLDER));
    // What the look shows is over by the time its answer arrives.
    cloud.fault("DescribeAddresses", Calls::First(1), Fault::CommitThenDelay(Duration::from_secs(1)));
    scope(|scope| {
        scope.spawn(|| {
            wait_for(&cloud, "DescribeAddresses", 1);
            std::thread::sleep(Duration::from_millis(300));
            cloud.associate(&pool[first].allocation_id, &winner);
        });
        claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
    });
    assert_eq!(holder(&cloud, &pool[first]), Some(winner));
    assert_eq!(holder(&cloud, &pool[1 - first]), Some(instance));
    let codes: Vec<_> = writes(&cloud).into_iter().map(|w| w.error_code).collect();
    assert_eq!(codes, [Some("Resource.AlreadyAssociated".to_owned()), None]);
}

/// What makes EC2 refuse an address to every instance here.
type Spoil = fn(&mut AddressRecord);
const REFUSALS: [(&str, Spoil); 2] = [
    ("network border group", |address| address.network_border_group = "ap-northeast-2-wl1-sel-wlz1".to_owned()),
    ("another account's", |address| address.owner = "999999999999".to_owned()),
];

#[test]
fn after_an_address_that_ec2_refuses_the_next_one_is_taken() {
    let first = first_choice(2);
    for (name, spoil) in REFUSALS {
        let (cloud, pool, instance) = pool(2);
        cloud.edit_address(&pool[first].allocation_id, spoil);
        claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
        assert_eq!(holder(&cloud, &pool[1 - first]), Some(instance), "{name}");
        let tried: Vec<_> = writes(&cloud).iter().map(|w| w.params["AllocationId"].clone()).collect();
        assert_eq!(tried, [&pool[first].allocation_id, &pool[1 - first].allocation_id].map(String::clone), "{name}");
    }
}

#[test]
fn what_ec2_refuses_does_not_count_so_the_one_that_is_left_is_the_one_match() {
    for (name, spoil) in REFUSALS {
        let (cloud, pool, instance) = pool(2);
        cloud.edit_address(&pool[0].allocation_id, spoil);
        let older = held_since(&cloud, &pool[1], OLDER);
        let result = claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
        assert_eq!(result["previous_holder"]["instance_id"], older, "{name}");
        assert_eq!(holder(&cloud, &pool[1]), Some(instance), "{name}");
        let refused = writes(&cloud).iter().filter(|w| w.error_code.is_some()).count();
        assert_eq!((refused, writes(&cloud).len()), (1, 3), "{name}: {:?}", sent(&cloud));
        assert_eq!(cloud.requests("DescribeInstanceStatus").len(), 0, "{name}: it is no pool any more");
    }
}

#[test]
fn when_ec2_refuses_all_of_them_each_is_tried_once_and_there_is_nothing_to_wait_for() {
    for (name, spoil) in REFUSALS {
        for size in [1, 2] {
            let (cloud, pool, instance) = pool(size);
            pool.iter().for_each(|address| cloud.edit_address(&address.allocation_id, spoil));
            let run = claim(&cloud, &instance, PATIENT, &["--tag=asg"]);
            run.expect(69, "failed");
            assert_eq!(writes(&cloud).len(), size, "{name} {size}");
            assert!(run.took < Duration::from_secs(15), "{name} {size}: {:?}", run.took);
            let last = &writes(&cloud)[size - 1].params["AllocationId"];
            assert!(run.error("message").contains(last), "{name} {size}: {}", run.error("message"));
            assert_eq!(run.json()["allocation_id"], *last, "{name} {size}");
        }
    }
}

#[test]
fn twenty_instances_that_boot_at_once_share_twenty_addresses() {
    let cloud = Cloud::start(Options::default());
    let pool: Vec<_> = (0..20).map(|_| cloud.allocate(&[("asg", "test")])).collect();
    let instances: Vec<_> = (0..20).map(|_| cloud.launch(launch(OLD))).collect();
    let started: Vec<_> = instances.iter().map(|id| start(&cloud, id, &["--tag=asg", "--timeout=45s"])).collect();
    for (id, child) in instances.iter().zip(started) {
        assert_eq!(finish(child).expect(0, "claimed")["instance_id"], *id);
    }
    let holders: BTreeSet<_> = pool.iter().filter_map(|address| holder(&cloud, address)).collect();
    assert_eq!(holders, BTreeSet::from_iter(instances), "all have one, so all are distinct");
    for write in writes(&cloud) {
        assert!(params(&write).contains(&("AllowReassociation", "false")), "{write:#?}");
    }
    assert_eq!(cloud.history().len(), 20, "nobody lost what it had: {:#?}", cloud.history());
}

#[test]
fn an_address_of_the_pool_that_is_here_before_reads_show_it_is_not_taken_for_somebody_else_s() {
    let (cloud, pool, instance) = pool(2);
    for address in &pool {
        cloud.stop(&held_since(&cloud, address, OLDER));
    }
    // The look is early enough to show the holder that was, and the look at the target late enough to show this one.
    cloud.set_read_lag(Duration::from_millis(500));
    cloud.set_latency(Duration::from_millis(200));
    let (first, second) = (&pool[first_choice(2)], &pool[1 - first_choice(2)]);
    cloud.associate(&second.allocation_id, &instance);
    let run = claim(&cloud, &instance, PATIENT, &["--tag=asg"]);
    run.expect(0, "already_held");
    assert!(sent(&cloud).contains(&"DescribeInstances".to_owned()), "the look was too late: {:?}", sent(&cloud));
    assert!(run.stderr.contains("HeldAlready"), "{run:#?}");
    assert_no_writes(&cloud);
    assert_ne!(holder(&cloud, first), Some(instance), "{run:#?}");
}
