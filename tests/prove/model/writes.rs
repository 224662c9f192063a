//! Act and confirm: the writes of a claim, the fence around them, the read that proves them; and `release`.

use eip_claim::decide::releasable;

use super::ec2::Answer;
use super::steps::{Cut, End, Reply, Step};
use super::world::*;
use super::{Claims, Without};

/// How often an instance may lose a race in a world that has come to rest.
const RACES: u8 = 4;

impl Claims {
    /// Whether the target of this instance has another address, as far as a read shows; then what `fence.rs` does.
    pub fn fit(&self, world: &mut World, id: Id, view: &[usize]) {
        let Step::Fit(cut) = world.machine(id).step else { unreachable!("fit out of turn") };
        let seen: Vec<_> = world.addresses.iter().zip(view).map(|(a, version)| a.version(*version)).collect();
        let other =
            |(n, a): (usize, &Option<Association>)| n != cut.address as usize && a.is_some_and(|a| a.holder == id);
        if seen.iter().enumerate().any(other) {
            return self.lost_race(world, id);
        }
        world.machine(id).step = Step::Cut(cut);
    }

    /// The gate, right before a write; `false` if it ends the run or sends it back to look.
    fn passes_gate(&self, world: &mut World, id: Id, takes: bool) -> bool {
        match world.machine(id).gate {
            Gate::Skip => world.end(id, End::Skipped),
            Gate::FreeOnly if takes => world.machine(id).step = Step::Look,
            _ => return true,
        }
        false
    }

    /// DisassociateAddress.
    pub fn cut(&self, world: &mut World, id: Id, reply: Reply) {
        let Step::Cut(cut) = world.machine(id).step else { unreachable!("cut out of turn") };
        let again = world.machine(id).stranded == Some((cut.address, cut.id));
        if again && world.machine(id).gate != Gate::Open {
            return world.end(id, End::Failed);
        }
        if !self.passes_gate(world, id, true) {
            return;
        }
        match reply {
            Reply::Refused => {
                // Refused, it has not been cut; but an earlier request may be under way.
                let machine = world.machine(id);
                machine.step = if again { Step::Fenced(cut) } else { Step::Look };
                return;
            }
            Reply::Late => world.late = Some(Late { by: id, request: Request::Disassociate(cut), told: None }),
            Reply::RequestLost => {}
            _ => world.disassociate(id, &cut),
        }
        let machine = world.machine(id);
        machine.stranded = Some((cut.address, cut.id)).filter(|_| self.without != Some(Without::Stranded));
        machine.step = Step::Fenced(cut);
    }

    /// AssociateAddress, behind the fence or without.
    pub fn associate(&self, world: &mut World, id: Id, reply: Reply) {
        let (address, before, allow, fenced) = match world.machine(id).step {
            Step::Associate { address, before, allow } => (address, before, allow, None),
            Step::Fenced(cut) => (cut.address, Some(cut.id), false, Some(cut)),
            _ => unreachable!("associated out of turn"),
        };
        if fenced.is_none() && !self.passes_gate(world, id, allow) {
            return;
        }
        let answer = match reply {
            Reply::RequestLost | Reply::Late | Reply::InVain | Reply::Refused => world.answer(id, address, allow),
            _ => world.associate(id, address, allow),
        };
        let is_here = world.holder(address) == Some(id);
        let go_back = self.without == Some(Without::RecentReads);
        let machine = world.machine(id);
        let about = &mut machine.about[address as usize];
        let written = match (reply, answer) {
            (Reply::RequestLost | Reply::AnswerLost | Reply::Late, _) => Written::Unanswered,
            (Reply::Refused | Reply::Already, _) | (_, Answer::HeldBy(_) | Answer::TargetTaken) => Written::No,
            (Reply::Anew, _) => Written::Answered(NEW),
            (_, Answer::Associated(association) | Answer::Repeated(association)) => Written::Answered(association),
        };
        if written != Written::No {
            about.held |= is_here;
            about.oldest = match written {
                _ if go_back => usize::MAX,
                Written::Unanswered => 0,
                _ => about.looked,
            };
            if about.written != Written::Unanswered {
                about.written = written;
            }
        }
        let unanswered = Step::Unanswered { address, fenced };
        let lost = |machine: &mut Machine| {
            machine.stranded = machine.stranded.filter(|(stranded, _)| *stranded != address);
            machine.lost.retain(|a| *a != address);
            machine.lost.push(address);
        };
        machine.step = match (reply, answer) {
            (Reply::Late, _) => {
                world.late = Some(Late { by: id, request: Request::Associate { address, allow }, told: None });
                world.machine(id).step = unanswered;
                return;
            }
            (Reply::RequestLost | Reply::AnswerLost, _) => unanswered,
            (Reply::Refused, _) => return world.end(id, End::Failed),
            (Reply::Anew, Answer::Repeated(_)) => {
                world.set(address, Some(Association { id: NEW, holder: id }));
                return self.associated(world, id, address, NEW, before);
            }
            (Reply::Already, Answer::Repeated(_)) => {
                lost(machine);
                return self.lost_race(world, id);
            }
            (_, Answer::Associated(association) | Answer::Repeated(association)) => {
                return self.associated(world, id, address, association, before);
            }
            (_, Answer::HeldBy(association)) => match fenced {
                Some(cut) if cut.id == association => Step::Cut(cut),
                _ => {
                    lost(machine);
                    return self.lost_race(world, id);
                }
            },
            (_, Answer::TargetTaken) => return self.lost_race(world, id),
        };
    }

