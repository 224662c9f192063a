//! Ways of answering that no honest service has, and a run of the binary that is watched while it reads them.

use std::fmt::Debug;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fakecloud::{Cloud, Fault, Flow};

use crate::harness::{Run, binary, command, each, finish};
use crate::prove::size;

/// Long enough for two attempts at IMDS, whose limit is a second.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// What a busy machine may need to start a process and to end it.
const GRACE: Duration = Duration::from_secs(2);
/// The longest text of somebody else's that is repeated has 4 KiB, and in JSON a message, a cause and escapes.
const LONGEST_LINE: usize = 16 << 10;

/// A way of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Empty,
    Whitespace,
    /// 64 MiB, as announced.
    Huge,
    /// Chunks without end.
    Endless,
    /// Less than was announced, then the end of the connection.
    Cut,
    /// A page, as a captive portal has it.
    Page,
    NotUtf8,
    /// A JSON object with every field that is read anywhere, none of them a string.
    WrongTypes,
    /// The right object, in an array.
    Array,
    /// Thirty thousand arrays in one another.
    Deep,
    Nul,
    /// A word that is just short enough to be read.
    LongLine,
    /// A byte every 50 ms: always something new, never an end.
    Trickle,
}

/// All of them.
pub const KINDS: [Kind; 13] = {
    use Kind::*;
    [Empty, Whitespace, Huge, Endless, Cut, Page, NotUtf8, WrongTypes, Array, Deep, Nul, LongLine, Trickle]
};

const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>a captive portal</body></html>";
const WRONG_TYPES: &str = r#"{"instanceId":7,"region":["ap-northeast-2"],"availabilityZone":{},"pendingTime":true,
    "Code":1,"Type":null,"AccessKeyId":{"a":1},"SecretAccessKey":[2],"Token":3.5,"Expiration":-1}"#;
const ARRAY: &str = r#"[{"instanceId":"i-0123456789abcdef0","region":"ap-northeast-2","availabilityZone":"ap-northeast-2a",
    "pendingTime":"2026-01-01T00:00:00Z","Code":"Success","AccessKeyId":"AKIA","SecretAccessKey":"s","Token":"t",
    "Expiration":"2036-01-01T00:00:00Z"}]"#;

impl Kind {
    /// The fault that answers so, with status 200.
    pub fn fault(self, headers: Vec<(&'static str, String)>) -> Fault {
        let text = |text: &str| (text.as_bytes().to_vec(), Flow::Whole);
        let (body, flow) = match self {
            Kind::Empty => text(""),
            Kind::Whitespace => text(" \n\t \r\n"),
            Kind::Huge => (vec![b'a'; 16 << 10], Flow::Repeated(64 << 20)),
            Kind::Endless => (vec![b'a'; 16 << 10], Flow::Endless),
            Kind::Cut => (br#"{"instanceId":"i-0123"#.to_vec(), Flow::Cut),
            Kind::Page => text(PAGE),
            Kind::NotUtf8 => (vec![b'a', 0xff, 0xfe, 0xc0, b'b'], Flow::Whole),
            Kind::WrongTypes => text(WRONG_TYPES),
            Kind::Array => text(ARRAY),
            Kind::Deep => (vec![b'['; 30_000], Flow::Whole),
            Kind::Nul => text("a\0b"),
            Kind::LongLine => (vec![b'a'; 60_000], Flow::Whole),
            Kind::Trickle => (vec![b'a'; 2_000], Flow::Trickle),
        };
        Fault::Raw { done: false, status: 200, headers, body, flow }
    }
}

/// A run, and the most memory that it ever had, in KiB.
#[derive(Debug)]
pub struct Measured {
    pub run: Run,
    pub peak: u64,
}

/// Runs the binary as `instance`, and watches its memory from its first instruction.
///
/// `VmHWM` is the mark of the process's own memory: it begins with the program, not with what started it,
/// and only grows, so the last reading before the end is the peak but for the last few milliseconds.
pub fn measured(cloud: &Cloud, instance: &str, arguments: &[&str]) -> Measured {
    let timeout = format!("--timeout={}ms", TIMEOUT.as_millis());
    let arguments = [arguments, &[&timeout, "--log-level=debug"]].concat();
    let child = command(&cloud.env(instance), &arguments).spawn().expect("the binary starts");
    let (status, over) = (format!("/proc/{}/status", child.id()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(high_water(&fs::read_to_string(&status).unwrap_or_default()));
                std::thread::sleep(Duration::from_millis(2));
            }
            peak
        });
        let run = finish(child);
        over.store(true, Ordering::Relaxed);
        Measured { run, peak: watch.join().expect("no panic") }
    })
}

