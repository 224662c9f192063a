//! The verdict on a round: the invariants, by the cloud's history and the requests, and the exit codes, by the script.

use std::time::Duration;

use fakecloud::{Event, Request};

use crate::prove::chaos::ills::Ill;
use crate::prove::chaos::script::Spell;
use crate::prove::chaos::world::{Was, World};
use crate::prove::runs::{Plan, Run};
use crate::prove::truth::Truth;

/// How long before its end something may have happened that a run ends with: it may have paused for 8 s since,
/// and the last attempts may have been cut short by the deadline.
const MEMORY: Duration = Duration::from_secs(12);

/// A run, and what it was to do.
pub struct Claim {
    pub run: Run,
    pub policy: &'static str,
    /// The allocation ids that it was to choose from.
    pub selected: Vec<String>,
}

pub struct Judge<'a> {
    pub world: &'a World,
    pub truth: &'a Truth,
    /// What went wrong, and when it really did.
    pub spells: &'a [Spell],
    pub claims: &'a [Claim],
}

impl Judge<'_> {
    /// Every flaw of the round.
    pub fn flaws(&self) -> Vec<String> {
        let mut flaws = Vec::new();
        for claim in self.claims {
            let mut own = claim.run.flaws(self.truth);
            own.extend(self.truth.unearned(&claim.run, self.lag()));
            own.extend(self.unexplained(claim));
            own.extend(self.needless(claim));
            let (line, log) = (claim.run.line(), claim.run.last_words());
            flaws.extend(own.into_iter().map(|flaw| format!("{flaw}\n  {line}\n    {log}")));
        }
        let runs = self.claims.iter().map(|claim| &claim.run);
        flaws.extend(self.truth.stray_writes(runs));
        for (n, event) in self.truth.history.iter().enumerate() {
            flaws.extend(self.robbed(event).map(|why| format!("{why}: {event:?}")));
            flaws.extend(self.stranded(n, event).map(|why| format!("{why}: {event:?}")));
        }
        flaws
    }

    /// How late reads were at most.
    fn lag(&self) -> Duration {
        let lags = self.spells.iter().filter_map(|spell| match spell.ill {
            Ill::ReadLag(lag) => Some(lag),
            _ => None,
        });
        lags.max().unwrap_or_default()
    }

    fn place(&self, id: &str) -> usize {
        self.world.instances.iter().position(|instance| instance == id).expect("only instances of the world run")
    }

    /// What went wrong in the window.
    fn ills(&self, from: Duration, until: Duration) -> impl Iterator<Item = &Ill> {
        self.spells.iter().filter(move |spell| spell.from <= until && spell.until >= from).map(|spell| &spell.ill)
    }

    /// Whether a claim of several addresses may have been left with one.
    fn is_single(&self, claim: &Claim) -> bool {
        let from = claim.run.start.saturating_sub(self.lag());
        claim.selected.len() == 1 || self.ills(from, claim.run.end).any(Ill::may_leave_one)
    }

    /// An exit that nothing of what was true and nothing of what went wrong explains.
    fn unexplained(&self, claim: &Claim) -> Option<String> {
        let run = &claim.run;
        let code = run.exit?;
        let whole = run.start.saturating_sub(self.lag());
        let late = whole.max(run.end.saturating_sub(MEMORY + self.lag()));
        if code == 69 && run.error("code") == "NewerHolder" {
            return self.is_newer(claim, whole).err();
        }
        if code == 0 {
            let skipped = run.outcome() == "skipped";
            let is_skip = |ill: &Ill| matches!(ill, Ill::Lifecycle(one, Some(_)) if *one == self.place(&run.instance));
            let wrong = skipped && !self.ills(whole, run.end).any(is_skip);
            return wrong.then(|| "it skipped, and nobody said so".to_owned());
        }
        let by_truth = match code {
            75 => self.waits(claim, late) || self.has_rivals(claim, late) || matches!(run.plan, Plan::StopAfter(_)),
            // The target has an address that is not selected.
            78 => self.has_another(claim, whole),
            _ => false,
        };
        let me = self.place(&run.instance);
        let explains = |ill: &Ill| ill.concerns(me) && ill.may_cause(self.world).contains(&code);
        let explained = by_truth
            || self.ills(late, run.end).any(explains)
            || self.ills(whole, run.end).any(|ill| ill.is_remembered() && explains(ill));
        (!explained).then(|| format!("nothing explains exit {code}"))
    }

    /// Whether the holder that it yields to was live, newer, and the holder.
    fn is_newer(&self, claim: &Claim, from: Duration) -> Result<(), String> {
        let run = &claim.run;
        let named = run.json()["previous_holder"]["instance_id"].as_str().unwrap_or_default().to_owned();
        let held = claim.selected.iter().any(|id| self.truth.held_within(id, &named, from, run.end));
        let mine = self.world.was(&run.instance, from, run.end);
        let newer = |was: &Was| {
            !was.is_gone() && mine.iter().any(|my| (was.launched, &was.instance) > (my.launched, &my.instance))
        };
        let is_newer = self.world.was(&named, from, run.end).iter().any(newer);
        if held && is_newer { Ok(()) } else { Err(format!("it yields to {named}: held {held}, newer {is_newer}")) }
    }

    /// Whether at some instant every address had another holder, and none of them had to give way.
    fn waits(&self, claim: &Claim, from: Duration) -> bool {
        let run = &claim.run;
        let taken = |at: Duration| {
            let holder = |id: &String| self.truth.holder(id, at).map(str::to_owned);
            claim.selected.iter().all(|id| holder(id).is_some_and(|holder| holder != run.instance))
        };
        let waits = claim.policy == "never" || claim.selected.len() > 1;
        waits && self.truth.instants(from, run.end).any(taken)
    }

    /// Whether an address changed hands meanwhile, other than by this run.
    fn has_rivals(&self, claim: &Claim, from: Duration) -> bool {
        let run = &claim.run;
        let by_another = |event: &&Event| {
            claim.selected.contains(&event.allocation_id)
                && event.by.as_deref() != Some(&run.instance)
                && event.at >= from
                && event.at <= run.end
        };
        self.truth.history.iter().any(|event| by_another(&event))
    }

    fn has_another(&self, claim: &Claim, from: Duration) -> bool {
        let run = &claim.run;
        let all = self.world.addresses.iter().chain([&self.world.stranger]).map(|address| &address.allocation_id);
        let mut others = all.filter(|id| !claim.selected.contains(id));
        others.any(|id| self.truth.held_within(id, &run.instance, from, run.end))
    }

    /// Writes of a run whose first look showed it as the holder.
    fn needless(&self, claim: &Claim) -> Option<String> {
        let run = &claim.run;
        let look = self.truth.sent(run).find(|request| !request.action.contains(' '))?;
        if look.action != "DescribeAddresses" || look.status != Some(200) {
            return None;
        }
        let (from, until) = (look.at.saturating_sub(self.lag()), look.at + run.orders.attempt_timeout);
        if self.ills(from, until).any(|ill| ill.spoils_reads() || ill.may_leave_one()) {
            return None;
        }
        let held = claim.selected.iter().any(|id| self.truth.held_throughout(id, &run.instance, from, until));
        let write = self.truth.written(run).next()?;
        held.then(|| format!("its first look showed it as the holder, and it wrote: {write:?}"))
    }

    /// The claim whose DisassociateAddress ended that association, and the request.
    fn cutter(&self, event: &Event) -> Option<(&Claim, &Request)> {
        let (by, ended) = (event.by.as_deref()?, event.ended.as_deref()?);
        let cuts = |request: &&Request| {
            request.action == "DisassociateAddress"
                && request.instance_id.as_deref() == Some(by)
                && request.params.get("AssociationId").is_some_and(|id| id == ended)
                && request.at <= event.at
        };
        let request = self.truth.log.iter().rfind(cuts)?;
        let owner = |claim: &&Claim| claim.run.instance == by && claim.run.start <= request.at;
        Some((self.claims.iter().rfind(owner)?, request))
    }

    /// Why a holder should not have been displaced.
    fn robbed(&self, event: &Event) -> Option<String> {
        let (from, by) = (event.from.as_deref()?, event.by.as_deref()?);
        if from == by || event.to.as_deref() == Some(from) {
            return None;
        }
        let Some((claim, cut)) = self.cutter(event).filter(|_| event.to.is_none()) else {
            // Nothing but `always` moves an address in one call.
            let owner = |claim: &&Claim| claim.run.instance == by && claim.run.start <= event.at;
            let claim = self.claims.iter().rfind(owner)?;
            let may = claim.policy == "always" && self.is_single(claim);
            return (!may).then(|| format!("{} took it without a fence", claim.run.line()));
        };
        if claim.policy != "successor" {
            return Some(format!("it is not for {} to cut anybody off", claim.policy));
        }
        let is_look = |request: &&Request| request.action == "DescribeInstances" && request.at <= cut.at;
        let Some(look) = self.truth.sent(&claim.run).rfind(is_look) else {
            return Some("nobody looked at the holder".to_owned());
        };
        let seen = look.at.saturating_sub(self.lag());
        let (holder, mine) = (self.world.was(from, seen, cut.at), self.world.was(by, seen, cut.at));
        let is_older = |was: &Was| mine.iter().any(|my| (was.launched, &was.instance) < (my.launched, &my.instance));
        // A holder's health matters in a pool, its age where there is one address.
        let (in_pool, single) = (claim.selected.len() > 1, self.is_single(claim));
        let gives_way = |was: &Was| was.is_gone() || in_pool && was.impaired || single && is_older(was);
        let fair = holder.iter().any(gives_way);
        (!fair).then(|| format!("a live holder was cut off, which was {holder:?}"))
    }

    /// Why an address should not have been left on nobody.
    fn stranded(&self, n: usize, event: &Event) -> Option<String> {
        if event.to.is_some() || event.from.is_none() || event.from == event.by {
            return None;
        }
        let (claim, _) = self.cutter(event)?;
        let next = self.truth.history[n + 1..].iter().find(|next| next.allocation_id == event.allocation_id);
        let followed = next.is_some_and(|next| next.to.is_some() && next.at <= claim.run.end);
        let told = claim.run.error("message").contains("unassociated");
        let excused = followed || told || claim.run.was_killed();
        (!excused).then(|| format!("nobody has it, and nobody says so\n  {}", claim.run.line()))
    }
}
