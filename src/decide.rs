//! The policy: given what was seen, what to do. Pure and total: no clock, no network, no log.
//!
//! Order of preference: the address that this instance holds already, then a free one,
//! then, as far as the policy goes, one that somebody else holds.
//! Within a class the order is a stable hash of instance and address,
//! so that many instances booting at once spread over a pool.

use std::net::Ipv4Addr;

use crate::ids::{AllocationId, InstanceId, InterfaceId};
use crate::world::{Address, Association, Instance, State};

/// This instance, where it wants the address, and what it learnt on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// This instance.
    pub instance: InstanceId,
    /// The interface that shall have the address.
    pub interface: InterfaceId,
    /// The private address on it that shall have the address.
    pub private_ip: Ipv4Addr,
    /// Addresses lost to another claimer in this run, the latest last: tried after all others.
    pub lost: Vec<AllocationId>,
    /// Addresses that EC2 refuses to this instance: no candidates any more.
    pub refused: Vec<AllocationId>,
}

impl Me {
    /// Whether `address` is attached exactly where this instance wants it.
    pub fn holds(&self, address: &Address) -> bool {
        address.association.as_ref().is_some_and(|a| {
            a.instance.as_ref() == Some(&self.instance)
                && a.interface.as_ref().is_none_or(|i| *i == self.interface)
                && a.private_ip.is_none_or(|ip| ip == self.private_ip)
        })
    }

    /// Whether `address` is attached to this instance, wherever on it.
    fn has(&self, address: &Address) -> bool {
        address.holder() == Some(&self.instance)
    }

    fn rank(&self, address: &Address) -> (Option<usize>, u64) {
        let lost = self.lost.iter().rposition(|id| *id == address.allocation);
        (lost, stable_hash(&self.instance, &address.allocation))
    }
}

/// From whom an address may be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// From holders that are gone, or launched before this instance.
    Successor,
    /// From nobody.
    Never,
    /// From whoever has the only match.
    Always,
}

/// Whether a takeover is open at all just now; the gate decides that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Free and held addresses, by the policy.
    Held,
    /// Free addresses only.
    FreeOnly,
}

/// The rules of one decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What the operator allows.
    pub takeover: Takeover,
    /// What the gate allows.
    pub reach: Reach,
}

/// Whether AssociateAddress may take an address that is associated elsewhere at that instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reassociation {
    /// `AllowReassociation=true`: EC2 moves it, whoever has it.
    Allow,
    /// `AllowReassociation=false`: EC2 refuses if anybody has it.
    Refuse,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision<'a> {
    /// This instance has this address where it wants it: nothing is written.
    AlreadyHeld(&'a Address),
    /// Associate this address.
    Associate(&'a Address, Reassociation),
    /// Take this address over behind the fence: disassociate exactly this association, then associate.
    TakeOver {
        /// What to take.
        address: &'a Address,
        /// The association that was judged.
        association: &'a Association,
        /// From whom; this instance itself when the address is on another of its interfaces.
        holder: &'a Instance,
    },
    /// Leave the address with a better holder.
    Yield {
        /// What is left.
        address: &'a Address,
        /// With whom.
        holder: &'a Instance,
    },
    /// Nothing can be done now, but that may change.
    Wait(Waiting<'a>),
    /// No address is left to try.
    NoMatch,
}

impl Decision<'_> {
    /// The decision in one word, for the log.
    pub fn as_str(&self) -> &'static str {
        match self {
            Decision::AlreadyHeld(_) => "already held",
            Decision::Associate(..) => "associate",
            Decision::TakeOver { .. } => "take over",
            Decision::Yield { .. } => "yield",
            Decision::Wait(_) => "wait",
            Decision::NoMatch => "no match",
        }
    }
}

