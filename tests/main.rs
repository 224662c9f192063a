//! The tests that need the built program, the fake cloud, or somebody else's.

mod harness;
mod decide_properties;
