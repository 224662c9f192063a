//! What Auto Scaling is told after a claim: the launch hook and the health of the instance.

use std::process::Command;
use std::time::Duration;

use fakecloud::{Allocation, Calls, Cloud, Fault, Group, InstanceState, Launch, Options, Request, Service, tags};

use crate::harness::*;
use crate::requests::{HASTY, PATIENT, held_since, params};

const HOOK: &str = "CompleteLifecycleAction";
const HEALTH: &str = "SetInstanceHealth";
const BOTH: [&str; 3] = ["--tag=asg=test", "--lifecycle-hook=claim", "--unhealthy-on-failure"];

/// A cloud with one address, and an instance that its group has just launched and that waits for the hook.
fn waiting(launch: Launch) -> (Cloud, Allocation, String) {
    let cloud = Cloud::start(Options::default());
    let address = cloud.allocate(&[("asg", "test")]);
    let group = Group {
        name: "web".into(),
        size: 1,
        zones: vec!["ap-northeast-2a".into(), "ap-northeast-2b".into()],
        tags: tags(&[("asg", "test")]),
        hook: Some("claim".into()),
        launch,
        ..Group::default()
    };
    let me = cloud.create_group(group).remove(0);
    (cloud, address, me)
}

fn to_auto_scaling(cloud: &Cloud) -> Vec<Request> {
    cloud.log().into_iter().filter(|request| request.service == Service::AutoScaling).collect()
}

fn actions(cloud: &Cloud) -> Vec<String> {
    to_auto_scaling(cloud).into_iter().map(|request| request.action).collect()
}

type World = fn(&Cloud, &Allocation, &str);

/// How the claim ends, how to make it so, with what, and what Auto Scaling is told of it.
type Row = (&'static str, World, i32, &'static str, &'static [&'static str], Option<&'static str>);

const ROWS: [Row; 8] = [
    ("claimed", |_, _, _| {}, 0, "claimed", &[HOOK], Some("CONTINUE")),
    ("held", |cloud, a, me| cloud.associate(&a.allocation_id, me), 0, "already_held", &[HOOK], Some("CONTINUE")),
    ("Standby", |cloud, _, me| cloud.set_lifecycle(me, Some("Standby")), 0, "skipped", &[HOOK], Some("CONTINUE")),
    ("a newer holder", newer, 69, "yielded", &[HOOK], Some("ABANDON")),
    ("nonsense", nonsense, 70, "failed", &[HOOK], Some("ABANDON")),
    ("EC2 is down", down, 75, "failed", &[HEALTH, HOOK], Some("ABANDON")),
    ("IAM says no", |cloud, _, me| cloud.deny(Some(me), "ec2:AssociateAddress"), 77, "failed", &[], None),
    ("no address", |cloud, a, _| cloud.edit_address(&a.allocation_id, |a| a.tags.clear()), 78, "failed", &[], None),
];

fn nonsense(cloud: &Cloud, _: &Allocation, _: &str) {
    let page = Fault::Status { code: 418, body: "<html>I am a teapot</html>".to_owned() };
    cloud.fault("DescribeAddresses", Calls::All, page);
}

fn down(cloud: &Cloud, _: &Allocation, _: &str) {
    cloud.fault("EC2", Calls::All, Fault::Reset);
}

fn newer(cloud: &Cloud, address: &Allocation, _: &str) {
    let holder = cloud.launch(Launch { launched: None, ..launch(OLD) });
    cloud.associate(&address.allocation_id, &holder);
}

#[test]
fn every_exit_code_tells_auto_scaling_what_the_table_says_and_no_more() {
    each(ROWS, |(row, world, exit, outcome, told, verdict)| {
        let (cloud, address, me) = waiting(Launch::default());
        world(&cloud, &address, &me);
        let run = run(&cloud, &me, &[HASTY, &BOTH].concat());
        assert_eq!(ended(&run), (exit, outcome.to_owned()), "{row}: {run:#?}");
        assert_eq!(actions(&cloud), told, "{row}: {run:#?}");
        if let Some(verdict) = verdict {
            let expected = [
                ("AutoScalingGroupName", "web"),
                ("InstanceId", me.as_str()),
                ("LifecycleActionResult", verdict),
                ("LifecycleHookName", "claim"),
            ];
            assert_eq!(params(&cloud.requests(HOOK)[0]), expected, "{row}");
        }
        for request in cloud.requests(HEALTH) {
            let expected =
                [("HealthStatus", "Unhealthy"), ("InstanceId", me.as_str()), ("ShouldRespectGracePeriod", "false")];
            assert_eq!(params(&request), expected, "{row}");
        }
        assert_eq!(run.stderr.contains("left to its default result"), verdict.is_none(), "{row}: {run:#?}");
        // The group keeps an instance that serves or that no other could replace, and no other.
        let stays = cloud.group_instances("web") == [me.as_str()];
        assert_eq!(stays, verdict != Some("ABANDON"), "{row}");
        assert_eq!(cloud.state(&me) == InstanceState::ShuttingDown, !stays, "{row}");
    });
}

