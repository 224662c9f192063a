//! Who held which address when, by the cloud's own history, and what the requests of a run show of it.

use std::time::Duration;

use fakecloud::{Cloud, Event, Request};

use crate::prove::runs::Run;

/// What was sent before the end of a process may be read by a busy server a little after it.
const UNDERWAY: Duration = Duration::from_millis(250);

/// The history and the requests of a cloud.
pub struct Truth {
    pub history: Vec<Event>,
    pub log: Vec<Request>,
}

impl Truth {
    pub fn of(cloud: &Cloud) -> Truth {
        Truth { history: cloud.history(), log: cloud.log() }
    }

    /// Who held the address at that instant; an event counts from its instant on.
    pub fn holder(&self, allocation: &str, at: Duration) -> Option<&str> {
        let last = self.history.iter().rev().find(|event| event.allocation_id == allocation && event.at <= at)?;
        last.to.as_deref()
    }

    /// The instants at which something may have become different in a window: its beginning, and every event in it.
    pub fn instants(&self, from: Duration, until: Duration) -> impl Iterator<Item = Duration> {
        let inside = self.history.iter().map(|event| event.at).filter(move |at| *at > from && *at <= until);
        std::iter::once(from).chain(inside)
    }

    /// Whether `instance` held the address at some instant of the window.
    pub fn held_within(&self, allocation: &str, instance: &str, from: Duration, until: Duration) -> bool {
        self.instants(from, until).any(|at| self.holder(allocation, at) == Some(instance))
    }

    /// Whether `instance` held the address at every instant of the window.
    pub fn held_throughout(&self, allocation: &str, instance: &str, from: Duration, until: Duration) -> bool {
        self.instants(from, until).all(|at| self.holder(allocation, at) == Some(instance))
    }

    /// What this run sent, in order: an instance has one process at a time.
    pub fn sent<'a>(&'a self, run: &'a Run) -> impl DoubleEndedIterator<Item = &'a Request> {
        let own = |request: &&Request| request.instance_id.as_deref() == Some(&run.instance);
        self.log.iter().filter(own).filter(|request| request.at >= run.start && request.at <= run.end)
    }

    /// What this run wrote, trials aside.
    pub fn written<'a>(&'a self, run: &'a Run) -> impl DoubleEndedIterator<Item = &'a Request> {
        self.sent(run).filter(|request| is_write(request))
    }

    /// The flaws of a run that says it has an address: it did not have it.
    ///
    /// `claimed` is true when the address was this instance's at some instant between the last write of this run that
    /// EC2 carried out and the end, and a read has come after that write; `already_held` at some instant that a read, which shows the world `lag` ago,
    /// can have shown.
    pub fn unearned(&self, run: &Run, lag: Duration) -> Option<String> {
        let result = run.json();
        let allocation = result["allocation_id"].as_str().unwrap_or_default();
        let puts_it_here = |request: &&Request| {
            request.action == "AssociateAddress"
                && request.params.get("AllocationId").is_some_and(|id| id == allocation)
        };
        let done = self.written(run).filter(puts_it_here).rfind(|request| request.committed);
        // Another hand may have put it here while EC2 did not answer.
        let write = done.or_else(|| self.written(run).rfind(puts_it_here));
        let from = match (run.outcome().as_str(), write) {
            ("claimed", Some(write)) => write.at,
            ("claimed", None) => return Some("it claims an address that it never associated".to_owned()),
            ("already_held", _) if done.is_some() => return Some("it wrote what it says was there before".to_owned()),
            ("already_held", _) => run.start.saturating_sub(lag),
            _ => return None,
        };
        let is_read = |r: &&Request| r.action == "DescribeAddresses" || r.action.ends_with("/public-ipv4s");
        if !self.sent(run).filter(is_read).any(|read| read.at >= from && read.status == Some(200)) {
            return Some("no read after the write has shown that it has the address".to_owned());
        }
        let held = self.held_within(allocation, &run.instance, from, run.end);
        (!held).then(|| format!("it did not hold {allocation} at any instant of {from:?}..{:?}", run.end))
    }

    /// Writes that no process stands for: after its end, or after its deadline.
    pub fn stray_writes<'a>(&self, runs: impl Iterator<Item = &'a Run> + Clone) -> Vec<String> {
        let stands_for = |run: &Run, request: &Request| {
            let deadline = run.begun(self) + run.orders.timeout.mul_f64(1.05) + UNDERWAY * 2;
            request.instance_id.as_deref() == Some(&run.instance)
                && request.at >= run.start
                && request.at <= (run.end + UNDERWAY).min(deadline)
        };
        let is_stray = |request: &&Request| is_write(request) && !runs.clone().any(|run| stands_for(run, request));
        self.log.iter().filter(is_stray).map(|request| format!("a write that no run stands for: {request:?}")).collect()
    }

    /// Everything that changed hands, and every write, one a line.
    pub fn story(&self) -> String {
        let event = |event: &Event| {
            let Event { at, allocation_id, from, to, by, remap, ended } = event;
            (*at, format!("{at:?} EVENT {allocation_id} {from:?} -> {to:?} by {by:?} ended {ended:?} remap {remap}"))
        };
        let request = |r: &Request| {
            let own: Vec<_> = r.params.iter().filter(|(k, _)| !["Action", "Version"].contains(&k.as_str())).collect();
            let head = format!("{:?} {} {}", r.at, r.instance_id.as_deref().unwrap_or("?"), r.action);
            (r.at, format!("{head} {own:?} -> {:?} {:?} committed {}", r.status, r.error_code, r.committed))
        };
        let ec2 = self.log.iter().filter(|r| !r.action.contains(' ') || r.status != Some(200));
        let mut lines: Vec<_> = self.history.iter().map(event).chain(ec2.map(request)).collect();
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n")
    }
}

pub fn is_write(request: &Request) -> bool {
    ["AssociateAddress", "DisassociateAddress"].contains(&request.action.as_str()) && !request.dry_run
}
