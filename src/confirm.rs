//! Act and confirm: the write, and the read that proves it.
//!
//! The association changes the public address of this instance, so a connection that was open before it may be
//! dead, with the answer on it. Whatever is read after a write is read on a new connection.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::sleep;

use crate::attempt::may_be_done;
use crate::claim::Claim;
use crate::cloud::Filter;
use crate::decide::Reassociation;
use crate::error::{Class, Error};
use crate::ids::{AllocationId, AssociationId};
use crate::report::{Outcome, Witness};
use crate::retry::{Backoff, Retry};
use crate::world::Address;

/// How long a write may go unanswered before a new connection is asked what came of it.
pub(crate) const UNANSWERED_AFTER: Duration = Duration::from_millis(1_500);
/// The pause between looks while a write goes unanswered.
pub(crate) const PEEK_EVERY: Duration = Duration::from_millis(250);
/// Within this time EC2 and IMDS show what was written; what they show after it, is.
pub(crate) const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// The code of an interface that has, in IMDS, the public addresses that it had before.
const UNCHANGED: &str = "PublicAddressUnchanged";

/// The address of one write, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) allocation: AllocationId,
    /// Absent when it was not looked at.
    public_ip: Option<Ipv4Addr>,
    /// The association that it had before the write.
    before: Option<AssociationId>,
}

impl Wanted {
    /// An address as a look showed it.
    pub(crate) fn seen(address: &Address) -> Self {
        Self {
            allocation: address.allocation.clone(),
            public_ip: Some(address.public_ip),
            before: address.association.as_ref().map(|a| a.id.clone()),
        }
    }

    /// An address of which only the id is known.
    pub(crate) fn unseen(allocation: AllocationId) -> Self {
        Self { allocation, public_ip: None, before: None }
    }
}

/// What came of a write.
#[derive(Debug)]
pub(crate) enum Written {
    /// EC2 answered, with the association.
    Answered(Option<AssociationId>),
    /// The answer was lost, but a read begun after the write shows the address here.
    Shown(Address),
}

