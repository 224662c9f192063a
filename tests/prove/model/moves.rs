//! What can happen next, and what comes of it: to the world, and in the claim on each instance.

use stateright::{Model, Property};

use super::ec2::Answer;
use super::steps::{self, End, Reply, Step};
use super::world::*;
use super::{Claims, Without, promises};

/// One step of the world, or of the claim on one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Launch(Id),
    /// Launched in the same second as the latest.
    LaunchAtOnce(Id),
    Stop(Id),
    Start(Id),
    Terminate(Id),
    Impair(Id),
    SetGate(Id, Gate),
    Kill(Id),
    ComeToRest,
    Deliver,
    Drop,
    Run(Id),
    Release(Id),
    GiveUp(Id),
    Look(Id, Vec<usize>),
    Ask(Id, u8),
    Fit(Id, Vec<usize>),
    Write(Id, Reply),
    Peek(Id, usize),
    TimeOut(Id),
    Confirm(Id, usize),
    Unconfirmed(Id),
}

impl Claims {
    /// What an instance does next, and what may come of it.
    fn steps(&self, world: &World, id: Id, actions: &mut Vec<Action>) {
        let machine = &world.machines[id as usize];
        let versions = |address: u8| {
            let address = address as usize;
            0..=world.addresses[address].past.len().min(machine.about[address].oldest)
        };
        let views = || {
            let all = vec![Vec::new()];
            (0..self.addresses as u8).fold(all, |views, address| {
                let more = |view: Vec<usize>| versions(address).map(move |v| view.iter().copied().chain([v]).collect());
                views.into_iter().flat_map(more).collect()
            })
        };
        match &machine.step {
            Step::Idle | Step::Done(_) => {
                let judged = |cut: &steps::Cut| cut.holder == id;
                let is_judged = world.machines.iter().any(|other| other.step.judged().is_some_and(judged))
                    || matches!(&world.late, Some(Late { request: Request::Disassociate(cut), .. }) if judged(cut));
                let must_wait = machine.starting && is_judged && self.without != Some(Without::SlowBoot);
                let may_run = machine.due || machine.step == Step::Idle || world.budget.events > 0;
                if may_run && !must_wait {
                    actions.push(Action::Run(id));
                }
                if world.budget.events > 0 && !must_wait {
                    actions.push(Action::Release(id));
                }
            }
            Step::Look | Step::ReleaseLook => actions.extend(views().into_iter().map(|view| Action::Look(id, view))),
            Step::Ask(_) => {
                let stale: u8 = (0..self.instances).filter(|n| world.machines[*n].past.is_some()).map(|n| 1 << n).sum();
                actions.extend((0..=stale).filter(|mask| mask & !stale == 0).map(|mask| Action::Ask(id, mask)));
            }
            Step::Fit(_) => actions.extend(views().into_iter().map(|view| Action::Fit(id, view))),
            Step::Cut(cut) => {
                let is_there = world.addresses[cut.address as usize].now.is_some_and(|now| now.id == cut.id);
                self.replies(world, id, is_there, actions);
            }
            Step::Fenced(cut) => self.replies_to_associate(world, id, cut.address, false, actions),
            Step::Associate { address, allow, .. } => self.replies_to_associate(world, id, *address, *allow, actions),
            Step::Unanswered { address, .. } => {
                actions.extend(versions(*address).map(|version| Action::Peek(id, version)));
                actions.push(Action::TimeOut(id));
            }
            Step::Confirm { address, .. } => {
                actions.extend(versions(*address).map(|version| Action::Confirm(id, version)));
                if self.shows_nothing(world, id) || world.budget.faults > 0 {
                    actions.push(Action::Unconfirmed(id));
                }
            }
            Step::Release(_) => actions.push(Action::Write(id, Reply::Answered)),
        }
    }

    /// Whether the address that `id` reads back is on nobody, and nobody is about to have it.
    fn shows_nothing(&self, world: &World, id: Id) -> bool {
        let Step::Confirm { address, .. } = world.machines[id as usize].step else { return false };
        world.holder(address).is_none() && !world.machines.iter().any(Machine::is_between)
    }

    fn replies(&self, world: &World, id: Id, takes_effect: bool, actions: &mut Vec<Action>) {
        actions.push(Action::Write(id, Reply::Answered));
        if world.budget.faults > 0 {
            actions.push(Action::Write(id, Reply::RequestLost));
            actions.push(Action::Write(id, Reply::Refused));
            if takes_effect {
                actions.push(Action::Write(id, Reply::AnswerLost));
            }
            if world.late.is_none() {
                actions.push(Action::Write(id, Reply::Late));
            }
        }
    }

    fn replies_to_associate(&self, world: &World, id: Id, address: u8, allow: bool, actions: &mut Vec<Action>) {
        let answer = world.answer(id, address, allow);
        self.replies(world, id, matches!(answer, Answer::Associated(_)), actions);
        match answer {
            Answer::Repeated(_) => {
                actions.extend([Reply::Anew, Reply::Already].map(|reply| Action::Write(id, reply)));
            }
            Answer::Associated(_) if world.budget.faults > 0 => actions.push(Action::Write(id, Reply::InVain)),
            _ => {}
        }
    }

