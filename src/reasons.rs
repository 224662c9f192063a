//! Why a round ended without the address, in words: what happened, why, and what to do.

use std::net::Ipv4Addr;
use std::time::Duration;

use humantime::format_duration;

use crate::attempt::may_be_done;
use crate::cli::Options;
use crate::cloud::{Filter, Target};
use crate::decide::{Me, Reach, Waiting};
use crate::error::{Class, Error};
use crate::fence::Stranded;
use crate::ids::InstanceId;
use crate::imds::Identity;
use crate::report::{Outcome, rfc3339};
use crate::world::{Address, Instance};

/// A better holder has the only address.
pub(crate) fn yielded(address: &Address, holder: &Instance) -> Error {
    let (ip, allocation, id) = (address.public_ip, &address.allocation, &holder.id);
    let (state, launched) = (holder.state.as_str(), rfc3339(holder.launched));
    Error::new(
        Class::Yielded,
        "NewerHolder",
        format!("{ip} stays with {id} ({state}), which was launched after this instance, at {launched}"),
    )
    .advise(format!(
        "nothing, if {id} is meant to have it; to move it here on purpose: \
         eip-claim --takeover=always --allocation-id={allocation} (the next claim of {id}, at its reboot at the latest, takes it back)"
    ))
}

/// Nothing can be done now.
pub(crate) fn waiting(waiting: Waiting<'_>, reach: Reach) -> Error {
    let holder = |address: &Address| address.holder().map_or("somebody".to_owned(), InstanceId::to_string);
    match waiting {
        Waiting::Held(address) => {
            let (why, advice) = match reach {
                Reach::Held => (
                    "who may keep it",
                    "release an address or allocate one more; a pool needs as many as there are instances while some are replaced",
                ),
                Reach::FreeOnly => (
                    "and Auto Scaling does not say that this instance is in service",
                    "put the instance into service, or turn that condition off with --ignore-lifecycle",
                ),
            };
            let message = format!("no address is free: {} is held by {}, {why}", address.public_ip, holder(address));
            Error::new(Class::Waiting, "NoFreeAddress", message).advise(advice)
        }
        Waiting::UnknownHolder(address) => {
            let message = format!(
                "{} is held by {}, which EC2 does not know yet: most likely it is newer than this instance",
                address.public_ip,
                holder(address)
            );
            Error::new(Class::UnknownHolder, "UnknownHolder", message)
        }
        Waiting::OwnState => {
            Error::new(Class::NotYet, "NotRunningYet", "EC2 does not report this instance as running yet")
        }
    }
}

/// No candidate is left: nothing matches, or nothing of what matches can be had.
pub(crate) fn no_match(me: &Me, addresses: &[Address], filters: &[Filter], region: &str) -> Error {
    if addresses.is_empty() {
        let message = format!("no address {} in {region}", described(filters));
        return Error::new(Class::NotVisible, "NoAddressMatches", message);
    }
    let refused =
        |a: &Address| me.refused.contains(&a.allocation).then(|| "EC2 refuses it to this instance".to_owned());
    let reasons: Vec<_> = addresses
        .iter()
        .filter_map(|a| Some(format!("{} ({}): {}", a.public_ip, a.allocation, a.left_alone().or_else(|| refused(a))?)))
        .collect();
    let class = if me.refused.is_empty() { Class::LeftAlone } else { Class::NotOurs };
    Error::new(class, "NoCandidate", format!("no address {} can be had: {}", described(filters), reasons.join("; ")))
        .advise(
            "allocate an address for this instance and tag it, or correct the selectors; \
             if one is on an interface that has outlived its instance, delete that interface",
        )
}

/// The code of an error that names the other address.
pub(crate) const TARGET_TAKEN: &str = "TargetTaken";

/// The private address that the claim is for has another address.
pub(crate) fn target_taken(me: &Me, other: &Address) -> Error {
    let (ip, interface) = (me.private_ip, &me.interface);
    let message =
        format!("{ip} on {interface} of this instance has another address: {} ({})", other.public_ip, other.allocation);
    let advice = other.association.as_ref().map_or_else(
        || "disassociate the other address".to_owned(),
        |a| format!("disassociate it (aws ec2 disassociate-address --association-id {}), or choose another target with --private-ip or --device-index", a.id),
    );
    Error::new(Class::TargetTaken, TARGET_TAKEN, message).advise(advice)
}

/// The private address that the claim is for has one of the addresses that are to be claimed.
pub(crate) fn held_already(other: &Address) -> Error {
    let message = format!("{} is on this instance already, which the look before did not show yet", other.public_ip);
    Error::new(Class::NotYet, "HeldAlready", message)
}

