//! Every interleaving of a small world, with the policy that ships.
//!
//! Up to three instances and two addresses; `decide` is the real one. Reads may be stale, requests and answers may
//! get lost or come late, EC2 may accept a write in vain, processes are killed at any point, instances are launched,
//! stopped, started, impaired and terminated, gates change, addresses are released. How much of that may happen is
//! bounded by a budget, and within it the checker visits every state. At any point the world may come to rest: then
//! every claim under way ends, every live instance runs once again, and the newest must have the address. At rest
//! nobody is so unlucky as to lose the same race behind the fence twice: pauses are random, and so it is with time.
//!
//! Two things are assumed, and shown to be needed, since EC2 offers nothing to do without them: that an instance
//! which was stopped and is started takes longer to boot than another claim takes from its look to its write;
//! and that a read lags so little that, after a write, it shows nothing from before the look that led to it,
//! and 1.5 s after a write that went unanswered nothing from before that write.

mod ec2;
mod look;
mod moves;
mod steps;
mod world;
mod writes;

use std::time::Instant;

use eip_claim::ids::{AllocationId, InstanceId, InterfaceId};
use stateright::{Checker, HasDiscoveries, Model, Property};

use super::size;
use world::*;

/// What is left out of the claim, to see that the checker notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    /// A takeover is one AssociateAddress with `AllowReassociation=true`.
    Fence,
    /// Every instance takes itself for the newest.
    LaunchOrder,
    /// EC2's answer is taken for the proof.
    Confirmation,
    /// The error of a run that ends behind the fence does not say that the address may be on nobody.
    Stranded,
    /// `release` names the address, not the association.
    AssociationId,
    /// Not of the claim but of the world: that booting takes its time.
    SlowBoot,
    /// Not of the claim but of the world: that reads after a lost answer do not go back behind the look before it.
    RecentReads,
}

/// A world to be checked.
#[derive(Debug, Clone)]
struct Claims {
    instances: usize,
    addresses: usize,
    budget: Budget,
    without: Option<Without>,
    instance_ids: Vec<InstanceId>,
    interface_ids: Vec<InterfaceId>,
    allocation_ids: Vec<AllocationId>,
}

impl Claims {
    fn new(instances: usize, addresses: usize, budget: Budget) -> Self {
        let id = |kind: &str, n: usize| format!("{kind}-{n}");
        Self {
            instances,
            addresses,
            budget,
            without: None,
            instance_ids: (0..instances).map(|n| id("i", n).parse().expect("an id")).collect(),
            interface_ids: (0..instances).map(|n| id("eni", n).parse().expect("an id")).collect(),
            allocation_ids: (0..addresses).map(|n| id("eipalloc", n).parse().expect("an id")).collect(),
        }
    }

    fn without(self, what: Without) -> Self {
        Self { without: Some(what), ..self }
    }

    /// The newest has a single address; in a pool that is large enough, everybody has one.
    fn is_well(&self, world: &World) -> bool {
        let eligible = |id: &Id| {
            let machine = &world.machines[*id as usize];
            machine.is_live() && machine.gate == Gate::Open
        };
        let all = 0..self.instances as Id;
        let holds = |id: Id| (0..self.addresses as u8).any(|address| world.holder(address) == Some(id));
        if world.is_pool() {
            let live = all.clone().filter(|id| world.machines[*id as usize].is_live()).count();
            // Who is impaired may be displaced at any time, and has to run again.
            let is_well = |id: &Id| eligible(id) && !world.machines[*id as usize].impaired;
            return live > self.addresses || all.filter(is_well).all(holds);
        }
        let Some(newest) = all.filter(eligible).max_by_key(|id| world.order(*id)) else { return true };
        // A newer instance that Auto Scaling has told to keep out of it keeps what it has.
        let keeps = |holder: Id| world.machines[holder as usize].is_live() && world.order(holder) > world.order(newest);
        world.holder(0).is_some_and(|holder| holder == newest || keeps(holder))
    }
}

