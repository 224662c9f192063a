//! What IAM denies: explained at once on an old instance, waited for on a young one.

use std::time::Duration;

use fakecloud::{Allocation, Calls, Cloud, Fault, Launch, Options, Service};

use crate::fence::{Succession, succession};
use crate::harness::*;

const CLAIM: [&str; 3] = ["--tag=asg=test", "--timeout=40s", "--attempt-timeout=5s"];
const BRIEFLY: [&str; 3] = ["--tag=asg=test", "--timeout=3s", "--attempt-timeout=1s"];

const LOOK: &str = "DescribeAddresses";
const WRITE: &str = "AssociateAddress";
const DECODE: &str = "DecodeAuthorizationMessage";
const CREDENTIALS: &str = "GET /latest/meta-data/iam/security-credentials/eip-claim";

/// One address, and an instance that was launched a moment ago: its role may still be propagating.
fn one_young() -> (Cloud, Allocation, String) {
    let cloud = Cloud::start(Options::default());
    let address = cloud.allocate(&[("asg", "test")]);
    let me = cloud.launch(Launch { launched: None, ..launch(OLD) });
    (cloud, address, me)
}

#[test]
fn on_an_old_instance_a_denied_write_is_sent_once_and_explained() {
    let (cloud, address, me) = one_of_each();
    cloud.deny(Some(&me), "ec2:AssociateAddress");
    let run = run(&cloud, &me, &CLAIM);
    run.expect(77, "failed");
    assert_eq!(sent(&cloud), [LOOK, WRITE]);
    let asked = cloud.requests(DECODE);
    assert_eq!(asked.len(), 1, "{asked:#?}");
    let blob = &asked[0].params["EncodedMessage"];
    assert!(blob.starts_with("Fake-") && !run.stdout.contains(blob), "{run:#?}");
    assert_eq!(run.error("code"), "UnauthorizedOperation");
    for part in [&format!("assumed-role/eip-claim/{me}"), "ec2:AssociateAddress", &address.allocation_id] {
        assert!(run.error("decoded").contains(part), "{part}: {run:#?}");
    }
    assert!(run.error("remedy").contains("policy"), "{run:#?}");
    assert_eq!(holder(&cloud, &address), None);
}

#[test]
fn a_decode_that_fails_hides_nothing() {
    let garbage = Fault::Garbage { content_type: "text/html".into(), body: b"<html>".to_vec() };
    let rows = [
        ("denied", None),
        ("no answer", Some(Fault::Hang)),
        ("reset", Some(Fault::Reset)),
        ("503", Some(answer(503, "ServiceUnavailable", "?"))),
        ("garbage", Some(garbage)),
    ];
    each(rows, |(row, fault)| {
        let (cloud, _, me) = one_of_each();
        cloud.deny(Some(&me), "ec2:AssociateAddress");
        match fault {
            None => cloud.deny(Some(&me), "sts:DecodeAuthorizationMessage"),
            Some(fault) => drop(cloud.fault(DECODE, Calls::All, fault)),
        }
        let run = run(&cloud, &me, &CLAIM);
        assert_eq!(ended(&run), (77, "failed".to_owned()), "{row}: {run:#?}");
        assert_eq!(run.error("code"), "UnauthorizedOperation", "{row}");
        assert!(run.error("message").contains("not authorized to perform"), "{row}: {run:#?}");
        assert!(run.json()["error"]["decoded"].is_null(), "{row}: {run:#?}");
        assert!(cloud.requests(DECODE).len() == 1 && sent(&cloud) == [LOOK, WRITE], "{row}: {:#?}", sent(&cloud));
        assert!(run.took < Duration::from_secs(8), "{row}: {:?}", run.took);
    });
}

#[test]
fn without_an_sts_that_can_be_reached_the_original_error_stays() {
    let (cloud, _, me) = one_of_each();
    cloud.deny(Some(&me), "ec2:AssociateAddress");
    cloud.outage(Service::Sts, true);
    let run = run(&cloud, &me, &CLAIM);
    run.expect(77, "failed");
    assert_eq!(run.error("code"), "UnauthorizedOperation");
}

