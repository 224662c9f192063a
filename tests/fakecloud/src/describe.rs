//! What EC2's `Describe*` actions show, which is the world as it was a while ago.

use crate::addresses::{no_allocation, no_instance};
use crate::ec2::{respond, well_formed};
use crate::filters::{Filter, filters, list};
use crate::query::Query;
use crate::types::{InstanceState, timestamp};
use crate::world::{Address, ApiError, Instance, Nic, World};
use crate::xml::Xml;
use std::collections::BTreeMap;

pub(crate) fn run(world: &World, query: &Query) -> Result<String, ApiError> {
    match query.action {
        "DescribeAddresses" => addresses(world, query),
        "DescribeInstances" => instances(world, query),
        "DescribeInstanceStatus" => statuses(world, query),
        "DescribeTags" => tags(world, query),
        _ => interfaces(world, query),
    }
}

/// What a resource has under a filter's name: `None` when there is no such filter.
type Has = Option<Vec<String>>;

/// Whether every filter holds for a resource.
fn passes(filters: &[Filter], tags: &BTreeMap<String, String>, has: impl Fn(&str) -> Has) -> Result<bool, ApiError> {
    let mut all = true;
    for filter in filters {
        all &= match (filter.on_tags(tags), has(&filter.name)) {
            (Some(holds), _) => holds,
            (None, Some(values)) => filter.matches(values),
            (None, None) => return Err(unknown(filter)),
        };
    }
    Ok(all)
}

fn unknown(filter: &Filter) -> ApiError {
    ApiError::bad("InvalidParameterValue", format!("The filter '{}' is invalid", filter.name))
}

/// Those of the resources that pass; a filter that is none is an error even when there are no resources.
fn select<'a, T>(
    filters: &[Filter],
    names: &[&str],
    all: impl Iterator<Item = &'a T>,
    tags: impl Fn(&T) -> &BTreeMap<String, String>,
    has: impl Fn(&T, &str) -> Has,
) -> Result<Vec<&'a T>, ApiError> {
    let is_tag = |name: &str| name == "tag-key" || name.starts_with("tag:");
    if let Some(filter) = filters.iter().find(|f| !is_tag(&f.name) && !names.contains(&f.name.as_str())) {
        return Err(unknown(filter));
    }
    let mut selected = Vec::new();
    for thing in all {
        if passes(filters, tags(thing), |name| has(thing, name))? {
            selected.push(thing);
        }
    }
    Ok(selected)
}

fn tag_set(xml: &mut Xml, tags: &BTreeMap<String, String>) {
    if tags.is_empty() {
        return;
    }
    xml.list("tagSet", "item", tags, |xml, (key, value)| {
        xml.value("key", key);
        xml.value("value", value);
    });
}

// Addresses.

const ADDRESS_FILTERS: [&str; 9] = [
    "allocation-id",
    "association-id",
    "domain",
    "instance-id",
    "network-border-group",
    "network-interface-id",
    "network-interface-owner-id",
    "private-ip-address",
    "public-ip",
];

