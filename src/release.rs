//! The release: ends the associations that this instance holds, each by its own id, and proves that they have ended.
//!
//! An association id means one attachment of one address, for ever: by it nobody else can lose anything,
//! whoever moved the address since it was looked at. Without its address this instance may have no way to EC2 any more;
//! then the metadata service, which showed the address before, proves that it has gone.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use tokio::time::{Instant, sleep};

use crate::attempt::may_be_done;
use crate::claim::EXPLAIN_TIMEOUT;
use crate::cli::Options;
use crate::cloud::{Cloud, Filter};
use crate::confirm::{PEEK_EVERY, SETTLED_AFTER, UNANSWERED_AFTER};
use crate::credentials::{InstanceProfile, with_fresh};
use crate::decide::{Me, releasable};
use crate::endpoints;
use crate::error::{Class, Error};
use crate::explain::explain;
use crate::here::Here;
use crate::ids::AssociationId;
use crate::imds::{Imds, Interface};
use crate::report::{Facts, Outcome, Report, Witness};
use crate::retry::{Backoff, Deadline, Retry};
use crate::selector::filters;
use crate::stop::Stop;
use crate::world::Address;

/// Gives back what this instance holds of the addresses that `options` select, and reports how it went.
pub async fn release(options: &Options, stop: &Stop) -> Report {
    let start = Instant::now();
    let mut retry = Retry::new(Deadline::after(options.timeout), Backoff::default());
    let mut facts = Facts::default();
    let finished = tokio::select! {
        biased;
        finished = Release::run(options, &mut retry, &mut facts) => Some(finished),
        () = stop.requested() => None,
    };
    let outcome =
        finished.unwrap_or_else(|| Err(interrupted(&facts, retry.last_error()))).unwrap_or_else(Outcome::Failed);
    Report { attempts: retry.attempts(), outcome, facts, elapsed: start.elapsed() }
}

/// One release under way.
struct Release<'a> {
    options: &'a Options,
    facts: &'a mut Facts,
    imds: &'a Imds,
    cloud: Cloud,
    me: Me,
    interface: Interface,
    /// Those of this instance's own tags that IMDS has shown already, by their keys.
    own_tags: BTreeMap<String, String>,
    /// The selectors, once this instance's own tags are known.
    filters: Option<Vec<Filter>>,
    /// Whether an association may have ended at our request.
    asked: bool,
    /// Associations whose end EC2 has answered for, and when.
    ended: Vec<(AssociationId, Instant)>,
    /// Those of the addresses that IMDS showed on the interface before they were given back.
    shown_before: Vec<Ipv4Addr>,
}

impl Release<'_> {
    async fn run(options: &Options, retry: &mut Retry, facts: &mut Facts) -> Result<Outcome, Error> {
        endpoints::check()?;
        let imds = Imds::from_env(retry.deadline())?;
        let profile = InstanceProfile::new(&imds);
        let (here, cloud) = retry.run(async || Here::find(&imds, &profile, options).await).await?;
        *facts = here.facts();
        let mut release = Release {
            cloud,
            me: here.me(),
            interface: here.interface,
            own_tags: here.own_tags,
            filters: None,
            asked: false,
            ended: Vec::new(),
            shown_before: Vec::new(),
            imds: &imds,
            options,
            facts,
        };
        let mut finished = retry.run(async || with_fresh(async || release.round().await).await).await;
        if let Err(error) = &mut finished {
            explain(error, &release.cloud.until(Deadline::after(EXPLAIN_TIMEOUT))).await;
        }
        finished
    }

    /// Looks, ends what is still held, and looks again.
    async fn round(&mut self) -> Result<Outcome, Error> {
        if self.filters.is_none() {
            self.filters =
                Some(filters(self.options, &self.own_tags, self.imds, &self.cloud, &self.me.instance).await?);
        }
        loop {
            let (held, witness) = self.held().await?;
            let Some(first) = held.first() else { return Ok(self.done(witness)) };
            self.ended.retain(|(_, at)| at.elapsed() < SETTLED_AFTER);
            let is_ended = |address: &&Address| self.ended.iter().any(|(id, _)| address.has(id));
            let Some(address) = held.iter().find(|address| !is_ended(address)) else {
                let message =
                    format!("EC2 accepted the end of {}'s association, but still shows it here", first.public_ip);
                return Err(Error::new(Class::NotYet, "StillShown", message));
            };
            self.give_back(address).await?;
        }
    }

    fn done(&mut self, witness: Witness) -> Outcome {
        if !self.asked {
            self.facts.association = None;
            return Outcome::NotHeld;
        }
        self.facts.verified_by = vec![witness];
        Outcome::Released
    }

    /// What this instance holds of the addresses that match, and who says so.
    async fn held(&mut self) -> Result<(Vec<Address>, Witness), Error> {
        match self.cloud.addresses(self.filters.as_deref().unwrap_or_default()).await {
            Ok(addresses) => {
                if let ([only], None) = (addresses.as_slice(), &self.facts.association) {
                    self.facts.about(only);
                }
                let held = releasable(&self.me, &addresses);
                Ok((held.into_iter().map(|(address, _)| address.clone()).collect(), Witness::Api))
            }
            Err(error) if error.class == Class::Transient && self.has_left().await => Ok((Vec::new(), Witness::Imds)),
            Err(error) => Err(error),
        }
    }

    /// Whether IMDS, which showed what was given back, does not show it any more.
    async fn has_left(&self) -> bool {
        let now = if self.shown_before.is_empty() { None } else { self.imds.public_ips(&self.interface).await.ok() };
        now.is_some_and(|now| !self.shown_before.iter().any(|ip| now.contains(ip)))
    }

    /// DisassociateAddress; an answer that does not come is looked for on a new connection meanwhile.
    async fn give_back(&mut self, address: &Address) -> Result<(), Error> {
        let Some(association) = &address.association else { return Ok(()) };
        if self.imds.public_ips(&self.interface).await.is_ok_and(|now| now.contains(&address.public_ip)) {
            self.shown_before.push(address.public_ip);
        }
        self.facts.shown(address, Witness::Api);
        self.facts.verified_by = Vec::new();
        tracing::info!(address = %address.allocation, %association.id, "giving back");
        let cloud = self.cloud.clone();
        let gone = async {
            sleep(UNANSWERED_AFTER).await;
            cloud.renew_connections();
            while self.held().await.map_or(true, |(held, _)| held.iter().any(|held| held.has(&association.id))) {
                sleep(PEEK_EVERY).await;
            }
        };
        let answer = tokio::select! {
            biased;
            answer = cloud.disassociate(&association.id) => answer,
            () = gone => Ok(()),
        };
        self.cloud.renew_connections();
        match answer {
            // That somebody else has ended it comes to the same.
            Err(error) if error.class != Class::LostRace => {
                self.asked |= may_be_done(&error);
                Err(error)
            }
            answer => {
                self.asked |= answer.is_ok();
                self.ended.push((association.id.clone(), Instant::now()));
                Ok(())
            }
        }
    }
}

fn interrupted(facts: &Facts, last: Option<&Error>) -> Error {
    let when = match facts.association {
        Some(_) => "when the end of the association was asked for, before it was confirmed",
        None => "before the release was done",
    };
    Error::stopped(when, last)
}
