//! `demo PROGRAM`: the story that eip-claim exists for, on loopback, as a timeline.
//!
//! An Auto Scaling group of one over three zones; every instance runs the real program when it boots.
//! As on EC2, calls take a while, and reads lag behind writes.
//! The demonstration fails if the program does anything else than the story says.
#![forbid(unsafe_code)]

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use fakecloud::{Cloud, Group, Options, tags};

const ZONES: [&str; 3] = ["ap-northeast-2a", "ap-northeast-2b", "ap-northeast-2c"];

fn main() -> ExitCode {
    let Some(program) = std::env::args().nth(1) else {
        eprintln!("usage: demo PROGRAM");
        return ExitCode::from(64);
    };
    match Demo::new(program).play() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("the demonstration failed: {why}");
            ExitCode::FAILURE
        }
    }
}

struct Demo {
    cloud: Cloud,
    program: String,
    start: Instant,
}

impl Demo {
    fn new(program: String) -> Demo {
        let cloud = Cloud::start(Options {
            latency: Duration::from_millis(15),
            read_lag: Duration::from_millis(150),
            ..Options::default()
        });
        Demo { cloud, program, start: Instant::now() }
    }

    fn play(&self) -> Result<(), String> {
        self.say("cloud", "a region on loopback: every call takes 15 ms, reads lag 150 ms behind writes");
        let address = self.cloud.allocate(&[("asg", "test")]);
        self.say("address", &format!("{} is allocated and tagged asg=test", address.public_ip));
        let group = Group {
            name: "logic".to_owned(),
            size: 1,
            zones: ZONES.map(str::to_owned).to_vec(),
            tags: tags(&[("asg", "test")]),
            ..Group::default()
        };
        let first = self.only(self.cloud.create_group(group))?;
        self.say("group", &format!("Auto Scaling group logic, size 1, over {}", ZONES.join(", ")));
        self.cloud.settle();

        self.boot(&first, "boots for the first time", 0)?;
        self.expect_holder(&address.allocation_id, &first)?;

        self.cloud.fail_zone(ZONES[0]);
        let second = self.only(self.cloud.group_instances("logic"))?;
        self.say("outage", &format!("{} fails, and {first} with it; the group launches {second} elsewhere", ZONES[0]));
        std::thread::sleep(Duration::from_millis(200));
        self.boot(&second, "boots as the replacement", 0)?;
        self.expect_holder(&address.allocation_id, &second)?;

        self.cloud.restore_zone(ZONES[0]);
        self.cloud.reboot(&first);
        self.say("outage", &format!("{} is back, and so is {first}, which knows nothing of all this", ZONES[0]));
        self.boot(&first, "reboots, stale", 69)?;
        self.expect_holder(&address.allocation_id, &second)?;

        for event in self.cloud.history() {
            let name = |id: Option<String>| id.unwrap_or_else(|| "nobody".to_owned());
            self.say(
                "cloud",
                &format!("at {:.3} s: {} -> {}", event.at.as_secs_f64(), name(event.from), name(event.to)),
            );
        }
        self.say("cloud", &format!("{} is held by {second}", address.public_ip));
        Ok(())
    }

    /// The instance comes up, and its unit runs the program.
    fn boot(&self, instance: &str, how: &str, expected: i32) -> Result<(), String> {
        self.say("boot", &format!("{instance} {how}"));
        let began = Instant::now();
        let output = Command::new(&self.program)
            .args(["--tag", "asg", "--log-level", "error", "--log-format", "text"])
            .env_clear()
            .envs(self.cloud.env(instance))
            .output()
            .map_err(|error| format!("{}: {error}", self.program))?;
        let (code, took) = (output.status.code().unwrap_or(-1), began.elapsed());
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            self.say("claim", line);
        }
        self.say("claim", &format!("exit {code}, {} ms after the instance had a network", took.as_millis()));
        if code == expected {
            Ok(())
        } else {
            Err(format!("expected exit {expected}\n{}", String::from_utf8_lossy(&output.stderr)))
        }
    }

    fn expect_holder(&self, address: &str, instance: &str) -> Result<(), String> {
        let holder = self.cloud.holder(address).and_then(|holder| holder.instance_id);
        self.cloud.settle();
        if holder.as_deref() == Some(instance) {
            Ok(())
        } else {
            Err(format!("{instance} should hold it, not {holder:?}"))
        }
    }

    fn only(&self, instances: Vec<String>) -> Result<String, String> {
        instances.last().cloned().ok_or_else(|| "the group is empty".to_owned())
    }

    fn say(&self, what: &str, text: &str) {
        println!("{:>7.3} s  {what:<8} {text}", self.start.elapsed().as_secs_f64());
    }
}