    fn associated(&self, world: &mut World, id: Id, address: u8, association: u8, before: Option<u8>) {
        if self.without == Some(Without::Confirmation) {
            return world.end(id, End::Claimed(address));
        }
        world.machine(id).step = Step::Confirm { address, id: association, before };
    }

    fn lost_race(&self, world: &mut World, id: Id) {
        let at_rest = world.at_rest;
        let machine = world.machine(id);
        machine.step = Step::Look;
        machine.races += u8::from(at_rest);
        let enough = machine.races <= RACES;
        world.require(enough, Broken::NoEnd);
    }

    /// A read of the address while the answer does not come; `false` if it shows nothing new.
    pub fn peek(&self, world: &mut World, id: Id, version: usize) -> bool {
        let Step::Unanswered { address, .. } = world.machine(id).step else { unreachable!("peeked out of turn") };
        let is_here = world.addresses[address as usize].version(version).is_some_and(|a| a.holder == id);
        if is_here {
            world.end(id, End::Claimed(address));
        }
        is_here
    }

    /// The answer does not come, and the time for it is over.
    pub fn time_out(&self, world: &mut World, id: Id) {
        let Step::Unanswered { fenced, .. } = world.machine(id).step else { unreachable!("timed out out of turn") };
        world.machine(id).step = fenced.map_or(Step::Look, Step::Fenced);
    }

    /// Reads the address back; `false` if the read shows nothing new.
    pub fn confirm(&self, world: &mut World, id: Id, version: usize) -> bool {
        let Step::Confirm { address, id: ours, before } = world.machine(id).step else {
            unreachable!("confirmed out of turn")
        };
        match world.addresses[address as usize].version(version) {
            Some(now) if now.holder == id && now.id == ours => world.end(id, End::Claimed(address)),
            Some(now) if now.holder != id && Some(now.id) != before => {
                let machine = world.machine(id);
                machine.stranded = machine.stranded.filter(|(stranded, _)| *stranded != address);
                self.lost_race(world, id);
            }
            _ => return false,
        }
        true
    }

    /// It is not shown within the time in which EC2 shows what was written.
    pub fn unconfirmed(&self, world: &mut World, id: Id) {
        let Step::Confirm { address, .. } = world.machine(id).step else { unreachable!("waited out of turn") };
        world.machine(id).about[address as usize].oldest = 0;
        world.machine(id).step = Step::Look;
    }

    /// `release`: describes the addresses.
    pub fn look_to_release(&self, world: &mut World, id: Id, view: &[usize]) {
        let seen: Vec<_> = world.addresses.iter().zip(view).map(|(a, version)| a.version(*version)).collect();
        let (me, addresses) = (self.me(world, id), self.addresses(&seen));
        let step = releasable(&me, &addresses).first().map(|(address, association)| {
            let association = association.id.as_str().trim_start_matches("eipassoc-").parse().expect("a number");
            let address = address.public_ip.octets()[3];
            Step::Release(Cut { address, id: association, holder: id, rightful: true })
        });
        match step {
            Some(step) => world.machine(id).step = step,
            None => world.end(id, End::Released),
        }
    }

    /// `release`: DisassociateAddress, by the association's id or, mutilated, by the address.
    pub fn release(&self, world: &mut World, id: Id) {
        let Step::Release(cut) = world.machine(id).step else { unreachable!("released out of turn") };
        let now = world.addresses[cut.address as usize].now;
        let ends = match self.without {
            Some(Without::AssociationId) => now.is_some(),
            _ => now.is_some_and(|now| now.id == cut.id),
        };
        if ends {
            world.require(now.is_some_and(|now| now.holder == id), Broken::ReleasedAnother);
            world.set(cut.address, None);
        }
        world.end(id, End::Released);
    }
}