/// What a [`Decision::Wait`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting<'a> {
    /// Every candidate is held by somebody who may keep it; this is one of them.
    Held(&'a Address),
    /// EC2 does not know the holder of this address yet: most likely it is newer.
    UnknownHolder(&'a Address),
    /// EC2 does not report this instance as running yet.
    OwnState,
}

/// Decides about `addresses` for `me`.
///
/// `holders` is the answer about the instances that [`holders_that_matter`] names.
pub fn decide<'a>(me: &Me, addresses: &'a [Address], holders: &'a [Instance], policy: Policy) -> Decision<'a> {
    let candidates = candidates(me, addresses);
    let first = |wanted: &dyn Fn(&Address) -> bool| first(me, &candidates, wanted);
    if let Some(ours) = first(&|a| me.holds(a)) {
        return Decision::AlreadyHeld(ours);
    }
    let best = first(&|a| me.has(a)).or_else(|| first(&|a| a.association.is_none())).or_else(|| first(&|_| true));
    let (Some(address), sole) = (best, candidates.len() == 1) else {
        return Decision::NoMatch;
    };
    match policy {
        Policy { takeover: Takeover::Always, reach: Reach::Held } if sole => {
            Decision::Associate(address, Reassociation::Allow)
        }
        _ if address.association.is_none() => Decision::Associate(address, Reassociation::Refuse),
        _ if me.has(address) => take_over(me, address, holders),
        Policy { takeover: Takeover::Successor, reach: Reach::Held } if sole => succeed(me, address, holders),
        Policy { takeover: Takeover::Successor, reach: Reach::Held } => {
            inherit(me, &candidates, holders).unwrap_or(Decision::Wait(Waiting::Held(address)))
        }
        _ => Decision::Wait(Waiting::Held(address)),
    }
}

/// The instances whose state the decision depends on, this one included; empty when no holder matters.
pub fn holders_that_matter(me: &Me, addresses: &[Address], policy: Policy) -> Vec<InstanceId> {
    match decide(me, addresses, &[], policy) {
        Decision::Wait(Waiting::UnknownHolder(_) | Waiting::OwnState) => {
            let mut ids: Vec<_> = candidates(me, addresses).into_iter().filter_map(Address::holder).cloned().collect();
            ids.push(me.instance.clone());
            ids.sort_unstable();
            ids.dedup();
            ids
        }
        _ => Vec::new(),
    }
}

/// What `release` may end: the associations that this instance holds, where it wants them.
pub fn releasable<'a>(me: &Me, addresses: &'a [Address]) -> Vec<(&'a Address, &'a Association)> {
    let held = candidates(me, addresses).into_iter().filter(|a| me.holds(a));
    held.filter_map(|a| Some((a, a.association.as_ref()?))).collect()
}

/// The addresses that this instance may have at all.
pub fn candidates<'a>(me: &Me, addresses: &'a [Address]) -> Vec<&'a Address> {
    addresses.iter().filter(|a| a.left_alone().is_none() && !me.refused.contains(&a.allocation)).collect()
}

/// The one that this instance tries first of those that are `wanted`.
fn first<'a>(me: &Me, candidates: &[&'a Address], wanted: impl Fn(&Address) -> bool) -> Option<&'a Address> {
    candidates.iter().copied().filter(|a| wanted(a)).min_by_key(|a| me.rank(a))
}

/// A single address: the newest instance has it.
fn succeed<'a>(me: &Me, address: &'a Address, holders: &'a [Instance]) -> Decision<'a> {
    let Some(holder) = find(holders, address.holder()) else {
        return Decision::Wait(Waiting::UnknownHolder(address));
    };
    let Some(own) = find(holders, Some(&me.instance)) else {
        return Decision::Wait(Waiting::OwnState);
    };
    if holder.state.is_gone() || (holder.launched, &holder.id) < (own.launched, &own.id) {
        take_over(me, address, holders)
    } else {
        Decision::Yield { address, holder }
    }
}

