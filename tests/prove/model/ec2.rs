//! What happens to the world: EC2's answers, the ends of runs, launches and losses.

use super::steps::{Cut, End, Step};
use super::world::*;

/// What EC2 answers to AssociateAddress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Associated(u8),
    /// The instance has it already; nobody documents what EC2 answers to that.
    Repeated(u8),
    /// `Resource.AlreadyAssociated`, naming the association.
    HeldBy(u8),
    /// `Resource.AlreadyAssociated`, naming the target.
    TargetTaken,
}

impl World {
    pub fn is_pool(&self) -> bool {
        self.addresses.len() > 1
    }

    pub fn holder(&self, address: u8) -> Option<Id> {
        self.addresses[address as usize].now.map(|a| a.holder)
    }

    pub fn machine(&mut self, id: Id) -> &mut Machine {
        &mut self.machines[id as usize]
    }

    /// What EC2 would answer to AssociateAddress now.
    pub fn answer(&self, by: Id, address: u8, allow: bool) -> Answer {
        match self.addresses[address as usize].now {
            Some(now) if now.holder == by => Answer::Repeated(now.id),
            Some(now) if !allow => Answer::HeldBy(now.id),
            _ if !allow && self.addresses.iter().any(|a| a.now.is_some_and(|now| now.holder == by)) => {
                Answer::TargetTaken
            }
            _ => Answer::Associated(NEW),
        }
    }

    /// AssociateAddress takes effect, if the answer says so.
    pub fn associate(&mut self, by: Id, address: u8, allow: bool) -> Answer {
        let answer = self.answer(by, address, allow);
        if let Answer::Associated(id) = answer {
            for other in 0..self.addresses.len() as u8 {
                if self.holder(other) == Some(by) {
                    self.set(other, None);
                }
            }
            if let Some(loser) = self.holder(address) {
                let rightful =
                    !self.machines[loser as usize].is_live() || (!self.is_pool() && self.order(loser) < self.order(by));
                self.require(rightful, Broken::Robbed);
            }
            self.set(address, Some(Association { id, holder: by }));
            self.addresses[address as usize].orphaned_by = None;
        }
        answer
    }

    /// DisassociateAddress takes effect, if the association is still there.
    pub fn disassociate(&mut self, by: Id, cut: &Cut) {
        if self.addresses[cut.address as usize].now.map(|a| a.id) == Some(cut.id) {
            self.require(cut.rightful, Broken::Robbed);
            if cut.holder != by && self.machines[cut.holder as usize].is_live() {
                self.addresses[cut.address as usize].orphaned_by = Some(by);
            }
            self.set(cut.address, None);
        }
    }

    /// What a launch is ordered by: its time, and the instance's id where times are equal.
    pub fn order(&self, id: Id) -> (u8, Id) {
        (self.machines[id as usize].now.launched, id)
    }

    pub fn require(&mut self, holds: bool, otherwise: Broken) {
        if !holds {
            self.broken.get_or_insert(otherwise);
        }
    }

    pub fn set(&mut self, address: u8, to: Option<Association>) {
        let (elastic, past) = (&mut self.addresses[address as usize], self.budget.past);
        if !self.at_rest {
            elastic.past.insert(0, elastic.now);
            elastic.past.truncate(past);
        }
        elastic.now = to;
        for (id, machine) in self.machines.iter_mut().enumerate() {
            let about = &mut machine.about[address as usize];
            about.held |= about.written != Written::No && to.is_some_and(|to| to.holder as usize == id);
            let older = |version: usize| if version < past { version + 1 } else { usize::MAX };
            (about.looked, about.oldest) = (older(about.looked), older(about.oldest));
        }
    }

    /// The run of `id` ends.
    pub fn end(&mut self, id: Id, end: End) {
        let machine = self.machine(id);
        if let End::Claimed(address) = end {
            let is_true = machine.about[address as usize].held;
            self.require(is_true, Broken::FalseSuccess);
        }
        let machine = self.machine(id);
        let told = machine.stranded;
        for address in 0..self.addresses.len() {
            if self.addresses[address].orphaned_by == Some(id) {
                self.require(told.is_some_and(|(a, _)| a as usize == address), Broken::CutOffSilently);
                self.addresses[address].orphaned_by = None;
            }
        }
        self.leave(id, Step::Done(end), told.is_some());
    }

