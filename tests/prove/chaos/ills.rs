//! What can go wrong: how it begins and ends, and which exit codes it may cause.
//!
//! [`Ill::may_cause`] is the one table of the chaos: an exit code that no ill of the script explains is a flaw.

use std::time::Duration;

use fakecloud::{Bucket, Buckets, Calls, Fault, InstanceState, Service};

use crate::prove::chaos::answers::Answer;
use crate::prove::chaos::world::World;

/// The zones, of which one may fail.
pub const ZONES: [&str; 2] = ["ap-northeast-2a", "ap-northeast-2b"];

/// One thing that goes wrong. Instances and addresses go by their place in the world.
#[derive(Clone, Debug)]
pub enum Ill {
    /// Calls of an API get no answer, or a late one, or one that is cut off.
    Mute {
        api: &'static str,
        calls: Calls,
        fault: Fault,
        only: Option<usize>,
    },
    /// Calls of an API get another answer than they should.
    Wrong {
        api: &'static str,
        calls: Calls,
        answer: Answer,
        only: Option<usize>,
    },
    /// Nothing listens.
    Outage(Service),
    /// EC2 has few tokens.
    Throttling {
        burst: u32,
        shared: bool,
    },
    ReadLag(Duration),
    ImdsLag(Duration),
    Latency(Duration),
    /// The cloud's clock is so many seconds off.
    Clock(i64),
    /// New instances are missing from DescribeInstances.
    Hidden(Duration),
    Denied(&'static str, Option<usize>),
    /// The credentials change: those that a process has are worth nothing any more.
    Rotated(usize),
    NoRole(usize),
    MetadataOff(usize),
    /// `target-lifecycle-state`.
    Lifecycle(usize, Option<&'static str>),
    ZoneFails(&'static str),
    /// An instance stops, or goes away without being gone yet; it starts again in the end.
    Stops(usize, InstanceState),
    /// For good.
    Terminated(usize),
    /// Another hand moves a matching address onto an instance.
    Moved(usize, usize),
    /// Another hand takes a matching address off.
    TakenOff(usize),
    /// Another hand puts an address that nobody selects onto an instance.
    Stranger(usize),
    /// A NAT gateway has the address.
    Bare(usize),
    /// An address is not to be had: AWS manages it, or another account has it, or another border group.
    NotToBeHad(usize, Why),
    /// An address loses the tag by which it is selected.
    Untagged(usize),
}

#[derive(Clone, Copy, Debug)]
pub enum Why {
    Managed,
    Foreign,
    Elsewhere,
}

impl Ill {
    /// The exit codes that it may cause, apart from those that the truth explains: see `judge.rs`.
    pub fn may_cause(&self, world: &World) -> Vec<i32> {
        let by_own_tag = world.by_own_tag;
        match self {
            // Only explains what is denied, and nothing depends on the explanation.
            Ill::Mute { api: "STS", .. } | Ill::Outage(Service::Sts) => vec![],
            // All of them are retried to the deadline.
            Ill::Mute { .. } | Ill::Outage(_) | Ill::Throttling { .. } => vec![75],
            Ill::Wrong { api, answer, .. } => answer.may_cause(api, by_own_tag),
            // What was written a moment ago is not seen in time.
            Ill::ReadLag(_) | Ill::ImdsLag(_) => vec![75],
            Ill::Latency(_) => vec![],
            // Once the SDK learns the skew from the answer; the clock may go back while the run goes on.
            Ill::Clock(_) => vec![77],
            // A holder that is not known is most likely newer; that this instance runs is not known either,
            // and DescribeInstanceStatus answers `InvalidInstanceID.NotFound`.
            Ill::Hidden(_) => vec![69, 75],
            // Where reading addresses is denied, IMDS has to show the address in time.
            Ill::Denied("ec2:DescribeAddresses", _) => vec![75, 77],
            // A health that cannot be read and an explanation that cannot be had do not hinder a single address.
            Ill::Denied("sts:DecodeAuthorizationMessage", _) => vec![],
            Ill::Denied(..) => vec![77],
            // Once they are fetched anew; twice in a run is denied.
            Ill::Rotated(_) => vec![77],
            Ill::NoRole(_) => vec![75],
            Ill::MetadataOff(_) => vec![78],
            // A state that says skip is exit 0 and is judged with the outcome. It is 75 when a takeover was under way,
            // and a state that leaves only free addresses in reach waits for one.
            Ill::Lifecycle(..) => vec![75],
            // The impaired give way in a pool.
            Ill::ZoneFails(_) => vec![],
            // EC2 does not say that this instance runs; shutting down, EC2 refuses it for good.
            Ill::Stops(_, InstanceState::Stopped | InstanceState::Stopping) => vec![75],
            Ill::Stops(..) | Ill::Terminated(_) => vec![75, 78],
            // It is lost to somebody else again and again, or too late for one more attempt.
            Ill::Moved(..) | Ill::TakenOff(_) => vec![75],
            // The target has another address; late reads do not show which.
            Ill::Stranger(_) => vec![75, 78],
            // None of what matches can be had; while another one can be, it may have a holder.
            Ill::Bare(_) | Ill::NotToBeHad(..) => vec![69, 75],
            Ill::Untagged(_) => vec![75, 78],
        }
    }

    /// Whether a run remembers it to its end: credentials are fetched anew once, a refused address is not tried again.
    pub fn is_remembered(&self) -> bool {
        matches!(self, Ill::Clock(_) | Ill::Rotated(_) | Ill::NotToBeHad(..) | Ill::Bare(_))
            || matches!(self, Ill::Wrong { answer, .. } if answer.is_remembered())
    }

    /// Whether it can concern that instance as a claimer.
    pub fn concerns(&self, instance: usize) -> bool {
        match self {
            Ill::Mute { only, .. } | Ill::Wrong { only, .. } | Ill::Denied(_, only) => {
                only.is_none_or(|only| only == instance)
            }
            Ill::Rotated(one)
            | Ill::NoRole(one)
            | Ill::MetadataOff(one)
            | Ill::Lifecycle(one, _)
            | Ill::Stops(one, _)
            | Ill::Terminated(one)
            | Ill::Stranger(one) => *one == instance,
            _ => true,
        }
    }

    /// Whether the answers of EC2's reads may be late, lost or untrue while it lasts.
    pub fn spoils_reads(&self) -> bool {
        matches!(self, Ill::Mute { .. } | Ill::Wrong { .. } | Ill::Outage(_) | Ill::Throttling { .. } | Ill::Latency(_))
    }

    /// Whether a pool may have no more than one candidate through it.
    pub fn may_leave_one(&self) -> bool {
        matches!(self, Ill::Bare(_) | Ill::NotToBeHad(..) | Ill::Untagged(_))
            || matches!(self, Ill::Wrong { answer, .. } if answer.is_remembered())
    }

    /// A moment, after which nothing is to be undone.
    pub fn is_moment(&self) -> bool {
        matches!(self, Ill::Rotated(_) | Ill::Moved(..) | Ill::TakenOff(_))
    }

    /// It begins, but for faults of calls, which the script sets.
    pub fn begin(&self, world: &World) {
        let cloud = &world.cloud;
        let id = |instance: &usize| world.instances[*instance].as_str();
        let who = |only: &Option<usize>| only.map(|only| world.instances[only].clone());
        let eip = |address: &usize| world.addresses[*address].allocation_id.as_str();
        match self {
            Ill::Mute { .. } | Ill::Wrong { .. } => {}
            Ill::Outage(service) => cloud.outage(*service, true),
            Ill::Throttling { burst, shared } => {
                let bucket = Bucket { burst: *burst, per_second: f64::from(*burst) };
                cloud.set_buckets(Some(Buckets { describe: bucket, mutate: bucket, shared: *shared }));
            }
            Ill::ReadLag(lag) => cloud.set_read_lag(*lag),
            Ill::ImdsLag(lag) => cloud.set_imds_lag(*lag),
            Ill::Latency(latency) => cloud.set_latency(*latency),
            Ill::Clock(seconds) => cloud.set_clock_offset(*seconds),
            Ill::Hidden(hidden) => cloud.set_new_instance_hidden_for(*hidden),
            Ill::Denied(action, only) => cloud.deny(who(only).as_deref(), action),
            Ill::Rotated(one) => cloud.rotate_credentials(id(one)),
            Ill::NoRole(one) => cloud.set_role(id(one), None),
            Ill::MetadataOff(one) => cloud.set_imds_enabled(id(one), false),
            Ill::Lifecycle(one, state) => cloud.set_lifecycle(id(one), *state),
            Ill::ZoneFails(zone) => cloud.fail_zone(zone),
            Ill::Stops(one, state) if world.is_there(*one) => cloud.set_state(id(one), *state),
            Ill::Stops(..) => {}
            Ill::Terminated(one) => cloud.terminate(id(one)),
            // Only what runs can be given an address by hand.
            Ill::Moved(address, one) if world.is_there(*one) => cloud.associate(eip(address), id(one)),
            Ill::Stranger(one) if world.is_there(*one) => cloud.associate(&world.stranger.allocation_id, id(one)),
            Ill::Moved(..) | Ill::Stranger(_) => {}
            Ill::TakenOff(address) => cloud.disassociate(eip(address)),
            Ill::Bare(address) => cloud.associate_bare_interface(eip(address)),
            Ill::NotToBeHad(address, why) => cloud.edit_address(eip(address), |record| match why {
                Why::Managed => record.service_managed = Some("alb".to_owned()),
                Why::Foreign => record.owner = "210987654321".to_owned(),
                Why::Elsewhere => record.network_border_group = "lax-1".to_owned(),
            }),
            Ill::Untagged(address) => cloud.edit_address(eip(address), |record| record.tags.clear()),
        }
    }

    /// It is over.
    pub fn end(&self, world: &World) {
        let cloud = &world.cloud;
        let id = |instance: &usize| world.instances[*instance].as_str();
        let who = |only: &Option<usize>| only.map(|only| world.instances[only].clone());
        match self {
            Ill::Outage(service) => cloud.outage(*service, false),
            Ill::Throttling { .. } => cloud.set_buckets(None),
            Ill::ReadLag(_) => cloud.set_read_lag(Duration::ZERO),
            Ill::ImdsLag(_) => cloud.set_imds_lag(Duration::ZERO),
            Ill::Latency(_) => cloud.set_latency(Duration::ZERO),
            Ill::Clock(_) => cloud.set_clock_offset(0),
            Ill::Hidden(_) => cloud.set_new_instance_hidden_for(Duration::ZERO),
            Ill::Denied(action, only) => cloud.allow(who(only).as_deref(), action),
            Ill::NoRole(one) => cloud.set_role(id(one), Some("eip-claim")),
            Ill::MetadataOff(one) => cloud.set_imds_enabled(id(one), true),
            Ill::Lifecycle(one, _) => cloud.set_lifecycle(id(one), Some("InService")),
            Ill::ZoneFails(zone) => cloud.restore_zone(zone),
            Ill::Stops(one, _) if world.is_there(*one) => cloud.start_again(id(one)),
            Ill::Stranger(_) => cloud.disassociate(&world.stranger.allocation_id),
            Ill::Bare(address) => {
                let eip = &world.addresses[*address].allocation_id;
                if cloud.holder(eip).is_some_and(|holder| holder.instance_id.is_none()) {
                    cloud.disassociate(eip);
                }
            }
            Ill::NotToBeHad(address, _) | Ill::Untagged(address) => {
                let address = &world.addresses[*address];
                cloud.edit_address(&address.allocation_id, |record| *record = world.record.clone());
            }
            _ => {}
        }
    }
}