/// A pool: a holder that is gone, or else one that EC2 reports as impaired; never a live sibling.
fn inherit<'a>(me: &Me, candidates: &[&'a Address], holders: &'a [Instance]) -> Option<Decision<'a>> {
    let first = |wanted: fn(Option<&Instance>) -> bool| first(me, candidates, |a| wanted(find(holders, a.holder())));
    first(|holder| holder.is_some_and(|h| h.state.is_gone()))
        .or_else(|| first(|holder| holder.is_some_and(|h| h.impaired)))
        .map(|address| take_over(me, address, holders))
        .or_else(|| first(|holder| holder.is_none()).map(|a| Decision::Wait(Waiting::UnknownHolder(a))))
}

/// The fence cuts a holder off before this instance has the address, so this instance must be fit to have it.
fn take_over<'a>(me: &Me, address: &'a Address, holders: &'a [Instance]) -> Decision<'a> {
    let running = find(holders, Some(&me.instance)).is_some_and(|own| own.state == State::Running);
    match (&address.association, find(holders, address.holder())) {
        (Some(association), Some(holder)) if running => Decision::TakeOver { address, association, holder },
        _ => Decision::Wait(Waiting::OwnState),
    }
}

fn find<'a>(instances: &'a [Instance], id: Option<&InstanceId>) -> Option<&'a Instance> {
    instances.iter().find(|i| Some(&i.id) == id)
}