fn addresses(world: &World, query: &Query) -> Result<String, ApiError> {
    let ids = list(query.params, "AllocationId");
    let ips = list(query.params, "PublicIp");
    for id in &ids {
        well_formed(id, "eipalloc", "InvalidAllocationID.Malformed")?;
        if !world.visible_addresses().any(|address| address.allocation_id == *id) {
            return Err(no_allocation(id));
        }
    }
    for ip in &ips {
        if !world.visible_addresses().any(|address| address.public_ip.to_string() == *ip) {
            return Err(ApiError::bad("InvalidAddress.NotFound", format!("Address '{ip}' not found.")));
        }
    }
    let named = world.visible_addresses().filter(|address| {
        (ids.is_empty() || ids.contains(&address.allocation_id))
            && (ips.is_empty() || ips.contains(&address.public_ip.to_string()))
    });
    let account = &world.options.account;
    let has = |address: &Address, name: &str| -> Has {
        let holder = address.holder.as_ref();
        Some(Vec::from_iter(match name {
            "allocation-id" => Some(address.allocation_id.clone()),
            "domain" => Some("vpc".into()),
            "public-ip" => Some(address.public_ip.to_string()),
            "network-border-group" => Some(address.record.network_border_group.clone()),
            "association-id" => holder.map(|h| h.association_id.clone()),
            "instance-id" => holder.and_then(|h| h.instance_id.clone()),
            "network-interface-id" => holder.map(|h| h.interface_id.clone()),
            "network-interface-owner-id" => holder.map(|_| account.clone()),
            "private-ip-address" => holder.map(|h| h.private_ip.to_string()),
            _ => return None,
        }))
    };
    let selected = select(&filters(query.params), &ADDRESS_FILTERS, named, |a| &a.record.tags, has)?;
    Ok(respond(query, |xml| {
        xml.list("addressesSet", "item", selected, |xml, address| {
            let holder = address.holder.as_ref();
            xml.value("publicIp", address.public_ip);
            xml.value("allocationId", &address.allocation_id);
            xml.value("domain", "vpc");
            xml.maybe("instanceId", holder.and_then(|h| h.instance_id.as_ref()));
            xml.maybe("associationId", holder.map(|h| &h.association_id));
            xml.maybe("networkInterfaceId", holder.map(|h| &h.interface_id));
            xml.maybe("networkInterfaceOwnerId", holder.map(|_| account));
            xml.maybe("privateIpAddress", holder.map(|h| h.private_ip));
            tag_set(xml, &address.record.tags);
            xml.value("publicIpv4Pool", "amazon");
            xml.value("networkBorderGroup", &address.record.network_border_group);
            xml.maybe("serviceManaged", address.record.service_managed.as_ref());
        });
    }))
}

// Instances.

const INSTANCE_FILTERS: [&str; 6] = [
    "instance-id",
    "instance-state-name",
    "instance-state-code",
    "availability-zone",
    "private-ip-address",
    "ip-address",
];

fn instance_has(instance: &Instance, name: &str) -> Has {
    Some(match name {
        "instance-id" => vec![instance.id.clone()],
        "instance-state-name" => vec![instance.state.name().into()],
        "instance-state-code" => vec![instance.state.code().to_string()],
        "availability-zone" => vec![instance.zone.clone()],
        "private-ip-address" => vec![instance.nics[0].primary().ip.to_string()],
        "ip-address" => Vec::from_iter(instance.nics[0].public_of(instance.nics[0].primary()).map(|ip| ip.to_string())),
        _ => return None,
    })
}

/// The instances that are named, or all; naming one that is not seen is an error.
fn named_instances<'a>(world: &'a World, query: &Query) -> Result<Vec<&'a Instance>, ApiError> {
    let ids = list(query.params, "InstanceId");
    if ids.is_empty() {
        return Ok(world.visible_instances().collect());
    }
    for id in &ids {
        well_formed(id, "i", "InvalidInstanceID.Malformed")?;
    }
    let found: Vec<&Instance> = world.visible_instances().filter(|instance| ids.contains(&instance.id)).collect();
    let missing: Vec<&String> = ids.iter().filter(|id| !found.iter().any(|i| i.id == **id)).collect();
    if missing.is_empty() { Ok(found) } else { Err(no_instance(&missing)) }
}

fn instances(world: &World, query: &Query) -> Result<String, ApiError> {
    let named = named_instances(world, query)?;
    let filters = filters(query.params);
    let selected = select(&filters, &INSTANCE_FILTERS, named.into_iter(), |i| &i.tags, instance_has)?;
    Ok(respond(query, |xml| {
        xml.list("reservationSet", "item", selected, |xml, instance| {
            xml.value("reservationId", instance.id.replacen("i-", "r-", 1));
            xml.value("ownerId", &world.options.account);
            xml.list("instancesSet", "item", [instance], |xml, instance| one_instance(xml, world, instance));
        });
    }))
}

