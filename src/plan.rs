//! What `claim` would do now, in a sentence: made by the very policy that the claim follows.

use crate::cli::Options;
use crate::cloud::{Cloud, Filter};
use crate::decide::{Decision, Policy, Reassociation, decide};
use crate::error::Error;
use crate::gate::Gate;
use crate::here::Here;
use crate::reasons;
use crate::report::rfc3339;
use crate::round::holders;
use crate::selector::only_allocation;
use crate::world::{Address, Instance};
use tokio::time::Instant;

/// What the next claim would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The decision in one word, for machines.
    pub(crate) decision: String,
    /// The same for a person, with its reason.
    pub(crate) sentence: String,
    /// How to come to another one, where that is not plain.
    pub(crate) advice: Option<String>,
}

/// What a claim by `options` would do now that EC2 shows `addresses`.
///
/// # Errors
/// The holders matter, and cannot be looked at.
pub(crate) async fn plan(
    options: &Options,
    here: &Here,
    gate: Gate,
    cloud: &Cloud,
    filters: &[Filter],
    addresses: &[Address],
) -> Result<Plan, Error> {
    let plain = |decision: &str, sentence: String| Plan { decision: decision.to_owned(), sentence, advice: None };
    if let Gate::Skip(state) = gate {
        return Ok(plain("skip", format!("skip the claim: Auto Scaling wants this instance {state}")));
    }
    // A claim that began now.
    let start = Instant::now();
    if let Some(allocation) = only_allocation(options) {
        return Ok(plain("associate", format!("associate {allocation} with this instance, without a look at it")));
    }
    let me = here.me();
    let policy = Policy { takeover: options.takeover, reach: gate.reach(start) };
    let holders = holders(cloud, &me, addresses, policy).await?;
    let is_member = holders.iter().any(|instance| instance.id == me.instance && instance.in_group);
    let gate = if is_member { gate.of_member() } else { gate };
    let policy = Policy { reach: gate.reach(start), ..policy };
    let decision = decide(&me, addresses, &holders, policy);
    let reason = |error: Error| (error.message.clone(), Some(error.remedy()));
    let (sentence, advice) = match decision {
        Decision::AlreadyHeld(address) => (format!("change nothing: this instance has {}", address.public_ip), None),
        Decision::Associate(address, Reassociation::Refuse) => {
            (format!("associate {}, which is free", address.public_ip), None)
        }
        Decision::Associate(address, Reassociation::Allow) => {
            (format!("associate {}, whoever has it", address.public_ip), None)
        }
        Decision::TakeOver { address, holder, .. } if holder.id == me.instance => {
            (format!("move {} here from another place on this instance", address.public_ip), None)
        }
        Decision::TakeOver { address, holder, .. } => {
            (format!("take {} over from {}, {}", address.public_ip, holder.id, why(holder)), None)
        }
        Decision::Yield { address, holder } => reason(reasons::yielded(address, holder)),
        Decision::Wait(waiting) => reason(reasons::waiting(waiting, policy.reach)),
        Decision::NoMatch => reason(reasons::no_match(&me, addresses, filters, &here.identity.region)),
    };
    let sentence = match decision {
        Decision::Yield { .. } => format!("yield: {sentence}"),
        Decision::Wait(_) => format!("wait: {sentence}"),
        Decision::NoMatch => format!("fail: {sentence}"),
        _ => sentence,
    };
    Ok(Plan { decision: decision.as_str().replace(' ', "_"), sentence, advice })
}

fn why(holder: &Instance) -> String {
    match holder.state {
        state if state.is_gone() => format!("which is {}", state.as_str()),
        _ if holder.impaired => "whose system status EC2 reports as impaired".to_owned(),
        _ => format!("which was launched before this instance, at {}", rfc3339(holder.launched)),
    }
}
