//! The small world of the model: instances, addresses with their past, one request that is late, and EC2's answers.
//!
//! Association ids and launch times are numbered anew after every step, so that worlds that differ only
//! in such numbers are one world, and the number of worlds is finite.

use super::steps::{Cut, Step};

/// Instance number `n` of the model.
pub type Id = u8;

/// The id of an association that has just been made: higher than any that [`World::canonical`] gives out.
pub const NEW: u8 = u8::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Association {
    pub id: u8,
    pub holder: Id,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Elastic {
    pub now: Option<Association>,
    /// Earlier versions that a read may still show, the latest first.
    pub past: Vec<Option<Association>>,
    /// Which run has cut a live holder off, while nobody has the address yet.
    pub orphaned_by: Option<Id>,
}

impl Elastic {
    /// What a read shows: the present, or an earlier version.
    pub fn version(&self, version: usize) -> Option<Association> {
        if version == 0 { self.now } else { self.past[version - 1] }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    Absent,
    Running,
    Stopped,
    Terminated,
}

/// What DescribeInstances shows of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shown {
    pub life: Life,
    pub launched: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gate {
    Open,
    FreeOnly,
    Skip,
}

/// What a run knows of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct About {
    pub written: Written,
    /// Whether the instance has held it at any time since the first of these writes.
    pub held: bool,
    /// Which version was the present one at the latest look, whatever that look showed.
    pub looked: usize,
    /// The oldest version that this run may still be shown.
    pub oldest: usize,
}

/// Whether a write of the run may have attached an address here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Written {
    No,
    Unanswered,
    Answered(u8),
}

impl About {
    pub const NOTHING: Self = Self { written: Written::No, held: false, looked: usize::MAX, oldest: usize::MAX };
}

/// An instance, and the claim that runs on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    pub now: Shown,
    /// What a stale read may still show instead.
    pub past: Option<Shown>,
    pub impaired: bool,
    pub gate: Gate,
    /// It was started after a stop, and has not come so far as to claim.
    pub starting: bool,
    pub step: Step,
    /// The claim's memory: addresses lost to others, and the one it may have left on nobody.
    pub lost: Vec<u8>,
    pub stranded: Option<(u8, u8)>,
    /// What this run has done to each address, and seen of it.
    pub about: Vec<About>,
    /// In a world that has come to rest: it has yet to run again, and how often it lost a race.
    pub due: bool,
    pub races: u8,
}

impl Machine {
    pub fn is_live(&self) -> bool {
        self.now.life == Life::Running
    }

    /// It has ended an association, and not yet made its own.
    pub fn is_between(&self) -> bool {
        match self.step {
            Step::Fenced(_) | Step::Unanswered { fenced: Some(_), .. } => true,
            Step::Cut(cut) => self.stranded == Some((cut.address, cut.id)),
            _ => false,
        }
    }

    pub fn is_claiming(&self) -> bool {
        !matches!(self.step, Step::Idle | Step::Done(_))
    }
}

/// A request whose sender has given up waiting, and that may still arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Late {
    pub by: Id,
    pub request: Request,
    /// Once its sender has ended: whether with an error that says that the address may be on nobody, or killed.
    pub told: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    Disassociate(Cut),
    Associate { address: u8, allow: bool },
}

/// How much may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Answers lost, requests lost or late, writes refused or accepted in vain.
    pub faults: u8,
    /// Processes killed, or at their deadline.
    pub crashes: u8,
    /// Instances stopped, started, terminated or impaired, gates moved, addresses released, runs after the first.
    pub events: u8,
    /// How many earlier versions of an address a stale read may still show; the same throughout.
    pub past: usize,
}

/// What must never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Broken {
    FalseSuccess,
    Robbed,
    WroteOwn,
    CutOffSilently,
    ReleasedAnother,
    NoEnd,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub machines: Vec<Machine>,
    pub addresses: Vec<Elastic>,
    pub late: Option<Late>,
    pub budget: Budget,
    /// Nothing happens to the instances any more, reads are fresh, and every instance runs once again.
    pub at_rest: bool,
    pub broken: Option<Broken>,
}