fn one_instance(xml: &mut Xml, world: &World, instance: &Instance) {
    let nic = &instance.nics[0];
    let gone = instance.state == InstanceState::Terminated;
    xml.value("instanceId", &instance.id);
    xml.value("imageId", "ami-0123456789abcdef0");
    state(xml, "instanceState", instance.state);
    xml.value("instanceType", "t4g.nano");
    xml.value("launchTime", timestamp(instance.launch_time));
    xml.nest("placement", |xml| {
        xml.value("availabilityZone", &instance.zone);
        xml.value("tenancy", "default");
    });
    if let Some(role) = instance.role.as_ref().filter(|_| !gone) {
        let account = &world.options.account;
        xml.nest("iamInstanceProfile", |xml| {
            xml.value("arn", format!("arn:aws:iam::{account}:instance-profile/{role}"));
            xml.value("id", "AIPAFAKECLOUDPROFILE0");
        });
    }
    tag_set(xml, &instance.tags);
    if gone {
        return;
    }
    xml.value("privateIpAddress", nic.primary().ip);
    xml.maybe("ipAddress", nic.public_of(nic.primary()));
    xml.value("vpcId", "vpc-0123456789abcdef0");
    xml.value("subnetId", "subnet-0123456789abcdef0");
    xml.list("networkInterfaceSet", "item", instance.nics.iter().enumerate(), |xml, (device, nic)| {
        one_interface(xml, world, nic);
        xml.nest("attachment", |xml| {
            xml.value("attachmentId", nic.id.replacen("eni-", "eni-attach-", 1));
            xml.value("deviceIndex", device);
            xml.value("status", "attached");
        });
    });
}

fn state(xml: &mut Xml, name: &str, state: InstanceState) {
    xml.nest(name, |xml| {
        xml.value("code", state.code());
        xml.value("name", state.name());
    });
}

fn one_interface(xml: &mut Xml, world: &World, nic: &Nic) {
    xml.value("networkInterfaceId", &nic.id);
    xml.value("subnetId", "subnet-0123456789abcdef0");
    xml.value("vpcId", "vpc-0123456789abcdef0");
    xml.value("ownerId", &world.options.account);
    xml.value("status", "in-use");
    xml.value("macAddress", &nic.mac);
    xml.value("privateIpAddress", nic.primary().ip);
    xml.list("privateIpAddressesSet", "item", nic.private_ips.iter().enumerate(), |xml, (n, private)| {
        xml.value("privateIpAddress", private.ip);
        xml.value("primary", n == 0);
        let Some(public) = nic.public_of(private) else { return };
        xml.nest("association", |xml| {
            xml.value("publicIp", public);
            let owner = if private.eip.is_some() { &world.options.account } else { "amazon" };
            xml.value("ipOwnerId", owner);
            xml.maybe("allocationId", private.eip.as_ref().map(|eip| &eip.allocation_id));
            xml.maybe("associationId", private.eip.as_ref().map(|eip| &eip.association_id));
        });
    });
}

fn statuses(world: &World, query: &Query) -> Result<String, ApiError> {
    const NAMES: [&str; 5] = [
        "availability-zone",
        "instance-state-name",
        "instance-state-code",
        "instance-status.status",
        "system-status.status",
    ];
    let all = query.flag("IncludeAllInstances")? == Some(true);
    let named = named_instances(world, query)?;
    let shown = named.into_iter().filter(|instance| all || instance.state == InstanceState::Running);
    let has = |instance: &Instance, name: &str| match name {
        "instance-status.status" => Some(vec![instance_status(instance).into()]),
        "system-status.status" => Some(vec![system_status(instance).into()]),
        name => instance_has(instance, name),
    };
    let selected = select(&filters(query.params), &NAMES, shown, |i| &i.tags, has)?;
    Ok(respond(query, |xml| {
        xml.list("instanceStatusSet", "item", selected, |xml, instance| {
            xml.value("instanceId", &instance.id);
            xml.value("availabilityZone", &instance.zone);
            state(xml, "instanceState", instance.state);
            for (name, status) in
                [("systemStatus", system_status(instance)), ("instanceStatus", instance_status(instance))]
            {
                xml.nest(name, |xml| {
                    xml.value("status", status);
                    if status != "not-applicable" {
                        xml.list("details", "item", [status], |xml, status| {
                            xml.value("name", "reachability");
                            xml.value("status", if status == "ok" { "passed" } else { "failed" });
                        });
                    }
                });
            }
        });
    }))
}

