//! The metadata service, broken: it is waited for, or it is off and that is the end.

use std::time::Duration;

use fakecloud::{Calls, Fault, Service};

use crate::harness::*;

const CLAIM: [&str; 3] = ["--tag=asg=test", "--timeout=40s", "--attempt-timeout=5s"];
const BRIEFLY: [&str; 3] = ["--tag=asg=test", "--timeout=3s", "--attempt-timeout=1s"];
const TOKEN: &str = "PUT /latest/api/token";
const DOCUMENT: &str = "GET /latest/dynamic/instance-identity/document";

fn status(code: u16) -> Fault {
    Fault::Status { code, body: String::new() }
}

#[test]
fn a_metadata_service_that_comes_up_late_is_waited_for() {
    let rows = [
        ("no token", TOKEN, Calls::First(1), Fault::Hang),
        ("token reset", TOKEN, Calls::First(2), Fault::Reset),
        ("token 500", TOKEN, Calls::First(2), status(500)),
        ("token 503", TOKEN, Calls::First(2), status(503)),
        ("no answer", DOCUMENT, Calls::First(1), Fault::Hang),
        ("500", DOCUMENT, Calls::First(2), status(500)),
        ("503", "GET /latest/meta-data/", Calls::First(5), status(503)),
        ("no document yet", DOCUMENT, Calls::First(2), status(404)),
        ("credentials 500", "GET /latest/meta-data/iam/", Calls::First(2), status(500)),
        ("the gate 503", "GET /latest/meta-data/autoscaling/", Calls::First(2), status(503)),
    ];
    each(rows, |(row, path, calls, fault)| {
        let (cloud, address, me) = one_of_each();
        cloud.fault(path, calls, fault);
        let run = run(&cloud, &me, &CLAIM);
        assert_eq!(ended(&run), (0, "claimed".to_owned()), "{row}: {run:#?}");
        assert_eq!(holder(&cloud, &address), Some(me), "{row}");
        assert_eq!(sent(&cloud), ["DescribeAddresses", "AssociateAddress", "DescribeAddresses"], "{row}");
    });
}

#[test]
fn a_session_token_that_is_not_known_any_more_is_fetched_anew() {
    let (cloud, address, me) = one_of_each();
    cloud.fault(DOCUMENT, Calls::First(1), status(401));
    run(&cloud, &me, &CLAIM).expect(0, "claimed");
    assert_eq!(holder(&cloud, &address), Some(me));
    let tokens = |path: &str| -> Vec<_> {
        cloud.requests(path).iter().map(|r| r.headers["x-aws-ec2-metadata-token"].clone()).collect()
    };
    let sent = tokens(DOCUMENT);
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_ne!(sent[0], sent[1]);
}

#[test]
fn every_item_is_asked_for_with_a_token_that_was_put_first() {
    let (cloud, _, me) = one_of_each();
    run(&cloud, &me, &CLAIM).expect(0, "claimed");
    let log = cloud.log();
    let imds: Vec<_> = log.iter().filter(|r| r.service == Service::Imds).collect();
    assert_eq!(imds[0].action, TOKEN);
    assert!(imds[0].headers.contains_key("x-aws-ec2-metadata-token-ttl-seconds"), "{:#?}", imds[0]);
    let items = imds.iter().filter(|r| r.action != TOKEN);
    assert!(items.clone().count() > 5);
    assert!(items.clone().all(|r| r.headers.contains_key("x-aws-ec2-metadata-token")), "{imds:#?}");
}

#[test]
fn a_metadata_service_that_refuses_connections_is_waited_for() {
    let (cloud, address, me) = one_of_each();
    cloud.outage(Service::Imds, true);
    let child = start(&cloud, &me, &CLAIM);
    std::thread::sleep(Duration::from_millis(700));
    cloud.outage(Service::Imds, false);
    let run = finish(child);
    let json = run.expect(0, "claimed");
    assert!(json["attempts"].as_u64() >= Some(2), "{run:#?}");
    assert_eq!(holder(&cloud, &address), Some(me));
}

#[test]
fn without_a_metadata_service_the_deadline_ends_it_and_nothing_is_sent_to_ec2() {
    let rows = [
        ("refused", None, "ImdsUnreachable"),
        ("hung", Some(Fault::Hang), "ImdsUnreachable"),
        ("reset", Some(Fault::Reset), "ImdsUnreachable"),
        ("500", Some(status(500)), "ImdsError"),
        ("503", Some(status(503)), "ImdsError"),
    ];
    each(rows, |(row, fault, code)| {
        let (cloud, _, me) = one_of_each();
        match fault {
            None => cloud.outage(Service::Imds, true),
            Some(fault) => drop(cloud.fault("IMDS", Calls::All, fault)),
        }
        let run = run(&cloud, &me, &BRIEFLY);
        assert_eq!(ended(&run), (75, "failed".to_owned()), "{row}: {run:#?}");
        assert_eq!(run.error("code"), code, "{row}: {run:#?}");
        assert!(!run.error("remedy").is_empty(), "{row}: {run:#?}");
        assert!(run.took >= Duration::from_secs(2) && run.took < Duration::from_secs(6), "{row}: {:?}", run.took);
        assert_eq!(sent(&cloud).len(), 0, "{row}");
        assert!(run.json()["instance_id"].is_null(), "{row}: {run:#?}");
    });
}