#[test]
fn every_code_of_a_denial_ends_an_old_instance_at_once() {
    let rows = [
        (LOOK, 403, "UnauthorizedOperation"),
        (LOOK, 403, "AccessDenied"),
        (WRITE, 403, "AccessDenied"),
        (WRITE, 400, "AccessDeniedException"),
    ];
    each(rows, |(action, status, code)| {
        let (cloud, address, me) = one_of_each();
        cloud.fault(action, Calls::All, answer(status, code, "You may not do that"));
        let run = run(&cloud, &me, &CLAIM);
        assert_eq!(ended(&run), (77, "failed".to_owned()), "{action} {code}: {run:#?}");
        assert_eq!(run.error("code"), code, "{action}");
        assert!(!run.error("remedy").is_empty(), "{action} {code}");
        assert_eq!(cloud.requests(action).len(), 1, "{action} {code}: {:?}", sent(&cloud));
        assert_eq!(cloud.requests(DECODE).len(), 0, "{action} {code}: there is nothing to decode");
        assert_eq!(holder(&cloud, &address), None, "{action} {code}");
    });
}

#[test]
fn a_look_at_the_holders_that_is_denied_leaves_the_holder_alone() {
    let Succession { cloud, address, holder: old, me, .. } = succession(Options::default());
    cloud.deny(Some(&me), "ec2:DescribeInstances");
    let run = run(&cloud, &me, &CLAIM);
    run.expect(77, "failed");
    assert!(run.error("message").contains("DescribeInstances"), "{run:#?}");
    assert_eq!(sent(&cloud), [LOOK, "DescribeInstances"]);
    assert_eq!(holder(&cloud, &address), Some(old));
}

#[test]
fn on_a_young_instance_a_permission_is_waited_for() {
    each(["ec2:AssociateAddress", "ec2:DescribeAddresses", "ec2:*"], |denied| {
        let (cloud, address, me) = one_young();
        cloud.deny(Some(&me), denied);
        let child = start(&cloud, &me, &CLAIM);
        let refused = |cloud: &Cloud| cloud.log().iter().filter(|r| r.status == Some(403)).count();
        wait_until("it was refused three times", || refused(&cloud) >= 3);
        cloud.allow(Some(&me), denied);
        let run = finish(child);
        assert_eq!(ended(&run), (0, "claimed".to_owned()), "{denied}: {run:#?}");
        assert_eq!(holder(&cloud, &address), Some(me), "{denied}");
        assert_eq!(writes(&cloud).iter().filter(|r| r.committed).count(), 1, "{denied}");
        assert_eq!(cloud.requests(DECODE).len(), 0, "{denied}: nothing is explained before the end");
    });
}

#[test]
fn a_deadline_that_cuts_the_wait_for_a_permission_short_is_still_a_denial() {
    let (cloud, address, me) = one_young();
    cloud.deny(Some(&me), "ec2:AssociateAddress");
    let ended = run(&cloud, &me, &BRIEFLY);
    ended.expect(77, "failed");
    assert!(cloud.requests(WRITE).len() >= 3, "{:?}", sent(&cloud));
    assert!(ended.took >= Duration::from_secs(2), "{:?}", ended.took);
    // Explaining it has a time of its own.
    assert!(ended.error("decoded").contains("ec2:AssociateAddress"), "{ended:#?}");
    assert_eq!(cloud.requests(DECODE).len(), 1);

    // Nor does a call that the deadline cut off in the middle tell anything new.
    let young = Launch { launched: None, ..launch(OLD) };
    let me = cloud.launch(young);
    cloud.deny(Some(&me), "ec2:AssociateAddress");
    cloud.fault(LOOK, Calls::From(3), Fault::Hang).only(&me);
    let ended = run(&cloud, &me, &["--tag=asg=test", "--timeout=3s", "--attempt-timeout=1m"]);
    ended.expect(77, "failed");
    assert_eq!((ended.error("code").as_str(), holder(&cloud, &address)), ("UnauthorizedOperation", None));
}