/// The peak in `/proc/PID/status`; a process that has ended has none, and one that is not yet the program,
/// whose name has fifteen letters at most there, shows that of the tests.
fn high_water(status: &str) -> u64 {
    let name: String =
        binary().file_name().map(|name| name.to_string_lossy().chars().take(15).collect()).unwrap_or_default();
    if !status.starts_with(&format!("Name:\t{name}\n")) {
        return 0;
    }
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

impl Measured {
    /// Asserts what every run owes, however it ends: a result of one line, in time, within `memory` KiB,
    /// texts that have an end and steer no terminal, and no secret in any of them.
    pub fn is_sound(&self, row: &str, cloud: &Cloud, memory: u64) {
        let Self { run, peak } = self;
        let short = |text: &str| text.chars().take(2_000).collect::<String>();
        let told = || format!("{row}: exit {}, {} KiB\n{}\n{}", run.exit, peak, short(&run.stdout), short(&run.stderr));
        assert!([0, 69, 70, 75, 77, 78].contains(&run.exit), "an exit code of the table: {}", told());
        assert!(!run.stderr.contains("panicked"), "{}", told());
        assert_eq!(run.stdout.lines().count(), 1, "one line: {}", told());
        assert!(run.json().is_object(), "{}", told());
        let longest = run.stdout.lines().chain(run.stderr.lines()).map(str::len).max().unwrap_or(0);
        assert!(longest <= LONGEST_LINE, "a line of {longest} bytes: {}", told());
        let controls = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
        assert!(!controls(&run.stdout) && !controls(&run.stderr), "control characters: {}", told());
        assert!(run.took <= TIMEOUT + GRACE, "{:?}: {}", run.took, told());
        assert!(*peak > 0 && *peak <= memory, "memory: {}", told());
        for request in cloud.log() {
            for secret in ["x-aws-ec2-metadata-token", "x-amz-security-token"].map(|name| request.headers.get(name)) {
                // A token that is itself nonsense (`a`) may well be part of a word.
                let secret = secret.filter(|secret| secret.len() > 20);
                assert!(secret.is_none_or(|s| !run.stderr.contains(s) && !run.stdout.contains(s)), "{}", told());
            }
        }
    }
}

/// Asks for everything in `asked` and has it answered in each of `ways`, several at a time: with `hostile`, which
/// tells the memory that the run has had in KiB. The short size takes every third pair, in diagonals, so that all that
/// is asked and all the ways are among them.
pub fn every_pair<A, W>(of: &str, asked: &[A], ways: &[W], hostile: impl Fn(A, W) -> u64 + Sync)
where
    A: Copy + Debug + Send + Sync,
    W: Copy + Debug + Send + Sync,
{
    let every = size(3, 1);
    let all = asked
        .iter()
        .enumerate()
        .flat_map(|(a, item)| ways.iter().enumerate().map(move |(w, way)| (a + w, *item, *way)));
    let pairs: Vec<_> = all.filter(|(n, ..)| n % every == 0).collect();
    let (count, peaks, start) = (pairs.len(), Mutex::new(Vec::new()), Instant::now());
    each(pairs, |(_, item, way)| {
        let peak = hostile(item, way);
        peaks.lock().expect("no pair panics with the lock").push((peak, item, way));
    });
    let peaks = peaks.into_inner().expect("no pair panicked with the lock");
    let most = peaks.iter().max_by_key(|(peak, ..)| *peak).expect("there are pairs");
    println!("{count} hostile answers of {of} in {:?}: at most {most:?} KiB resident", start.elapsed());
}
