//! Hundreds of real processes on as many addresses, under the limits that EC2 publishes.
//!
//! The same herd in simulated time must do about as well, or the simulation simulates something else.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fakecloud::{Allocation, Bucket, Buckets, Cloud, Options, Request, Service};

use super::simulation::{Herd, IDENTITY, Outcome, mean};
use super::size;
use crate::harness::{OLD, finish, holder, launch, start};

/// How many simulations show what is chance.
const SEEDS: u64 = 50;
/// How far the real herd may be outside of what is chance: a process needs some milliseconds between its calls,
/// and a busy machine makes them more.
const TOLERANCE: f64 = 0.15;

/// Sixty, with three tenths of the tokens and of the read lag of two hundred, so that as many of them collide;
/// the tokens flow back faster, so that it takes seconds.
fn short() -> Herd {
    let buckets = Buckets {
        describe: Bucket { burst: 30, per_second: 12.0 },
        mutate: Bucket { burst: 15, per_second: 3.0 },
        shared: false,
    };
    Herd { buckets, read_lag: Duration::from_millis(100), ..Herd::published(60, 0) }
}

#[test]
fn a_herd_of_processes_shares_a_pool_within_the_limits_of_ec2_as_the_simulation_says() {
    let herd = size(short(), Herd::published(200, 0));
    let (cloud, pool) = region(&herd);
    let instances: Vec<_> = (0..herd.size).map(|_| cloud.launch(launch(OLD))).collect();
    let (begin, since) = (Instant::now(), cloud.elapsed());
    let mut started = Vec::new();
    for (n, instance) in instances.iter().enumerate() {
        let due = herd.spread.mul_f64(n as f64 / herd.size as f64);
        sleep(due.saturating_sub(begin.elapsed()));
        started.push(start(&cloud, instance, &["--tag=asg", "--timeout=50s"]));
    }
    let mut times = Vec::new();
    for (instance, child) in instances.iter().zip(started) {
        let result = finish(child).expect(0, "claimed");
        assert_eq!(result["instance_id"], *instance);
        times.push(Duration::from_millis(result["elapsed_ms"].as_u64().expect("a number")));
    }
    let took = begin.elapsed();

    let holders: BTreeSet<_> = pool.iter().filter_map(|address| holder(&cloud, address)).collect();
    assert_eq!(holders, BTreeSet::from_iter(instances.clone()), "all have one, so all are distinct");
    assert_eq!(cloud.history().len(), herd.size, "nobody lost what it had: {:#?}", cloud.history());

    let log: Vec<_> = cloud.log().into_iter().filter(|request| request.service == Service::Ec2).collect();
    let is_throttled = |request: &&Request| request.error_code.as_deref() == Some("RequestLimitExceeded");
    let admitted = log.iter().filter(|r| r.action == "AssociateAddress" && !is_throttled(r)).count();
    let each = |count: usize| count as f64 / herd.size as f64;
    // Two hundred processes that start at once take a small machine seconds: what counts is when each calls first.
    let first_call = |instance: &String| log.iter().find(|r| r.instance_id.as_ref() == Some(instance)).map(|r| r.at);
    let booted: Vec<_> = instances
        .iter()
        .map(|instance| first_call(instance).expect("it claimed").saturating_sub(since + IDENTITY))
        .collect();
    let spread = booted.iter().max().copied().unwrap_or_default();
    let ideal = Herd { spread, ..herd }.ideal();
    times.sort_unstable();
    println!(
        "{} processes, booted within {:.1} s: {:.1} s, {:.2} of the ideal {:.1} s; each {:.3} writes and {:.1} calls; \
         to success {:.1} s in the median, {:.1} s at worst",
        herd.size,
        spread.as_secs_f64(),
        took.as_secs_f64(),
        took.as_secs_f64() / ideal.as_secs_f64(),
        ideal.as_secs_f64(),
        each(admitted),
        each(log.len()),
        times[times.len() / 2].as_secs_f64(),
        times[times.len() - 1].as_secs_f64(),
    );
    assert!(each(admitted) <= 1.1, "{admitted} writes were admitted: {:#?}", cloud.history());

    let simulated: Vec<_> = (0..SEEDS).map(|seed| Herd { seed, ..herd }.run_booting(|n, _| booted[n])).collect();
    for (what, real, simulated) in [
        ("seconds", took.as_secs_f64(), figures(&simulated, |run| run.end.as_secs_f64())),
        ("calls of each", each(log.len()), figures(&simulated, Outcome::calls)),
        ("admitted writes of each", each(admitted), figures(&simulated, Outcome::admitted_writes)),
    ] {
        let (least, middle, most) = simulated;
        let told = format!("{real:.2}; in {SEEDS} simulations {middle:.2} on average, from {least:.2} to {most:.2}");
        println!("{what}: {told}");
        let tolerated = (1.0 - TOLERANCE) * least..=(1.0 + TOLERANCE) * most;
        assert!(tolerated.contains(&real), "{what}: {told}");
    }
}

/// The least, the mean and the greatest.
fn figures(runs: &[Outcome], figure: impl Fn(&Outcome) -> f64) -> (f64, f64, f64) {
    let least = runs.iter().map(&figure).fold(f64::INFINITY, f64::min);
    let most = runs.iter().map(&figure).fold(0.0, f64::max);
    (least, mean(runs, figure), most)
}

fn region(herd: &Herd) -> (Cloud, Vec<Allocation>) {
    let options = Options { buckets: Some(herd.buckets), latency: herd.latency, ..Options::default() };
    let cloud = Cloud::start(options);
    let pool = (0..herd.size).map(|_| cloud.allocate(&[("asg", "test")])).collect();
    // From now on reads are late; what is there now has always been there.
    cloud.set_read_lag(herd.read_lag);
    (cloud, pool)
}
