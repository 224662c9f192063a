//! What holds of the policy for every world, checked on random ones.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use eip_claim::decide::*;
use eip_claim::ids::{AllocationId, InstanceId, InterfaceId};
use eip_claim::world::{Address, Association, Instance, State};
use proptest::prelude::*;

const INSTANCES: u8 = 5;

fn instance_id(n: u8) -> InstanceId {
    format!("i-{n}").parse().expect("an id")
}

fn interface_id(n: u8) -> InterfaceId {
    format!("eni-{n}").parse().expect("an id")
}

fn allocation_id(n: usize) -> AllocationId {
    format!("eipalloc-{n}").parse().expect("an id")
}

fn me(n: u8) -> Me {
    Me {
        instance: instance_id(n),
        interface: interface_id(n),
        private_ip: Ipv4Addr::new(10, 0, 0, n),
        lost: Vec::new(),
        refused: Vec::new(),
    }
}

fn state() -> impl Strategy<Value = State> {
    use State::*;
    prop::sample::select(vec![Pending, Running, Running, Running, ShuttingDown, Stopping, Stopped, Terminated, Other])
}

/// What DescribeInstances knows: some of the instances, with few launch times, so that some are equal.
fn instances() -> impl Strategy<Value = Vec<Instance>> {
    let one = |n| {
        (prop::option::weighted(0.85, state()), 0_u64..4, prop::bool::weighted(0.2)).prop_map(
            move |(state, at, impaired)| {
                let launched = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
                state.map(|state| Instance { id: instance_id(n), state, launched, impaired, in_group: false })
            },
        )
    };
    (0..INSTANCES).map(one).collect::<Vec<_>>().prop_map(|all| all.into_iter().flatten().collect())
}

/// By which instance (or a bare interface) an address is held, and whether on the primary private address.
type Held = Option<(Option<u8>, bool)>;

fn addresses() -> impl Strategy<Value = Vec<Address>> {
    let holder = prop::option::weighted(0.7, (prop::option::weighted(0.9, 0..INSTANCES), prop::bool::weighted(0.9)));
    let one = (holder, prop::bool::weighted(0.1));
    prop::collection::vec(one, 0..4).prop_map(|all| {
        let address = |(n, (holder, managed)): (usize, (Held, bool))| Address {
            allocation: allocation_id(n),
            public_ip: Ipv4Addr::new(203, 0, 113, n as u8),
            association: holder.map(|(holder, primary)| Association {
                id: format!("eipassoc-{n}").parse().expect("an id"),
                instance: holder.map(instance_id),
                interface: Some(interface_id(holder.unwrap_or(99))),
                private_ip: Some(Ipv4Addr::new(10, 0, if primary { 0 } else { 1 }, holder.unwrap_or(99))),
            }),
            service_managed: managed.then(|| "alb".to_owned()),
        };
        all.into_iter().enumerate().map(address).collect()
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let takeover = prop::sample::select(vec![Takeover::Successor, Takeover::Never, Takeover::Always]);
    let reach = prop::sample::select(vec![Reach::Held, Reach::Held, Reach::FreeOnly]);
    (takeover, reach).prop_map(|(takeover, reach)| Policy { takeover, reach })
}

fn find<'a>(instances: &'a [Instance], id: &InstanceId) -> Option<&'a Instance> {
    instances.iter().find(|i| i.id == *id)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn a_takeover_displaces_nobody_who_may_keep_the_address(
        addresses in addresses(), instances in instances(), policy in policy(), n in 0..INSTANCES
    ) {
        let me = me(n);
        if let Decision::TakeOver { address, association, holder } = decide(&me, &addresses, &instances, policy) {
            let own = find(&instances, &me.instance).expect("a takeover needs this instance to be known");
            prop_assert_eq!(own.state, State::Running);
            prop_assert_eq!(address.association.as_ref(), Some(association));
            prop_assert_eq!(address.holder(), Some(&holder.id));
            prop_assert!(address.left_alone().is_none());
            if holder.id != me.instance {
                prop_assert_eq!(policy.takeover, Takeover::Successor);
                prop_assert_eq!(policy.reach, Reach::Held);
                let sole = candidates(&me, &addresses).len() == 1;
                let older = (holder.launched, &holder.id) < (own.launched, &own.id);
                let may_be_displaced = if sole { older } else { holder.impaired };
                prop_assert!(holder.state.is_gone() || may_be_displaced);
            }
        }
    }

    #[test]
    fn an_address_that_is_ours_is_never_written(
        addresses in addresses(), instances in instances(), policy in policy(), n in 0..INSTANCES
    ) {
        let me = me(n);
        let decision = decide(&me, &addresses, &instances, policy);
        let ours = addresses.iter().any(|a| me.holds(a) && a.left_alone().is_none());
        prop_assert_eq!(ours, matches!(decision, Decision::AlreadyHeld(_)));
    }

    #[test]
    fn only_always_with_a_single_match_lets_ec2_move_an_address_without_the_fence(
        addresses in addresses(), instances in instances(), policy in policy(), n in 0..INSTANCES
    ) {
        let me = me(n);
        if let Decision::Associate(address, reassociation) = decide(&me, &addresses, &instances, policy) {
            prop_assert!(address.left_alone().is_none());
            if reassociation == Reassociation::Allow {
                prop_assert_eq!(policy, Policy { takeover: Takeover::Always, reach: Reach::Held });
                prop_assert_eq!(candidates(&me, &addresses).len(), 1);
            } else {
                prop_assert!(address.association.is_none());
            }
        }
    }

    #[test]
    fn of_two_instances_that_see_the_same_at_most_one_would_take_from_the_other(
        instances in instances(), a in 0..INSTANCES, step in 1..INSTANCES
    ) {
        let b = (a + step) % INSTANCES;
        let takes = |claimer: u8, holder: u8| {
            let address = Address {
                allocation: allocation_id(0),
                public_ip: Ipv4Addr::new(203, 0, 113, 0),
                association: Some(Association {
                    id: "eipassoc-0".parse().expect("an id"),
                    instance: Some(instance_id(holder)),
                    interface: Some(interface_id(holder)),
                    private_ip: Some(Ipv4Addr::new(10, 0, 0, holder)),
                }),
                service_managed: None,
            };
            let policy = Policy { takeover: Takeover::Successor, reach: Reach::Held };
            matches!(decide(&me(claimer), &[address], &instances, policy), Decision::TakeOver { .. })
        };
        prop_assert!(!(takes(a, b) && takes(b, a)));
    }

    #[test]
    fn the_answer_about_the_holders_that_matter_is_all_that_the_decision_needs(
        addresses in addresses(), instances in instances(), policy in policy(), n in 0..INSTANCES
    ) {
        let me = me(n);
        let wanted = holders_that_matter(&me, &addresses, policy);
        let asked: Vec<_> = instances.iter().filter(|i| wanted.contains(&i.id)).cloned().collect();
        prop_assert_eq!(decide(&me, &addresses, &asked, policy), decide(&me, &addresses, &instances, policy));
    }
}
