//! What a look shows: addresses, where they are attached, and the instances that hold them.

use std::net::Ipv4Addr;
use std::time::SystemTime;

use crate::ids::{AllocationId, AssociationId, InstanceId, InterfaceId};

/// An Elastic IP address, as a look showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// What EC2 knows it by.
    pub allocation: AllocationId,
    /// What the world knows it by.
    pub public_ip: Ipv4Addr,
    /// Where it is attached, if it is.
    pub association: Option<Association>,
    /// The AWS service that manages it (`alb`, `nat-gateway`, …), if one does.
    pub service_managed: Option<String>,
}

impl Address {
    /// The instance that the address is attached to.
    pub fn holder(&self) -> Option<&InstanceId> {
        self.association.as_ref()?.instance.as_ref()
    }

    /// Whether `association` is the one that the address is shown with.
    pub fn has(&self, association: &AssociationId) -> bool {
        self.association.as_ref().is_some_and(|shown| shown.id == *association)
    }

    /// Why the address is never a candidate, if it is not.
    pub fn left_alone(&self) -> Option<String> {
        let on = |a: &Association| match &a.interface {
            Some(interface) => format!("it is on {interface}, an interface without an instance"),
            None => "it is on an interface without an instance".to_owned(),
        };
        match (&self.service_managed, &self.association) {
            (Some(service), _) => Some(format!("AWS manages it for {service}")),
            (None, Some(association)) if association.instance.is_none() => Some(on(association)),
            _ => None,
        }
    }
}

/// One attachment of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Association {
    /// Changes with every attachment.
    pub id: AssociationId,
    /// The holder; absent on a bare interface (NAT gateway, load balancer, detached interface).
    pub instance: Option<InstanceId>,
    /// The interface it is attached to.
    pub interface: Option<InterfaceId>,
    /// The private address that it is mapped to.
    pub private_ip: Option<Ipv4Addr>,
}

/// An instance, as DescribeInstances showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its state.
    pub state: State,
    /// Its latest launch: starting a stopped instance counts as one, a reboot does not.
    pub launched: SystemTime,
    /// Whether EC2 reports its system status as impaired.
    pub impaired: bool,
    /// Whether its tags say that an Auto Scaling group made it.
    pub in_group: bool,
}

/// The state of an instance, in EC2's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Pending,
    Running,
    ShuttingDown,
    Stopping,
    Stopped,
    Terminated,
    /// A state that EC2 did not have when this was written; taken for a live one.
    Other,
}

impl State {
    /// Whether a holder in this state has no more use for an address.
    pub fn is_gone(self) -> bool {
        matches!(self, State::ShuttingDown | State::Stopping | State::Stopped | State::Terminated)
    }

    /// The state in EC2's words.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Running => "running",
            State::ShuttingDown => "shutting-down",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
            State::Terminated => "terminated",
            State::Other => "unknown",
        }
    }
}
