//! The fence: a takeover that cannot rob anybody, and cannot leave a working address on nobody unawares.
//!
//! First the very association that was judged is ended, by its id; then the address is associated
//! with `AllowReassociation=false`. If somebody moved the address in between, the first write finds nothing
//! and EC2 refuses the second: EC2 itself is the arbiter, and there is no lock to lose.
//! Between the two writes the address is on nobody. Whatever can be known to go wrong with the second one
//! is therefore found before the first, and from there on nothing but the deadline stops the second.

use crate::claim::Claim;
use crate::confirm::Wanted;
use crate::decide::{Reach, Reassociation};
use crate::error::{Class, Error};
use crate::ids::AssociationId;
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
    /// The takeover was not begun, or somebody else was quicker, or the address is left on nobody: the error says which.
    pub(crate) async fn take_over(
        &mut self,
        address: &Address,
        association: &Association,
        holder: &Instance,
        addresses: &[Address],
    ) -> Result<Outcome, Error> {
        // To move an address from one interface of this instance to another takes nothing from anybody.
        let reach = if holder.id == self.me.instance { Reach::FreeOnly } else { Reach::Held };
        if let Err(error) = self.fit_to_take(address).await {
            return Err(self.learn(error, &address.allocation, addresses).await);
        }
        if let Some(skipped) = self.pass_gate(reach).await? {
            return Ok(skipped);
        }
        let needed = self.options.attempt_timeout * ATTEMPTS;
        if self.deadline.remaining() < needed {
            return Err(reasons::too_late(address, self.deadline.remaining(), needed));
        }
        let stop = self.stop;
        // A signal waits for the proof as well, so that the run ends with a result that is true.
        let _hold = stop.hold();
        tracing::info!(address = %address.allocation, %association.id, holder = %holder.id,
            state = holder.state.as_str(), "taking over");
        let mut ended = self.end(&association.id).await?;
        let wanted = Wanted::seen(address);
        let mut retry = Retry::new(self.deadline, Backoff::default());
        retry.allow_denied_for(self.denied_window);
        let written = retry
            .run(async || match self.write(&wanted, Reassociation::Refuse).await {
                Err(error) if error.class == Class::LostRace && error.message.contains(association.id.as_str()) => {
                    // Our own ending of it is not done, or not visible yet.
                    if ended == Ended::Unanswered {
                        ended = self.end(&association.id).await?;
                    }
                    Err(Error { class: Class::NotYet, ..error })
                }
                Err(error) if error.class == Class::WrongTargetMode => {
                    Err(self.learn(error, &address.allocation, addresses).await)
                }
                Err(error) if error.class == Class::LostRace => Ok(Err(error)),
                written => written.map(Ok),
            })
            .await;
        match written {
            Ok(Ok(written)) => self.confirm(&wanted, written).await,
            Ok(Err(lost)) => Err(self.learn(lost, &address.allocation, addresses).await),
            // EC2's last word was that the association which was judged still stands: nothing was taken.
            Err(error) if ended == Ended::Unanswered && error.message.contains(association.id.as_str()) => Err(error),
            Err(error) => Err(reasons::left_unassociated(error, address, holder, &self.target, &self.region)),
        }
    }

    /// Everything that would make the association fail after the disassociation.
    /// That this instance is running, the decision has seen to.
    async fn fit_to_take(&self, address: &Address) -> Result<(), Error> {
        if let Some(other) = self.on_target().await?.iter().find(|other| other.allocation != address.allocation) {
            return Err(reasons::target_taken(&self.me, other));
        }
        self.cloud.may_associate(&address.allocation, &self.target).await
    }

    /// Ends the association `id`, if it is still there.
    async fn end(&self, id: &AssociationId) -> Result<Ended, Error> {
        match self.cloud.disassociate(id).await {
            Ok(()) => Ok(Ended::Yes),
            Err(error) if error.class == Class::LostRace => Ok(Ended::Yes),
            Err(error) if error.class == Class::Transient => Ok(Ended::Unanswered),
            Err(error) => Err(error),
        }
    }
}

/// Whether an association has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Yes,
    /// The answer was lost: perhaps.
    Unanswered,
}
