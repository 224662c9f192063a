//! The fence: a takeover that cannot rob anybody, and cannot leave a working address on nobody unawares.
//!
//! First the very association that was judged is ended, by its id; then the address is associated
//! with `AllowReassociation=false`. If somebody moved the address in between, the first write finds nothing
//! and EC2 refuses the second: EC2 itself is the arbiter, and there is no lock to lose.
//! Between the two writes the address is on nobody. Whatever can be known to go wrong with the second one
//! is therefore found before the first. From there on the second is retried before all else, and a run that ends
//! without it says so, whatever else it has to say.

use std::net::Ipv4Addr;

use crate::attempt::may_be_done;
use crate::claim::Claim;
use crate::classify::is_about_credentials;
use crate::cloud::Target;
use crate::confirm::Wanted;
use crate::decide::{Reach, Reassociation};
use crate::error::{Class, Error};
use crate::ids::{AllocationId, AssociationId, InstanceId};
use crate::reasons;
use crate::report::Outcome;
use crate::retry::{Backoff, Retry};
use crate::world::{Address, Association, Instance};

/// How many attempts there must be time for: to end the association, to make the new one, and to do that again.
const ATTEMPTS: u32 = 3;

impl Claim<'_> {
    /// Takes `address` from `holder`, of whom a look has shown `association`; `addresses` is all that the look showed.
    ///
    /// # Errors
    /// The takeover was not begun, or somebody else was quicker, or the address may be on nobody:
    /// then `facts.stranded` says so, and the report with it.
    pub(crate) async fn take_over(
        &mut self,
        address: &Address,
        association: &Association,
        holder: &Instance,
        addresses: &[Address],
    ) -> Result<Outcome, Error> {
        // To move an address from one interface of this instance to another takes nothing from anybody.
        let reach = if holder.id == self.me.instance { Reach::FreeOnly } else { Reach::Held };
        if let Err(error) = self.fit_to_take(address, addresses).await {
            return Err(self.learn(error, &address.allocation, addresses).await);
        }
        if let Some(skipped) = self.pass_gate(reach).await? {
            return Ok(skipped);
        }
        let needed = self.options.attempt_timeout * ATTEMPTS;
        if self.deadline.remaining() < needed {
            return Err(reasons::too_late(address, self.deadline.remaining(), needed));
        }
        // From here on a signal waits: for the association, and for the proof, so that the result is true.
        let stop = self.stop;
        self.hold = Some(stop.hold());
        tracing::info!(address = %address.allocation, %association.id, holder = %holder.id,
            state = holder.state.as_str(), "taking over");
        let cut = Stranded {
            public_ip: address.public_ip,
            allocation: address.allocation.clone(),
            association: association.id.clone(),
            holder: holder.id.clone(),
            target: self.target.clone(),
            acknowledged: false,
        };
        let outcome = self.cut_and_associate(&cut, address, addresses, reach).await;
        if self.facts.stranded.is_none() {
            self.hold = None;
        }
        outcome
    }

    async fn cut_and_associate(
        &mut self,
        cut: &Stranded,
        address: &Address,
        addresses: &[Address],
        reach: Reach,
    ) -> Result<Outcome, Error> {
        self.end(cut).await?;
        let wanted = Wanted::seen(address);
        let mut retry = Retry::new(self.deadline, Backoff::default());
        retry.allow_denied_for(self.denied_window);
        let mut refreshed = false;
        let written = retry
            .run(async || match self.write(&wanted, Reassociation::Refuse).await {
                Err(error) if error.class == Class::LostRace && error.message.contains(cut.association.as_str()) => {
                    // Our ending of the association that was judged is not done, or not visible yet.
                    self.facts.stranded = Some(cut.clone());
                    self.may_end_again(reach).await?;
                    self.end(cut).await?;
                    Err(Error { class: Class::NotYet, ..error })
                }
                Err(error) if error.class == Class::LostRace => Ok(Err(error)),
                Err(error) if error.class == Class::WrongTargetMode => {
                    Err(self.learn(error, &address.allocation, addresses).await)
                }
                Err(error) if error.class == Class::Denied && is_about_credentials(&error.code) && !refreshed => {
                    refreshed = true;
                    Err(Error { class: Class::NotYet, ..error })
                }
                written => written.map(Ok),
            })
            .await;
        self.facts.repeats += retry.attempts() - 1;
        match written {
            Ok(Ok(written)) => self.confirm(&wanted, written).await,
            Ok(Err(lost)) => {
                self.note_held(&address.allocation);
                Err(self.learn(lost, &address.allocation, addresses).await)
            }
            // It is still on nobody, and this instance cannot have it.
            Err(error) if error.class == Class::TargetTaken => {
                Err(self.learn(error, &address.allocation, addresses).await)
            }
            Err(error) => Err(error),
        }
    }

    /// Everything that would make the association fail after the disassociation.
    /// That this instance is running, the decision has seen to.
    async fn fit_to_take(&self, address: &Address, addresses: &[Address]) -> Result<(), Error> {
        let other = self.on_target().await?.into_iter().find(|other| other.allocation != address.allocation);
        match other {
            Some(other) if addresses.iter().any(|a| a.allocation == other.allocation) => {
                return Err(reasons::held_already(&other));
            }
            Some(other) => return Err(reasons::target_taken(&self.me, &other)),
            None => {}
        }
        self.cloud.may_associate(&address.allocation, &self.target).await
    }

    /// The gate, before the association is ended once more: to leave it where it is strands nobody.
    /// A run that stops here ends, and says that the first request may yet arrive.
    async fn may_end_again(&self, reach: Reach) -> Result<(), Error> {
        match self.pass_gate(reach).await {
            Ok(Some(Outcome::Skipped(state))) => Err(reasons::skipped(&state)),
            Ok(_) => Ok(()),
            Err(changed) if changed.class == Class::Waiting => Err(Error { class: Class::Interrupted, ..changed }),
            Err(unknown) => Err(unknown),
        }
    }

    /// Ends the association of `cut`, if it is still there. From here on the address may be on nobody.
    async fn end(&mut self, cut: &Stranded) -> Result<(), Error> {
        let before = self.facts.stranded.replace(cut.clone());
        match self.cloud.disassociate(&cut.association).await {
            // It may have been carried out, whatever answered for it.
            Err(error) if may_be_done(&error) => Ok(()),
            Err(error) if error.class != Class::LostRace => {
                // Refused, it has ended nothing; but an earlier one, still unanswered, may yet arrive.
                self.facts.stranded = before;
                Err(error)
            }
            Ok(()) | Err(_) => {
                self.facts.stranded = Some(Stranded { acknowledged: true, ..cut.clone() });
                Ok(())
            }
        }
    }

    /// Takes note of a look: an address that is seen associated anew is not stranded.
    pub(crate) fn note_rescued(&mut self, addresses: &[Address]) {
        let Some(stranded) = &self.facts.stranded else { return };
        let is_anew = |address: &&Address| {
            let now = address.association.as_ref().map(|association| &association.id);
            address.allocation == stranded.allocation && now.is_some_and(|id| *id != stranded.association)
        };
        if let Some(address) = addresses.iter().find(is_anew) {
            self.note_held(&address.allocation);
        }
    }

    /// Takes note that somebody has this address: it is not stranded.
    pub(crate) fn note_held(&mut self, allocation: &AllocationId) {
        if self.facts.stranded.as_ref().is_some_and(|stranded| stranded.allocation == *allocation) {
            self.facts.stranded = None;
            self.hold = None;
        }
    }
}

/// An address whose association this run has ended, and that has not been seen associated since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stranded {
    pub(crate) public_ip: Ipv4Addr,
    pub(crate) allocation: AllocationId,
    /// The association that was ended.
    pub(crate) association: AssociationId,
    pub(crate) holder: InstanceId,
    pub(crate) target: Target,
    /// Whether EC2 has answered that the association has ended.
    pub(crate) acknowledged: bool,
}
