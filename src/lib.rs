//! Claims the Elastic IP address that belongs to this EC2 instance, proves it, and never steals it back.
//!
//! In reading order:
//! - [`cli`]: what the operator wants, from the command line, the environment and a file.
//! - [`imds`]: who and where this instance is; [`credentials`]: by what right it acts;
//!   [`gate`]: whether it should claim at all.
//! - [`world`] and [`decide`]: what a look shows, and the policy, a pure function of it.
//! - [`claim`]: the loop. Its rounds look, decide and act (`round`), take an address from a holder (`fence`),
//!   and prove what they did (`confirm`), to the internet as well where that is asked for (`egress`).
//! - `afterwards`: what Auto Scaling is told of it (`scaling`).
//! - [`check`]: what a claim needs, and what is missing (`check_aws`, `reachable`, `trials`, `iam`, [`checklist`]).
//! - [`status`]: what there is to see (`shown`), and `plan`, what a claim would do.
//! - [`release`]: the way back. [`command`]: which of these runs, and how it ended.
//! - [`cloud`]: the few calls of the SDK, which are made there and in `scaling`, `shown` and `trials` alone,
//!   over [`http`], which passes on only what AWS may have said (`sanity`), on connections (`connect`)
//!   to hosts whose names are looked up without the C library (`names`); of several ways the first one wins (`race`).
//! - [`classify`], [`error`] and [`retry`]: what failures mean, and when to try again; `meaning` has the words.
//! - [`report`] and [`result_file`]: the result, for people and for machines.

mod afterwards;
mod answers;
mod attempt;
pub mod check;
mod check_aws;
pub mod checklist;
pub mod claim;
pub mod classify;
pub mod cli;
pub mod cloud;
pub mod command;
mod confirm;
mod connect;
pub mod credentials;
pub mod decide;
mod egress;
mod endpoints;
mod env_file;
pub mod error;
mod explain;
mod fence;
pub mod gate;
mod here;
pub mod http;
mod iam;
pub mod ids;
pub mod imds;
pub mod layers;
pub mod log;
mod meaning;
mod metadata;
mod names;
mod plan;
mod race;
mod reachable;
mod reasons;
pub mod release;
pub mod report;
pub mod result_file;
pub mod retry;
mod round;
mod sanity;
mod scaling;
mod selector;
mod shown;
pub mod status;
pub mod stop;
pub mod style;
mod table;
mod target;
mod trials;
pub mod world;
