//! SIGTERM and SIGINT: the program stops at once with its result, unless an address hangs between two instances.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use fakecloud::{Calls, Cloud, Fault, Options};

use crate::fence::{Succession, succession};
use crate::harness::*;

const CLAIM: [&str; 3] = ["--tag=asg=test", "--timeout=30s", "--attempt-timeout=5s"];
/// A stop is a matter of milliseconds; the machine that runs the tests may be busy.
const AT_ONCE: Duration = Duration::from_millis(2_500);

fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill is everywhere");
    assert!(sent.success(), "{signal}");
}

/// Sends the signal, and asserts that the run ends at once, as one that was stopped.
fn stopped(signal: &str, child: Child) -> Run {
    send(signal, &child);
    let since = Instant::now();
    let run = finish(child);
    assert!(since.elapsed() < AT_ONCE, "{signal}: {:?}", since.elapsed());
    assert_eq!(ended(&run), (75, "failed".to_owned()), "{signal}: {run:#?}");
    assert_eq!(run.error("code"), "Interrupted", "{signal}: {run:#?}");
    assert!(!run.error("remedy").is_empty(), "{signal}: {run:#?}");
    run
}

/// Whether the nth call of `action`, counted from 1, has arrived.
fn arrived(cloud: &Cloud, action: &str, nth: usize) -> impl Fn() -> bool {
    move || cloud.requests(action).len() >= nth
}

#[test]
fn a_claim_that_waits_stops_at_once_with_its_result() {
    each(["-TERM", "-INT"], |signal| {
        let Succession { cloud, address, holder: old, me, .. } = succession(Options::default());
        let child = start(&cloud, &me, &[&CLAIM[..], &["--takeover=never"]].concat());
        wait_until("it has looked twice", arrived(&cloud, "DescribeAddresses", 2));
        let run = stopped(signal, child);
        assert_eq!(run.json()["instance_id"], me.as_str(), "{signal}");
        assert_no_writes(&cloud);
        assert_eq!(holder(&cloud, &address), Some(old), "{signal}");
    });
}

#[test]
fn a_call_under_way_does_not_hold_up_a_stop() {
    let rows = [
        ("IMDS", "PUT /latest/api/token"),
        ("the first look", "DescribeAddresses"),
        ("the look at the holders", "DescribeInstances"),
        ("the trial", "AssociateAddress"),
    ];
    each(rows, |(row, action)| {
        let Succession { cloud, address, holder: old, me, .. } = succession(Options::default());
        cloud.fault(action, Calls::All, Fault::Hang);
        let child = start(&cloud, &me, &CLAIM);
        wait_until(row, arrived(&cloud, action, 1));
        stopped("-TERM", child);
        assert_no_writes(&cloud);
        assert_eq!(holder(&cloud, &address), Some(old), "{row}");
    });
}

#[test]
fn a_stop_in_the_middle_of_a_takeover_waits_for_the_association() {
    let delay = || Fault::Delay(Duration::from_millis(1_000));
    let rows = [
        ("while the association is ended", "DisassociateAddress", Calls::Nth(1), 1, delay()),
        ("while the association is made", "AssociateAddress", Calls::Nth(2), 2, delay()),
        ("while the association is retried", "AssociateAddress", Calls::Range(2..=4), 2, Fault::Reset),
    ];
    each(rows, |(row, action, calls, nth, fault)| {
        let Succession { cloud, address, me, .. } = succession(Options::default());
        cloud.fault(action, calls, fault);
        let child = start(&cloud, &me, &CLAIM);
        wait_until(row, arrived(&cloud, action, nth));
        send("-TERM", &child);
        let run = finish(child);
        assert_eq!(holder(&cloud, &address), Some(me), "{row}: {run:#?}");
        let done: Vec<_> = writes(&cloud).into_iter().filter(|r| r.committed).map(|r| r.action).collect();
        assert_eq!(done, ["DisassociateAddress", "AssociateAddress"], "{row}");
        // The stop may come before the proof; then there is no success to report, and the next run finds it.
        let proven = ended(&run) == (0, "claimed".to_owned()) && run.json()["verified_by"][0] == "api";
        let unproven = ended(&run) == (75, "failed".to_owned()) && run.error("code") == "Interrupted";
        assert!(proven || unproven, "{row}: {run:#?}");
    });
}

#[test]
fn a_stop_in_the_middle_of_a_takeover_that_fails_still_says_what_was_left_behind() {
    let Succession { cloud, address, me, .. } = succession(Options::default());
    cloud.fault("AssociateAddress", Calls::From(2), answer(500, "InternalError", "An internal error has occurred"));
    let child = start(&cloud, &me, &["--tag=asg=test", "--timeout=5s", "--attempt-timeout=1s"]);
    wait_until("the association is retried", arrived(&cloud, "AssociateAddress", 3));
    send("-TERM", &child);
    let run = finish(child);
    run.expect(75, "failed");
    assert!(run.error("message").contains("left unassociated"), "{run:#?}");
    assert!(run.error("remedy").contains("aws ec2 associate-address"), "{run:#?}");
    assert_eq!(holder(&cloud, &address), None);
}
