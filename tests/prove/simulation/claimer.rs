//! A claimer: the steps of `src/round.rs` and `src/confirm.rs`, one call at a time.
//!
//! What to do next the shipped policy says, how long to wait the shipped backoff.

use std::net::Ipv4Addr;
use std::time::Duration;

use eip_claim::decide::{Decision, Me, Policy, Reach, Takeover, decide};
use eip_claim::error::Class;
use eip_claim::ids::AllocationId;
use eip_claim::retry::{Backoff, Pace};

use super::ec2::{Ec2, scrambled};

/// From the start of the process to its first call: identity, gate and credentials from IMDS.
pub const IDENTITY: Duration = Duration::from_millis(30);
/// The gate, which is read again before every round but the first and before every write.
pub const GATE: Duration = Duration::from_millis(2);
/// As in `src/confirm.rs`.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// What an attempt of a call or two takes off the longest pause: nothing to speak of.
const QUICK: Duration = Duration::ZERO;
/// What the program does without options.
const POLICY: Policy = Policy { takeover: Takeover::Successor, reach: Reach::Held };

pub struct Claimer {
    me: Me,
    backoff: Backoff,
    step: Step,
    random: fastrand::Rng,
}

/// What a claimer does next.
enum Step {
    Look,
    Associate(AllocationId),
    Confirm { allocation: AllocationId, backoff: Backoff, until: Duration },
}

/// What follows from the answer to a call.
pub enum Next {
    /// One more call, after this pause.
    CallAfter(Duration),
    /// This instance has an address, and a read has shown it.
    Done,
}

impl Claimer {
    pub fn new(n: usize, random: &mut fastrand::Rng) -> Claimer {
        let [.., high, low] = n.to_be_bytes();
        let me = Me {
            instance: format!("i-{:017x}", scrambled(random.u64(..)) >> 4).parse().expect("an id"),
            interface: format!("eni-{n:017x}").parse().expect("an id"),
            private_ip: Ipv4Addr::new(10, 0, high, low),
            lost: Vec::new(),
            refused: Vec::new(),
        };
        let backoff = Backoff::seeded(random.u64(..));
        Claimer { me, backoff, step: Step::Look, random: random.fork() }
    }

    /// Makes the next call, which is carried out and answered at `now`.
    pub fn call(&mut self, ec2: &mut Ec2, now: Duration) -> Next {
        match std::mem::replace(&mut self.step, Step::Look) {
            Step::Look => match ec2.look(now) {
                Ok(addresses) => match decide(&self.me, addresses, &[], POLICY) {
                    Decision::AlreadyHeld(_) => Next::Done,
                    Decision::Associate(address, _) => {
                        self.step = Step::Associate(address.allocation.clone());
                        Next::CallAfter(GATE)
                    }
                    other => panic!("with an address for each there is no reason to {}", other.as_str()),
                },
                Err(_) => self.look_again(QUICK),
            },
            Step::Associate(allocation) => match ec2.associate(now, &allocation, &self.me) {
                Ok(()) => {
                    let backoff = Backoff::seeded(self.random.u64(..));
                    self.step = Step::Confirm { allocation, backoff, until: now + SETTLED_AFTER };
                    Next::CallAfter(Duration::ZERO)
                }
                Err(class) => {
                    if class == Class::LostRace {
                        self.me.lost.push(allocation);
                    }
                    self.look_again(QUICK)
                }
            },
            Step::Confirm { allocation, mut backoff, until } => {
                if ec2.read_back(now, &allocation).is_ok_and(|address| self.me.holds(address)) {
                    return Next::Done;
                }
                let (pause, left) = (backoff.next(Pace::Usual, QUICK), until.saturating_sub(now));
                if pause < left {
                    self.step = Step::Confirm { allocation, backoff, until };
                    return Next::CallAfter(pause);
                }
                // The time for confirming is up, and so is the round.
                match self.look_again(SETTLED_AFTER) {
                    Next::CallAfter(pause) => Next::CallAfter(left + pause),
                    Next::Done => Next::Done,
                }
            }
        }
    }

    fn look_again(&mut self, took: Duration) -> Next {
        self.step = Step::Look;
        Next::CallAfter(self.backoff.next(Pace::Usual, took) + GATE)
    }
}
