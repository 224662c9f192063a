//! The tests that need the built program, the fake cloud, or somebody else's.
// A test may panic: that is how it fails. Nobody reads the documentation of a test crate.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs, unreachable_pub)]

mod check;
mod confirm;
mod decide_properties;
mod denied;
mod egress;
mod errors;
mod exits;
mod fence;
mod gate;
mod harness;
mod interface;
mod lifecycle;
mod metadata_errors;
mod moto;
mod options;
mod policy;
mod pools;
mod prove;
mod release;
mod requests;
mod selectors;
mod signals;
mod status;
mod targets;
mod texts;
