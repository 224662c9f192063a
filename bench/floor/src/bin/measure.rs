//! `measure FILE PROGRAM ARGUMENT…`: runs a program, and writes to the file what it and all of its descendants used.
//!
//! One line of JSON: the time from start to end on the wall, processor time in user and system, the peak of the
//! resident memory of the largest process, and the exit code.
//!
//! The kernel counts for a child what its parent had in memory when it was started, so that a small program can only
//! be measured by one that is smaller.
#![forbid(unsafe_code)]

use std::process::{Command, ExitCode};
use std::time::Instant;
use wait4::Wait4;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [file, program, rest @ ..] = &*arguments else {
        eprintln!("usage: measure FILE PROGRAM ARGUMENT…");
        return ExitCode::FAILURE;
    };
    let start = Instant::now();
    let ended = Command::new(program).args(rest).spawn().and_then(|mut child| child.wait4());
    let wall = start.elapsed().as_micros();
    let measured = ended.and_then(|ended| {
        let used = ended.rusage;
        let (user, system, peak) = (used.utime.as_micros(), used.stime.as_micros(), used.maxrss);
        let code = ended.status.code().unwrap_or(-1);
        let line = format!(
            r#"{{"wall_us": {wall}, "user_us": {user}, "system_us": {system}, "peak_bytes": {peak}, "exit": {code}}}"#
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