/// The takeover would not be done before the deadline.
pub(crate) fn too_late(address: &Address, left: Duration, needed: Duration) -> Error {
    let (left, needed) = (format_duration(Duration::from_millis(left.as_millis() as u64)), format_duration(needed));
    let message = format!(
        "{} is not taken over: {left} are left, and a takeover that cannot strand it needs {needed}",
        address.public_ip
    );
    Error::new(Class::Interrupted, "TooLittleTime", message).advise("raise --timeout, or lower --attempt-timeout")
}

/// Auto Scaling has changed its mind behind the fence.
pub(crate) fn skipped(state: &str) -> Error {
    Error::new(Class::Interrupted, "Skipped", format!("Auto Scaling wants this instance {state} now"))
}

/// The worst end of a run: an association has been ended, and the new one has not been seen.
pub(crate) fn stranded(outcome: Outcome, stranded: &Stranded, region: Option<&str>) -> Outcome {
    let Stranded { public_ip, allocation, holder, .. } = stranded;
    let target = match &stranded.target {
        Target::Instance(id) => format!("--instance-id {id}"),
        Target::Interface(id, private_ip) => format!("--network-interface-id {id} --private-ip-address {private_ip}"),
    };
    let region = region.unwrap_or_default();
    let repair = format!(
        "aws ec2 associate-address --region {region} --allocation-id {allocation} {target} --no-allow-reassociation"
    );
    let error = match outcome {
        Outcome::Failed(error) | Outcome::Yielded(error) => error,
        Outcome::Skipped(state) => skipped(&state),
        // It has another one of the pool meanwhile, so that this one is free for the others.
        Outcome::Claimed | Outcome::AlreadyHeld | Outcome::Released | Outcome::NotHeld => {
            tracing::error!(address = %allocation, %holder, "{public_ip} was taken from {holder}, and is left unassociated");
            return outcome;
        }
    };
    let (taken, left) = match stranded.acknowledged {
        false => ("was being taken", "may be unassociated now"),
        true if may_be_done(&error) => ("was taken", "is left unassociated unless the last call was carried out"),
        true => ("was taken", "is left unassociated"),
    };
    let message = format!("{public_ip} {taken} from {holder}, and {left}: {}", error.message);
    let advice = format!("repair it with: {repair}; then: {}", error.remedy());
    Outcome::Failed(Error { message, ..error }.advise(advice))
}

/// This instance has no tag of that key.
pub(crate) fn untagged(instance: &InstanceId, key: &str) -> Error {
    Error::new(Class::NotVisible, "NoOwnTag", format!("{instance} has no tag {key}, whose value would say which address")).advise(
        format!("tag the instance (and the address) {key}=NAME, in a group with PropagateAtLaunch, or say which address with --tag KEY=VALUE"),
    )
}

/// The value of an own tag can be read nowhere.
pub(crate) fn tags_denied(error: Error, key: &str) -> Error {
    if error.class != Class::Denied {
        return error;
    }
    let advice = format!(
        "turn on instance tags in the metadata (InstanceMetadataTags=enabled) and tag the instance {key}=NAME, or allow ec2:DescribeTags"
    );
    error.advise(advice)
}

/// The options mean an interface or a private address that this instance does not have.
pub(crate) fn no_target(identity: &Identity, options: &Options) -> Error {
    let wanted = match (options.device_index, options.private_ip) {
        (Some(device), Some(ip)) => format!("device {device} with {ip}"),
        (None, Some(ip)) => format!("private address {ip}"),
        (device, None) => format!("device {} with a private address", device.unwrap_or(0)),
    };
    let list = |ips: &[Ipv4Addr]| ips.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(" ");
    let has: Vec<_> = identity
        .interfaces
        .iter()
        .map(|i| format!("device {} is {} with {}", i.device, i.id, list(&i.private_ips)))
        .collect();
    Error::new(Class::NotVisible, "NoTarget", format!("this instance has no {wanted}: {}", has.join("; ")))
        .advise("correct --device-index or --private-ip, or attach the interface")
}

/// `tagged asg=test`, or whatever the filters say.
pub(crate) fn described(filters: &[Filter]) -> String {
    let one = |filter: &Filter| {
        let values = filter.values.join(" or ");
        match filter.name.strip_prefix("tag:") {
            Some(key) => format!("tagged {key}={values}"),
            None => format!("with {} {values}", filter.name),
        }
    };
    filters.iter().map(one).collect::<Vec<_>>().join(" and ")
}
