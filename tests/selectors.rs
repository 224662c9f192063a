//! Which addresses: every selector, as the filters that EC2 gets and as what becomes of it.

use std::time::Duration;

use fakecloud::{Cloud, Launch, Options, Request, tags};

use crate::harness::{OLD, Run, assert_no_writes, each, holder, launch, one_of_each, sent, writes};
use crate::requests::{FREE, HASTY, PATIENT, claim, filters, held_since, these};

/// An instance in service with these tags.
fn tagged(own: &[(&str, &str)]) -> Launch {
    Launch { tags: tags(own), ..launch(OLD) }
}

/// A selector, the tags of the address and of the instance, and the filters that shall be sent.
/// `ID` and `IP` stand for what the cloud calls the address.
struct Case {
    name: &'static str,
    selectors: &'static [&'static str],
    address: &'static [(&'static str, &'static str)],
    instance: &'static [(&'static str, &'static str)],
    expected: &'static [(&'static str, &'static [&'static str])],
}

const CASES: &[Case] = &[
    Case {
        name: "tag and value",
        selectors: &["--tag=asg=test"],
        address: &[("asg", "test")],
        instance: &[],
        expected: &[("tag:asg", &["test"])],
    },
    Case {
        name: "a value with everything that is a wildcard",
        selectors: &[r"--tag=asg=a*b?c\d"],
        address: &[("asg", r"a*b?c\d")],
        instance: &[],
        expected: &[("tag:asg", &[r"a\*b\?c\\d"])],
    },
    Case {
        name: "a value with a comma and an equals sign",
        selectors: &["--tag=asg=a=b,c"],
        address: &[("asg", "a=b,c")],
        instance: &[],
        expected: &[("tag:asg", &["a=b,c"])],
    },
    Case {
        name: "a key that could be taken for a wildcard",
        selectors: &["--tag=team:a+b@c=test"],
        address: &[("team:a+b@c", "test")],
        instance: &[],
        expected: &[("tag:team:a+b@c", &["test"])],
    },
    Case {
        name: "this instance's own tag",
        selectors: &["--tag=asg"],
        address: &[("asg", "own")],
        instance: &[("asg", "own")],
        expected: &[("tag:asg", &["own"])],
    },
    Case {
        name: "this instance's own tag with wildcards",
        selectors: &["--tag=asg"],
        address: &[("asg", "own*?")],
        instance: &[("asg", "own*?")],
        expected: &[("tag:asg", &[r"own\*\?"])],
    },
    Case {
        name: "no selector",
        selectors: &[],
        address: &[("eip-claim", "web")],
        instance: &[("eip-claim", "web"), ("asg", "other")],
        expected: &[("tag:eip-claim", &["web"])],
    },
    Case {
        name: "several tags",
        selectors: &["--tag=asg", "--tag=stage=prod"],
        address: &[("asg", "test"), ("stage", "prod")],
        instance: &[("asg", "test"), ("stage", "ignored")],
        expected: &[("tag:asg", &["test"]), ("tag:stage", &["prod"])],
    },
    Case {
        name: "allocation id",
        selectors: &["--allocation-id=ID"],
        address: &[],
        instance: &[("eip-claim", "ignored")],
        expected: &[("allocation-id", &["ID"])],
    },
    Case {
        name: "the address itself",
        selectors: &["--public-ip=IP"],
        address: &[],
        instance: &[],
        expected: &[("public-ip", &["IP"])],
    },
    Case {
        name: "a filter as EC2 takes it, wildcards and all",
        selectors: &["--filter=tag:asg=te*,prod"],
        address: &[("asg", "test")],
        instance: &[],
        expected: &[("tag:asg", &["te*", "prod"])],
    },
    Case {
        name: "all of them",
        selectors: &["--tag=asg", "--tag=stage=prod", "--allocation-id=ID", "--public-ip=IP", "--filter=domain=vpc"],
        address: &[("asg", "test"), ("stage", "prod")],
        instance: &[("asg", "test")],
        expected: &[
            ("tag:asg", &["test"]),
            ("tag:stage", &["prod"]),
            ("allocation-id", &["ID"]),
            ("public-ip", &["IP"]),
            ("domain", &["vpc"]),
        ],
    },
];

