//! Look and decide: what a claim reads, the policy that ships, and what follows from its decision.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use eip_claim::decide::{Decision, Me, Policy, Reach, Takeover, decide, holders_that_matter};
use eip_claim::world::{self, State};

use super::steps::{Cut, End, Step};
use super::world::*;
use super::{Claims, Without};

impl Claims {
    /// DescribeAddresses as `view` shows them: for each address, which of its versions.
    /// `false` if that leads to waiting, in a world that has come to rest.
    pub fn look(&self, world: &mut World, id: Id, view: &[usize]) -> bool {
        if world.machine(id).gate == Gate::Skip {
            world.end(id, End::Skipped);
            return true;
        }
        let seen: Vec<_> = world.addresses.iter().zip(view).map(|(a, version)| a.version(*version)).collect();
        if world.at_rest && self.would_wait(world, id, &seen) {
            return false;
        }
        let machine = world.machine(id);
        let rescued = |(address, cut): (u8, u8)| seen[address as usize].is_some_and(|now| now.id != cut);
        machine.stranded = machine.stranded.filter(|stranded| !rescued(*stranded));
        world.machine(id).about.iter_mut().for_each(|about| about.looked = 0);
        let (me, addresses) = (self.me(world, id), self.addresses(&seen));
        if holders_that_matter(&me, &addresses, policy(world, id)).is_empty() {
            let decision = decide(&me, &addresses, &[], policy(world, id));
            self.act(world, id, &seen, &[], decision);
        } else {
            world.machine(id).step = Step::Ask(seen);
        }
        true
    }

    /// DescribeInstances: of those whose bit is set in `stale`, the version before.
    pub fn ask(&self, world: &mut World, id: Id, stale: u8) {
        let Step::Ask(seen) = world.machine(id).step.clone() else { unreachable!("asked out of turn") };
        let instances = self.instances(world, stale);
        let (me, addresses) = (self.me(world, id), self.addresses(&seen));
        let asked = holders_that_matter(&me, &addresses, policy(world, id));
        let holders: Vec<_> = instances.into_iter().filter(|i| asked.contains(&i.id)).collect();
        let as_ordered = self.in_order(&me, holders.clone());
        let decision = decide(&me, &addresses, &as_ordered, policy(world, id));
        self.act(world, id, &seen, &holders, decision);
    }

    fn would_wait(&self, world: &World, id: Id, seen: &[Option<Association>]) -> bool {
        let (me, addresses) = (self.me(world, id), self.addresses(seen));
        let holders = self.in_order(&me, self.instances(world, 0));
        matches!(decide(&me, &addresses, &holders, policy(world, id)), Decision::Wait(_))
    }

    /// As DescribeInstances shows them to the policy: this one launched last, if the order is left out.
    pub fn in_order(&self, me: &Me, mut holders: Vec<world::Instance>) -> Vec<world::Instance> {
        if self.without == Some(Without::LaunchOrder) {
            let last = SystemTime::UNIX_EPOCH + Duration::from_secs(u8::MAX.into());
            holders.iter_mut().filter(|i| i.id == me.instance).for_each(|i| i.launched = last);
        }
        holders
    }

