//! Parse, run, print, exit.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use eip_claim::claim::claim;
use eip_claim::cli::{Options, Output};
use eip_claim::error::Exit;
use eip_claim::report::Report;
use eip_claim::stop::Stop;
use eip_claim::{layers, log, result_file};

fn main() -> ExitCode {
    let directory = result_file::directory();
    let options = match Options::from_process() {
        Ok(options) => options,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            // Standard output or error being closed is no reason to fail.
            let _ = error.print();
            return ExitCode::from(exit as u8);
        }
    };
    log::start(&options);
    layers::warn_of_strangers();
    match run(&options) {
        Ok(report) => {
            print(&report, options.output, directory.as_deref());
            ExitCode::from(report.exit() as u8)
        }
        Err(error) => {
            tracing::error!("cannot start: {error}");
            ExitCode::from(Exit::Software as u8)
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: &Options) -> std::io::Result<Report> {
    let stop = Stop::on_signals()?;
    Ok(claim(options, &stop).await)
}

fn print(report: &Report, output: Output, directory: Option<&Path>) {
    report.log();
    let result = match output {
        Output::Text => report.text(),
        Output::Json => report.json().to_string(),
    };
    // Standard output being closed is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{result}");
    if let Some(directory) = directory
        && let Err(error) = result_file::save(report, directory)
    {
        tracing::warn!("cannot write result.json to {}: {error}", directory.display());
    }
}
