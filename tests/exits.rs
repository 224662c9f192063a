//! Every exit code, once: the program's whole vocabulary towards systemd.

use eip_claim::error::Exit;
use fakecloud::{Allocation, Calls, Cloud, Fault};

use crate::harness::*;

/// Short enough for the rows that wait for the deadline.
const CLAIM: [&str; 3] = ["--tag=asg=test", "--timeout=4s", "--attempt-timeout=1s"];

/// The table: the code in the program, its number, and the name by which systemd shows it.
const TABLE: [(Exit, u8, &str); 7] = [
    (Exit::Success, 0, "SUCCESS"),
    (Exit::Usage, 64, "USAGE"),
    (Exit::Unavailable, 69, "UNAVAILABLE"),
    (Exit::Software, 70, "SOFTWARE"),
    (Exit::TempFail, 75, "TEMPFAIL"),
    (Exit::NoPerm, 77, "NOPERM"),
    (Exit::Config, 78, "CONFIG"),
];

/// A world that makes a claim end in a certain way, made from a free address and an instance.
type World = fn(&Cloud, &Allocation, &str);

/// What was the matter, how to make it so, the options on top, and how it ends.
type Row = (&'static str, World, &'static [&'static str], u8, &'static str);

const ROWS: [Row; 14] = [
    ("a free address", |_, _, _| {}, &[], 0, "claimed"),
    ("held already", |cloud, address, me| cloud.associate(&address.allocation_id, me), &[], 0, "already_held"),
    ("the gate says no", |cloud, _, me| cloud.set_lifecycle(me, Some("Standby")), &[], 0, "skipped"),
    ("a newer holder", |cloud, address, _| hold(cloud, address, OLD / 2), &[], 69, "yielded"),
    ("an unknown holder", an_unknown_holder, &[], 69, "yielded"),
    ("refused by EC2", |cloud, address, _| disown(cloud, address), &[], 69, "failed"),
    ("nonsense of IMDS", nonsense_of_imds, &[], 70, "failed"),
    ("nonsense of EC2", nonsense_of_ec2, &[], 70, "failed"),
    ("no free address", |cloud, address, _| hold(cloud, address, OLD * 2), &["--takeover=never"], 75, "failed"),
    ("EC2 is down", ec2_is_down, &[], 75, "failed"),
    ("IAM says no", |cloud, _, me| cloud.deny(Some(me), "ec2:AssociateAddress"), &[], 77, "failed"),
    (
        "no address",
        |cloud, address, _| cloud.edit_address(&address.allocation_id, |a| a.tags.clear()),
        &[],
        78,
        "failed",
    ),
    ("IMDS is off", |cloud, _, me| cloud.set_imds_enabled(me, false), &[], 78, "failed"),
    ("no such interface", |_, _, _| {}, &["--device-index=7"], 78, "failed"),
];

fn hold(cloud: &Cloud, address: &Allocation, launched: std::time::Duration) {
    let holder = cloud.launch(launch(launched));
    cloud.associate(&address.allocation_id, &holder);
}

fn an_unknown_holder(cloud: &Cloud, address: &Allocation, _: &str) {
    hold(cloud, address, OLD / 2);
    // Hidden are all; this instance then waits for itself as well, and for the holder first.
    cloud.set_new_instance_hidden_for(OLD);
}

fn disown(cloud: &Cloud, address: &Allocation) {
    cloud.edit_address(&address.allocation_id, |record| record.owner = "210987654321".into());
}

fn nonsense_of_imds(cloud: &Cloud, _: &Allocation, _: &str) {
    let garbage = Fault::Garbage { content_type: "text/html".into(), body: b"<html>".to_vec() };
    cloud.fault("GET /latest/dynamic/instance-identity/document", Calls::All, garbage);
}

fn nonsense_of_ec2(cloud: &Cloud, _: &Allocation, _: &str) {
    let page = Fault::Status { code: 418, body: "<html>I am a teapot</html>".to_owned() };
    cloud.fault("DescribeAddresses", Calls::All, page);
}

fn ec2_is_down(cloud: &Cloud, _: &Allocation, _: &str) {
    cloud.fault("EC2", Calls::All, Fault::Reset);
}

#[test]
fn the_readme_tells_the_same_codes_and_no_other() {
    let readme = include_str!("../README.md");
    let rows = readme.lines().skip_while(|line| !line.starts_with("| exit |")).skip(2);
    let told: Vec<(u8, &str)> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let mut cells = line.split('|').skip(1).map(str::trim);
            let code = cells.next().expect("a code").parse().expect("a number");
            (code, cells.next().expect("a name"))
        })
        .collect();
    let name = |name: &'static str| if name == "SUCCESS" { "success" } else { name };
    assert_eq!(told, TABLE.map(|(_, code, shown)| (code, name(shown))));
}

#[test]
fn the_codes_in_the_program_are_those_of_the_table() {
    for (exit, number, name) in TABLE {
        assert_eq!(exit as u8, number, "{name}");
    }
}

#[test]
fn every_way_to_end_has_the_exit_code_of_the_table() {
    each(ROWS, |(row, world, options, exit, outcome)| {
        let (cloud, address, me) = one_of_each();
        world(&cloud, &address, &me);
        let run = run(&cloud, &me, &[&CLAIM[..], options].concat());
        assert_eq!(ended(&run), (i32::from(exit), outcome.to_owned()), "{row}: {run:#?}");
        assert_eq!(run.json()["error"].is_null(), exit == 0, "{row}: {run:#?}");
        let committed = writes(&cloud).iter().filter(|r| r.committed).count();
        assert_eq!(committed, usize::from(outcome == "claimed"), "{row}: {:?}", sent(&cloud));
    });
}

#[test]
fn a_bad_option_is_found_before_anything_is_called() {
    let rows = [
        "--no-such-option",
        "--timeout=0",
        "--timeout=soon",
        "--tag=",
        "--allocation-id=eip",
        "--public-ip=203.0.113",
        "--takeover=sometimes",
        "--device-index=first",
        "frobnicate",
    ];
    each(rows, |row| {
        let (cloud, _, me) = one_of_each();
        let run = run(&cloud, &me, &[row]);
        assert_eq!((run.exit, run.stdout.as_str()), (64, ""), "{row}: {run:#?}");
        assert!(run.stderr.contains("error:"), "{row}: {run:#?}");
        assert_eq!(cloud.log().len(), 0, "{row}: {:#?}", cloud.log());
    });
}

#[test]
fn every_code_of_the_table_is_reached_by_a_row() {
    let reached = |number| number == 64 || ROWS.iter().any(|row| row.3 == number);
    for (_, number, name) in TABLE {
        assert!(reached(number), "{name}");
    }
}
