//! EC2's answers in our own types: parsed once, before anything decides on them.
//!
//! An empty string counts as absent. A field that EC2 always sends and that is missing or malformed
//! is [`Class::Nonsense`], and names the field.

use std::fmt::Display;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use aws_sdk_ec2::types::{self, InstanceStateName, SummaryStatus};

use crate::error::{Class, Error};
use crate::gate::GROUP_TAG;
use crate::ids::InstanceId;
use crate::world::{Address, Association, Instance, State};

/// The last second of the year 9999, the last year that can be written with four digits.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

/// The addresses in an answer of DescribeAddresses.
///
/// # Errors
/// See the module.
pub(crate) fn addresses(answers: &[types::Address]) -> Result<Vec<Address>, Error> {
    answers.iter().filter(|answer| is_allocated(answer)).map(address).collect()
}

/// Whether it has an allocation id; one without (EC2-Classic) cannot be associated by this program.
pub(crate) fn is_allocated(answer: &types::Address) -> bool {
    present(answer.allocation_id()).is_some()
}

/// An address in an answer of DescribeAddresses.
///
/// # Errors
/// See the module.
pub(crate) fn address(answer: &types::Address) -> Result<Address, Error> {
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
    // Nothing was launched before the epoch or after the year 9999: no later formatting has to cope with it.
    let launched = launched.filter(|time| (SystemTime::UNIX_EPOCH..=SystemTime::UNIX_EPOCH + LATEST).contains(time));
    Ok(Instance {
        id: required("instanceId", answer.instance_id())?,
        state,
        launched: launched.ok_or_else(|| nonsense("launchTime", "absent, before 1970 or after 9999"))?,
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use aws_sdk_ec2::primitives::DateTime;
    use aws_sdk_ec2::types::InstanceState;
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{AllocationId, AssociationId, InterfaceId};
    use crate::report::rfc3339;

    /// A field as EC2 sends it, or as it never does.
    fn field(good: &'static str) -> impl Strategy<Value = Option<String>> {
        prop_oneof![
            6 => good.prop_map(Some),
            1 => Just(None),
            1 => Just(Some(String::new())),
            1 => prop_oneof![any::<String>(), "[a-z]{2,8}-[0-9]{0,3}", "[a-z]{9000}"].prop_map(Some),
        ]
    }

    const IP: &str = "(10|203)\\.0\\.[0-9]{1,2}\\.[1-9]";

    proptest! {
        #[test]
        fn an_address_is_read_as_it_was_sent_or_a_malformed_field_is_named(
            allocation in field("eipalloc-[0-9a-f]{17}"), public_ip in field(IP),
            association in field("eipassoc-[0-9a-f]{17}"), holder in field("i-[0-9a-f]{17}"),
            interface in field("eni-[0-9a-f]{17}"), private_ip in field(IP),
        ) {
            let answer = types::Address::builder()
                .set_allocation_id(allocation.clone()).set_public_ip(public_ip.clone())
                .set_association_id(association.clone()).set_instance_id(holder.clone())
                .set_network_interface_id(interface.clone()).set_private_ip_address(private_ip.clone())
                .build();
            let sent = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
            let is_attached = sent(&association).is_some();
            fn is<T: FromStr>(text: Option<String>) -> bool { text.is_none_or(|text| text.parse::<T>().is_ok()) }
            let wrong: Vec<&str> = [
                ("allocationId", is::<AllocationId>(sent(&allocation))),
                ("publicIp", sent(&public_ip).is_some() && is::<Ipv4Addr>(sent(&public_ip))),
                ("associationId", is::<AssociationId>(sent(&association))),
                ("instanceId", !is_attached || is::<InstanceId>(sent(&holder))),
                ("networkInterfaceId", !is_attached || is::<InterfaceId>(sent(&interface))),
                ("privateIpAddress", !is_attached || is::<Ipv4Addr>(sent(&private_ip))),
            ].into_iter().filter(|(_, is_right)| !is_right).map(|(name, _)| name).collect();
            match addresses(&[answer]) {
                // EC2-Classic's have no allocation id, and are passed over.
                Ok(read) if read.is_empty() => prop_assert_eq!(sent(&allocation), None),
                Ok(read) => {
                    prop_assert!(wrong.is_empty(), "{:?} of {:?}", wrong, read);
                    prop_assert_eq!(Some(read[0].allocation.to_string()), sent(&allocation));
                    prop_assert_eq!(Some(read[0].public_ip.to_string()), sent(&public_ip));
                    let read = read[0].association.as_ref();
                    prop_assert_eq!(read.map(|a| a.id.to_string()), sent(&association));
                    prop_assert_eq!(read.and_then(|a| Some(a.instance.as_ref()?.to_string())), sent(&holder).filter(|_| is_attached));
                }
                Err(error) => {
                    prop_assert_eq!(error.class, Class::Nonsense);
                    prop_assert!(wrong.iter().any(|name| error.message.contains(name)), "{:?}: {}", wrong, error);
                    prop_assert!(error.message.len() < 5_000, "{} bytes", error.message.len());
                }
            }
        }

        #[test]
        fn an_instance_has_a_launch_time_that_can_be_written_or_the_field_is_named(
            seconds in prop_oneof![any::<i64>(), 253_402_300_000..253_402_400_000_i64, -10..2_000_000_000_i64],
            nanos in 0..1_000_000_000_u32, state in field("running|stopping|somethingnew"),
        ) {
            let state = state.map(|name| InstanceState::builder().name(InstanceStateName::from(name.as_str())).build());
            let answer = types::Instance::builder().instance_id("i-1").set_state(state)
                .launch_time(DateTime::from_secs_and_nanos(seconds, nanos)).build();
            match instance(&answer) {
                Ok(read) => {
                    let expected = SystemTime::UNIX_EPOCH + Duration::new(seconds.unsigned_abs(), nanos);
                    prop_assert!(seconds >= 0 && read.launched == expected, "{} {:?}", seconds, read);
                    prop_assert_eq!(rfc3339(read.launched).len(), "2026-01-01T00:00:00.000Z".len());
                }
                Err(error) => {
                    prop_assert!(!(0..253_402_300_799).contains(&seconds), "{} {}", seconds, error);
                    prop_assert!(error.class == Class::Nonsense && error.message.contains("launchTime"), "{}", error);
                }
            }
        }
    }
}
