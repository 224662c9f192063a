//! Where to: the interface and the private address that get the address, and how one of ours is moved.

use std::net::Ipv4Addr;

use fakecloud::{Allocation, Cloud, Interface, Launch, Options};
use serde_json::json;

use crate::harness::{OLD, assert_no_writes, each, holder, launch, sent, writes};
use crate::requests::{FENCE, FREE, HASTY, PATIENT, claim, params};

const DEVICE_0: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 10), Ipv4Addr::new(10, 0, 0, 11)];
const DEVICE_1: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 1, 20), Ipv4Addr::new(10, 0, 1, 21)];

/// A cloud with one address and an instance that has `devices` interfaces with two private addresses each.
fn cloud(devices: usize) -> (Cloud, Allocation, String) {
    let cloud = Cloud::start(Options::default());
    let address = cloud.allocate(&[("asg", "test")]);
    let interfaces = [DEVICE_0, DEVICE_1].into_iter().take(devices);
    let interfaces = interfaces.map(|ips| Interface { private_ips: ips.to_vec() }).collect();
    let instance = cloud.launch(Launch { interfaces, ..launch(OLD) });
    (cloud, address, instance)
}

/// Options, how many interfaces there are, and the device and private address that shall have the address.
type Case = (&'static [&'static str], usize, usize, Ipv4Addr);
const CASES: [Case; 9] = [
    (&[], 2, 0, DEVICE_0[0]),
    (&["--device-index=0"], 1, 0, DEVICE_0[0]),
    (&["--device-index=0"], 2, 0, DEVICE_0[0]),
    (&["--device-index=1"], 2, 1, DEVICE_1[0]),
    (&["--private-ip=10.0.0.10"], 1, 0, DEVICE_0[0]),
    (&["--private-ip=10.0.0.11"], 1, 0, DEVICE_0[1]),
    (&["--private-ip=10.0.0.11"], 2, 0, DEVICE_0[1]),
    (&["--private-ip=10.0.1.21"], 2, 1, DEVICE_1[1]),
    (&["--device-index=1", "--private-ip=10.0.1.21"], 2, 1, DEVICE_1[1]),
];

#[test]
fn with_one_interface_and_no_choice_the_instance_is_named_and_nothing_else() {
    let (cloud, address, instance) = cloud(1);
    let result = claim(&cloud, &instance, PATIENT, &["--tag=asg"]).expect(0, "claimed");
    assert_eq!(sent(&cloud), FREE);
    let expected = [
        ("AllocationId", address.allocation_id.as_str()),
        ("AllowReassociation", "false"),
        ("InstanceId", instance.as_str()),
    ];
    assert_eq!(params(&writes(&cloud)[0]), expected);
    assert_eq!(result["private_ip"], DEVICE_0[0].to_string());
}

#[test]
fn with_several_interfaces_or_a_choice_interface_and_private_address_are_named() {
    for (options, devices, device, private_ip) in CASES {
        let (cloud, address, instance) = cloud(devices);
        let interface = cloud.interfaces(&instance)[device].interface_id.clone();
        let result = claim(&cloud, &instance, PATIENT, &[&["--tag=asg"], options].concat()).expect(0, "claimed");
        assert_eq!(sent(&cloud), FREE, "{options:?} {devices}");
        let expected = [
            ("AllocationId", address.allocation_id.as_str()),
            ("AllowReassociation", "false"),
            ("NetworkInterfaceId", interface.as_str()),
            ("PrivateIpAddress", &private_ip.to_string()),
        ];
        assert_eq!(params(&writes(&cloud)[0]), expected, "{options:?} {devices}");
        let truth = cloud.holder(&address.allocation_id).expect("it is held");
        assert_eq!((truth.interface_id, truth.private_ip), (interface.clone(), private_ip), "{options:?} {devices}");
        assert_eq!(result["network_interface_id"], interface, "{options:?} {devices}");
        assert_eq!(result["private_ip"], private_ip.to_string(), "{options:?} {devices}");
    }
}

#[test]
fn a_target_that_is_not_there_is_a_configuration_error_that_lists_what_is() {
    let rows = [&["--device-index=5"][..], &["--private-ip=10.9.9.9"], &["--device-index=0", "--private-ip=10.0.1.20"]];
    each(rows, |options| {
        let (cloud, address, instance) = cloud(2);
        let run = claim(&cloud, &instance, HASTY, &[&["--tag=asg"], options].concat());
        run.expect(78, "failed");
        assert_eq!(sent(&cloud).len(), 0, "{options:?}: {:?}", sent(&cloud));
        assert_eq!(holder(&cloud, &address), None, "{options:?}");
        let message = run.error("message");
        let has = cloud.interfaces(&instance);
        let ids = has.iter().map(|i| i.interface_id.clone());
        let ips = has.iter().flat_map(|i| &i.private_ips).map(Ipv4Addr::to_string);
        for thing in ids.chain(ips) {
            assert!(message.contains(&thing), "{options:?}: {thing}: {message}");
        }
        let wanted = options[options.len() - 1].split_once('=').expect("a value").1;
        assert!(message.contains(wanted), "{options:?}: {message}");
    });
}