#[test]
fn a_claim_that_a_signal_stopped_says_nothing_against_the_instance() {
    let (cloud, _, me) = waiting(Launch::default());
    cloud.fault("DescribeAddresses", Calls::All, Fault::Hang);
    let child = start(&cloud, &me, &BOTH);
    wait_until("it looks", || !cloud.requests("DescribeAddresses").is_empty());
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill is everywhere");
    assert!(sent.success());
    let run = finish(child);
    assert_eq!((ended(&run), run.error("code").as_str()), ((75, "failed".to_owned()), "Interrupted"), "{run:#?}");
    assert_eq!(actions(&cloud), [""; 0], "{run:#?}");
}

#[test]
fn without_the_options_auto_scaling_is_told_nothing() {
    let (cloud, _, me) = waiting(Launch::default());
    run(&cloud, &me, &[PATIENT, &["--tag=asg", "--auto-scaling-group=web"]].concat()).expect(0, "claimed");
    cloud.fault("EC2", Calls::All, Fault::Reset);
    run(&cloud, &me, &[HASTY, &["--tag=asg"]].concat()).expect(75, "failed");
    assert_eq!(to_auto_scaling(&cloud).len(), 0);
    // A hook that completes does not make an instance unhealthy, nor the other way round.
    run(&cloud, &me, &[HASTY, &["--tag=asg", "--unhealthy-on-failure"]].concat()).expect(75, "failed");
    assert_eq!(actions(&cloud), [HEALTH]);
}

#[test]
fn a_reboot_has_no_hook_to_complete_and_that_is_no_failure() {
    let (cloud, _, me) = waiting(Launch::default());
    for outcome in ["claimed", "already_held"] {
        let run = run(&cloud, &me, &[PATIENT, &BOTH].concat());
        run.expect(0, outcome);
        assert!(!run.stderr.contains("ERROR"), "{run:#?}");
    }
    let answered: Vec<_> = cloud.requests(HOOK).into_iter().map(|request| request.status).collect();
    assert_eq!(answered, [Some(200), Some(400)]);
    let elsewhere = cloud.launch(launch(OLD));
    let run = run(&cloud, &elsewhere, &[HASTY, &BOTH].concat());
    run.expect(69, "yielded");
    assert!(
        run.stderr.contains("is in no Auto Scaling group") && run.stderr.contains("--auto-scaling-group"),
        "{run:#?}"
    );
}

#[test]
fn the_group_is_the_one_named_else_that_of_the_own_tag_else_the_one_that_auto_scaling_knows() {
    let off = || Launch { tags_in_metadata: false, ..Launch::default() };
    let rows = [
        ("tag", Launch::default(), &[][..], &[HOOK][..], "web"),
        ("asked", off(), &[], &["DescribeAutoScalingInstances", HOOK], "web"),
        ("named", Launch::default(), &["--auto-scaling-group=other"], &[HOOK], "other"),
    ];
    each(rows, |(row, launch, options, told, group)| {
        let (cloud, _, me) = waiting(launch);
        let run = run(&cloud, &me, &[PATIENT, &BOTH, options].concat());
        run.expect(0, "claimed");
        assert_eq!(actions(&cloud), told, "{row}: {run:#?}");
        assert_eq!(cloud.requests(HOOK)[0].params["AutoScalingGroupName"], group, "{row}");
    });
}

