//! The result: what happened, as one line for a person and as one JSON object for machines.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::error::{Error, Exit};
use crate::fence::Stranded;
use crate::ids::{AllocationId, AssociationId, InstanceId, InterfaceId};
use crate::world::{Address, Instance, State};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This instance has taken the address.
    Claimed,
    /// This instance had the address before.
    AlreadyHeld,
    /// The gate said no; this is the state that Auto Scaling wants.
    Skipped(String),
    /// This instance has given the address back.
    Released,
    /// There was nothing to give back.
    NotHeld,
    /// A better holder, or one that is most likely better, keeps the address.
    Yielded(Error),
    /// It failed.
    Failed(Error),
}

/// Who has seen that this instance holds the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// DescribeAddresses.
    Api,
    /// The instance metadata service.
    Imds,
    /// The internet.
    Egress,
}

/// What is known by the end of a run; what is not known is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Facts {
    pub public_ip: Option<Ipv4Addr>,
    pub allocation: Option<AllocationId>,
    pub association: Option<AssociationId>,
    pub instance: Option<InstanceId>,
    pub interface: Option<InterfaceId>,
    pub private_ip: Option<Ipv4Addr>,
    pub region: Option<String>,
    pub zone: Option<String>,
    /// From whom the address was taken over, or with whom it was left.
    pub previous_holder: Option<Holder>,
    pub verified_by: Vec<Witness>,
    /// How often a write behind the fence was repeated.
    pub(crate) repeats: u32,
    /// An address that this run may have left on nobody.
    pub(crate) stranded: Option<Stranded>,
}

/// Who had an address; what was not looked up is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The instance.
    pub instance: InstanceId,
    /// Its state when it was looked at.
    pub state: Option<State>,
    /// Its launch time.
    pub launched: Option<SystemTime>,
}

impl Holder {
    /// A holder of whom only the id is known.
    pub fn unknown(instance: &InstanceId) -> Self {
        Self { instance: instance.clone(), state: None, launched: None }
    }
}

impl From<&Instance> for Holder {
    fn from(instance: &Instance) -> Self {
        Self { instance: instance.id.clone(), state: Some(instance.state), launched: Some(instance.launched) }
    }
}

impl Facts {
    /// Notes which address this is about.
    pub fn about(&mut self, address: &Address) {
        self.association = None;
        self.verified_by = Vec::new();
        self.public_ip = Some(address.public_ip);
        self.allocation = Some(address.allocation.clone());
    }

    /// Notes the association that a read showed.
    pub fn shown(&mut self, address: &Address, witness: Witness) {
        self.about(address);
        self.association = address.association.as_ref().map(|a| a.id.clone());
        self.verified_by = vec![witness];
    }
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What is known.
    pub facts: Facts,
    /// How many attempts it took.
    pub attempts: u32,
    /// How long it took.
    pub elapsed: Duration,
}