    /// What happens to the world around the claims.
    fn events(&self, world: &World, actions: &mut Vec<Action>) {
        let is_releasing = |machine: &Machine| matches!(machine.step, Step::ReleaseLook | Step::Release(_));
        if world.late.is_none() && !world.machines.iter().any(is_releasing) {
            actions.push(Action::ComeToRest);
        }
        for (id, machine) in (0..).zip(&world.machines) {
            if machine.now.life == Life::Absent && (id == 0 || world.machines[id as usize - 1].now.life != Life::Absent)
            {
                actions.push(Action::Launch(id));
                if id > 0 {
                    actions.push(Action::LaunchAtOnce(id));
                }
            }
            if machine.is_claiming() && world.budget.crashes > 0 {
                actions.extend([Action::GiveUp(id), Action::Kill(id)]);
            }
            if world.budget.events > 0 {
                match machine.now.life {
                    Life::Running => {
                        actions.extend([Action::Stop(id), Action::Terminate(id)]);
                        if world.is_pool() && !machine.impaired {
                            actions.push(Action::Impair(id));
                        }
                        let gates = [Gate::Open, Gate::FreeOnly, Gate::Skip];
                        let others = gates.into_iter().filter(|gate| *gate != machine.gate);
                        actions.extend(others.map(|gate| Action::SetGate(id, gate)));
                    }
                    Life::Stopped => actions.push(Action::Start(id)),
                    Life::Absent | Life::Terminated => {}
                }
            }
        }
    }
}

impl Model for Claims {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let machine = Machine {
            now: Shown { life: Life::Absent, launched: 0 },
            past: None,
            impaired: false,
            gate: Gate::Open,
            starting: false,
            step: Step::Idle,
            lost: Vec::new(),
            stranded: None,
            about: vec![About::NOTHING; self.addresses],
            due: false,
            races: 0,
        };
        vec![World {
            machines: vec![machine; self.instances],
            addresses: vec![Elastic::default(); self.addresses],
            late: None,
            budget: self.budget,
            at_rest: false,
            broken: None,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken.is_some() {
            return;
        }
        if !world.at_rest {
            self.events(world, actions);
        }
        if world.late.is_some() {
            actions.extend([Action::Deliver, Action::Drop]);
        }
        // At rest, luck returns: who has lost a race behind the fence is not interrupted there again.
        let out_of_luck = |machine: &Machine| machine.races > 0 && machine.is_between();
        let alone = world.machines.iter().position(out_of_luck);
        for (id, machine) in (0..).zip(&world.machines) {
            if machine.is_live() && alone.is_none_or(|alone| alone == id as usize) {
                self.steps(world, id, actions);
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        let newest = next.machines.iter().map(|machine| machine.now.launched).max().unwrap_or(0);
        match action {
            Action::Launch(id) => next.launch(id, newest + 1),
            Action::LaunchAtOnce(id) => next.launch(id, newest),
            Action::Start(id) => {
                next.budget.events -= 1;
                next.launch(id, newest + 1);
                next.machine(id).starting = true;
            }
            Action::Stop(id) => next.lose(id, Life::Stopped),
            Action::Terminate(id) => next.lose(id, Life::Terminated),
            Action::Impair(id) => {
                next.budget.events -= 1;
                next.machine(id).impaired = true;
            }
            Action::SetGate(id, gate) => {
                next.budget.events -= 1;
                next.machine(id).gate = gate;
            }
            Action::Kill(id) => {
                next.budget.crashes -= 1;
                next.kill(id);
            }
            Action::ComeToRest => next.come_to_rest(),
            Action::Deliver => next.deliver(),
            Action::Drop => next.late = None,
            Action::Run(id) => {
                if !world.at_rest && matches!(world.machines[id as usize].step, Step::Done(_)) {
                    next.budget.events -= 1;
                }
                next.run(id, Step::Look);
            }
            Action::Release(id) => {
                next.budget.events -= 1;
                next.run(id, Step::ReleaseLook);
            }
            Action::GiveUp(id) => {
                next.budget.crashes -= 1;
                next.end(id, End::Failed);
            }
            Action::Look(id, view) if world.machines[id as usize].step == Step::ReleaseLook => {
                self.look_to_release(&mut next, id, &view);
            }
            Action::Look(id, view) => {
                if !self.look(&mut next, id, &view) {
                    return None;
                }
            }
            Action::Ask(id, stale) => self.ask(&mut next, id, stale),
            Action::Fit(id, view) => self.fit(&mut next, id, &view),
            Action::Write(id, reply) => {
                if !matches!(reply, Reply::Answered | Reply::Anew | Reply::Already) {
                    next.budget.faults -= 1;
                }
                match &world.machines[id as usize].step {
                    Step::Cut(_) => self.cut(&mut next, id, reply),
                    Step::Release(_) => self.release(&mut next, id),
                    _ => self.associate(&mut next, id, reply),
                }
            }
            Action::Peek(id, version) => {
                if !self.peek(&mut next, id, version) {
                    return None;
                }
            }
            Action::TimeOut(id) => self.time_out(&mut next, id),
            Action::Confirm(id, version) => {
                if !self.confirm(&mut next, id, version) {
                    return None;
                }
            }
            Action::Unconfirmed(id) => {
                next.budget.faults -= u8::from(!self.shows_nothing(world, id));
                self.unconfirmed(&mut next, id);
            }
        }
        let next = next.canonical();
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises()
    }
}