/// FNV-1a with a final mix: the same on every machine and in every release, unlike the standard library's hash.
fn stable_hash(instance: &InstanceId, allocation: &AllocationId) -> u64 {
    let bytes = instance.as_str().bytes().chain([0]).chain(allocation.as_str().bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn me() -> Me {
        Me {
            instance: "i-5".parse().expect("an id"),
            interface: "eni-5".parse().expect("an id"),
            private_ip: Ipv4Addr::new(10, 0, 0, 5),
            lost: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Address `n`, held on the interface and private address of `holder` if there is one.
    fn address(n: u8, holder: Option<u8>) -> Address {
        Address {
            allocation: format!("eipalloc-{n}").parse().expect("an id"),
            public_ip: Ipv4Addr::new(203, 0, 113, n),
            association: holder.map(|h| Association {
                id: format!("eipassoc-{n}").parse().expect("an id"),
                instance: Some(format!("i-{h}").parse().expect("an id")),
                interface: Some(format!("eni-{h}").parse().expect("an id")),
                private_ip: Some(Ipv4Addr::new(10, 0, 0, h)),
            }),
            service_managed: None,
        }
    }

    fn instance(n: u8, state: State, launched: u64) -> Instance {
        Instance {
            id: format!("i-{n}").parse().expect("an id"),
            state,
            launched: SystemTime::UNIX_EPOCH + Duration::from_secs(launched),
            impaired: false,
            in_group: false,
        }
    }

    fn policy(takeover: Takeover, reach: Reach) -> Policy {
        Policy { takeover, reach }
    }

    const SUCCESSOR: Policy = Policy { takeover: Takeover::Successor, reach: Reach::Held };

    #[test]
    fn a_single_address_goes_to_the_newest_instance() {
        use State::*;
        let own = instance(5, Running, 100);
        let rows: &[(Instance, &str)] = &[
            (instance(1, Running, 99), "take over"),
            (instance(1, Pending, 99), "take over"),
            (instance(1, Running, 101), "yield"),
            (instance(1, Pending, 101), "yield"),
            (instance(1, Other, 101), "yield"),
            // Equal times are ordered by id, so exactly one of two yields.
            (instance(1, Running, 100), "take over"),
            (instance(9, Running, 100), "yield"),
            (instance(1, Stopping, 101), "take over"),
            (instance(1, Stopped, 101), "take over"),
            (instance(1, ShuttingDown, 101), "take over"),
            (instance(1, Terminated, 101), "take over"),
        ];
        for (holder, decision) in rows {
            let n = if holder.id.as_str() == "i-1" { 1 } else { 9 };
            let (addresses, holders) = ([address(1, Some(n))], [holder.clone(), own.clone()]);
            assert_eq!(decide(&me(), &addresses, &holders, SUCCESSOR).as_str(), *decision, "{holder:?}");
        }
    }

    #[test]
    fn an_impaired_holder_of_a_single_address_is_judged_by_its_launch_time_like_any_other() {
        let newer = Instance { impaired: true, ..instance(1, State::Running, 101) };
        let (addresses, holders) = ([address(1, Some(1))], [newer, instance(5, State::Running, 100)]);
        assert_eq!(decide(&me(), &addresses, &holders, SUCCESSOR).as_str(), "yield");
    }

    #[test]
    fn a_holder_that_ec2_does_not_know_is_not_gone() {
        let (addresses, holders) = ([address(1, Some(1))], [instance(5, State::Running, 100)]);
        let expected = Decision::Wait(Waiting::UnknownHolder(&addresses[0]));
        assert_eq!(decide(&me(), &addresses, &holders, SUCCESSOR), expected);
    }

    #[test]
    fn nothing_is_taken_over_before_this_instance_is_running() {
        let addresses = [address(1, Some(1))];
        let holder = instance(1, State::Terminated, 1);
        for own in [None, Some(instance(5, State::Pending, 100)), Some(instance(5, State::Stopping, 100))] {
            let holders: Vec<_> = [holder.clone()].into_iter().chain(own).collect();
            assert_eq!(decide(&me(), &addresses, &holders, SUCCESSOR), Decision::Wait(Waiting::OwnState));
        }
    }

    #[test]
    fn the_own_address_comes_before_a_free_one_and_that_before_a_held_one() {
        let all = [address(1, Some(1)), address(2, None), address(3, Some(5))];
        assert_eq!(decide(&me(), &all, &[], SUCCESSOR), Decision::AlreadyHeld(&all[2]));
        let two = &all[..2];
        assert_eq!(decide(&me(), two, &[], SUCCESSOR), Decision::Associate(&all[1], Reassociation::Refuse));
    }

    #[test]
    fn an_address_elsewhere_on_this_instance_is_moved_under_every_policy() {
        let mut elsewhere = address(1, Some(5));
        if let Some(association) = &mut elsewhere.association {
            association.private_ip = Some(Ipv4Addr::new(10, 0, 0, 77));
        }
        let (addresses, holders) = ([elsewhere], [instance(5, State::Running, 100)]);
        for (takeover, decision) in
            [(Takeover::Successor, "take over"), (Takeover::Never, "take over"), (Takeover::Always, "associate")]
        {
            let decided = decide(&me(), &addresses, &holders, policy(takeover, Reach::Held));
            assert_eq!(decided.as_str(), decision, "{takeover:?}");
        }
    }

    #[test]
    fn in_a_pool_only_the_gone_and_the_impaired_lose_their_address() {
        let addresses = [address(1, Some(1)), address(2, Some(2)), address(3, Some(3))];
        let own = instance(5, State::Running, 100);
        let live = [1, 2, 3].map(|n| instance(n, State::Running, 1));
        let with = |change: &dyn Fn(&mut [Instance; 3])| {
            let mut holders = live.clone();
            change(&mut holders);
            holders.into_iter().chain([own.clone()]).collect::<Vec<_>>()
        };
        let holders = with(&|_| ());
        assert!(matches!(decide(&me(), &addresses, &holders, SUCCESSOR), Decision::Wait(Waiting::Held(_))));
        let holders = with(&|h| h[1].impaired = true);
        assert!(matches!(decide(&me(), &addresses, &holders, SUCCESSOR),
            Decision::TakeOver { holder, .. } if holder.id.as_str() == "i-2"));
        let holders = with(&|h| {
            h[1].impaired = true;
            h[2].state = State::Stopping;
        });
        assert!(matches!(decide(&me(), &addresses, &holders, SUCCESSOR),
            Decision::TakeOver { holder, .. } if holder.id.as_str() == "i-3"));
    }

    #[test]
    fn never_waits_and_always_takes_the_only_match_but_robs_no_pool() {
        let (one, two) = ([address(1, Some(1))], [address(1, Some(1)), address(2, Some(2))]);
        let never = policy(Takeover::Never, Reach::Held);
        assert_eq!(decide(&me(), &one, &[], never), Decision::Wait(Waiting::Held(&one[0])));
        let always = policy(Takeover::Always, Reach::Held);
        assert_eq!(decide(&me(), &one, &[], always), Decision::Associate(&one[0], Reassociation::Allow));
        assert!(matches!(decide(&me(), &two, &[], always), Decision::Wait(Waiting::Held(_))));
    }

    #[test]
    fn behind_a_gate_that_is_not_open_only_a_free_address_is_in_reach() {
        let (held, free) = ([address(1, Some(1))], [address(1, None)]);
        let holders = [instance(1, State::Terminated, 1), instance(5, State::Running, 100)];
        for takeover in [Takeover::Successor, Takeover::Never, Takeover::Always] {
            let policy = policy(takeover, Reach::FreeOnly);
            assert_eq!(decide(&me(), &held, &holders, policy).as_str(), "wait", "{takeover:?}");
            let associate = Decision::Associate(&free[0], Reassociation::Refuse);
            assert_eq!(decide(&me(), &free, &holders, policy), associate, "{takeover:?}");
        }
    }

    #[test]
    fn service_managed_bare_interface_and_refused_addresses_are_no_candidates() {
        let managed = Address { service_managed: Some("alb".to_owned()), ..address(1, None) };
        let mut bare = address(2, Some(1));
        if let Some(association) = &mut bare.association {
            association.instance = None;
        }
        let refusing = Me { refused: vec![address(3, None).allocation], ..me() };
        let addresses = [managed, bare, address(3, None)];
        for takeover in [Takeover::Successor, Takeover::Never, Takeover::Always] {
            assert_eq!(decide(&refusing, &addresses, &[], policy(takeover, Reach::Held)), Decision::NoMatch);
        }
    }

    #[test]
    fn a_lost_address_is_tried_after_all_others() {
        let addresses = [address(1, None), address(2, None), address(3, None)];
        let mut me = me();
        let mut tried = Vec::new();
        for _ in 0..3 {
            let Decision::Associate(address, _) = decide(&me, &addresses, &[], SUCCESSOR) else {
                panic!("all are free")
            };
            tried.push(address.allocation.clone());
            me.lost.push(address.allocation.clone());
        }
        let first = first(&me, &candidates(&me, &addresses), |_| true).map(|a| a.allocation.clone());
        assert_eq!(first.as_ref(), Some(&tried[0]), "the one that was lost longest ago comes first again");
        tried.sort();
        tried.dedup();
        assert_eq!(tried.len(), 3);
    }

    #[test]
    fn no_holder_matters_where_the_policy_does_not_look_at_one() {
        let held = [address(1, Some(1))];
        assert!(holders_that_matter(&me(), &[address(1, None)], SUCCESSOR).is_empty());
        assert!(holders_that_matter(&me(), &[address(1, Some(5))], SUCCESSOR).is_empty());
        for takeover in [Takeover::Never, Takeover::Always] {
            assert!(holders_that_matter(&me(), &held, policy(takeover, Reach::Held)).is_empty());
        }
        let ids = holders_that_matter(&me(), &held, SUCCESSOR);
        assert_eq!(ids.iter().map(InstanceId::as_str).collect::<Vec<_>>(), ["i-1", "i-5"]);
    }

    #[test]
    fn the_order_is_stable_and_spreads_instances_over_a_pool() {
        let pool: Vec<_> = (0..100).map(|n| address(n, None)).collect();
        let first = |n: u32| {
            let me = Me { instance: format!("i-{n:017x}").parse().expect("an id"), ..me() };
            first(&me, &candidates(&me, &pool), |_| true).map(|a| a.allocation.clone())
        };
        let mut firsts: Vec<_> = (0..100).map(first).collect();
        assert_eq!(firsts[0], first(0));
        firsts.sort();
        firsts.dedup();
        // A hundred even draws from a hundred hit 63 different ones on average.
        assert!(firsts.len() > 50, "{}", firsts.len());
    }
}