#[test]
fn each_selector_is_sent_as_exactly_its_filters() {
    for Case { name, selectors, address, instance, expected } in CASES {
        let cloud = Cloud::start(Options::default());
        let address = cloud.allocate(address);
        let instance = cloud.launch(tagged(instance));
        let ip = address.public_ip.to_string();
        let real = |text: &str| text.replace("ID", &address.allocation_id).replace("IP", &ip);
        let selectors: Vec<String> = selectors.iter().map(|text| real(text)).collect();
        let selectors: Vec<&str> = selectors.iter().map(String::as_str).collect();
        let run = claim(&cloud, &instance, PATIENT, &selectors);
        assert_eq!(run.exit, 0, "{name}: {run:#?}");
        assert_eq!(holder(&cloud, &address), Some(instance), "{name}");
        assert_eq!(sent(&cloud), FREE, "{name}");
        let mut expected = these(expected);
        expected.iter_mut().flat_map(|(_, values)| values).for_each(|value| *value = real(value));
        assert_eq!(filters(&cloud.requests("DescribeAddresses")[0]), expected, "{name}");
    }
}

#[test]
fn the_wildcards_of_a_tag_match_nothing_but_themselves_and_those_of_a_filter_match() {
    for (selector, expected) in [("--tag=asg=web*", 78), ("--filter=tag:asg=web*", 0)] {
        let cloud = Cloud::start(Options::default());
        let decoy = cloud.allocate(&[("asg", "web1")]);
        let instance = cloud.launch(launch(OLD));
        let run = claim(&cloud, &instance, if expected == 0 { PATIENT } else { HASTY }, &[selector]);
        assert_eq!(run.exit, expected, "{selector}: {run:#?}");
        assert_eq!(holder(&cloud, &decoy).is_some(), expected == 0, "{selector}");
    }
}

#[test]
fn a_tag_without_an_equals_sign_takes_only_the_address_with_this_instance_s_value() {
    let (cloud, ours, instance) = one_of_each();
    let others = cloud.allocate(&[("asg", "other")]);
    claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
    assert_eq!(holder(&cloud, &ours), Some(instance));
    assert_eq!(holder(&cloud, &others), None);
}

#[test]
fn a_repeated_id_or_address_makes_a_pool() {
    for option in ["--allocation-id", "--public-ip"] {
        let cloud = Cloud::start(Options::default());
        let pool = [cloud.allocate(&[]), cloud.allocate(&[])];
        let decoy = cloud.allocate(&[]);
        let older = held_since(&cloud, &pool[0], 2 * OLD);
        let instance = cloud.launch(launch(OLD));
        let value = |n: usize| match option {
            "--public-ip" => pool[n].public_ip.to_string(),
            _ => pool[n].allocation_id.clone(),
        };
        let options = [0, 1].map(|n| format!("{option}={}", value(n)));
        claim(&cloud, &instance, PATIENT, &options.each_ref().map(String::as_str)).expect(0, "claimed");
        let values = [value(0), value(1)];
        let name = option.trim_start_matches('-').to_owned();
        assert_eq!(filters(&cloud.requests("DescribeAddresses")[0]), [(name, values.to_vec())], "{option}");
        assert_eq!(holder(&cloud, &pool[0]), Some(older), "{option}");
        assert_eq!(holder(&cloud, &pool[1]), Some(instance), "{option}");
        assert_eq!(holder(&cloud, &decoy), None, "{option}");
    }
}

#[test]
fn an_own_tag_that_imds_does_not_serve_is_read_from_ec2() {
    let cloud = Cloud::start(Options::default());
    let address = cloud.allocate(&[("asg", "test")]);
    let instance = cloud.launch(Launch { tags_in_metadata: false, ..launch(OLD) });
    claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
    assert_eq!(holder(&cloud, &address), Some(instance.clone()));
    assert_eq!(sent(&cloud), [&["DescribeTags"], FREE].concat());
    let own = these(&[("resource-id", &[&instance]), ("key", &["asg"])]);
    assert_eq!(filters(&cloud.requests("DescribeTags")[0]), own);
}