#[test]
fn a_metadata_service_that_is_switched_off_ends_it_at_once() {
    let (cloud, _, me) = one_of_each();
    cloud.set_imds_enabled(&me, false);
    let run = run(&cloud, &me, &CLAIM);
    run.expect(78, "failed");
    assert_eq!(run.error("code"), "MetadataOff");
    assert!(run.error("remedy").contains("HttpEndpoint"), "{run:#?}");
    assert_eq!(run.json()["attempts"], 1);
    assert_eq!(sent(&cloud).len(), 0);
    assert!(cloud.log().iter().all(|r| r.action == TOKEN), "{:#?}", cloud.log());
}

#[test]
fn a_role_that_comes_late_is_waited_for_and_one_that_never_comes_is_named() {
    let (cloud, address, me) = one_of_each();
    cloud.set_role(&me, None);
    let child = start(&cloud, &me, &CLAIM);
    let asked = || cloud.log().iter().filter(|r| r.action.contains("/iam/") && r.status == Some(404)).count();
    wait_until("the role was asked for three times", || asked() >= 3);
    assert_eq!(sent(&cloud).len(), 0, "nothing is sent without credentials");
    cloud.set_role(&me, Some("eip-claim"));
    finish(child).expect(0, "claimed");
    assert_eq!(holder(&cloud, &address), Some(me));

    let (cloud, _, me) = one_of_each();
    cloud.set_role(&me, None);
    let run = run(&cloud, &me, &BRIEFLY);
    run.expect(75, "failed");
    assert_eq!(run.error("code"), "NoRole");
    assert!(run.error("remedy").contains("instance profile"), "{run:#?}");
    assert_eq!(sent(&cloud).len(), 0);
}

#[test]
fn garbage_from_the_metadata_service_is_never_acted_on() {
    let garbage = |body: &str| Fault::Garbage { content_type: "text/plain".into(), body: body.as_bytes().to_vec() };
    let rows = [
        ("a page", DOCUMENT, garbage("<html>a captive portal</html>")),
        ("nothing", DOCUMENT, garbage("")),
        ("no fields", DOCUMENT, garbage("{}")),
        (
            "a region that is no part of a host name",
            DOCUMENT,
            garbage(
                r#"{"instanceId":"i-0123456789abcdef0","region":"evil.example/","availabilityZone":"a","pendingTime":"2020-01-01T00:00:00Z"}"#,
            ),
        ),
        ("no interfaces", "GET /latest/meta-data/network/interfaces/macs/", garbage("nonsense")),
    ];
    each(rows, |(row, path, fault)| {
        let (cloud, _, me) = one_of_each();
        cloud.fault(path, Calls::All, fault);
        let run = run(&cloud, &me, &BRIEFLY);
        assert_eq!(ended(&run), (70, "failed".to_owned()), "{row}: {run:#?}");
        assert_eq!(run.error("code"), "ImdsNonsense", "{row}: {run:#?}");
        assert_eq!(sent(&cloud).len(), 0, "{row}");
    });
}

#[test]
fn a_write_for_which_the_credentials_make_no_sense_has_not_been_sent() {
    let (cloud, address, me) = one_of_each();
    cloud.associate(&address.allocation_id, &me);
    let page = Fault::Garbage { content_type: "text/html".to_owned(), body: "<html></html>".into() };
    cloud.fault("GET /latest/meta-data/iam/", Calls::First(2), page);
    let only = ["--takeover=always", "--allocation-id", &address.allocation_id, "--timeout=30s"];
    let run = run(&cloud, &me, &only);
    // So it is sent, and only then is the address claimed.
    assert_eq!(ended(&run), (0, "claimed".to_owned()), "{run:#?}");
    assert_eq!(writes(&cloud).len(), 1, "{run:#?}");
    assert!(run.stderr.contains("ImdsNonsense"), "{run:#?}");
}

#[test]
fn reads_that_take_long_do_not_add_up_beyond_the_deadline() {
    let (cloud, _, me) = one_of_each();
    // Each read is within its own limit of a second; the items of an interface are read after the list of all.
    cloud.fault("GET /latest/meta-data/network/", Calls::All, Fault::Delay(Duration::from_millis(900)));
    let run = run(&cloud, &me, &["--tag=asg=test", "--timeout=200ms"]);
    assert_eq!(run.exit, 75, "{run:#?}");
    assert!(run.took < Duration::from_millis(1_500), "{:?}", run.took);
    assert_eq!(sent(&cloud).len(), 0, "{:?}", sent(&cloud));
}
