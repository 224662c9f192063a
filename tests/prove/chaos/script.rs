//! The script of a round, all of it drawn from its seed: the world, what goes wrong when, and who runs when.

use std::time::Duration;

use fakecloud::{Calls, Cloud, Fault, InstanceState, Launch, Options, Service, tags};
use fastrand::Rng;

use crate::harness::launch;
use crate::prove::chaos::answers::{Answer, ERRORS};
use crate::prove::chaos::ills::{Ill, Why, ZONES};
use crate::prove::chaos::world::World;
use crate::prove::runs::{Orders, Plan};

/// One thing that goes wrong for a while.
#[derive(Clone, Debug)]
pub struct Spell {
    pub ill: Ill,
    pub from: Duration,
    pub until: Duration,
}

/// The runs of one instance, one after the other: how long it pauses before each, and how each ends.
#[derive(Clone, Debug)]
pub struct Life(pub Vec<(Duration, Plan)>);

pub struct Script {
    pub world: World,
    pub spells: Vec<Spell>,
    pub lives: Vec<Life>,
    pub orders: Orders,
    /// The order in which they run once more in the end.
    pub last: Vec<usize>,
}

pub fn draw(seed: u64) -> Script {
    let mut rng = Rng::with_seed(seed);
    let world = world(&mut rng);
    let (timeout, attempt) = [(4_000, 400), (4_000, 400), (6_000, 500), (6_000, 500), (20_000, 1_000)][rng.usize(0..5)];
    let count = rng.usize(0..=6);
    let spells = (0..count).map(|_| spell(&mut rng, &world)).collect();
    let runs = if timeout > 10_000 { 1 } else { 3 };
    let lives = world.instances.iter().map(|_| life(&mut rng, runs)).collect();
    let mut last: Vec<usize> = (0..world.instances.len()).collect();
    rng.shuffle(&mut last);
    let mut options = vec![format!("--takeover={}", world.policy)];
    options.extend(match (world.selected.len() < world.addresses.len(), world.by_own_tag) {
        (true, _) => world.selected.iter().map(|id| format!("--allocation-id={id}")).collect(),
        (_, true) => vec!["--tag=asg".to_owned()],
        _ => vec!["--tag=asg=test".to_owned()],
    });
    if world.addresses.len() == 1 && world.policy == "always" {
        // The one way in which nothing is read before the write.
        options[1] = format!("--allocation-id={}", world.selected[0]);
    }
    if rng.u8(0..4) == 0 {
        options.push("--log-level=trace".to_owned());
    }
    let orders =
        Orders { timeout: Duration::from_millis(timeout), attempt_timeout: Duration::from_millis(attempt), options };
    Script { world, spells, lives, orders, last }
}

