//! EC2's query API, version 2016-11-15: parameters, permissions, trials and the two writes.
//! What reads is in `describe.rs`.

use crate::addresses::AssociateRequest;
use crate::describe;
use crate::policies::Resource;
use crate::query::{Done, Query, invalid_action};
use crate::versioned::Versioned;
use crate::world::{ApiError, World};
use crate::xml::Xml;
use std::net::Ipv4Addr;

/// The actions, with the parameters that each has (a list by its name without numbers).
const ACTIONS: [(&str, &[&str]); 7] = [
    (
        "AssociateAddress",
        &["AllocationId", "InstanceId", "PublicIp", "NetworkInterfaceId", "PrivateIpAddress", "AllowReassociation"],
    ),
    ("DisassociateAddress", &["AssociationId", "PublicIp"]),
    ("DescribeAddresses", &["AllocationId", "PublicIp", "Filter"]),
    ("DescribeInstances", &["InstanceId", "Filter", "MaxResults", "NextToken"]),
    ("DescribeInstanceStatus", &["InstanceId", "Filter", "MaxResults", "NextToken", "IncludeAllInstances"]),
    ("DescribeTags", &["Filter", "MaxResults", "NextToken"]),
    ("DescribeNetworkInterfaces", &["NetworkInterfaceId", "Filter", "MaxResults", "NextToken"]),
];

/// In EC2's order: is it well formed, is there a token for it, may the caller, is it a trial, and then itself.
pub(crate) fn run(world: &mut World, query: &Query) -> Result<Done, ApiError> {
    let (_, known) = ACTIONS.iter().find(|(name, _)| *name == query.action).ok_or_else(|| invalid_action(query))?;
    for name in query.params.keys() {
        let root = name.split('.').next().unwrap_or_default();
        if !known.contains(&root) && !["Action", "Version", "DryRun"].contains(&root) {
            return Err(ApiError::bad("UnknownParameter", format!("The parameter {name} is not recognized")));
        }
    }
    if query.get("Version") != Some("2016-11-15") {
        let text = format!("The requested version ({}) of service AmazonEC2 does not exist", query.need("Version")?);
        return Err(ApiError::bad("NoSuchVersion", text));
    }
    let dry_run = query.flag("DryRun")? == Some(true);
    let write = Write::parse(query)?;
    world.take_token(query.action)?;
    let resources = write.as_ref().map_or_else(|| vec![Resource::none()], |write| write.resources(world));
    world.authorize(query.caller, &format!("ec2:{}", query.action), &resources)?;
    if dry_run {
        let text = "Request would have succeeded, but DryRun flag is set.";
        return Err(ApiError::new(412, "DryRunOperation", text));
    }
    match write {
        Some(write) => write.carry_out(world, query),
        None => describe::run(world, query).map(Done::read),
    }
}

/// EC2's answer, whose first element is the request id.
pub(crate) fn respond(query: &Query, inside: impl FnOnce(&mut Xml)) -> String {
    let root = format!("{}Response", query.action);
    Xml::document(&root, "http://ec2.amazonaws.com/doc/2016-11-15/", |xml| {
        xml.value("requestId", query.request_id);
        inside(xml);
    })
}

enum Write {
    Associate(AssociateRequest),
    Disassociate { association_id: String },
}

impl Write {
    fn parse(query: &Query) -> Result<Option<Write>, ApiError> {
        match query.action {
            "AssociateAddress" => {
                let private_ip = query.get("PrivateIpAddress").map(|ip| {
                    let text = format!("Value ({ip}) for parameter privateIpAddress is invalid.");
                    ip.parse::<Ipv4Addr>().map_err(|_| ApiError::bad("InvalidParameterValue", text))
                });
                let id = |name, kind, code| query.get(name).map(|id| well_formed(id, kind, code)).transpose();
                let ask = AssociateRequest {
                    allocation_id: well_formed(
                        query.need("AllocationId")?,
                        "eipalloc",
                        "InvalidAllocationID.Malformed",
                    )?,
                    instance_id: id("InstanceId", "i", "InvalidInstanceID.Malformed")?,
                    interface_id: id("NetworkInterfaceId", "eni", "InvalidNetworkInterfaceID.Malformed")?,
                    private_ip: private_ip.transpose()?,
                    allow_reassociation: query.flag("AllowReassociation")?,
                };
                Ok(Some(Write::Associate(ask)))
            }
            "DisassociateAddress" => {
                let id = query.need("AssociationId")?;
                let association_id = well_formed(id, "eipassoc", "InvalidAssociationID.Malformed")?;
                Ok(Some(Write::Disassociate { association_id }))
            }
            _ => Ok(None),
        }
    }

