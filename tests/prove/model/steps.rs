//! Where a claim is: the steps that `round.rs`, `fence.rs` and `confirm.rs` take around the decision that ships.
//!
//! Between any two of them anything may happen to the world.

use super::world::{Association, Id};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    Idle,
    /// About to describe the addresses.
    Look,
    /// About to describe the instances that hold what it saw.
    Ask(Vec<Option<Association>>),
    /// About to see whether it is fit to take over, in a pool.
    Fit(Cut),
    /// About to disassociate: for the first time, or because the address was found to be where it was.
    Cut(Cut),
    /// About to associate what it has disassociated.
    Fenced(Cut),
    /// About to associate.
    Associate {
        address: u8,
        before: Option<u8>,
        allow: bool,
    },
    /// The answer to an association does not come.
    Unanswered {
        address: u8,
        fenced: Option<Cut>,
    },
    /// About to read the address back.
    Confirm {
        address: u8,
        id: u8,
        before: Option<u8>,
    },
    /// `release`: about to describe the addresses, and about to disassociate.
    ReleaseLook,
    Release(Cut),
    Done(End),
}

/// An association that was judged, and is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cut {
    pub address: u8,
    pub id: u8,
    pub holder: Id,
    /// Whether what was read allows to end it, by the words of the policy and not by `decide`.
    pub rightful: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    Claimed(u8),
    AlreadyHeld(u8),
    Yielded,
    Skipped,
    Failed,
    Released,
}

impl Step {
    pub fn ids<'a>(&'a mut self, ids: &mut Vec<&'a mut u8>) {
        match self {
            Step::Ask(seen) => ids.extend(seen.iter_mut().flatten().map(|a| &mut a.id)),
            Step::Fit(cut) | Step::Cut(cut) | Step::Fenced(cut) | Step::Release(cut) => ids.push(&mut cut.id),
            Step::Unanswered { fenced, .. } => ids.extend(fenced.iter_mut().map(|cut| &mut cut.id)),
            Step::Associate { before, .. } => ids.extend(before),
            Step::Confirm { id, before, .. } => {
                ids.push(id);
                ids.extend(before);
            }
            Step::Idle | Step::Look | Step::ReleaseLook | Step::Done(_) => {}
        }
    }

    /// The association that this claim is about to end, or has tried to.
    pub fn judged(&self) -> Option<&Cut> {
        match self {
            Step::Fit(cut) | Step::Cut(cut) | Step::Fenced(cut) => Some(cut),
            Step::Unanswered { fenced, .. } => fenced.as_ref(),
            _ => None,
        }
    }
}

/// What comes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reply {
    Answered,
    /// It took effect, and the answer is lost.
    AnswerLost,
    /// It never arrived.
    RequestLost,
    /// It arrives later, if at all.
    Late,
    /// EC2 accepts it, and nothing happens.
    InVain,
    /// EC2 refuses it, for a reason that has nothing to do with races.
    Refused,
    /// What EC2 may answer to an instance that has the address already: a new association, or a refusal.
    Anew,
    Already,
}