impl Report {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.error().map_or(Exit::Success, |error| error.class.exit())
    }

    /// Why it did not do what it was to do.
    pub fn error(&self) -> Option<&Error> {
        match &self.outcome {
            Outcome::Yielded(error) | Outcome::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// The outcome in one word.
    pub fn word(&self) -> &'static str {
        match &self.outcome {
            Outcome::Claimed => "claimed",
            Outcome::AlreadyHeld => "already_held",
            Outcome::Skipped(_) => "skipped",
            Outcome::Released => "released",
            Outcome::NotHeld => "not_held",
            Outcome::Yielded(_) => "yielded",
            Outcome::Failed(_) => "failed",
        }
    }

    /// One line for a person.
    pub fn text(&self) -> String {
        let name = |thing: Option<String>, unknown: &str| thing.unwrap_or_else(|| unknown.to_owned());
        let ip = name(self.facts.public_ip.map(|ip| ip.to_string()), "the address");
        let me = name(self.facts.instance.as_ref().map(InstanceId::to_string), "this instance");
        let took = format!("in {} ms", self.elapsed.as_millis());
        match (&self.outcome, &self.facts.previous_holder) {
            (Outcome::Claimed, Some(from)) if self.facts.instance.as_ref() == Some(&from.instance) => {
                format!("{ip} claimed by {me} {took} (moved from another of its interfaces)")
            }
            (Outcome::Claimed, Some(from)) => {
                let state = from.state.map(|state| format!(", {}", state.as_str())).unwrap_or_default();
                format!("{ip} claimed by {me} {took} (taken over from {}{state})", from.instance)
            }
            (Outcome::Claimed, None) => format!("{ip} claimed by {me} {took}"),
            (Outcome::AlreadyHeld, _) => format!("{ip} already held by {me}, seen {took}"),
            (Outcome::Skipped(state), _) => {
                format!("no address for {me}: skipped, because Auto Scaling wants it {state}")
            }
            (Outcome::Released, _) => format!("{ip} released by {me} {took}"),
            (Outcome::NotHeld, _) => format!("nothing to release: {me} does not hold {ip}, seen {took}"),
            (Outcome::Yielded(error), _) => format!("{error} (seen by {me} {took})"),
            (Outcome::Failed(error), _) => {
                let attempts =
                    if self.attempts == 1 { "1 attempt".to_owned() } else { format!("{} attempts", self.attempts) };
                format!("no address for {me} after {attempts} {took}: {}", error.in_full())
            }
        }
    }

    /// Logs the result with its fields: for a failure also the causes, one a line, and the remedy.
    pub fn log(&self) {
        let text = |thing: Option<String>| thing.unwrap_or_default();
        let address = text(self.facts.allocation.as_ref().map(AllocationId::to_string));
        let public_ip = text(self.facts.public_ip.map(|ip| ip.to_string()));
        let (outcome, exit) = (self.word(), self.exit() as u8);
        let Some(error) = self.error() else {
            tracing::info!(outcome, exit, address, public_ip, attempts = self.attempts, "done");
            return;
        };
        tracing::error!(outcome, exit, code = %error.code, address, public_ip, attempts = self.attempts, "{error}");
        for cause in error.causes.iter().chain(&error.decoded) {
            tracing::error!("because: {cause}");
        }
        tracing::error!(class = error.class.name(), "why: {}", error.class.meaning());
        tracing::error!("what to do: {}", error.remedy());
        tracing::error!("exit code {exit}: {}", self.exit().meaning());
    }

    /// One JSON object.
    pub fn json(&self) -> Value {
        let facts = &self.facts;
        let text = |thing: Option<&dyn ToString>| thing.map(ToString::to_string);
        macro_rules! show {
            ($field:ident) => {
                text(facts.$field.as_ref().map(|value| value as &dyn ToString))
            };
        }
        json!({
            "outcome": self.word(),
            "public_ip": show!(public_ip),
            "allocation_id": show!(allocation),
            "association_id": show!(association),
            "instance_id": show!(instance),
            "network_interface_id": show!(interface),
            "private_ip": show!(private_ip),
            "region": show!(region),
            "availability_zone": show!(zone),
            "previous_holder": facts.previous_holder.as_ref().map(|holder| json!({
                "instance_id": holder.instance.as_str(),
                "state": holder.state.map(State::as_str),
                "launch_time": holder.launched.map(rfc3339),
            })),
            "verified_by": facts.verified_by.iter().map(|witness| match witness {
                Witness::Api => "api",
                Witness::Imds => "imds",
                Witness::Egress => "egress",
            }).collect::<Vec<_>>(),
            "attempts": self.attempts,
            "elapsed_ms": self.elapsed.as_millis() as u64,
            "error": self.error().map(error_json),
        })
    }
}

/// A failure, for machines.
pub(crate) fn error_json(error: &Error) -> Value {
    json!({
        "code": error.code,
        "message": error.in_full(),
        "remedy": error.remedy(),
        "decoded": error.decoded,
    })
}

/// A time in the form of EC2's own answers.
pub fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}