#[test]
fn a_hook_that_fails_is_reported_and_changes_nothing_of_the_result() {
    let rows = [
        ("denied", answer(403, "AccessDenied", "User is not authorized to perform it"), 8),
        ("refused", answer(400, "ValidationError", "The hook is of another kind"), 0),
        ("down", Fault::Reset, 8),
        ("hung", Fault::Hang, 8),
    ];
    each(rows, |(row, fault, least)| {
        let (cloud, address, me) = waiting(Launch::default());
        cloud.fault(HOOK, Calls::All, fault);
        let run = run(&cloud, &me, &[&["--timeout=30s", "--attempt-timeout=2s"], &BOTH[..]].concat());
        let result = run.expect(0, "claimed");
        assert!(result["error"].is_null(), "{row}: {result}");
        assert!(result["elapsed_ms"].as_u64().is_some_and(|ms| ms < 8_000), "{row}: {result}");
        assert_eq!(holder(&cloud, &address).as_ref(), Some(&me), "{row}");
        let complaint = "the launch hook claim is not completed with CONTINUE: CompleteLifecycleAction";
        let line = run.stderr.lines().find(|line| line.contains(complaint));
        assert!(line.is_some_and(|line| line.contains("ERROR")), "{row}: {run:#?}");
        assert!(run.stderr.contains("what to do: "), "{row}: {run:#?}");
        // It has ten seconds of its own.
        assert!((least..14).contains(&run.took.as_secs()), "{row}: {:?}", run.took);
    });
}

#[test]
fn what_may_go_away_is_tried_again_until_the_hook_is_completed() {
    let rows = [
        ("down", HOOK, Fault::Reset),
        ("an error", HOOK, answer(503, "ServiceUnavailable", "?")),
        ("throttled", HOOK, answer(400, "Throttling", "Rate exceeded")),
        ("the role is young", HOOK, answer(403, "AccessDenied", "User is not authorized to perform it")),
        ("done, and unheard", HOOK, Fault::CommitThenReset),
        ("not accepted", HOOK, answer(403, "InvalidClientTokenId", "The security token is invalid.")),
        ("IMDS", "GET /latest/meta-data/tags/instance/aws:autoscaling:groupName", Fault::Reset),
    ];
    each(rows, |(row, action, fault)| {
        let (cloud, _, me) = waiting(Launch::default());
        cloud.fault(action, Calls::First(1), fault);
        let run = run(&cloud, &me, &[PATIENT, &BOTH].concat());
        run.expect(0, "claimed");
        assert!(!run.stderr.contains("ERROR"), "{row}: {run:#?}");
        let done = cloud.requests(HOOK).iter().filter(|request| request.committed).count();
        assert_eq!(done, 1, "{row}: {:?}", actions(&cloud));
    });
}

#[test]
fn the_hook_comes_after_the_claim_on_a_connection_of_its_own_with_a_time_of_its_own() {
    let (cloud, _, me) = waiting(Launch::default());
    cloud.fault("EC2", Calls::All, Fault::Hang);
    let run = run(&cloud, &me, &[HASTY, &BOTH].concat());
    run.expect(75, "failed");
    let last = cloud.log().iter().filter(|request| request.service == Service::Ec2).map(|r| r.at).max();
    let first = to_auto_scaling(&cloud).iter().map(|r| r.at).min();
    assert!(last.expect("EC2 was asked") < first.expect("Auto Scaling was told"));
    assert!(first >= Some(Duration::from_secs(3)), "after the deadline: {first:?}");
    assert_eq!(actions(&cloud), [HEALTH, HOOK]);
}

#[test]
fn where_imds_never_answered_there_is_nobody_to_tell_about_and_the_log_says_so() {
    let (cloud, _, me) = waiting(Launch::default());
    cloud.outage(Service::Imds, true);
    let run = run(&cloud, &me, &[HASTY, &BOTH].concat());
    run.expect(75, "failed");
    assert_eq!(to_auto_scaling(&cloud).len(), 0);
    for what in ["the launch hook claim is not completed", "this instance is not reported as unhealthy"] {
        assert!(run.stderr.contains(what), "{run:#?}");
    }
}

#[test]
fn a_predecessor_and_an_only_address_are_no_deadlock() {
    // The group launches the replacement before it terminates the predecessor, and waits for the hook.
    let (cloud, address, me) = waiting(Launch::default());
    held_since(&cloud, &address, OLD);
    run(&cloud, &me, &[PATIENT, &BOTH].concat()).expect(0, "claimed");
    assert_eq!(holder(&cloud, &address), Some(me));
}
