//! EC2 as far as a herd can tell: addresses that reads show late, and a token bucket for each action.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use eip_claim::decide::Me;
use eip_claim::error::Class;
use eip_claim::ids::AllocationId;
use eip_claim::world::{Address, Association};
use fakecloud::{Bucket, Buckets};

/// What was asked, and what of it was refused for want of a token.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub admitted: u32,
    pub throttled: u32,
}

impl Count {
    pub fn all(self) -> u32 {
        self.admitted + self.throttled
    }
}

/// A region with a pool of addresses.
pub struct Ec2 {
    /// The pool as reads show it: as it was one read lag ago.
    shown: Vec<Address>,
    /// Where in the pool an address is.
    places: HashMap<AllocationId, usize>,
    /// Whether somebody has it, in truth.
    taken: Vec<bool>,
    /// What was written and is not to be seen yet, with the time from which it is.
    unseen: VecDeque<(Duration, usize, Association)>,
    read_lag: Duration,
    reads: Tokens,
    writes: Tokens,
}

impl Ec2 {
    /// A pool of `size` free addresses.
    pub fn new(size: usize, buckets: Buckets, read_lag: Duration) -> Ec2 {
        let shown: Vec<_> = (0..size).map(free_address).collect();
        let places = shown.iter().enumerate().map(|(n, address)| (address.allocation.clone(), n)).collect();
        let (reads, writes) = (Tokens::new(buckets.describe), Tokens::new(buckets.mutate));
        Ec2 { shown, places, taken: vec![false; size], unseen: VecDeque::new(), read_lag, reads, writes }
    }

    /// DescribeAddresses by the tag of the pool.
    pub fn look(&mut self, now: Duration) -> Result<&[Address], Class> {
        self.reads.take(now)?;
        while self.unseen.front().is_some_and(|(from, ..)| *from <= now) {
            if let Some((_, place, association)) = self.unseen.pop_front() {
                self.shown[place].association = Some(association);
            }
        }
        Ok(&self.shown)
    }

    /// DescribeAddresses by an allocation id.
    pub fn read_back(&mut self, now: Duration, allocation: &AllocationId) -> Result<&Address, Class> {
        let place = self.places[allocation];
        self.look(now).map(|addresses| &addresses[place])
    }

    /// AssociateAddress with `AllowReassociation=false`.
    pub fn associate(&mut self, now: Duration, allocation: &AllocationId, me: &Me) -> Result<(), Class> {
        self.writes.take(now)?;
        let place = self.places[allocation];
        if std::mem::replace(&mut self.taken[place], true) {
            return Err(Class::LostRace);
        }
        let association = Association {
            id: format!("eipassoc-{place:017x}").parse().expect("an id"),
            instance: Some(me.instance.clone()),
            interface: Some(me.interface.clone()),
            private_ip: Some(me.private_ip),
        };
        self.unseen.push_back((now + self.read_lag, place, association));
        Ok(())
    }

    /// The calls of DescribeAddresses and of AssociateAddress.
    pub fn calls(&self) -> (Count, Count) {
        (self.reads.count, self.writes.count)
    }
}

fn free_address(n: usize) -> Address {
    let [.., high, low] = n.to_be_bytes();
    Address {
        allocation: format!("eipalloc-{:017x}", scrambled(n as u64) >> 4).parse().expect("an id"),
        public_ip: Ipv4Addr::new(198, 51, high, low),
        association: None,
        service_managed: None,
    }
}

/// Ids that have nothing to do with each other, as EC2's.
pub fn scrambled(n: u64) -> u64 {
    fastrand::Rng::with_seed(n).u64(..)
}

/// A token bucket, and what became of those who asked for a token.
struct Tokens {
    bucket: Bucket,
    level: f64,
    counted: Duration,
    count: Count,
}

impl Tokens {
    fn new(bucket: Bucket) -> Tokens {
        Tokens { bucket, level: f64::from(bucket.burst), counted: Duration::ZERO, count: Count::default() }
    }

    fn take(&mut self, now: Duration) -> Result<(), Class> {
        let flowed = (now - self.counted).as_secs_f64() * self.bucket.per_second;
        self.level = (self.level + flowed).min(f64::from(self.bucket.burst));
        self.counted = now;
        if self.level < 1.0 {
            self.count.throttled += 1;
            return Err(Class::Throttled);
        }
        self.level -= 1.0;
        self.count.admitted += 1;
        Ok(())
    }
}
