//! The tests that need the built program, the fake cloud, or somebody else's.
// A test may panic: that is how it fails. Nobody reads the documentation of a test crate.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs, unreachable_pub)]

mod fence;
mod harness;
mod moto;
mod decide_properties;
