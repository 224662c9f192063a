//! A herd of up to ten thousand claimers under EC2's published limits, in simulated time.
//!
//! The policy, the order of the candidates, the backoff and the classes of failures are those of the program;
//! EC2 is an address pool that reads show late behind two token buckets (`simulation/ec2.rs`), and the steps
//! between calls are written down once more (`simulation/claimer.rs`). `herd.rs` compares it with real processes.
//!
//! `PROVE=full HERD_PLOT=docs/herd.svg cargo test --test tests prove::simulation -- --nocapture` draws the picture
//! of docs/herd.md, and prints the rows of its table.

mod claimer;
mod ec2;
mod herd;
mod plot;

use std::path::Path;
use std::time::Duration;

pub use claimer::IDENTITY;
pub use herd::{Herd, Outcome};
use plot::Curve;

use super::size;

const PAGE: &str = include_str!("../../docs/herd.md");
/// How many claimers, and with how many seeds: the smaller the herd, the more is chance.
const HERDS: &[(usize, u64)] =
    &[(10, 20), (20, 20), (50, 20), (100, 20), (200, 10), (500, 5), (1_000, 3), (2_000, 1), (5_000, 1), (10_000, 1)];
/// How many of them are simulated as part of all tests: to a thousand claimers, in seconds.
const SHORT: usize = 7;

/// The mean of a figure over several runs.
pub fn mean(runs: &[Outcome], figure: impl Fn(&Outcome) -> f64) -> f64 {
    runs.iter().map(figure).sum::<f64>() / runs.len() as f64
}

#[test]
fn a_claimer_alone_needs_one_look_one_write_and_one_confirming_read() {
    let run = Herd { read_lag: Duration::ZERO, ..Herd::published(1, 0) }.run();
    assert_eq!((run.reads.admitted, run.reads.throttled), (2, 0));
    assert_eq!((run.writes.admitted, run.writes.throttled), (1, 0));
    assert!(run.times[0] < Duration::from_millis(100), "{run:?}");
}

#[test]
fn a_herd_takes_little_more_time_and_few_more_writes_than_its_limits_alone_demand() {
    let herds: Vec<Vec<_>> = HERDS[..size(SHORT, HERDS.len())]
        .iter()
        .map(|(claimers, seeds)| (0..*seeds).map(|seed| Herd::published(*claimers, seed).run()).collect())
        .collect();
    for runs in &herds {
        println!("{}", row(runs));
        for run in runs {
            // In the end a pause takes three seconds on average, but only the last ones pause to the end.
            let calls = 40.0 + run.end.as_secs_f64() / 4.0;
            assert!(run.calls() < calls, "{}", run.line());
        }
        let claimers = runs[0].herd.size;
        let (of_ideal, writes) = (mean(runs, Outcome::of_ideal), mean(runs, Outcome::admitted_writes));
        match claimers {
            // So few are through before the limits flow at their rate: what counts is that nobody waits for long.
            ..100 => assert!(mean(runs, |run| run.end.as_secs_f64()) < 10.0, "{}", row(runs)),
            100.. => assert!(of_ideal <= 1.3 && writes <= 1.1, "{}", row(runs)),
        }
    }
    draw(&herds);
    for runs in &herds {
        assert!(PAGE.contains(&row(runs)), "docs/herd.md says something else than\n{}", row(runs));
    }
}

#[test]
fn the_later_reads_are_the_more_writes_collide_but_few_even_so() {
    let rows = [(0, 1.2), (100, 1.3), (300, 1.6), (1_000, 2.5)].map(|(milliseconds, at_most)| {
        let read_lag = Duration::from_millis(milliseconds);
        let runs: Vec<_> = (0..20).map(|seed| Herd { read_lag, ..Herd::published(100, seed) }.run()).collect();
        let (of_ideal, writes) = (mean(&runs, Outcome::of_ideal), mean(&runs, Outcome::admitted_writes));
        let row = format!("| {milliseconds} ms | {of_ideal:.2} | {writes:.2} | {:.1} |", mean(&runs, Outcome::calls));
        println!("{row}");
        assert!(of_ideal <= at_most, "{row}");
        row
    });
    for row in rows {
        assert!(PAGE.contains(&row), "docs/herd.md says something else than\n{row}");
    }
}

/// The row of a herd in the table of docs/herd.md: the means of its runs.
fn row(runs: &[Outcome]) -> String {
    let worst = |run: &Outcome| run.times.last().map_or(0.0, Duration::as_secs_f64);
    format!(
        "| {} | {:.1} s | {:.1} s | {:.2} | {:.2} | {:.1} | {:.1} s | {:.1} s |",
        runs[0].herd.size,
        runs[0].herd.ideal().as_secs_f64(),
        mean(runs, |run| run.end.as_secs_f64()),
        mean(runs, Outcome::of_ideal),
        mean(runs, Outcome::admitted_writes),
        mean(runs, Outcome::calls),
        mean(runs, |run| run.median().as_secs_f64()),
        mean(runs, worst),
    )
}

/// Draws the growth where `HERD_PLOT` says.
fn draw(herds: &[Vec<Outcome>]) {
    let Some(path) = std::env::var_os("HERD_PLOT") else { return };
    let points = |figure: fn(&Outcome) -> f64| {
        herds.iter().map(|runs| (runs[0].herd.size as f64, mean(runs, figure))).collect::<Vec<_>>()
    };
    let curves = [
        Curve { title: "total time / ideal", values: 0.0..4.0, points: points(Outcome::of_ideal) },
        Curve { title: "calls per instance", values: 0.0..450.0, points: points(Outcome::calls) },
        Curve { title: "admitted writes per instance", values: 1.0..1.5, points: points(Outcome::admitted_writes) },
    ];
    plot::draw(Path::new(&path), &curves).expect("the picture can be drawn");
}
