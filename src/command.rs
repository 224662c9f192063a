//! The commands: each runs to its end, and says how it ended.

use serde_json::{Value, json};

use crate::afterwards::tell_auto_scaling;
use crate::check::check;
use crate::claim::claim;
use crate::cli::{Command, Options};
use crate::error::{Error, Exit};
use crate::release::release;
use crate::report::{Report, error_json};
use crate::status::status;
use crate::stop::Stop;
use crate::style::Style;

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
        Command::Claim => {
            // Boxed, since what it is made of is nested more deeply than the compiler follows by itself.
            let report = Box::pin(claim(options, stop)).await;
            let end = End::of(&report);
            tell_auto_scaling(options, &report).await;
            end
        }
        Command::Release => End::of(&release(options, stop).await),
        Command::Check => tokio::select! {
            list = check(options) => End { exit: list.exit(), text: list.text(Style::of_stdout()), json: list.json() },
            () = stop.requested() => End::stopped(),
        },
        Command::Status => tokio::select! {
            status = status(options) => End { exit: status.exit(), text: status.text(), json: status.json() },
            () = stop.requested() => End::stopped(),
        },
    }
}

impl End {
    /// Logs the report as well: under systemd the log is what a person reads.
    fn of(report: &Report) -> Self {
        report.log();
        Self { exit: report.exit(), text: report.text(), json: report.json() }
    }

    /// A command that only looks has nothing to show when it is stopped.
    fn stopped() -> Self {
        let error = Error::stopped("before it was done", None);
        let json = json!({"outcome": "failed", "error": error_json(&error)});
        Self { exit: error.class.exit(), text: error.message, json }
    }
}