impl Claim<'_> {
    /// AssociateAddress; an answer that does not come is looked for on a new connection meanwhile.
    pub(crate) async fn write(&mut self, wanted: &Wanted, reassociation: Reassociation) -> Result<Written, Error> {
        tracing::info!(address = %wanted.allocation, target = ?self.target, ?reassociation, "associating");
        let written = {
            let peek = async {
                sleep(UNANSWERED_AFTER).await;
                self.cloud.renew_connections();
                loop {
                    match self.read_back(wanted).await {
                        Ok(Some(address)) if self.me.holds(&address) => break address,
                        // A denied read is denied the next time, too: only the answer itself is left to wait for.
                        Err(error) if error.class == Class::Denied => std::future::pending().await,
                        _ => sleep(PEEK_EVERY).await,
                    }
                }
            };
            tokio::select! {
                biased;
                answer = self.cloud.associate(&wanted.allocation, &self.target, reassociation) => answer.map(Written::Answered),
                address = peek => Ok(Written::Shown(address)),
            }
        };
        self.cloud.renew_connections();
        let written = written.map_err(|error| self.about_target(error));
        match &written {
            Ok(Written::Answered(association)) => self.written.push((wanted.allocation.clone(), association.clone())),
            Err(error) if !may_be_done(error) => {}
            _ => self.written.push((wanted.allocation.clone(), None)),
        }
        written
    }

    /// Reads until the address is seen to be here.
    ///
    /// # Errors
    /// It went to somebody else, or is not seen here in time: then another round looks, and decides anew.
    pub(crate) async fn confirm(&mut self, wanted: &Wanted, written: Written) -> Result<Outcome, Error> {
        let association = match written {
            Written::Shown(address) => {
                self.facts.shown(&address, Witness::Api);
                self.note_held(&wanted.allocation);
                return Ok(Outcome::Claimed);
            }
            Written::Answered(association) => association,
        };
        self.facts.association = association.clone();
        let mut retry = Retry::new(self.deadline.within(SETTLED_AFTER), Backoff::default());
        let mut witness = Witness::Api;
        let seen = retry
            .run(async || {
                if witness == Witness::Api {
                    match self.read_back(wanted).await {
                        Err(error) if error.class == Class::Denied => witness = Witness::Imds,
                        read => return self.judge(wanted, association.as_ref(), read?),
                    }
                }
                self.judge_by_imds(wanted).await
            })
            .await;
        match seen {
            Ok(Seen::Here(address)) => self.facts.shown(&address, Witness::Api),
            Ok(Seen::HereByImds(public_ip)) => self.proven_by_imds(public_ip),
            Ok(Seen::Elsewhere(error)) => {
                self.note_held(&wanted.allocation);
                return Err(error);
            }
            Err(error) if error.code == UNCHANGED && !self.deadline.remaining().is_zero() => {
                self.proven_by_imds(match self.public_ips_before.as_deref() {
                    Some([only]) => Some(*only),
                    _ => None,
                });
            }
            Err(error) => return Err(error),
        }
        self.note_held(&wanted.allocation);
        tracing::info!(address = %wanted.allocation, ?witness, "confirmed");
        Ok(Outcome::Claimed)
    }

    fn proven_by_imds(&mut self, public_ip: Option<Ipv4Addr>) {
        self.facts.public_ip = self.facts.public_ip.or(public_ip);
        self.facts.verified_by = vec![Witness::Imds];
    }

    async fn read_back(&self, wanted: &Wanted) -> Result<Option<Address>, Error> {
        let filter = Filter::exactly("allocation-id", [wanted.allocation.as_str()]);
        Ok(self.cloud.addresses(&[filter]).await?.into_iter().find(|a| a.allocation == wanted.allocation))
    }

    /// What a read after the write says, if it shows more than the state before the write.
    fn judge(&self, wanted: &Wanted, ours: Option<&AssociationId>, read: Option<Address>) -> Result<Seen, Error> {
        let association = read.as_ref().and_then(|address| address.association.as_ref());
        match (read.as_ref(), association) {
            (Some(address), Some(association))
                if self.me.holds(address) && ours.is_none_or(|id| *id == association.id) =>
            {
                Ok(Seen::Here(address.clone()))
            }
            (Some(address), Some(association))
                if !self.me.holds(address)
                    && Some(&association.id) != wanted.before.as_ref()
                    && wanted.public_ip.is_some() =>
            {
                let message = format!("{} was associated here, and then elsewhere by somebody else", address.public_ip);
                Ok(Seen::Elsewhere(Error::new(Class::LostRace, "TakenAway", message)))
            }
            _ => {
                let message =
                    format!("EC2 accepted the association of {}, but does not show it here yet", wanted.allocation);
                Err(Error::new(Class::NotYet, "NotShownYet", message))
            }
        }
    }

    /// What the instance itself can see, where describing addresses is denied.
    async fn judge_by_imds(&self, wanted: &Wanted) -> Result<Seen, Error> {
        let now = self.imds.public_ips(&self.interface).await?;
        let before = self.public_ips_before.as_deref();
        let new = now.iter().copied().find(|ip| before.is_none_or(|before| !before.contains(ip)));
        match (wanted.public_ip, new) {
            (Some(ip), _) if now.contains(&ip) => Ok(Seen::HereByImds(Some(ip))),
            (None, Some(ip)) => Ok(Seen::HereByImds(Some(ip))),
            (None, None) if before == Some(&now) && !now.is_empty() => {
                let message = "IMDS still shows the public address from before the association";
                Err(Error::new(Class::NotYet, UNCHANGED, message))
            }
            _ => Err(Error::new(Class::NotYet, "NotShownYet", "IMDS does not show the public address here yet")),
        }
    }
}

/// What the reads after a write have shown.
enum Seen {
    Here(Address),
    HereByImds(Option<Ipv4Addr>),
    Elsewhere(Error),
}
