//! Parse, run, print, exit.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use eip_claim::cli::{Options, Output};
use eip_claim::command::{self, End};
use eip_claim::error::Exit;
use eip_claim::stop::Stop;
use eip_claim::{layers, log, result_file};

fn main() -> ExitCode {
    let options = Options::from_process();
    let directory = match &options {
        Ok(options) if !options.command.leaves_a_result() => None,
        _ => result_file::directory(),
    };
    let options = match options {
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
        Ok(end) => {
            print(&end, options.output, directory.as_deref());
            ExitCode::from(end.exit as u8)
        }
        Err(error) => {
            tracing::error!("cannot start: {error}");
            ExitCode::from(Exit::Software as u8)
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: &Options) -> std::io::Result<End> {
    let stop = Stop::on_signals()?;
    Ok(command::run(options, &stop).await)
}

fn print(end: &End, output: Output, directory: Option<&Path>) {
    // Standard output being closed is no reason to fail.
    let _ = match output {
        Output::Text => writeln!(std::io::stdout(), "{}", end.text),
        Output::Json => writeln!(std::io::stdout(), "{}", end.json),
    };
    if let Some(directory) = directory
        && let Err(error) = result_file::save(&end.json, directory)
    {
        tracing::warn!("cannot write result.json to {}: {error}", directory.display());
    }
}
