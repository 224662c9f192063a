//! EC2's query API, version 2016-11-15: parameters, permissions, trials and the two writes.
//! What reads is in `describe.rs`.

use crate::addresses::AssociateRequest;
use crate::describe;
use crate::query::{Done, Query, invalid_action};
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
    let resource = write.as_ref().map(|write| write.resource(world));
    world.authorize(query.caller, &format!("ec2:{}", query.action), resource.as_deref())?;
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

    /// The name of the address, as a policy would have it.
    fn resource(&self, world: &World) -> String {
        let allocation_id = match self {
            Write::Associate(ask) => ask.allocation_id.as_str(),
            Write::Disassociate { association_id } => {
                world.associations.get(association_id).map_or("*", String::as_str)
            }
        };
        format!("arn:aws:ec2:{}:{}:elastic-ip/{allocation_id}", world.options.region, world.options.account)
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

/// `i-` and 8 or 17 hexadecimal digits, for example.
pub(crate) fn well_formed(id: &str, kind: &str, code: &str) -> Result<String, ApiError> {
    let digits = id.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-')).unwrap_or_default();
    if matches!(digits.len(), 8 | 17) && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(id.into());
    }
    Err(ApiError::bad(code, format!("Invalid id: \"{id}\" (expecting \"{kind}-...\")")))
}
