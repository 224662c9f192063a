//! The commands: each runs to its end, and says how it ended.

use serde_json::Value;

use crate::claim::claim;
use crate::cli::{Command, Options};
use crate::error::Exit;
use crate::release::release;
use crate::report::Report;
use crate::stop::Stop;

/// How a command ended: for systemd, for a person, and for machines.
#[derive(Debug)]
pub struct End {
    /// The exit code.
    pub exit: Exit,
    /// The result for a person.
    pub text: String,
    /// The same for machines, as one object.
    pub json: Value,
}

/// Does what `options` say.
pub async fn run(options: &Options, stop: &Stop) -> End {
    match options.command {
        Command::Claim => End::of(&claim(options, stop).await),
        Command::Release => End::of(&release(options, stop).await),
    }
}

impl End {
    /// Logs the report as well: under systemd the log is what a person reads.
    fn of(report: &Report) -> Self {
        report.log();
        Self { exit: report.exit(), text: report.text(), json: report.json() }
    }
}
