//! Random faults, crashes and runs again, on seeded scripts: no invariant breaks, and every exit code has its reason.

mod answers;
mod ills;
mod judge;
mod script;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use fakecloud::{Fault, InstanceState};

use crate::prove::chaos::ills::Ill;
use crate::prove::chaos::judge::{Claim, Judge};
use crate::prove::chaos::script::{Life, Script, Spell, draw};
use crate::prove::chaos::world::World;
use crate::prove::rounds::{Shown, rounds};
use crate::prove::runs::{Orders, Plan, play};
use crate::prove::size;
use crate::prove::truth::Truth;

#[test]
fn whatever_goes_wrong_no_invariant_breaks_and_every_exit_code_has_its_reason() {
    let mut figures = BTreeMap::new();
    for (what, count) in rounds("chaos", size(40, 500), round).into_iter().flatten() {
        *figures.entry(what).or_insert(0) += count;
    }
    println!("chaos: {figures:?}");
}

/// How often something happened.
type Figures = BTreeMap<String, usize>;

fn round(seed: u64) -> Shown<Figures> {
    let script = draw(seed);
    let world = &script.world;
    let (mut claims, spells) = perform(&script);
    let (last, flaws) = healed(&script);
    claims.extend(last);
    let truth = Truth::of(&world.cloud);
    let judge = Judge { world, truth: &truth, spells: &spells, claims: &claims };
    let flaws: Vec<String> = judge.flaws().into_iter().chain(flaws).collect();
    if !flaws.is_empty() {
        let spells: Vec<_> = spells.iter().map(|s| format!("{:?}..{:?} {:?}", s.from, s.until, s.ill)).collect();
        let runs: Vec<_> = claims.iter().map(|claim| claim.run.line()).collect();
        let (policy, options) = (world.policy, &script.orders.options);
        let head = format!("--- {policy} {options:?} {:?} of {:?}", world.selected, world.instances);
        let parts = [flaws.join("\n"), head, spells.join("\n"), runs.join("\n"), truth.story()];
        return Err(parts.join("\n"));
    }
    let mut figures = Figures::new();
    let mut count = |what: String| *figures.entry(what).or_insert(0) += 1;
    for claim in &claims {
        count("runs".to_owned());
        count(claim.run.exit.map_or("killed".to_owned(), |code| format!("exit {code}")));
        if claim.run.was_killed() && matches!(claim.run.plan, Plan::KillInFence(_)) {
            count("killed in the fence".to_owned());
            if claim.selected.iter().any(|id| truth.holder(id, claim.run.end).is_none()) {
                count("killed with an address on nobody".to_owned());
            }
        }
    }
    spells.iter().for_each(|_| count("ills".to_owned()));
    let takeovers = truth.history.iter().filter(|event| event.from.is_some() && event.by.is_some() && !event.remap);
    takeovers.for_each(|_| count("cut off".to_owned()));
    Ok(figures)
}

/// Plays the script until the last run of it has ended; returns the runs and what really went wrong when.
fn perform(script: &Script) -> (Vec<Claim>, Vec<Spell>) {
    let world = &script.world;
    let over = AtomicBool::new(false);
    scope(|scope| {
        let trouble = scope.spawn(|| trouble(script, &over));
        let lives = world.instances.iter().zip(&script.lives);
        let lives: Vec<_> = lives.map(|(id, life)| scope.spawn(move || live(script, id, life))).collect();
        let mut claims: Vec<Claim> =
            lives.into_iter().flat_map(|life| life.join().expect("a life does not panic")).collect();
        over.store(true, Ordering::Relaxed);
        claims.sort_by_key(|claim| claim.run.start);
        (claims, trouble.join().expect("the trouble does not panic"))
    })
}

fn live(script: &Script, id: &str, life: &Life) -> Vec<Claim> {
    let run = |(pause, plan): &(Duration, Plan)| {
        sleep(*pause);
        let run = play(&script.world.cloud, id, &script.orders, *plan);
        Claim { run, policy: script.world.policy, selected: script.world.selected.clone() }
    };
    life.0.iter().map(run).collect()
}