    /// What the caller needs permission on: the address first, then where it goes or comes from.
    fn resources(&self, world: &World) -> Vec<Resource> {
        match self {
            Write::Associate(ask) => {
                let (mut instance, mut interface) = (ask.instance_id.clone(), ask.interface_id.clone());
                if world.options.associate_needs_both_targets {
                    let known = instance.as_ref().and_then(|id| world.instances.get(id)).map(Versioned::now);
                    interface = interface.or_else(|| known.map(|instance| instance.nics[0].id.clone()));
                    instance = instance.or_else(|| world.interfaces.get(interface.as_ref()?).cloned());
                }
                let instance = instance.map(|id| world.instance_resource(&id));
                let interface = interface.map(|id| world.interface_resource(&id));
                let address = world.address_resource(&ask.allocation_id);
                [Some(address), instance, interface].into_iter().flatten().collect()
            }
            Write::Disassociate { association_id } => {
                let address = world.associations.get(association_id).map(|id| world.address(id));
                let holder = address.and_then(|address| address.holder.as_ref());
                let holder = holder.filter(|holder| holder.association_id == *association_id);
                // What is over may be forgotten, and its address with it.
                let is_known = holder.is_some() || !world.options.stale_association_not_found;
                let allocation_id = address.filter(|_| is_known).map_or("*", |address| &address.allocation_id);
                let interface_id = holder.map_or("*", |holder| &holder.interface_id);
                vec![world.address_resource(allocation_id), world.interface_resource(interface_id)]
            }
        }
    }

    fn carry_out(self, world: &mut World, query: &Query) -> Result<Done, ApiError> {
        let by = query.caller.instance();
        match self {
            Write::Associate(ask) => {
                let done = world.associate(&ask, by)?;
                let xml = respond(query, |xml| {
                    xml.value("return", true);
                    xml.value("associationId", &done.association_id);
                });
                Ok(Done { xml, committed: true, remap: done.remap })
            }
            Write::Disassociate { association_id } => {
                world.disassociate(&association_id, by)?;
                Ok(Done { xml: respond(query, |xml| xml.value("return", true)), committed: true, remap: false })
            }
        }
    }
}

/// Things as policies see them; what is not there has its name, and no tags.
impl World {
    fn address_resource(&self, id: &str) -> Resource {
        let tags = self.addresses.get(id).map(|address| address.now().record.tags.clone()).unwrap_or_default();
        Resource { arn: self.arn("elastic-ip", id), tags, instance_id: None }
    }

    fn instance_resource(&self, id: &str) -> Resource {
        let tags = self.instances.get(id).map(|instance| instance.now().tags.clone()).unwrap_or_default();
        Resource { arn: self.arn("instance", id), tags, instance_id: Some(id.into()) }
    }

    fn interface_resource(&self, id: &str) -> Resource {
        let owner = self.interfaces.get(id).map(|owner| self.instance(owner));
        let tags = owner.map(|owner| owner.interface_tags.clone()).unwrap_or_default();
        Resource { arn: self.arn("network-interface", id), tags, instance_id: None }
    }
}

/// `i-` and 8 or 17 hexadecimal digits, for example.
pub(crate) fn well_formed(id: &str, kind: &str, code: &str) -> Result<String, ApiError> {
    let digits = id.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-')).unwrap_or_default();
    if matches!(digits.len(), 8 | 17) && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(id.into());
    }
    Err(ApiError::bad(code, format!("Invalid id: \"{id}\" (expecting \"{kind}-...\")")))
}