#[test]
fn a_tag_key_that_imds_cannot_have_is_read_from_ec2_at_once() {
    for key in ["Address Name", "team/address"] {
        let cloud = Cloud::start(Options::default());
        let address = cloud.allocate(&[(key, "web")]);
        let instance = cloud.launch(tagged(&[(key, "web")]));
        claim(&cloud, &instance, PATIENT, &["--tag", key]).expect(0, "claimed");
        assert_eq!(holder(&cloud, &address), Some(instance.clone()), "{key}");
        let of_the_gate = "/tags/instance/aws:autoscaling:groupName";
        let is_of_a_tag = |r: &Request| r.action.contains("/tags/instance/") && !r.action.ends_with(of_the_gate);
        let asked: Vec<_> = cloud.log().into_iter().filter(is_of_a_tag).collect();
        assert_eq!(asked.len(), 0, "{key}: {asked:#?}");
        let own = these(&[("resource-id", &[&instance]), ("key", &[key])]);
        assert_eq!(filters(&cloud.requests("DescribeTags")[0]), own, "{key}");
        let selected = filters(&cloud.requests("DescribeAddresses")[0]);
        assert_eq!(selected, these(&[(&format!("tag:{key}"), &["web"])]), "{key}");
    }
}

#[test]
fn own_tags_are_read_once_however_often_the_claim_is_tried() {
    let cloud = Cloud::start(Options::default());
    let address = cloud.allocate(&[("asg", "test")]);
    held_since(&cloud, &address, 2 * OLD);
    let instance = cloud.launch(Launch { tags_in_metadata: false, ..launch(OLD) });
    claim(&cloud, &instance, HASTY, &["--tag=asg", "--takeover=never"]).expect(75, "failed");
    assert!(cloud.requests("DescribeAddresses").len() > 1);
    assert_eq!(cloud.requests("DescribeTags").len(), 1);
}

#[test]
fn where_both_ways_to_an_own_tag_are_closed_the_remedy_names_both() {
    let cloud = Cloud::start(Options::default());
    cloud.allocate(&[("asg", "test")]);
    let instance = cloud.launch(Launch { tags_in_metadata: false, ..launch(OLD) });
    cloud.deny(Some(&instance), "ec2:DescribeTags");
    let run = claim(&cloud, &instance, HASTY, &["--tag=asg"]);
    run.expect(77, "failed");
    assert_eq!(run.error("code"), "UnauthorizedOperation");
    let remedy = run.error("remedy");
    for way in ["InstanceMetadataTags", "ec2:DescribeTags", "asg"] {
        assert!(remedy.contains(way), "{way}: {remedy}");
    }
    assert_eq!(sent(&cloud), ["DescribeTags"]);
}

#[test]
fn an_instance_without_the_tag_is_a_configuration_error_that_names_it() {
    each([true, false], |tags_in_metadata| {
        let cloud = Cloud::start(Options::default());
        cloud.allocate(&[("asg", "test")]);
        let instance = cloud.launch(Launch { tags_in_metadata, ..tagged(&[("Name", "box")]) });
        let run = claim(&cloud, &instance, HASTY, &["--tag=asg"]);
        run.expect(78, "failed");
        let message = run.error("message");
        assert!(message.contains("asg") && message.contains(&instance), "{message}");
        assert_eq!(cloud.requests("DescribeAddresses").len(), 0);
        assert_no_writes(&cloud);
    });
}

#[test]
fn no_match_is_a_configuration_error_that_names_tag_and_region() {
    each(["ap-northeast-2", "eu-central-1"], |region| {
        let cloud = Cloud::start(Options { region: region.to_owned(), ..Options::default() });
        let decoy = cloud.allocate(&[("asg", "other")]);
        let instance = cloud.launch(launch(OLD));
        let run = claim(&cloud, &instance, HASTY, &["--tag=asg"]);
        run.expect(78, "failed");
        let message = run.error("message");
        assert!(message.contains("asg=test") && message.contains(region), "{message}");
        assert!(run.error("remedy").contains("region"), "{}", run.error("remedy"));
        assert!(cloud.requests("DescribeAddresses").len() > 1, "an address may be too young to be visible");
        assert_no_writes(&cloud);
        assert_eq!(holder(&cloud, &decoy), None);
    });
}

