//! EC2's answers in our own types: parsed once, before anything decides on them.
//!
//! An empty string counts as absent. A field that EC2 always sends and that is missing or malformed
//! is [`Class::Nonsense`], and names the field.

use std::fmt::Display;
use std::str::FromStr;
use std::time::SystemTime;

use aws_sdk_ec2::types::{self, InstanceStateName, SummaryStatus};

use crate::error::{Class, Error};
use crate::gate::GROUP_TAG;
use crate::ids::InstanceId;
use crate::world::{Address, Association, Instance, State};

/// The addresses in an answer of DescribeAddresses.
///
/// # Errors
/// See the module.
pub(crate) fn addresses(answers: &[types::Address]) -> Result<Vec<Address>, Error> {
    // One without an allocation id (EC2-Classic) cannot be associated by this program.
    answers.iter().filter(|a| present(a.allocation_id()).is_some()).map(address).collect()
}

fn address(answer: &types::Address) -> Result<Address, Error> {
    let association = match optional("associationId", answer.association_id())? {
        Some(id) => Some(Association {
            id,
            instance: optional("instanceId", answer.instance_id())?,
            interface: optional("networkInterfaceId", answer.network_interface_id())?,
            private_ip: optional("privateIpAddress", answer.private_ip_address())?,
        }),
        None => None,
    };
    Ok(Address {
        allocation: required("allocationId", answer.allocation_id())?,
        public_ip: required("publicIp", answer.public_ip())?,
        association,
        service_managed: present(answer.service_managed().map(|s| s.as_str())).map(str::to_owned),
    })
}

/// An instance in an answer of DescribeInstances.
///
/// # Errors
/// See the module.
pub(crate) fn instance(answer: &types::Instance) -> Result<Instance, Error> {
    let state = match answer.state().and_then(|state| state.name()) {
        Some(InstanceStateName::Pending) => State::Pending,
        Some(InstanceStateName::Running) => State::Running,
        Some(InstanceStateName::ShuttingDown) => State::ShuttingDown,
        Some(InstanceStateName::Stopping) => State::Stopping,
        Some(InstanceStateName::Stopped) => State::Stopped,
        Some(InstanceStateName::Terminated) => State::Terminated,
        _ => State::Other,
    };
    let launched = answer.launch_time().and_then(|time| SystemTime::try_from(*time).ok());
    // Nothing was launched before the epoch, and no later formatting has to cope with it.
    let launched = launched.filter(|time| *time >= SystemTime::UNIX_EPOCH);
    Ok(Instance {
        id: required("instanceId", answer.instance_id())?,
        state,
        launched: launched.ok_or_else(|| nonsense("launchTime", "absent or before 1970"))?,
        impaired: false,
        in_group: answer.tags().iter().any(|tag| tag.key() == Some(GROUP_TAG)),
    })
}

/// The instances in an answer of DescribeInstanceStatus whose system status is impaired.
///
/// # Errors
/// See the module.
pub(crate) fn impaired(answers: &[types::InstanceStatus]) -> Result<Vec<InstanceId>, Error> {
    let is_impaired = |status: &&types::InstanceStatus| {
        status.system_status().and_then(|system| system.status()) == Some(&SummaryStatus::Impaired)
    };
    answers.iter().filter(is_impaired).map(|status| required("instanceId", status.instance_id())).collect()
}

/// The text, unless it is absent or empty.
pub(crate) fn present(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// A field that may be absent.
///
/// # Errors
/// It is there and malformed.
pub(crate) fn optional<T>(field: &str, text: Option<&str>) -> Result<Option<T>, Error>
where
    T: FromStr<Err: Display>,
{
    present(text).map(|text| text.parse().map_err(|error: T::Err| nonsense(field, &error.to_string()))).transpose()
}

fn required<T>(field: &str, text: Option<&str>) -> Result<T, Error>
where
    T: FromStr<Err: Display>,
{
    optional(field, text)?.ok_or_else(|| nonsense(field, "absent"))
}

fn nonsense(field: &str, why: &str) -> Error {
    Error::new(Class::Nonsense, "Ec2Nonsense", format!("the answer of EC2 makes no sense: {field}: {why}"))
}
