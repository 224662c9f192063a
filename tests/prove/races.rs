//! Real processes racing for addresses: the verdict is the cloud's own history, never what they say of each other.

use std::collections::BTreeSet;
use std::thread::{scope, sleep};
use std::time::{Duration, SystemTime};

use fakecloud::{Allocation, Cloud, InstanceState, Launch, Options};
use fastrand::Rng;

use crate::harness::{OLD, launch};
use crate::prove::rounds::{Shown, rounds};
use crate::prove::runs::{Orders, Plan, Run, play};
use crate::prove::size;
use crate::prove::truth::Truth;

/// `--timeout` and `--attempt-timeout`, long enough for eight racers to hand one address from one to the next
/// while reads are two seconds late.
const PATIENT: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3));
/// For pools that are too small, where somebody waits to the end.
const HASTY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(1));
/// A takeover is not begun when less than this many attempt timeouts are left.
const ATTEMPTS: u32 = 3;

#[test]
fn whoever_says_it_holds_an_address_held_it_and_the_newest_has_it_in_the_end() {
    let figures = rounds("races", size(40, 300), round);
    let sum = |of: fn(&Figures) -> usize| figures.iter().map(of).sum::<usize>();
    let (runs, calls) = (sum(|f| f.runs), sum(|f| f.calls));
    println!(
        "races: {runs} runs, {} takeovers, {:.1} calls of EC2 a run, {} at most in one",
        sum(|f| f.takeovers),
        calls as f64 / runs.max(1) as f64,
        figures.iter().map(|f| f.most).max().unwrap_or_default(),
    );
}

struct Figures {
    runs: usize,
    takeovers: usize,
    calls: usize,
    /// The calls of the run that made most.
    most: usize,
}

/// Who has an address before the race, none of whom takes part in it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Holder {
    Nobody,
    Live,
    /// Live, and launched after every racer.
    Newer,
    In(InstanceState),
}

/// One instance that takes part.
#[derive(Debug)]
struct Racer {
    /// When it is launched, or `None`: before the race.
    launched: Option<Duration>,
    /// How long it boots.
    boots: Duration,
    /// When its first run has ended, so long later it runs again.
    again: Option<Duration>,
}

/// A race, all of it drawn from the seed.
struct Race {
    cloud: Cloud,
    addresses: Vec<Allocation>,
    holders: Vec<(Holder, Option<String>)>,
    racers: Vec<Racer>,
    /// The ids of those who were launched before the race.
    early: Vec<Option<String>>,
    lag: Duration,
    orders: Orders,
}

fn draw(seed: u64) -> Race {
    let mut rng = Rng::with_seed(seed);
    let ms = |rng: &mut Rng, most: u64| Duration::from_millis(rng.u64(0..=most));
    let lag = if rng.u8(0..4) == 0 { Duration::ZERO } else { ms(&mut rng, 2_000) };
    let cloud = Cloud::start(Options {
        read_lag: lag,
        latency: ms(&mut rng, 60),
        connections_die_on_swap: rng.bool(),
        stale_association_not_found: rng.bool(),
        new_instance_hidden_for: if rng.bool() { Duration::ZERO } else { ms(&mut rng, 2_000) },
        ..Options::default()
    });
    let count = rng.usize(2..=8);
    let pool = if rng.bool() { 1 } else { rng.usize(2..=count + 2) };
    let addresses: Vec<_> = (0..pool).map(|_| cloud.allocate(&[("asg", "test")])).collect();
    let kinds = [
        Holder::Nobody,
        Holder::Nobody,
        Holder::Live,
        Holder::In(InstanceState::Stopping),
        Holder::In(InstanceState::Stopped),
        Holder::In(InstanceState::ShuttingDown),
        Holder::In(InstanceState::Terminated),
        Holder::Newer,
    ];
    let holders: Vec<_> = addresses
        .iter()
        .map(|address| {
            let kind = kinds[rng.usize(0..kinds.len())];
            (kind, hold(&cloud, address, kind))
        })
        .collect();
    // Either the group launches them one by one, and reads show each of them late,
    // or all are there before the race, and perhaps some as old as others.
    let one_by_one = rng.bool();
    let tied = rng.u8(0..3) == 0;
    let base = SystemTime::now() - Duration::from_secs(60);
    let racers: Vec<_> = (0..count)
        .map(|_| Racer {
            launched: one_by_one.then(|| ms(&mut rng, 1_000)),
            boots: ms(&mut rng, 1_500),
            again: (rng.u8(0..4) == 0).then(|| ms(&mut rng, 800)),
        })
        .collect();
    let early = racers.iter().map(|racer| {
        racer.launched.is_none().then(|| {
            let id = cloud.launch(launch(OLD));
            let later = if tied { rng.u64(0..2) } else { rng.u64(0..5_000) };
            cloud.set_launch_time(&id, base + Duration::from_millis(later));
            id
        })
    });
    let early = early.collect();
    cloud.settle();
    let left = holders.iter().filter(|(kind, _)| !is_live(*kind)).count();
    let (timeout, attempt_timeout) = if pool > 1 && left < count { HASTY } else { PATIENT };
    let options = vec!["--tag=asg=test".to_owned()];
    Race { cloud, addresses, holders, racers, early, lag, orders: Orders { timeout, attempt_timeout, options } }
}