    /// The process of `id` is gone, without a word.
    pub fn kill(&mut self, id: Id) {
        self.addresses.iter_mut().filter(|a| a.orphaned_by == Some(id)).for_each(|a| a.orphaned_by = None);
        self.leave(id, Step::Idle, true);
    }

    fn leave(&mut self, id: Id, step: Step, told: bool) {
        if let Some(late) = self.late.as_mut().filter(|late| late.by == id) {
            late.told.get_or_insert(told);
        }
        let machine = self.machine(id);
        machine.step = step;
        (machine.lost, machine.stranded) = (Vec::new(), None);
        machine.about.fill(About::NOTHING);
    }

    /// The late request arrives.
    pub fn deliver(&mut self) {
        let Some(late) = self.late.take() else { return };
        match late.request {
            _ if self.machines[late.by as usize].now.life == Life::Terminated => {}
            Request::Associate { address, allow } => drop(self.associate(late.by, address, allow)),
            Request::Disassociate(cut) => {
                let before = self.addresses[cut.address as usize].orphaned_by.take();
                self.disassociate(late.by, &cut);
                let orphaned_by = &mut self.addresses[cut.address as usize].orphaned_by;
                if let (Some(_), Some(told)) = (*orphaned_by, late.told) {
                    *orphaned_by = None;
                    self.require(told, Broken::CutOffSilently);
                } else {
                    *orphaned_by = orphaned_by.or(before);
                }
            }
        }
    }

    /// Numbers associations by their first appearance, and launches by their order.
    pub fn canonical(mut self) -> Self {
        let mut names: Vec<u8> = Vec::new();
        for id in self.ids() {
            let name = names.iter().position(|n| n == id).unwrap_or_else(|| {
                names.push(*id);
                names.len() - 1
            });
            *id = name as u8;
        }
        let mut times: Vec<u8> = self.launches().into_iter().map(|time| *time).collect();
        times.sort_unstable();
        times.dedup();
        for time in self.launches() {
            *time = times.iter().position(|t| t == time).map_or(0, |n| n as u8);
        }
        self
    }

    fn launches(&mut self) -> Vec<&mut u8> {
        let shown = self.machines.iter_mut().flat_map(|m| std::iter::once(&mut m.now).chain(m.past.as_mut()));
        shown.filter(|shown| shown.life != Life::Absent).map(|shown| &mut shown.launched).collect()
    }

    fn ids(&mut self) -> Vec<&mut u8> {
        let mut ids: Vec<&mut u8> = Vec::new();
        for elastic in &mut self.addresses {
            ids.extend(elastic.now.iter_mut().chain(elastic.past.iter_mut().flatten()).map(|a| &mut a.id));
        }
        for machine in &mut self.machines {
            ids.extend(machine.stranded.iter_mut().map(|(_, id)| id));
            machine.step.ids(&mut ids);
            for about in &mut machine.about {
                if let Written::Answered(id) = &mut about.written {
                    ids.push(id);
                }
            }
        }
        if let Some(Late { request: Request::Disassociate(cut), .. }) = &mut self.late {
            ids.push(&mut cut.id);
        }
        ids
    }
}

/// What happens to it.
impl World {
    pub fn launch(&mut self, id: Id, launched: u8) {
        let machine = self.machine(id);
        machine.past = Some(machine.now);
        machine.now = Shown { life: Life::Running, launched };
    }

    /// The instance stops, and keeps its addresses, or is terminated, and loses them.
    pub fn lose(&mut self, id: Id, life: Life) {
        self.budget.events -= 1;
        self.kill(id);
        let machine = self.machine(id);
        machine.past = Some(machine.now);
        machine.now.life = life;
        for address in 0..self.addresses.len() as u8 {
            if life == Life::Terminated && self.holder(address) == Some(id) {
                self.set(address, None);
            }
        }
    }

    pub fn run(&mut self, id: Id, step: Step) {
        let machine = self.machine(id);
        (machine.step, machine.due, machine.races) = (step, false, 0);
        if std::mem::take(&mut machine.starting) {
            machine.past = None;
        }
    }

    pub fn come_to_rest(&mut self) {
        self.at_rest = true;
        self.budget = Budget { faults: 0, crashes: 0, events: 0, ..self.budget };
        self.addresses.iter_mut().for_each(|address| address.past.clear());
        for machine in &mut self.machines {
            machine.about.iter_mut().for_each(|about| (about.looked, about.oldest) = (0, 0));
            (machine.past, machine.due) = (None, machine.is_live());
        }
    }
}