#[test]
fn credentials_that_are_not_accepted_are_fetched_anew_once_even_on_an_old_instance() {
    let rows = [
        (401, "AuthFailure", "AWS was not able to validate the provided access credentials"),
        (400, "RequestExpired", "Request has expired."),
        (403, "InvalidClientTokenId", "The security token included in the request is invalid."),
    ];
    let all = rows.into_iter().flat_map(|row| [(LOOK, row), (WRITE, row)]);
    each(all, |(action, (status, code, message))| {
        let row = format!("{action}: {code}");
        let (cloud, address, me) = one_of_each();
        cloud.fault(action, Calls::First(1), answer(status, code, message));
        let first = run(&cloud, &me, &CLAIM);
        assert_eq!(ended(&first), (0, "claimed".to_owned()), "{row}: {first:#?}");
        assert_eq!(holder(&cloud, &address), Some(me.clone()), "{row}");
        assert_eq!(cloud.requests(CREDENTIALS).len(), 2, "{row}");
        assert_eq!(writes(&cloud).iter().filter(|r| r.committed).count(), 1, "{row}");

        cloud.disassociate(&address.allocation_id);
        cloud.clear_log();
        cloud.fault(action, Calls::All, answer(status, code, message));
        let second = run(&cloud, &me, &CLAIM);
        assert_eq!(ended(&second), (77, "failed".to_owned()), "{row}: {second:#?}");
        assert_eq!(second.error("code"), code, "{row}");
        assert!(second.error("remedy").contains("clock"), "{row}: {second:#?}");
        assert_eq!(cloud.requests(action).len(), 2, "{row}: {:?}", sent(&cloud));
        assert_eq!(cloud.requests(CREDENTIALS).len(), 2, "{row}");
    });
}

#[test]
fn credentials_that_are_rotated_under_way_are_fetched_anew() {
    let (cloud, address, me) = one_of_each();
    cloud.fault(LOOK, Calls::First(1), Fault::Delay(Duration::from_millis(500)));
    let child = start(&cloud, &me, &CLAIM);
    wait_until("the first look is under way", || !cloud.requests(LOOK).is_empty());
    cloud.rotate_credentials(&me);
    finish(child).expect(0, "claimed");
    assert_eq!(holder(&cloud, &address), Some(me));
    assert_eq!(cloud.requests(LOOK)[0].error_code.as_deref(), Some("AuthFailure"));
    assert_eq!((cloud.requests(CREDENTIALS).len(), writes(&cloud).len()), (2, 1));
}

#[test]
fn a_wrong_clock_is_corrected_by_the_first_answer() {
    let rows = [1_200, -1_200].into_iter().flat_map(|offset| [(offset, Some(OLD)), (offset, None)]);
    each(rows, |(offset, launched)| {
        let row = format!("{offset} s, launched {launched:?} ago");
        let cloud = Cloud::start(Options { clock_offset: offset, ..Options::default() });
        let address = cloud.allocate(&[("asg", "test")]);
        let me = cloud.launch(Launch { launched, ..launch(OLD) });
        let run = run(&cloud, &me, &CLAIM);
        assert_eq!(ended(&run), (0, "claimed".to_owned()), "{row}: {run:#?}");
        assert_eq!(holder(&cloud, &address), Some(me), "{row}");
        assert_eq!(sent(&cloud), [LOOK, LOOK, WRITE, LOOK], "{row}");
        assert_eq!(cloud.requests(LOOK)[0].error_code.as_deref(), Some("RequestExpired"), "{row}");
    });
}

#[test]
fn a_failure_never_prints_a_secret() {
    let (cloud, _, me) = one_of_each();
    cloud.deny(Some(&me), "ec2:AssociateAddress");
    let run = run(&cloud, &me, &["--tag=asg=test", "--log-level=trace"]);
    run.expect(77, "failed");
    let log = cloud.log();
    let header = |name: &str| log.iter().filter_map(|r| r.headers.get(name)).next().cloned();
    let secrets = [header("x-amz-security-token"), header("x-aws-ec2-metadata-token"), Some("fake/secret/".to_owned())];
    for secret in secrets {
        let secret = secret.expect("both tokens were sent");
        assert!(!run.stdout.contains(&secret) && !run.stderr.contains(&secret), "{secret} is in {run:#?}");
    }
}
