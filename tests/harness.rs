//! Runs the real binary as an instance of the fake cloud would, and reads what it left behind.
//!
//! The binary is the one that cargo built for these tests, or the one that `CLAIM_BINARY` names.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fakecloud::{Allocation, Cloud, Fault, Launch, Options, Request, Service, tags};
use serde_json::Value;

/// An hour: longer than any role takes to propagate.
pub const OLD: Duration = Duration::from_secs(60 * 60);

/// The keys of the result, in their order.
pub const KEYS: [&str; 14] = [
    "allocation_id",
    "association_id",
    "attempts",
    "availability_zone",
    "elapsed_ms",
    "error",
    "instance_id",
    "network_interface_id",
    "outcome",
    "previous_holder",
    "private_ip",
    "public_ip",
    "region",
    "verified_by",
];

/// A run of the binary that has ended.
#[derive(Debug)]
pub struct Run {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Run {
    /// The result, which `--output json` prints.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The error in the result: its code, message and remedy.
    pub fn error(&self, field: &str) -> String {
        self.json()["error"][field].as_str().unwrap_or_default().to_owned()
    }

    /// Asserts exit code and outcome, and returns the result.
    pub fn expect(&self, exit: i32, outcome: &str) -> Value {
        assert_eq!((self.exit, self.json()["outcome"].as_str()), (exit, Some(outcome)), "{self:#?}");
        self.json()
    }
}

/// The binary under test.
pub fn binary() -> PathBuf {
    std::env::var_os("CLAIM_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_eip-claim").into(), PathBuf::from)
}

/// The binary with an environment of its own: nothing of the one that runs the tests gets in.
pub fn command(variables: &[(String, String)], arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .env_clear()
        .env("EIP_CLAIM_OUTPUT", "json")
        .envs(variables.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts the binary as `instance`.
pub fn start(cloud: &Cloud, instance: &str, arguments: &[&str]) -> Child {
    command(&cloud.env(instance), arguments).spawn().expect("the binary starts")
}

/// Waits for a started binary, at most a minute.
pub fn finish(mut child: Child) -> Run {
    let start = Instant::now();
    let mut pipes = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let read = std::thread::spawn(move || {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let err = std::thread::spawn(move || pipes.1.read_to_string(&mut stderr).map(|_| stderr));
        pipes.0.read_to_string(&mut stdout).expect("UTF-8");
        (stdout, err.join().expect("no panic").expect("UTF-8"))
    });
    let status = loop {
        match child.try_wait().expect("a child of ours") {
            Some(status) => break status,
            None if start.elapsed() > Duration::from_secs(60) => {
                child.kill().expect("a child of ours");
                panic!("the binary runs for more than a minute: {:?}", read.join());
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let (stdout, stderr) = read.join().expect("no panic");
    Run { exit: status.code().unwrap_or(-1), stdout, stderr, took: start.elapsed() }
}

/// Runs the binary as `instance` to its end.
pub fn run(cloud: &Cloud, instance: &str, arguments: &[&str]) -> Run {
    finish(start(cloud, instance, arguments))
}

/// A cloud with one address tagged `asg=test`, and one instance that is in service for an hour.
pub fn one_of_each() -> (Cloud, Allocation, String) {
    let cloud = Cloud::start(Options::default());
    let address = cloud.allocate(&[("asg", "test")]);
    let instance = cloud.launch(launch(OLD));
    (cloud, address, instance)
}

/// An instance in service, launched `ago`, in the group `asg=test`.
pub fn launch(ago: Duration) -> Launch {
    Launch {
        launched: Some(ago),
        lifecycle: Some("InService".to_owned()),
        tags: tags(&[("asg", "test")]),
        ..Launch::default()
    }
}

/// What was written, dry runs aside: `AssociateAddress` and `DisassociateAddress`.
pub fn writes(cloud: &Cloud) -> Vec<Request> {
    let is_write = |r: &Request| ["AssociateAddress", "DisassociateAddress"].contains(&r.action.as_str()) && !r.dry_run;
    cloud.log().into_iter().filter(is_write).collect()
}

/// Asserts that nothing was written.
pub fn assert_no_writes(cloud: &Cloud) {
    assert_eq!(writes(cloud).len(), 0, "{:#?}", writes(cloud));
}

/// Who holds `address`, in truth.
pub fn holder(cloud: &Cloud, address: &Allocation) -> Option<String> {
    cloud.holder(&address.allocation_id)?.instance_id
}

/// How a run ended: exit code and outcome, to be compared with a row's name in the message.
pub fn ended(run: &Run) -> (i32, String) {
    (run.exit, run.json()["outcome"].as_str().unwrap_or_default().to_owned())
}

/// The calls of EC2 that arrived, in their order; a trial is marked as one.
pub fn sent(cloud: &Cloud) -> Vec<String> {
    let name = |r: &Request| if r.dry_run { format!("{} (DryRun)", r.action) } else { r.action.clone() };
    cloud.log().iter().filter(|r| r.service == Service::Ec2).map(name).collect()
}

/// Waits until `seen` holds; a test whose moment does not come within ten seconds fails.
pub fn wait_until(what: &str, seen: impl Fn() -> bool) {
    let start = Instant::now();
    while !seen() {
        assert!(start.elapsed() < Duration::from_secs(10), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// An error answer as a fault.
pub fn answer(status: u16, code: &str, message: &str) -> Fault {
    Fault::Error { status, code: code.to_owned(), message: message.to_owned() }
}

/// How many rows run at a time: enough to share the waiting, few enough to leave each its share of a small machine.
const AT_A_TIME: usize = 6;

/// Checks the rows side by side, since most of them spend their time waiting.
pub fn each<T: Send>(rows: impl IntoIterator<Item = T>, check: impl Fn(T) + Sync) {
    let queue = Mutex::new(rows.into_iter().collect::<Vec<_>>().into_iter());
    let next = || queue.lock().expect("no row panics with the lock").next();
    std::thread::scope(|scope| {
        let work = || {
            while let Some(row) = next() {
                check(row);
            }
        };
        let threads: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        let failed = threads.into_iter().filter_map(|thread| thread.join().err()).count();
        assert_eq!(failed, 0, "rows failed, each with its name above");
    });
}

/// A short attempt timeout where a call is left without an answer, a long one wherever a busy machine
/// must not be taken for a hung peer. The short one ends before a write counts as unanswered.
pub fn patience(fault: &Fault) -> &'static str {
    match fault {
        Fault::Hang | Fault::CommitThenHang => "--attempt-timeout=1s",
        _ => "--attempt-timeout=5s",
    }
}