fn hold(cloud: &Cloud, address: &Allocation, kind: Holder) -> Option<String> {
    if kind == Holder::Nobody {
        return None;
    }
    let id = cloud.launch(launch(OLD * 2));
    cloud.associate(&address.allocation_id, &id);
    match kind {
        Holder::Newer => cloud.set_launch_time(&id, SystemTime::now() + OLD),
        Holder::In(state) => cloud.set_state(&id, state),
        Holder::Nobody | Holder::Live => {}
    }
    Some(id)
}

fn is_live(kind: Holder) -> bool {
    matches!(kind, Holder::Live | Holder::Newer)
}

/// Lets all of them race, and returns their runs in the order of their beginning.
fn race(race: &Race) -> Vec<Run> {
    let mut runs: Vec<Run> = scope(|scope| {
        let racer = |(racer, early): (&Racer, &Option<String>)| {
            let id = early.clone().unwrap_or_else(|| {
                sleep(racer.launched.unwrap_or_default());
                race.cloud.launch(Launch { launched: None, ..launch(OLD) })
            });
            sleep(racer.boots);
            let mut runs = vec![play(&race.cloud, &id, &race.orders, Plan::Leave)];
            if let Some(pause) = racer.again {
                sleep(pause);
                runs.push(play(&race.cloud, &id, &race.orders, Plan::Leave));
            }
            runs
        };
        let threads = race.racers.iter().zip(&race.early).map(|pair| scope.spawn(move || racer(pair)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a racer does not panic")).collect()
    });
    runs.sort_by_key(|run| run.start);
    runs
}

fn round(seed: u64) -> Shown<Figures> {
    let drawn = draw(seed);
    let runs = race(&drawn);
    let Race { addresses, racers, holders, .. } = &drawn;
    let truth = Truth::of(&drawn.cloud);
    let mut flaws: Vec<String> = runs
        .iter()
        .flat_map(|run| run.flaws(&truth).into_iter().map(|flaw| format!("{flaw}\n  {}", run.line())))
        .collect();
    flaws.extend(truth.stray_writes(runs.iter()));
    for run in &runs {
        flaws.extend(judge(&drawn, &truth, run).into_iter().map(|flaw| format!("{flaw}\n  {}", run.line())));
    }
    flaws.extend(displaced(&drawn, &truth));
    flaws.extend(ending(&drawn, &truth, &runs));
    if !flaws.is_empty() {
        let runs: Vec<_> = runs.iter().map(Run::line).collect();
        let world = format!("{} addresses, lag {:?}, {racers:?}, {holders:?}", addresses.len(), drawn.lag);
        return Err(format!("{}\n--- {world}\n{}\n{}", flaws.join("\n"), runs.join("\n"), truth.story()));
    }
    let calls = |run: &Run| truth.sent(run).filter(|request| !request.action.contains(' ')).count();
    let takeovers = truth.history.iter().filter(|event| event.by.is_some() && event.from.is_some());
    Ok(Figures {
        runs: runs.len(),
        takeovers: takeovers.count(),
        calls: runs.iter().map(calls).sum(),
        most: runs.iter().map(calls).max().unwrap_or_default(),
    })
}

impl Race {
    /// The order of succession.
    fn age(&self, id: &str) -> (SystemTime, String) {
        (self.cloud.launch_time(id), id.to_owned())
    }

    fn is_gone(&self, id: &str) -> bool {
        !matches!(self.cloud.state(id), InstanceState::Running | InstanceState::Pending)
    }

    /// How many addresses are there for the racers.
    fn left(&self) -> usize {
        self.holders.iter().filter(|(kind, _)| !is_live(*kind)).count()
    }
}

/// The end of one run, by what was true.
fn judge(race: &Race, truth: &Truth, run: &Run) -> Vec<String> {
    let mut flaws: Vec<String> = truth.unearned(run, race.lag).into_iter().collect();
    let single = race.addresses.len() == 1;
    match run.exit {
        Some(0) if run.outcome() == "already_held" && truth.written(run).next().is_some() => {
            flaws.push("it had the address, and wrote".to_owned());
        }
        Some(0) if run.outcome() != "skipped" => {}
        Some(69) if single => {
            let named = run.json()["previous_holder"]["instance_id"].as_str().unwrap_or_default().to_owned();
            let is_newer = race.cloud.instances().contains(&named) && race.age(&named) > race.age(&run.instance);
            if !is_newer || !run.error("message").contains(&named) {
                flaws.push(format!("it yields to {named}, which is not newer, or not named"));
            }
        }
        Some(75) if !single && race.left() < race.racers.len() => {
            let Orders { timeout, attempt_timeout, .. } = &run.orders;
            let too_late =
                if run.error("code") == "TooLittleTime" { *attempt_timeout * ATTEMPTS } else { Duration::ZERO };
            if run.end - run.start < *timeout - too_late {
                flaws.push("it gave up before its deadline".to_owned());
            }
        }
        _ => flaws.push("this world does not explain that exit".to_owned()),
    }
    flaws
}

/// Whoever lost an address to somebody else was gone, or older where there is a single address.
fn displaced(race: &Race, truth: &Truth) -> Vec<String> {
    let is_wrong = |event: &&fakecloud::Event| match (&event.from, &event.by) {
        (Some(from), Some(by)) if from != by => {
            let older = race.addresses.len() == 1 && race.age(from) < race.age(by);
            !race.is_gone(from) && !older
        }
        _ => false,
    };
    truth.history.iter().filter(is_wrong).map(|event| format!("a live holder was displaced: {event:?}")).collect()
}

/// Who has what when all have run.
fn ending(race: &Race, truth: &Truth, runs: &[Run]) -> Vec<String> {
    let racers: BTreeSet<&str> = runs.iter().map(|run| run.instance.as_str()).collect();
    let end = race.cloud.elapsed();
    let held: Vec<&str> = race.addresses.iter().filter_map(|a| truth.holder(&a.allocation_id, end)).collect();
    if let [(kind, holder)] = race.holders.as_slice() {
        let newest = racers.iter().copied().max_by_key(|id| race.age(id));
        let expected = if *kind == Holder::Newer { holder.as_deref() } else { newest };
        let right = held == Vec::from_iter(expected);
        return (!right).then(|| format!("in the end {held:?} has it, and not {expected:?}")).into_iter().collect();
    }
    let distinct: BTreeSet<&str> = held.iter().copied().collect();
    let happy: BTreeSet<&str> = distinct.intersection(&racers).copied().collect();
    let mut flaws = Vec::new();
    if distinct.len() != held.len() {
        flaws.push(format!("somebody has two addresses: {held:?}"));
    }
    let expected = race.left().min(racers.len());
    if happy.len() != expected {
        flaws.push(format!("{} racers have an address in the end, and not {expected}: {held:?}", happy.len()));
    }
    let last = |id: &&str| runs.iter().rfind(|run| run.instance == *id);
    for run in racers.iter().filter_map(last).filter(|run| (run.exit == Some(0)) != happy.contains(&*run.instance)) {
        flaws.push(format!("its exit does not tell what it has in the end\n  {}", run.line()));
    }
    flaws
}
