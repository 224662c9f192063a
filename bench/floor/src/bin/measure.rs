//! `measure FILE PROGRAM ARGUMENT…`: runs a program, and writes to the file what it and all of its descendants used.
//!
//! One line of JSON: the time from start to end on the wall, processor time in user and system, the peak of the
//! resident memory of the largest process, and the exit code.
//!
//! The kernel counts for a child what its parent had in memory when it was started, so that a small program can only
//! be measured by one that is smaller.
#![forbid(unsafe_code)]

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use std::process::{Command, ExitCode};
use std::time::Instant;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [file, program, rest @ ..] = &*arguments else {
        eprintln!("usage: measure FILE PROGRAM ARGUMENT…");
        return ExitCode::FAILURE;
    };
    let start = Instant::now();
    let status = Command::new(program).args(rest).status();
    let wall = start.elapsed();
    let measured = status.and_then(|status| {
        let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let micros = |time: TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
        let (user, system, peak) = (micros(used.user_time()), micros(used.system_time()), used.max_rss());
        let code = status.code().unwrap_or(-1);
        let wall = wall.as_micros();
        let line = format!(
            r#"{{"wall_us": {wall}, "user_us": {user}, "system_us": {system}, "peak_kib": {peak}, "exit": {code}}}"#
        );
        std::fs::write(file, line + "\n")
    });
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", program.display());
            ExitCode::FAILURE
        }
    }
}