#[test]
fn an_address_that_becomes_visible_late_is_claimed() {
    let cloud = Cloud::start(Options::default());
    let address = cloud.allocate(&[]);
    let instance = cloud.launch(launch(OLD));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            crate::requests::wait_for(&cloud, "DescribeAddresses", 2);
            let tag = |a: &mut fakecloud::AddressRecord| drop(a.tags.insert("asg".into(), "test".into()));
            cloud.edit_address(&address.allocation_id, tag);
        });
        claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
    });
    assert_eq!(holder(&cloud, &address), Some(instance));
    assert_eq!(writes(&cloud).len(), 1);
}

/// Gives the address to a service or to a bare interface.
type TakeAway = fn(&Cloud, &str);
const NEVER_CANDIDATES: [(&str, TakeAway); 2] = [
    ("managed", |cloud, id| cloud.edit_address(id, |address| address.service_managed = Some("alb".to_owned()))),
    ("bare", |cloud, id| cloud.associate_bare_interface(id)),
];

#[test]
fn an_address_of_a_service_or_a_bare_interface_is_left_alone_and_the_message_says_why() {
    let policies = ["successor", "never", "always"];
    let rows = NEVER_CANDIDATES.into_iter().flat_map(|row| policies.map(|policy| (row, policy)));
    each(rows, |((name, take_away), policy)| {
        let (cloud, address, instance) = one_of_each();
        take_away(&cloud, &address.allocation_id);
        let before = cloud.holder(&address.allocation_id);
        let run = claim(&cloud, &instance, HASTY, &["--tag=asg", "--takeover", policy]);
        run.expect(69, "failed");
        assert_no_writes(&cloud);
        assert_eq!(cloud.holder(&address.allocation_id), before, "{name} {policy}");
        says_why(&run, name, &address.public_ip.to_string(), before.map(|holder| holder.interface_id));
    });
}

fn says_why(run: &Run, name: &str, ip: &str, interface: Option<String>) {
    let message = run.error("message");
    assert!(message.contains(ip), "{name}: {message}");
    match interface {
        Some(interface) => {
            assert!(message.contains(&interface) && message.contains("without an instance"), "{message}");
            assert!(run.error("remedy").contains("interface"), "{}", run.error("remedy"));
        }
        None => assert!(message.contains("alb"), "{message}"),
    }
}

#[test]
fn another_free_match_is_taken_where_one_is_left_alone() {
    for (name, take_away) in NEVER_CANDIDATES {
        let (cloud, address, instance) = one_of_each();
        let other = cloud.allocate(&[("asg", "test")]);
        take_away(&cloud, &address.allocation_id);
        let before = cloud.holder(&address.allocation_id);
        let run = claim(&cloud, &instance, PATIENT, &["--tag=asg"]);
        assert_eq!(run.expect(0, "claimed")["allocation_id"], other.allocation_id, "{name}");
        assert_eq!(holder(&cloud, &other), Some(instance), "{name}");
        assert_eq!(cloud.holder(&address.allocation_id), before, "{name}");
        assert_eq!(sent(&cloud), FREE, "{name}");
    }
}

#[test]
fn beside_an_address_that_is_left_alone_a_held_one_is_the_one_match() {
    let (cloud, managed, instance) = one_of_each();
    cloud.edit_address(&managed.allocation_id, |address| address.service_managed = Some("nat-gateway".to_owned()));
    let held = cloud.allocate(&[("asg", "test")]);
    held_since(&cloud, &held, OLD + Duration::from_secs(60));
    claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
    assert_eq!(holder(&cloud, &held), Some(instance));
    assert_eq!(cloud.requests("DescribeInstanceStatus").len(), 0);
}
