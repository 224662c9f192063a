//! What must hold whatever the timing, shown five ways: by a model, by races, by chaos, by a herd, by hostile inputs.
//!
//! As part of all tests each runs for a part of a minute. With `PROVE=full` each runs to its full size,
//! which is what `make prove` does; it prints the figures.

mod chaos;
mod herd;
mod inputs;
mod model;
mod races;
mod rounds;
mod runs;
mod simulation;
mod truth;

/// `full` with `PROVE=full`, and `short` otherwise.
pub fn size<T>(short: T, full: T) -> T {
    if std::env::var_os("PROVE").is_some_and(|size| size == "full") { full } else { short }
}
