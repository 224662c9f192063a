//! One run of the binary among others: started, perhaps killed, and what every run owes, whatever happened to it.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use fakecloud::{Cloud, Service};
use serde_json::Value;

use crate::harness::{KEYS, start};
use crate::prove::truth::Truth;

/// The exit codes of a claim that was given good options.
const CODES: [i32; 6] = [0, 69, 70, 75, 77, 78];
/// How the secrets begin that the fake cloud hands out: secret keys, session tokens, tokens of IMDS.
const SECRETS: [&str; 3] = ["fake/secret/", "FakeSessionToken", "AQAEAFake"];
/// What a busy machine may need to notice that a process has ended.
const PROCESS: Duration = Duration::from_millis(500);
/// What it may need to start one: never more is taken off the time that a run has taken.
const LOADING: Duration = Duration::from_secs(2);

/// How a run is to be ended from outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plan {
    /// Not at all.
    Leave,
    /// By SIGKILL, so long after its start.
    KillAfter(Duration),
    /// By SIGKILL, so long after its first DisassociateAddress was carried out: within the fence.
    KillInFence(Duration),
    /// By SIGTERM, so long after its start.
    StopAfter(Duration),
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Orders {
    pub timeout: Duration,
    pub attempt_timeout: Duration,
    /// The options that select addresses, and the policy.
    pub options: Vec<String>,
}

/// A run that has ended. Times are the cloud's.
#[derive(Debug)]
pub struct Run {
    pub instance: String,
    pub orders: Orders,
    pub plan: Plan,
    /// Right before the process was started.
    pub start: Duration,
    /// Right after its end was seen.
    pub end: Duration,
    /// Absent when a signal ended it.
    pub exit: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the binary as `instance`, and ends it as planned.
pub fn play(cloud: &Cloud, instance: &str, orders: &Orders, plan: Plan) -> Run {
    let ms = |time: Duration| format!("{}ms", time.as_millis());
    let times =
        [format!("--timeout={}", ms(orders.timeout)), format!("--attempt-timeout={}", ms(orders.attempt_timeout))];
    let arguments: Vec<&str> = times.iter().chain(&orders.options).map(String::as_str).collect();
    let (began, since) = (cloud.elapsed(), Instant::now());
    let mut child = start(cloud, instance, &arguments);
    let pipes = (reader(child.stdout.take().expect("piped")), reader(child.stderr.take().expect("piped")));
    let mut plan_left = plan;
    let mut cut_at: Option<Instant> = None;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            break status;
        }
        match plan_left {
            Plan::KillAfter(delay) if since.elapsed() >= delay => kill(&mut child),
            Plan::StopAfter(delay) if since.elapsed() >= delay => {
                let id = child.id().to_string();
                Command::new("kill").args(["-TERM", &id]).status().expect("kill is everywhere");
                plan_left = Plan::Leave;
            }
            Plan::KillInFence(delay) => match cut_at {
                None if has_cut(cloud, instance, began) => cut_at = Some(Instant::now()),
                Some(cut) if cut.elapsed() >= delay => kill(&mut child),
                _ => {}
            },
            _ => {}
        }
        // It would never end: its time tells that flaw.
        if since.elapsed() > orders.timeout * 2 + Duration::from_secs(10) {
            kill(&mut child);
        }
        sleep(Duration::from_millis(2));
    };
    let end = cloud.elapsed();
    let text = |pipe: std::thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&pipe.join().expect("reading does not panic")).into_owned()
    };
    Run {
        instance: instance.to_owned(),
        orders: orders.clone(),
        plan,
        start: began,
        end,
        exit: status.code(),
        signal: status.signal(),
        stdout: text(pipes.0),
        stderr: text(pipes.1),
    }
}