/// What must hold in every state.
fn promises() -> Vec<Property<Claims>> {
    fn always(name: &'static str, condition: fn(&Claims, &World) -> bool) -> Property<Claims> {
        Property::always(name, condition)
    }
    vec![
        always(SUCCESS_IS_TRUE, |_, world| world.broken != Some(Broken::FalseSuccess)),
        always(NOBODY_IS_ROBBED, |_, world| world.broken != Some(Broken::Robbed)),
        always(OWN_COSTS_NO_WRITE, |_, world| world.broken != Some(Broken::WroteOwn)),
        always(NOBODY_IS_CUT_OFF, |_, world| world.broken != Some(Broken::CutOffSilently)),
        always(RELEASE_IS_OWN, |_, world| world.broken != Some(Broken::ReleasedAnother)),
        always(RACES_END, |_, world| world.broken != Some(Broken::NoEnd)),
        always(ALL_ENDS_WELL, |claims, world| {
            !world.at_rest || world.broken.is_some() || claims.is_well(world) || !claims.next_states(world).is_empty()
        }),
    ]
}

const SUCCESS_IS_TRUE: &str = "whoever reports success has held the address since its write";
const NOBODY_IS_ROBBED: &str = "only the gone, the older and the impaired are displaced";
const OWN_COSTS_NO_WRITE: &str = "an address that is shown to be here causes no write";
const NOBODY_IS_CUT_OFF: &str = "a live holder that is cut off is followed, or an error says so";
const RELEASE_IS_OWN: &str = "release ends only what this instance holds";
const RACES_END: &str = "a world at rest has no endless races";
const ALL_ENDS_WELL: &str = "in a world at rest the newest has the address, and in a pool everybody has one";

/// How much may happen: (faults, crashes, events), and how many versions back a stale read goes.
const fn budget((faults, crashes, events): (u8, u8, u8), past: usize) -> Budget {
    Budget { faults, crashes, events, past }
}

#[test]
fn whatever_happens_in_whatever_order_the_promises_hold() {
    let short = vec![
        Claims::new(2, 1, budget((1, 1, 1), 2)),
        Claims::new(3, 1, budget((0, 0, 0), 1)),
        Claims::new(2, 2, budget((1, 1, 1), 1)),
        Claims::new(3, 2, budget((0, 0, 0), 1)),
    ];
    let full = vec![
        Claims::new(2, 1, budget((2, 1, 2), 2)),
        Claims::new(3, 1, budget((1, 1, 0), 1)),
        Claims::new(3, 1, budget((1, 0, 1), 1)),
        Claims::new(3, 1, budget((0, 1, 1), 1)),
        Claims::new(2, 2, budget((2, 1, 2), 1)),
        Claims::new(3, 2, budget((1, 0, 1), 1)),
    ];
    for claims in size(short, full) {
        let world = format!("{} instances, {} addresses, {:?}", claims.instances, claims.addresses, claims.budget);
        let start = Instant::now();
        let checker = claims.checker().threads(2).spawn_bfs().join();
        let (states, steps) = (checker.unique_state_count(), checker.state_count());
        println!("{world}: {states} states, {steps} steps, {:.1} s", start.elapsed().as_secs_f64());
        let broken: Vec<_> =
            checker.discoveries().into_iter().map(|(name, path)| (name, path.into_actions())).collect();
        assert!(broken.is_empty(), "{world}: {broken:#?}");
    }
}

#[test]
fn without_any_one_of_its_parts_the_claim_breaks_a_promise() {
    let rows = [
        (Without::Fence, Claims::new(3, 1, budget((0, 0, 0), 0)), NOBODY_IS_ROBBED),
        (Without::LaunchOrder, Claims::new(2, 1, budget((0, 0, 0), 0)), NOBODY_IS_ROBBED),
        (Without::Confirmation, Claims::new(1, 1, budget((1, 0, 0), 0)), SUCCESS_IS_TRUE),
        (Without::Stranded, Claims::new(2, 1, budget((1, 1, 0), 0)), NOBODY_IS_CUT_OFF),
        (Without::AssociationId, Claims::new(2, 1, budget((0, 0, 1), 1)), RELEASE_IS_OWN),
        (Without::SlowBoot, Claims::new(2, 1, budget((0, 0, 2), 0)), ALL_ENDS_WELL),
        (Without::RecentReads, Claims::new(2, 1, budget((1, 0, 1), 2)), SUCCESS_IS_TRUE),
    ];
    for (part, claims, promise) in rows {
        let whole = claims.clone().checker().threads(2).spawn_bfs().join();
        whole.assert_properties();
        let first = HasDiscoveries::AnyOf([promise].into());
        let checker = claims.without(part).checker().threads(2).finish_when(first).spawn_bfs().join();
        let path =
            checker.discovery(promise).unwrap_or_else(|| panic!("without {part:?} this is not broken: {promise}"));
        println!("without {part:?} not {promise}: {:?}", path.into_actions());
    }
}