#[test]
fn an_address_on_another_interface_or_private_address_of_this_instance_is_moved_behind_the_fence() {
    for policy in ["successor", "never"] {
        for (options, device, private_ip) in [
            ("--device-index=1", 1, DEVICE_1[0]),
            ("--private-ip=10.0.0.11", 0, DEVICE_0[1]),
            ("--private-ip=10.0.1.21", 1, DEVICE_1[1]),
        ] {
            let (cloud, address, instance) = cloud(2);
            cloud.associate(&address.allocation_id, &instance);
            let before = cloud.holder(&address.allocation_id).expect("it is held");
            let interface = cloud.interfaces(&instance)[device].interface_id.clone();
            let run = claim(&cloud, &instance, PATIENT, &["--tag=asg", "--takeover", policy, options]);
            assert_eq!(run.expect(0, "claimed")["previous_holder"]["instance_id"], instance, "{policy} {options}");
            assert_eq!(sent(&cloud), FENCE, "{policy} {options}");
            let written = writes(&cloud);
            let ended = [("AssociationId", before.association_id.as_str())];
            assert_eq!(params(&written[0]), ended, "{policy} {options}");
            let made = [
                ("AllocationId", address.allocation_id.as_str()),
                ("AllowReassociation", "false"),
                ("NetworkInterfaceId", &interface),
                ("PrivateIpAddress", &private_ip.to_string()),
            ];
            assert_eq!(params(&written[1]), made, "{policy} {options}");
            let after = cloud.holder(&address.allocation_id).expect("it is held");
            assert_eq!((after.interface_id, after.private_ip), (interface, private_ip), "{policy} {options}");
        }
    }
}

#[test]
fn always_moves_an_address_of_this_instance_with_one_write() {
    let (cloud, address, instance) = cloud(2);
    cloud.associate(&address.allocation_id, &instance);
    claim(&cloud, &instance, PATIENT, &["--tag=asg", "--takeover=always", "--device-index=1"]).expect(0, "claimed");
    assert_eq!(sent(&cloud), FREE);
    let after = cloud.holder(&address.allocation_id).expect("it is held");
    assert_eq!(after.private_ip, DEVICE_1[0]);
}

#[test]
fn the_text_says_that_the_address_was_moved() {
    let (cloud, address, instance) = cloud(2);
    cloud.associate(&address.allocation_id, &instance);
    let run = claim(&cloud, &instance, PATIENT, &["--tag=asg", "--device-index=1", "--output=text"]);
    assert_eq!(run.exit, 0, "{run:#?}");
    assert!(run.stdout.starts_with(&format!("{} claimed by {instance} in ", address.public_ip)), "{}", run.stdout);
    assert!(run.stdout.contains("moved"), "{}", run.stdout);
}

#[test]
fn on_the_chosen_target_already_nothing_is_written() {
    for (options, devices, device, private_ip) in CASES {
        let (cloud, address, instance) = cloud(devices);
        let arguments = [&["--tag=asg"], options].concat();
        claim(&cloud, &instance, PATIENT, &arguments).expect(0, "claimed");
        cloud.clear_log();
        let result = claim(&cloud, &instance, PATIENT, &arguments).expect(0, "already_held");
        assert_eq!(sent(&cloud), ["DescribeAddresses"], "{options:?} {devices}");
        assert_eq!(result["network_interface_id"], cloud.interfaces(&instance)[device].interface_id);
        assert_eq!(result["private_ip"], json!(private_ip.to_string()), "{options:?} {devices}");
        assert_no_writes(&cloud);
        assert_eq!(holder(&cloud, &address), Some(instance), "{options:?} {devices}");
    }
}

#[test]
fn in_a_pool_an_address_elsewhere_on_this_instance_is_moved_before_a_free_one_is_taken() {
    let (cloud, address, instance) = cloud(2);
    let free = cloud.allocate(&[("asg", "test")]);
    cloud.associate(&address.allocation_id, &instance);
    let result = claim(&cloud, &instance, PATIENT, &["--tag=asg", "--device-index=1"]).expect(0, "claimed");
    assert_eq!(result["allocation_id"], address.allocation_id);
    assert_eq!(cloud.holder(&address.allocation_id).map(|h| h.private_ip), Some(DEVICE_1[0]));
    assert_eq!(holder(&cloud, &free), None);
}