fn reader(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    spawn(move || {
        let mut bytes = Vec::new();
        // A pipe of a killed process may end in the middle of anything: what came is what there is.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

fn kill(child: &mut Child) {
    child.kill().expect("a child of ours");
}

fn has_cut(cloud: &Cloud, instance: &str, since: Duration) -> bool {
    let cuts = cloud.requests("DisassociateAddress");
    cuts.iter().any(|cut| cut.committed && cut.at >= since && cut.instance_id.as_deref() == Some(instance))
}

impl Run {
    /// The result, or null when there is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_default()
    }

    pub fn outcome(&self) -> String {
        self.json()["outcome"].as_str().unwrap_or_default().to_owned()
    }

    pub fn error(&self, field: &str) -> String {
        self.json()["error"][field].as_str().unwrap_or_default().to_owned()
    }

    /// Whether SIGKILL ended it, as planned.
    pub fn was_killed(&self) -> bool {
        self.signal == Some(9) && matches!(self.plan, Plan::KillAfter(_) | Plan::KillInFence(_))
    }

    /// One line for a person.
    pub fn line(&self) -> String {
        format!(
            "{:?}..{:?} {} {:?} {:?}/{:?}: exit {:?} signal {:?} {} {} {}",
            self.start,
            self.end,
            self.instance,
            self.plan,
            self.orders.timeout,
            self.orders.attempt_timeout,
            self.exit,
            self.signal,
            self.outcome(),
            self.error("code"),
            self.error("message"),
        )
    }

    /// The flaws of this run that need no knowledge of the world.
    pub fn flaws(&self, truth: &Truth) -> Vec<String> {
        let mut flaws = Vec::new();
        let all = [self.stdout.as_str(), self.stderr.as_str()].concat();
        if all.contains("panicked") {
            flaws.push(format!("it panicked: {}", self.stderr));
        }
        if let Some(secret) = SECRETS.iter().find(|secret| all.contains(*secret)) {
            flaws.push(format!("it printed a secret ({secret}…): {all}"));
        }
        let stopped_at_once = matches!(self.plan, Plan::StopAfter(_)) && self.signal == Some(15);
        match self.exit {
            Some(code) if !CODES.contains(&code) => flaws.push(format!("exit code {code} is not documented")),
            None if !self.was_killed() && !stopped_at_once => flaws.push(format!("it died of {:?}", self.signal)),
            _ => {}
        }
        let allowed = self.orders.timeout.mul_f64(1.05) + PROCESS + self.explaining(truth);
        let took = self.end - self.begun(truth);
        if took > allowed {
            flaws.push(format!("it ran for {took:?}, where {allowed:?} are allowed"));
        }
        if self.exit.is_some() {
            flaws.extend(self.misprint());
        }
        flaws
    }

    /// When the program began, which is when its first request came: how long a process takes to be loaded
    /// by a machine that is busy with others is not its own doing.
    pub fn begun(&self, truth: &Truth) -> Duration {
        let first = truth.sent(self).next().map_or(self.start, |request| request.at);
        first.min(self.start + LOADING)
    }

    /// The end of its log, for whoever has to find out.
    pub fn last_words(&self) -> String {
        let lines: Vec<_> = self.stderr.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n    ")
    }

    /// After the deadline one call may explain a denied one: it takes an attempt timeout, and at most 5 s.
    fn explaining(&self, truth: &Truth) -> Duration {
        let asked = truth.sent(self).any(|request| request.service == Service::Sts);
        // A call that does not get through leaves no trace but the denial.
        if asked || self.exit == Some(77) {
            self.orders.attempt_timeout.min(Duration::from_secs(5))
        } else {
            Duration::ZERO
        }
    }

    /// What is wrong with the form of the result.
    fn misprint(&self) -> Option<String> {
        let json: Value = match serde_json::from_str(&self.stdout) {
            Ok(json) => json,
            Err(error) => return Some(format!("standard output is no JSON ({error}): {:?}", self.stdout)),
        };
        let lines = self.stdout.trim_end_matches('\n').lines().count();
        let keys: BTreeSet<&str> = json.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        if lines != 1 || keys != BTreeSet::from(KEYS) {
            return Some(format!("the result is not one line with the keys of the contract: {}", self.stdout));
        }
        let words: &[&str] = match self.exit {
            Some(0) => &["claimed", "already_held", "skipped"],
            Some(69) => &["yielded", "failed"],
            _ => &["failed"],
        };
        let has_error = ["code", "message", "remedy"].iter().all(|field| !self.error(field).is_empty());
        if !words.contains(&self.outcome().as_str()) || has_error != (self.exit != Some(0)) {
            return Some(format!("exit {:?} and the result do not fit: {}", self.exit, self.stdout));
        }
        None
    }
}