/// EC2's own side of the instance: host, power, network.
fn system_status(instance: &Instance) -> &'static str {
    match instance.state {
        InstanceState::Running if instance.impaired => "impaired",
        InstanceState::Running => "ok",
        _ => "not-applicable",
    }
}

/// The inside of the instance, which is always well here.
fn instance_status(instance: &Instance) -> &'static str {
    if instance.state == InstanceState::Running { "ok" } else { "not-applicable" }
}

// Tags and interfaces.

fn tags(world: &World, query: &Query) -> Result<String, ApiError> {
    let filters = filters(query.params);
    let of_instances = world.visible_instances().map(|i| (&i.id, "instance", &i.tags));
    let of_addresses = world.visible_addresses().map(|a| (&a.allocation_id, "elastic-ip", &a.record.tags));
    let mut shown = Vec::new();
    for filter in &filters {
        let known = ["resource-id", "resource-type", "key", "value"].contains(&filter.name.as_str());
        if !known && !filter.name.starts_with("tag:") {
            return Err(unknown(filter));
        }
    }
    for (id, kind, tags) in of_instances.chain(of_addresses) {
        for (key, value) in tags {
            let holds = filters.iter().all(|filter| match filter.name.as_str() {
                "resource-id" => filter.matches([id]),
                "resource-type" => filter.matches([kind]),
                "key" => filter.matches([key]),
                "value" => filter.matches([value]),
                other => other.strip_prefix("tag:") == Some(key) && filter.matches([value]),
            });
            if holds {
                shown.push((id, kind, key, value));
            }
        }
    }
    Ok(respond(query, |xml| {
        xml.list("tagSet", "item", shown, |xml, (id, kind, key, value)| {
            xml.value("resourceId", id);
            xml.value("resourceType", kind);
            xml.value("key", key);
            xml.value("value", value);
        });
    }))
}

fn interfaces(world: &World, query: &Query) -> Result<String, ApiError> {
    let ids = list(query.params, "NetworkInterfaceId");
    let filters = filters(query.params);
    let none = BTreeMap::new();
    let mut shown = Vec::new();
    for instance in world.visible_instances().filter(|i| i.state != InstanceState::Terminated) {
        for (device, nic) in instance.nics.iter().enumerate() {
            let holds = passes(&filters, &none, |name| {
                Some(match name {
                    "network-interface-id" => vec![nic.id.clone()],
                    "attachment.instance-id" => vec![instance.id.clone()],
                    "attachment.device-index" => vec![device.to_string()],
                    "mac-address" => vec![nic.mac.clone()],
                    "addresses.private-ip-address" => nic.private_ips.iter().map(|p| p.ip.to_string()).collect(),
                    _ => return None,
                })
            })?;
            if holds && (ids.is_empty() || ids.contains(&nic.id)) {
                shown.push((instance, device, nic));
            }
        }
    }
    if let Some(id) = ids.iter().find(|id| !world.interfaces.contains_key(*id)) {
        let text = format!("The networkInterface ID '{id}' does not exist");
        return Err(ApiError::bad("InvalidNetworkInterfaceID.NotFound", text));
    }
    Ok(respond(query, |xml| {
        xml.list("networkInterfaceSet", "item", shown, |xml, (instance, device, nic)| {
            one_interface(xml, world, nic);
            xml.nest("attachment", |xml| {
                xml.value("attachmentId", nic.id.replacen("eni-", "eni-attach-", 1));
                xml.value("instanceId", &instance.id);
                xml.value("deviceIndex", device);
                xml.value("status", "attached");
            });
        });
    }))
}