    fn act(
        &self,
        world: &mut World,
        id: Id,
        seen: &[Option<Association>],
        holders: &[world::Instance],
        decision: Decision<'_>,
    ) {
        let number = |address: &world::Address| address.public_ip.octets()[3];
        let is_shown_here = seen.iter().flatten().any(|a| a.holder == id);
        world.require(!is_shown_here || matches!(decision, Decision::AlreadyHeld(_)), Broken::WroteOwn);
        world.machine(id).step = match decision {
            Decision::AlreadyHeld(address) => {
                let address = number(address);
                let is_ours = match world.machine(id).about[address as usize].written {
                    Written::No => false,
                    Written::Unanswered => true,
                    Written::Answered(ours) => seen[address as usize].is_some_and(|now| now.id == ours),
                };
                return world.end(id, if is_ours { End::Claimed(address) } else { End::AlreadyHeld(address) });
            }
            Decision::Yield { .. } => return world.end(id, End::Yielded),
            Decision::Wait(_) | Decision::NoMatch => Step::Look,
            Decision::Associate(address, _) => Step::Associate { address: number(address), before: None, allow: false },
            Decision::TakeOver { address, .. } => {
                let address = number(address);
                let judged = seen[address as usize].expect("somebody holds it");
                let rightful = self.is_rightful(world, id, judged.holder, holders);
                let cut = Cut { address, id: judged.id, holder: judged.holder, rightful };
                match self.without {
                    Some(Without::Fence) => Step::Associate { address, before: Some(judged.id), allow: true },
                    _ if world.is_pool() => Step::Fit(cut),
                    _ => Step::Cut(cut),
                }
            }
        };
    }

    /// The words of the policy, said a second time: gone, or launched before this one; in a pool, gone or impaired.
    fn is_rightful(&self, world: &World, id: Id, holder: Id, holders: &[world::Instance]) -> bool {
        let shown = |n: Id| holders.iter().find(|i| i.id == self.instance_ids[n as usize]);
        match (shown(holder), shown(id)) {
            (Some(holder), _) if matches!(holder.state, State::Stopped | State::Terminated) => true,
            (Some(holder), Some(_)) if world.is_pool() => holder.impaired,
            (Some(holder), Some(own)) => (holder.launched, &holder.id) < (own.launched, &own.id),
            _ => false,
        }
    }

    pub fn me(&self, world: &World, id: Id) -> Me {
        Me {
            instance: self.instance_ids[id as usize].clone(),
            interface: self.interface_ids[id as usize].clone(),
            private_ip: Ipv4Addr::new(10, 0, 0, id),
            lost: world.machines[id as usize].lost.iter().map(|n| self.allocation_ids[*n as usize].clone()).collect(),
            refused: Vec::new(),
        }
    }

    pub fn addresses(&self, seen: &[Option<Association>]) -> Vec<world::Address> {
        let address = |(n, association): (usize, &Option<Association>)| world::Address {
            allocation: self.allocation_ids[n].clone(),
            public_ip: Ipv4Addr::new(203, 0, 113, n as u8),
            association: association.map(|a| world::Association {
                id: format!("eipassoc-{}", a.id).parse().expect("an id"),
                instance: Some(self.instance_ids[a.holder as usize].clone()),
                interface: Some(self.interface_ids[a.holder as usize].clone()),
                private_ip: Some(Ipv4Addr::new(10, 0, 0, a.holder)),
            }),
            service_managed: None,
        };
        seen.iter().enumerate().map(address).collect()
    }

    /// What DescribeInstances shows: of those whose bit is set in `stale`, the version before.
    fn instances(&self, world: &World, stale: u8) -> Vec<world::Instance> {
        let shown = world.machines.iter().enumerate().filter_map(|(n, machine)| {
            let is_stale = stale & (1 << n) != 0;
            let shown = machine.past.filter(|_| is_stale).unwrap_or(machine.now);
            let state = match shown.life {
                Life::Absent => return None,
                Life::Running => State::Running,
                Life::Stopped => State::Stopped,
                Life::Terminated => State::Terminated,
            };
            Some(world::Instance {
                id: self.instance_ids[n].clone(),
                state,
                launched: SystemTime::UNIX_EPOCH + Duration::from_secs(shown.launched.into()),
                impaired: machine.impaired,
                in_group: false,
            })
        });
        shown.collect()
    }
}

fn policy(world: &World, id: Id) -> Policy {
    let reach = match world.machines[id as usize].gate {
        Gate::Open => Reach::Held,
        Gate::FreeOnly | Gate::Skip => Reach::FreeOnly,
    };
    Policy { takeover: Takeover::Successor, reach }
}
