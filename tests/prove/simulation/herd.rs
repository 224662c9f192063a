//! A herd: the instances of a pool that boot at once, in simulated time, and how it went.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use fakecloud::{Bucket, Buckets};

use super::claimer::{Claimer, GATE, IDENTITY, Next};
use super::ec2::{Count, Ec2};

/// A pool of instances that boots at once, with an address for each.
#[derive(Clone, Copy, Debug)]
pub struct Herd {
    pub size: usize,
    pub buckets: Buckets,
    /// The last one starts this long after the first one.
    pub spread: Duration,
    /// How long a call takes.
    pub latency: Duration,
    /// How old the world is that reads show.
    pub read_lag: Duration,
    pub seed: u64,
}

impl Herd {
    /// The herd under EC2's published limits, booting within two seconds.
    pub fn published(size: usize, seed: u64) -> Herd {
        Herd {
            size,
            buckets: Buckets::published(),
            spread: Duration::from_secs(2),
            latency: Duration::from_millis(20),
            read_lag: Duration::from_millis(100),
            seed,
        }
    }

    /// What nobody can beat: every claimer needs one look, one association and one confirming read, so the herd
    /// needs `2 * size` tokens of the one bucket and `size` of the other; both are full when it boots, and then flow.
    /// And the last one to boot needs the time of a claim without any competition.
    pub fn ideal(&self) -> Duration {
        let flowing = |calls: usize, bucket: Bucket| {
            Duration::from_secs_f64((calls as f64 - f64::from(bucket.burst)).max(0.0) / bucket.per_second)
        };
        let alone = IDENTITY + GATE + self.latency * 2 + self.read_lag.max(self.latency);
        flowing(2 * self.size, self.buckets.describe)
            .max(flowing(self.size, self.buckets.mutate))
            .max(self.spread + alone)
    }

    /// Runs it until everyone has an address.
    pub fn run(self) -> Outcome {
        self.run_booting(|_, random| self.spread.mul_f64(random.f64()))
    }

    /// The same, with claimer n starting when `boot` says.
    pub fn run_booting(self, mut boot: impl FnMut(usize, &mut fastrand::Rng) -> Duration) -> Outcome {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut ec2 = Ec2::new(self.size, self.buckets, self.read_lag);
        let mut claimers: Vec<_> = (0..self.size).map(|n| Claimer::new(n, &mut random)).collect();
        // Who calls next: the time at which the call is carried out and answered, and who makes it.
        let mut calls = BinaryHeap::new();
        for n in 0..self.size {
            let booted = boot(n, &mut random);
            calls.push(Reverse((booted + IDENTITY + self.latency, n, booted)));
        }
        let mut times = Vec::with_capacity(self.size);
        let mut end = Duration::ZERO;
        while let Some(Reverse((now, n, booted))) = calls.pop() {
            match claimers[n].call(&mut ec2, now) {
                Next::CallAfter(pause) => calls.push(Reverse((now + pause + self.latency, n, booted))),
                Next::Done => {
                    times.push(now - booted);
                    end = now;
                }
            }
        }
        times.sort_unstable();
        let (reads, writes) = ec2.calls();
        Outcome { herd: self, end, times, reads, writes }
    }
}

/// How it went.
#[derive(Debug)]
pub struct Outcome {
    pub herd: Herd,
    /// When the last one had its address, since the first one booted.
    pub end: Duration,
    /// From boot to success, the shortest first.
    pub times: Vec<Duration>,
    pub reads: Count,
    pub writes: Count,
}

impl Outcome {
    /// The time of all, in terms of what nobody can beat.
    pub fn of_ideal(&self) -> f64 {
        self.end.as_secs_f64() / self.herd.ideal().as_secs_f64()
    }

    /// The AssociateAddress calls that were not throttled, for each claimer.
    pub fn admitted_writes(&self) -> f64 {
        f64::from(self.writes.admitted) / self.herd.size as f64
    }

    /// All calls, throttled ones too, for each claimer.
    pub fn calls(&self) -> f64 {
        f64::from(self.reads.all() + self.writes.all()) / self.herd.size as f64
    }

    pub fn median(&self) -> Duration {
        self.times[self.times.len() / 2]
    }

    /// All of it in one line.
    pub fn line(&self) -> String {
        format!(
            "{} claimers, seed {}: {:.1} s, {:.2} of the ideal {:.1} s; each {:.3} writes and {:.1} calls; \
             to success {:.1} s in the median, {:.1} s at worst",
            self.herd.size,
            self.herd.seed,
            self.end.as_secs_f64(),
            self.of_ideal(),
            self.herd.ideal().as_secs_f64(),
            self.admitted_writes(),
            self.calls(),
            self.median().as_secs_f64(),
            self.times.last().map_or(0.0, Duration::as_secs_f64),
        )
    }
}