/// Lets things go wrong in their time, and mends them, in the end all of them.
fn trouble(script: &Script, over: &AtomicBool) -> Vec<Spell> {
    let (world, start) = (&script.world, script.world.cloud.elapsed());
    let mut felt: Vec<Spell> = Vec::new();
    let mut moments: Vec<(Duration, bool, usize)> = Vec::new();
    for (n, spell) in script.spells.iter().enumerate() {
        moments.push((spell.from, true, n));
        if !spell.ill.is_moment() && spell.until < Duration::MAX {
            moments.push((spell.until, false, n));
        }
    }
    moments.sort();
    let mut active: Vec<(usize, usize)> = Vec::new();
    for (at, begins, n) in moments {
        while world.cloud.elapsed() < start + at && !over.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(2));
        }
        let is_late = over.load(Ordering::Relaxed);
        let spell = &script.spells[n];
        let now = world.cloud.elapsed();
        if begins && !is_late {
            active.push((n, felt.len()));
            switch(world, &spell.ill, true);
            let until = if spell.ill.is_moment() { world.cloud.elapsed() } else { Duration::MAX };
            felt.push(Spell { ill: spell.ill.clone(), from: now, until });
        } else if let Some(place) = active.iter().position(|(active, _)| !begins && *active == n) {
            let (_, place) = active.remove(place);
            switch(world, &spell.ill, false);
            felt[place].until = world.cloud.elapsed();
        }
        set_faults(script, &active);
    }
    // Ills that began keep their faults until here.
    set_faults(script, &[]);
    // What was carried out late is carried out before the last runs.
    let delays = felt.iter().filter_map(|spell| match spell.ill {
        Ill::Mute { fault: Fault::Delay(delay), .. } => Some(delay),
        Ill::Latency(latency) => Some(latency),
        _ => None,
    });
    sleep(delays.max().unwrap_or_default().max(Duration::from_millis(100)));
    felt
}

fn switch(world: &World, ill: &Ill, on: bool) {
    world.change(|| {
        if let Ill::ZoneFails(zone) = ill {
            world.zone(zone, on);
        }
        if on { ill.begin(world) } else { ill.end(world) }
    });
}

/// The faults of calls that are active now, in the order in which they began.
fn set_faults(script: &Script, active: &[(usize, usize)]) {
    let cloud = &script.world.cloud;
    cloud.clear_faults();
    for (n, _) in active {
        let (api, calls, fault, only) = match &script.spells[*n].ill {
            Ill::Mute { api, calls, fault, only } => (*api, calls.clone(), fault.clone(), *only),
            Ill::Wrong { api, calls, answer, only } => (*api, calls.clone(), answer.fault(api), *only),
            _ => continue,
        };
        let set = cloud.fault(api, calls, fault);
        if let Some(one) = only {
            set.only(&script.world.instances[one]);
        }
    }
}

/// Everything is well, and every instance that runs claims once more: then everything is as it should be.
fn healed(script: &Script) -> (Vec<Claim>, Vec<String>) {
    let world = &script.world;
    let cloud = &world.cloud;
    let running: Vec<&String> = script.last.iter().map(|n| &world.instances[*n]).collect();
    let running: Vec<&String> = running.into_iter().filter(|id| cloud.state(id) == InstanceState::Running).collect();
    let all: Vec<String> = world.addresses.iter().map(|address| address.allocation_id.clone()).collect();
    let enough = all.len() == 1 || all.len() >= running.len();
    // Where a pool is too small, somebody waits to the end.
    let seconds = if enough { (20, 3) } else { (4, 1) };
    let orders = Orders {
        timeout: Duration::from_secs(seconds.0),
        attempt_timeout: Duration::from_secs(seconds.1),
        options: vec!["--tag=asg=test".to_owned()],
    };
    let claims = running.iter().map(|id| Claim {
        run: play(cloud, id, &orders, Plan::Leave),
        policy: "successor",
        selected: all.clone(),
    });
    let claims: Vec<Claim> = claims.collect();
    let holders: Vec<String> = all.iter().filter_map(|id| cloud.holder(id)?.instance_id).collect();
    let mut flaws = Vec::new();
    if let [_] = all.as_slice() {
        let newest = running.iter().max_by_key(|id| (world.launched(id), id.to_string()));
        if newest.is_some_and(|newest| holders != [newest.to_string()]) {
            flaws.push(format!("all is well, and {holders:?} has the address instead of {newest:?}"));
        }
    } else if enough {
        let without = running.iter().filter(|id| holders.iter().filter(|holder| holder == *id).count() != 1);
        flaws.extend(without.map(|id| format!("all is well, and {id} has not one of the addresses: {holders:?}")));
    }
    (claims, flaws)
}