fn ms(rng: &mut Rng, range: std::ops::RangeInclusive<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

fn world(rng: &mut Rng) -> World {
    let cloud = Cloud::start(Options {
        connections_die_on_swap: rng.bool(),
        stale_association_not_found: rng.bool(),
        // Between the two writes of a takeover there is time to be killed.
        latency: if rng.bool() { ms(rng, 20..=60) } else { Duration::ZERO },
        ..Options::default()
    });
    let addresses: Vec<_> = (0..[1, 1, 1, 2, 3][rng.usize(0..5)]).map(|_| cloud.allocate(&[("asg", "test")])).collect();
    let in_group = rng.u8(0..5) == 0;
    let tags_in_metadata = rng.u8(0..5) > 0;
    // A young instance waits for a role that is still propagating.
    let young = rng.bool();
    let instances: Vec<String> = (0..rng.usize(1..=4))
        .map(|n| {
            let ago = if young { rng.u64(10..200) } else { rng.u64(3_600..36_000) };
            let mut own = tags(&[("asg", "test")]);
            if in_group {
                own.insert("aws:autoscaling:groupName".to_owned(), "web".to_owned());
            }
            let zone = ZONES[n % ZONES.len()].to_owned();
            cloud.launch(Launch { tags: own, zone, tags_in_metadata, ..launch(Duration::from_secs(ago)) })
        })
        .collect();
    let policy = ["successor", "successor", "successor", "successor", "never", "always"][rng.usize(0..6)];
    let only_first = addresses.len() > 1 && rng.u8(0..4) == 0;
    let count = if only_first { 1 } else { addresses.len() };
    let selected = addresses.iter().take(count).map(|a| a.allocation_id.clone()).collect();
    let mut holders: Vec<Option<&String>> = instances.iter().map(Some).collect();
    holders.resize(holders.len() + addresses.len(), None);
    rng.shuffle(&mut holders);
    // Most often there is something to take over.
    if rng.u8(0..3) > 0 {
        let oldest = instances.iter().min_by_key(|id| cloud.launch_time(id));
        let place = holders.iter().position(|holder| *holder == oldest);
        holders.swap(0, place.expect("every instance is among them"));
    }
    for (address, holder) in addresses.iter().zip(holders) {
        if let Some(holder) = holder {
            cloud.associate(&address.allocation_id, holder);
        }
    }
    cloud.settle();
    let by_own_tag = count == addresses.len() && rng.u8(0..3) == 0;
    World::new(cloud, instances, addresses, selected, policy, by_own_tag)
}

fn life(rng: &mut Rng, most: usize) -> Life {
    let mut pause = ms(rng, 0..=2_000);
    let runs = (0..rng.usize(1..=most)).map(|_| {
        let plan = match rng.u8(0..12) {
            0 => Plan::KillAfter(ms(rng, 0..=2_000)),
            1 => Plan::KillAfter(ms(rng, 0..=200)),
            2 | 3 => Plan::KillInFence(ms(rng, 0..=10)),
            4 => Plan::StopAfter(ms(rng, 0..=1_000)),
            _ => Plan::Leave,
        };
        let before = pause;
        pause = ms(rng, 0..=500);
        (before, plan)
    });
    Life(runs.collect())
}

fn spell(rng: &mut Rng, world: &World) -> Spell {
    let from = if rng.bool() { ms(rng, 0..=300) } else { ms(rng, 0..=3_000) };
    let ill = ill(rng, world);
    let until = match ill {
        Ill::Terminated(_) => Duration::MAX,
        _ if ill.is_moment() => from,
        _ => from + ms(rng, 100..=3_000),
    };
    Spell { ill, from, until }
}

const EC2: [&str; 10] = [
    "EC2",
    "AssociateAddress",
    "AssociateAddress",
    "AssociateAddress",
    "DisassociateAddress",
    "DisassociateAddress",
    "DescribeAddresses",
    "DescribeInstances",
    "DescribeInstanceStatus",
    "DescribeTags",
];
const IMDS: [&str; 8] = [
    "IMDS",
    "PUT /latest/api/token",
    "GET /latest/dynamic/",
    "GET /latest/meta-data/network/",
    "GET /latest/meta-data/iam/",
    "GET /latest/meta-data/iam/security-credentials/eip-claim",
    "GET /latest/meta-data/autoscaling/",
    "GET /latest/meta-data/tags/",
];
const ACTIONS: [&str; 8] = [
    "ec2:AssociateAddress",
    "ec2:DisassociateAddress",
    "ec2:DescribeAddresses",
    "ec2:DescribeInstances",
    "ec2:DescribeInstanceStatus",
    "ec2:DescribeTags",
    "ec2:*Address",
    "sts:DecodeAuthorizationMessage",
];
const STATES: [Option<&str>; 6] =
    [None, Some("Standby"), Some("Terminated"), Some("Warmed:Stopped"), Some("Detached"), Some("SomethingNew")];

fn ill(rng: &mut Rng, world: &World) -> Ill {
    let one = rng.usize(0..world.instances.len());
    let address = rng.usize(0..world.addresses.len());
    let only = rng.bool().then_some(one);
    match rng.u8(0..36) {
        0..=6 => {
            let api = if rng.u8(0..12) == 0 { "STS" } else { EC2[rng.usize(0..EC2.len())] };
            Ill::Mute { api, calls: calls(rng), fault: mute(rng), only }
        }
        7 | 8 => Ill::Mute { api: IMDS[rng.usize(0..IMDS.len())], calls: calls(rng), fault: mute(rng), only },
        9..=12 => {
            let api = EC2[rng.usize(0..EC2.len())];
            let answer = match rng.u8(0..8) {
                0 => Answer::Page([403, 404, 429, 500, 502, 503][rng.usize(0..6)]),
                1 => Answer::Html,
                // An empty answer has the form of its action, so the fault must be of one action.
                2 if api != "EC2" => Answer::Empty,
                3 => Answer::ErrorAfterAll,
                _ => Answer::Error(rng.usize(0..ERRORS.len())),
            };
            Ill::Wrong { api, calls: calls(rng), answer, only }
        }
        13 => {
            let answer =
                if rng.bool() { Answer::Html } else { Answer::Page([400, 401, 403, 404, 500][rng.usize(0..5)]) };
            Ill::Wrong { api: IMDS[rng.usize(0..IMDS.len())], calls: calls(rng), answer, only }
        }
        14 => Ill::Wrong { api: "STS", calls: Calls::All, answer: Answer::Html, only },
        15 => Ill::Outage([Service::Ec2, Service::Imds, Service::Sts][rng.usize(0..3)]),
        16 => Ill::Throttling { burst: rng.u32(1..=3), shared: rng.bool() },
        17 | 18 => Ill::ReadLag(ms(rng, 100..=2_000)),
        19 => Ill::ImdsLag(ms(rng, 100..=2_000)),
        20 => Ill::Latency(ms(rng, 10..=150)),
        21 => Ill::Clock([-3_600, -600, 600, 3_600][rng.usize(0..4)]),
        22 => Ill::Hidden(ms(rng, 500..=5_000)),
        23 | 24 => Ill::Denied(ACTIONS[rng.usize(0..ACTIONS.len())], only),
        25 => Ill::Rotated(one),
        26 if rng.bool() => Ill::NoRole(one),
        26 => Ill::MetadataOff(one),
        27 => Ill::Lifecycle(one, STATES[rng.usize(0..STATES.len())]),
        28 => Ill::ZoneFails(ZONES[rng.usize(0..ZONES.len())]),
        29 => {
            use InstanceState::*;
            Ill::Stops(one, [Stopping, Stopped, Stopped, ShuttingDown][rng.usize(0..4)])
        }
        30 => Ill::Terminated(one),
        31 | 32 => Ill::Moved(address, one),
        33 => Ill::TakenOff(address),
        34 if rng.bool() => Ill::Stranger(one),
        34 => Ill::Bare(address),
        _ if rng.bool() => Ill::Untagged(address),
        _ => Ill::NotToBeHad(address, [Why::Managed, Why::Foreign, Why::Elsewhere][rng.usize(0..3)]),
    }
}

fn calls(rng: &mut Rng) -> Calls {
    let n = rng.u32(1..=4);
    match rng.u8(0..5) {
        0 => Calls::First(n),
        1 => Calls::Nth(n),
        2 => Calls::From(n),
        3 => Calls::Range(n..=n + 1),
        _ => Calls::All,
    }
}

fn mute(rng: &mut Rng) -> Fault {
    match rng.u8(0..9) {
        0 => Fault::Hang,
        1 => Fault::Reset,
        2 => Fault::Close,
        3 => Fault::Delay(ms(rng, 50..=3_000)),
        4 => Fault::Truncate,
        5 => Fault::CommitThenHang,
        6 => Fault::CommitThenReset,
        _ => Fault::CommitThenDelay(ms(rng, 50..=3_000)),
    }
}
