//! Seeded rounds, several at a time: each tells its flaws, and a seed that failed can be run again alone.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread::scope;
use std::time::Instant;

/// Rounds mostly wait; more at a time than this would keep a machine of two cores so busy that hung peers and
/// starved ones could not be told apart.
const AT_A_TIME: usize = 8;

/// What a round has shown: its figures, or its flaws.
pub type Shown<T> = Result<T, String>;

/// Plays `count` rounds of `name`, or only that of the variable `SEED`, and returns their figures.
///
/// # Panics
/// At the end, with every seed that failed, when the flaws of each have been printed as they came.
pub fn rounds<T: Send>(name: &str, count: u64, round: impl Fn(u64) -> Shown<T> + Sync) -> Vec<T> {
    let only = std::env::var("SEED").ok().map(|seed| seed.parse::<u64>().expect("SEED is a number"));
    let seeds = only.map_or(0..count, |seed| seed..seed + 1);
    let (queue, start) = (Mutex::new(seeds), Instant::now());
    let (figures, failed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let next = || queue.lock().expect("no round holds it").next();
    scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    let shown = catch_unwind(AssertUnwindSafe(|| round(seed)))
                        .unwrap_or_else(|panic| Err(format!("the round itself panicked: {}", message(&*panic))));
                    match shown {
                        Ok(shown) => figures.lock().expect("no round holds it").push(shown),
                        Err(flaws) => {
                            println!("\n=== {}\n{flaws}", again(name, seed));
                            failed.lock().expect("no round holds it").push(seed);
                        }
                    }
                }
            });
        }
    });
    let (figures, mut failed) =
        (figures.into_inner().expect("no round is left"), failed.into_inner().expect("no round is left"));
    failed.sort_unstable();
    let lines: Vec<String> = failed.iter().map(|seed| again(name, *seed)).collect();
    assert!(failed.is_empty(), "{} rounds failed, their flaws are above:\n{}", failed.len(), lines.join("\n"));
    println!("{name}: {} rounds in {:.1} s", figures.len(), start.elapsed().as_secs_f64());
    figures
}

/// The line that plays one round alone.
fn again(name: &str, seed: u64) -> String {
    format!("SEED={seed} cargo test --test tests prove::{name} -- --nocapture")
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string())).unwrap_or_default()
}
