//! One round of the claim: look, decide, act, and learn from what was refused.
//!
//! Every read of a round belongs to one decision, and every write of it to that decision alone.

use crate::claim::Claim;
use crate::classify::is_about_credentials;
use crate::cloud::{Cloud, Target};
use crate::confirm::Wanted;
use crate::decide::{Decision, Me, Policy, Reach, Reassociation, Waiting, candidates, decide, holders_that_matter};
use crate::error::{Class, Error};
use crate::gate::Gate;
use crate::ids::{AllocationId, InstanceId};
use crate::reasons;
use crate::report::{Holder, Outcome, Witness};
use crate::selector::only_allocation;
use crate::world::{Address, Instance};

impl Claim<'_> {
    /// One round; credentials that are not accepted are fetched anew once, whatever the age of the instance:
    /// it may have slept through their expiry, or its clock may have been wrong until the answer corrected it.
    pub(crate) async fn round(&mut self) -> Result<Outcome, Error> {
        match self.attempt().await {
            Err(error) if error.class == Class::Denied && is_about_credentials(&error.code) && !self.refreshed => {
                tracing::warn!(code = %error.code, "fetching the credentials anew: {error}");
                self.refreshed = true;
                self.attempt().await
            }
            outcome => outcome,
        }
    }

    async fn attempt(&mut self) -> Result<Outcome, Error> {
        let gate = match self.gate.take() {
            Some(gate) => gate,
            None => Gate::read(self.imds, self.options).await?,
        };
        if let Gate::Skip(state) = gate {
            return Ok(Outcome::Skipped(state));
        }
        let reach = gate.reach(self.start);
        if let Some(allocation) =
            only_allocation(self.options).filter(|_| self.written.is_empty() && self.me.lost.is_empty())
        {
            return self.associate_unseen(allocation, reach).await;
        }
        let filters = self.filters().await?;
        let addresses = match (self.cloud.addresses(&filters).await, only_allocation(self.options)) {
            (Err(error), Some(allocation)) if error.class == Class::Denied => {
                return self.associate_unseen(allocation, reach).await;
            }
            (answer, _) => answer?,
        };
        self.note_rescued(&addresses);
        let policy = Policy { takeover: self.options.takeover, reach };
        let holders = holders(&self.cloud, &self.me, &addresses, policy).await?;
        let is_member = holders.iter().any(|instance| instance.id == self.me.instance && instance.in_group);
        let gate = if is_member { gate.of_member() } else { gate };
        let policy = Policy { reach: gate.reach(self.start), ..policy };
        let decision = decide(&self.me, &addresses, &holders, policy);
        tracing::info!(
            addresses = addresses.len(),
            holders = holders.len(),
            ?gate,
            decision = decision.as_str(),
            "looked"
        );
        match decision {
            Decision::AlreadyHeld(address) => {
                self.facts.shown(address, Witness::Api);
                if self.has_written(address) {
                    return Ok(Outcome::Claimed);
                }
                self.facts.previous_holder = None;
                Ok(Outcome::AlreadyHeld)
            }
            Decision::Associate(address, reassociation) => {
                self.facts.about(address);
                if self.facts.stranded.is_none() {
                    self.facts.previous_holder = address.holder().map(Holder::unknown);
                }
                self.associate(&Wanted::seen(address), &addresses, reassociation).await
            }
            Decision::TakeOver { address, association, holder } => {
                self.facts.about(address);
                self.facts.previous_holder = Some(holder.into());
                self.take_over(address, association, holder, &addresses).await
            }
            Decision::Yield { address, holder } => {
                self.facts.about(address);
                self.facts.previous_holder = Some(holder.into());
                Err(reasons::yielded(address, holder))
            }
            Decision::Wait(waiting) => {
                if let Waiting::UnknownHolder(address) = waiting {
                    self.facts.about(address);
                    self.facts.previous_holder = address.holder().map(Holder::unknown);
                }
                Err(reasons::waiting(waiting, policy.reach))
            }
            Decision::NoMatch => Err(reasons::no_match(&self.me, &addresses, &filters, &self.region)),
        }
    }

    /// Whether the association that `address` is shown with may be the work of this run.
    fn has_written(&self, address: &Address) -> bool {
        let shown = address.association.as_ref().map(|association| &association.id);
        self.written.iter().any(|(allocation, association)| {
            *allocation == address.allocation && (association.is_none() || association.as_ref() == shown)
        })
    }

    async fn associate_unseen(&mut self, allocation: AllocationId, reach: Reach) -> Result<Outcome, Error> {
        if self.public_ips_before.is_none() {
            self.public_ips_before = Some(self.imds.public_ips(&self.interface).await?);
        }
        self.facts.allocation = Some(allocation.clone());
        let reassociation = match reach {
            Reach::Held => Reassociation::Allow,
            Reach::FreeOnly => Reassociation::Refuse,
        };
        self.associate(&Wanted::unseen(allocation), &[], reassociation).await
    }

    async fn associate(
        &mut self,
        wanted: &Wanted,
        addresses: &[Address],
        reassociation: Reassociation,
    ) -> Result<Outcome, Error> {
        let reach = match reassociation {
            Reassociation::Allow => Reach::Held,
            Reassociation::Refuse => Reach::FreeOnly,
        };
        if let Some(skipped) = self.pass_gate(reach).await? {
            return Ok(skipped);
        }
        match self.write(wanted, reassociation).await {
            Ok(written) => self.confirm(wanted, written).await,
            Err(error) => Err(self.learn(error, &wanted.allocation, addresses).await),
        }
    }

    /// Draws the conclusions from a refused write: which address to try next, and where to.
    pub(crate) async fn learn(&mut self, mut error: Error, tried: &AllocationId, addresses: &[Address]) -> Error {
        match error.class {
            Class::LostRace => self.me.lost.push(tried.clone()),
            Class::NotOurs => {
                self.me.refused.push(tried.clone());
                error.message = format!("{tried} is refused to this instance: {}", error.message);
                if !candidates(&self.me, addresses).is_empty() {
                    error.class = Class::LostRace;
                }
            }
            Class::WrongTargetMode => match self.target {
                Target::Instance(_) => {
                    self.target = Target::Interface(self.me.interface.clone(), self.me.private_ip);
                }
                Target::Interface(..) => error.class = Class::Fatal,
            },
            Class::TargetTaken if error.code != reasons::TARGET_TAKEN => {
                return self.who_is_on_target(error, addresses).await;
            }
            _ => {}
        }
        error
    }

    /// The gate once more, right before a write that needs `reach`.
    pub(crate) async fn pass_gate(&self, reach: Reach) -> Result<Option<Outcome>, Error> {
        match Gate::read(self.imds, self.options).await? {
            Gate::Skip(state) => Ok(Some(Outcome::Skipped(state))),
            gate if reach == Reach::Held && gate.reach(self.start) == Reach::FreeOnly => {
                let message = format!("Auto Scaling does not say any more that this instance is in service ({gate:?})");
                Err(Error::new(Class::Waiting, "GateChanged", message))
            }
            _ => Ok(None),
        }
    }
}

/// The holders that the decision depends on, this instance included; none when no holder matters.
pub(crate) async fn holders(
    cloud: &Cloud,
    me: &Me,
    addresses: &[Address],
    policy: Policy,
) -> Result<Vec<Instance>, Error> {
    let ids = holders_that_matter(me, addresses, policy);
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut holders = cloud.instances(&ids).await?;
    let (gone, live): (Vec<_>, Vec<_>) =
        holders.iter().filter(|holder| holder.id != me.instance).partition(|holder| holder.state.is_gone());
    // Only in a pool does a live holder's health matter, and only when no holder is gone.
    if candidates(me, addresses).len() > 1 && gone.is_empty() && !live.is_empty() {
        let live: Vec<InstanceId> = live.iter().map(|holder| holder.id.clone()).collect();
        let impaired = cloud.impaired(&live).await?;
        holders.iter_mut().for_each(|holder| holder.impaired = impaired.contains(&holder.id));
    }
    Ok(holders)
}
