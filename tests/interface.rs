//! The interface: the result and where it goes, the log and what is not in it,
//! and the requests that a claim is made of.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fakecloud::{Calls, Cloud, Fault, Launch, Options, tags};
use serde_json::Value;

use crate::harness::{KEYS, OLD, Run, binary, command, each, finish, holder, launch, one_of_each, sent};
use crate::requests::{Folder, HASTY, PATIENT, claim, held_since, run_with};

/// What comes before and after the number of milliseconds.
fn around_milliseconds(text: &str) -> (String, String) {
    let (before, after) = text.split_once(" ms").expect("it says how long it took");
    let start = before.rfind(' ').expect("a number is a word");
    assert!(before[start + 1..].parse::<u64>().is_ok(), "{text}");
    (before[..start].to_owned(), after.to_owned())
}

#[test]
fn the_text_is_one_line_for_a_person() {
    let (cloud, address, instance) = one_of_each();
    let text = |instance: &str, arguments: &[&str]| {
        let run = claim(&cloud, instance, PATIENT, &[&["--tag=asg", "--output=text"], arguments].concat());
        assert_eq!(run.stdout.matches('\n').count(), 1, "{run:#?}");
        assert!(run.stdout.ends_with('\n'), "{run:#?}");
        run.stdout.trim_end().to_owned()
    };
    let ip = address.public_ip;
    let claimed = |who: &str, how: &str| (format!("{ip} claimed by {who} in"), how.to_owned());
    assert_eq!(around_milliseconds(&text(&instance, &[])), claimed(&instance, ""));
    let (before, after) = around_milliseconds(&text(&instance, &[]));
    assert!(before.starts_with(&format!("{ip} already held by {instance}")), "{before}{after}");
    let newer = cloud.launch(launch(Duration::from_secs(60)));
    let from = format!(" (taken over from {instance}, running)");
    assert_eq!(around_milliseconds(&text(&newer, &[])), claimed(&newer, &from));
    let yielded = text(&instance, &[]);
    assert!(yielded.contains(&newer) && yielded.contains(&ip.to_string()), "{yielded}");
    let from = format!(" (taken over from {newer})");
    assert_eq!(around_milliseconds(&text(&instance, &["--takeover=always"])), claimed(&instance, &from));
    cloud.set_lifecycle(&instance, Some("Standby"));
    let skipped = text(&instance, &[]);
    assert!(skipped.contains(&instance) && skipped.contains("Standby"), "{skipped}");
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn the_json_is_one_line_with_exactly_the_documented_keys_however_it_ends() {
    let (cloud, address, instance) = one_of_each();
    let older = cloud.launch(launch(2 * OLD));
    let json = |instance: &str, arguments: &[&str], exit: i32, outcome: &str| {
        let run = claim(&cloud, instance, HASTY, arguments);
        let result = run.expect(exit, outcome);
        assert_eq!(run.stdout.matches('\n').count(), 1, "{run:#?}");
        assert!(run.stdout.ends_with('\n'), "{run:#?}");
        assert_eq!(keys(&result), KEYS, "{outcome}");
        result
    };
    json(&older, &["--tag=asg"], 0, "claimed");
    let taken = json(&instance, &["--tag=asg"], 0, "claimed");
    assert_eq!(keys(&taken["previous_holder"]), ["instance_id", "launch_time", "state"]);
    json(&instance, &["--tag=asg"], 0, "already_held");
    json(&older, &["--tag=asg"], 69, "yielded");
    let failed = json(&older, &["--tag=asg=none"], 78, "failed");
    assert_eq!(keys(&failed["error"]), ["code", "decoded", "message", "remedy"]);
    cloud.set_lifecycle(&older, Some("Standby"));
    json(&older, &["--tag=asg"], 0, "skipped");
    assert_eq!(holder(&cloud, &address), Some(instance));
}

/// Runs the binary as under systemd, which makes the folder, with a umask that hides new files from others.
fn run_in(cloud: &Cloud, instance: &str, folder: &Path, arguments: &[&str]) -> Run {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(binary()).args(arguments).env_clear();
    shell.envs(cloud.env(instance)).env("EIP_CLAIM_OUTPUT", "json").env("RUNTIME_DIRECTORY", folder);
    let shell = shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(shell.spawn().expect("the shell starts"))
}

#[test]
fn under_systemd_the_result_is_also_a_file_for_everybody_that_is_replaced_whole() {
    let (cloud, address, instance) = one_of_each();
    let newer = held_since(&cloud, &address, Duration::from_secs(60));
    let folder = Folder::new();
    let (path, old) = (folder.0.join("result.json"), folder.0.join("old"));
    for (who, exit, outcome) in [(&newer, 0, "already_held"), (&instance, 69, "yielded"), (&newer, 0, "already_held")] {
        // A second name for the file that is there: whoever has it open reads the old result to its end.
        let before = "x".repeat(10_000);
        let _ = fs::remove_file(&path);
        let _ = fs::remove_file(&old);
        fs::write(&path, &before).expect("it can be written");
        fs::hard_link(&path, &old).expect("it can be linked");
        let run = run_in(&cloud, who, &folder.0, &[PATIENT, &["--tag=asg"]].concat());
        run.expect(exit, outcome);
        let content = fs::read_to_string(&path).expect("it is there");
        assert_eq!(content, run.stdout, "{outcome}");
        assert_eq!(fs::read_to_string(&old).expect("it is there"), before, "{outcome}");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "{outcome}");
        let names = fs::read_dir(&folder.0).expect("a folder").map(|e| e.expect("an entry").file_name());
        assert_eq!(names.count(), 2, "{outcome}: nothing else is left behind");
    }
}

#[test]
fn the_file_has_json_where_the_text_goes_to_standard_output() {
    let (cloud, _, instance) = one_of_each();
    let folder = Folder::new();
    let run = run_in(&cloud, &instance, &folder.0, &[PATIENT, &["--tag=asg", "--output=text"]].concat());
    assert_eq!(run.exit, 0, "{run:#?}");
    let content = fs::read_to_string(folder.0.join("result.json")).expect("it is there");
    let result: Value = serde_json::from_str(&content).expect("it is JSON");
    assert_eq!((keys(&result), result["outcome"].as_str()), (KEYS.to_vec(), Some("claimed")));
    assert!(run.stdout.contains(" claimed by "), "{}", run.stdout);
}

#[test]
fn a_folder_that_is_missing_is_only_a_warning() {
    let (cloud, address, instance) = one_of_each();
    let missing = std::env::temp_dir().join("eip-claim-missing/run");
    run_in(&cloud, &instance, &missing, &[PATIENT, &["--tag=asg"]].concat()).expect(0, "claimed");
    let run = run_in(&cloud, &instance, &missing, &[HASTY, &["--tag=asg=none"]].concat());
    run.expect(78, "failed");
    let warning = run.stderr.lines().find(|line| line.contains("result.json")).expect("it is in the log");
    assert!(warning.contains("WARN") && warning.contains("eip-claim-missing"), "{warning}");
    assert_eq!(holder(&cloud, &address), Some(instance));
}

#[test]
fn the_log_is_on_standard_error_alone_and_as_json_each_of_its_lines_is_an_object() {
    let (cloud, address, instance) = one_of_each();
    held_since(&cloud, &address, 2 * OLD);
    for (format, level) in [("text", "info"), ("json", "info"), ("json", "trace"), ("auto", "debug")] {
        let options = ["--tag=asg", "--log-format", format, "--log-level", level];
        let run = claim(&cloud, &instance, PATIENT, &options);
        assert_eq!(run.exit, 0, "{run:#?}");
        assert_eq!(keys(&run.json()), KEYS, "nothing but the result is on standard output");
        assert!(!run.stderr.is_empty(), "{format} {level}");
        for line in run.stderr.lines() {
            let parsed: Option<Value> = serde_json::from_str(line).ok();
            assert_eq!(parsed.is_some_and(|event| event.is_object()), format == "json", "{format} {level}: {line}");
        }
        assert!(!run.stderr.contains('\x1b'), "no colours in a file: {}", run.stderr);
    }
}

#[test]
fn the_level_decides_how_much_is_logged() {
    let lines = |level: &str| {
        let (cloud, _, instance) = one_of_each();
        let run = claim(&cloud, &instance, PATIENT, &["--tag=asg", "--log-level", level]);
        run.expect(0, "claimed");
        run.stderr.lines().count()
    };
    assert_eq!([lines("off"), lines("error"), lines("warn")], [0, 0, 0]);
    assert!(0 < lines("info") && lines("info") < lines("debug"));
}

/// One request to the metadata service of the instance, as its own shell could make it.
fn ask_imds(cloud: &Cloud, instance: &str, line: &str, header: &str) -> String {
    let mut stream = TcpStream::connect(cloud.imds_endpoint(instance)).expect("it listens");
    let request = format!("{line} HTTP/1.1\r\nHost: imds\r\nConnection: close\r\n{header}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}

/// Everything about `instance` that must not be in a log: what it sent, and the secret that IMDS gives it.
fn secrets(cloud: &Cloud, instance: &str) -> Vec<String> {
    let names = ["x-aws-ec2-metadata-token", "x-amz-security-token", "authorization"];
    let headers = |r: fakecloud::Request| names.map(|name| r.headers.get(name).cloned());
    let mut secrets: Vec<String> = cloud.log().into_iter().flat_map(headers).flatten().collect();
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    let token = ask_imds(cloud, instance, "PUT /latest/api/token", ttl);
    let header = format!("X-aws-ec2-metadata-token: {token}");
    let path = "GET /latest/meta-data/iam/security-credentials/eip-claim";
    let credentials: Value = serde_json::from_str(&ask_imds(cloud, instance, path, &header)).expect("it is JSON");
    for field in ["SecretAccessKey", "AccessKeyId", "Token"] {
        secrets.push(credentials[field].as_str().expect("a text").to_owned());
    }
    secrets.sort_unstable();
    secrets.dedup();
    assert!(secrets.len() >= 5 && secrets.iter().all(|secret| secret.len() > 12), "{secrets:?}");
    secrets
}

#[test]
fn no_credential_and_no_token_is_ever_printed() {
    type Break = fn(&Cloud, &str);
    let breaks: [(&str, Break); 4] = [
        ("nothing", |_, _| ()),
        ("denied a write", |cloud, id| cloud.deny(Some(id), "ec2:AssociateAddress")),
        ("not accepted", |cloud, _| {
            let (code, message) = ("AuthFailure".to_owned(), "AWS was not able to validate it".to_owned());
            let fault = Fault::Error { status: 401, code, message };
            cloud.fault("EC2", Calls::All, fault);
        }),
        ("hung", |cloud, id| {
            cloud.fault("EC2", Calls::First(2), Fault::Hang).only(id);
        }),
    ];
    for (name, break_it) in breaks {
        let formats = ["text", "json", "auto"].into_iter();
        let rows = formats.flat_map(|format| ["info", "debug", "trace"].map(|level| (format, level)));
        each(rows, |(format, level)| {
            let (cloud, _, instance) = one_of_each();
            break_it(&cloud, &instance);
            let options = ["--tag=asg", "--log-format", format, "--log-level", level];
            let run = claim(&cloud, &instance, HASTY, &options);
            assert!(!run.stderr.is_empty(), "{name} {format} {level}");
            for secret in secrets(&cloud, &instance) {
                let printed = run.stderr.contains(&secret) || run.stdout.contains(&secret);
                assert!(!printed, "{name} {format} {level}: {secret} in {run:#?}");
            }
        });
    }
}

#[test]
fn credentials_that_cannot_be_read_are_not_echoed() {
    let path = "GET /latest/meta-data/iam/security-credentials/eip-claim";
    let secret = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";
    let whole =
        format!(r#"{{"Code":"Success","AccessKeyId":"{secret}","SecretAccessKey":"{secret}","Token":"{secret}","#);
    let bodies = [
        whole.clone(),
        format!(r#"{whole}"Expiration":"{secret}"}}"#),
        format!(r#"{whole}"Expiration":7}}"#),
        format!(r#"{{"Code":"Success","SecretAccessKey":"{secret}"}}"#),
        format!(r#"{{"Code":"Success","SecretAccessKey":["{secret}"]}}"#),
        format!("{secret}\n{secret}"),
    ];
    each(bodies, |body| {
        let (cloud, _, instance) = one_of_each();
        let garbage = Fault::Garbage { content_type: "text/plain".to_owned(), body: body.clone().into_bytes() };
        cloud.fault(path, Calls::All, garbage);
        let options = ["--tag=asg", "--log-format=json", "--log-level=trace"];
        let run = claim(&cloud, &instance, HASTY, &options);
        assert_ne!(run.exit, 0, "{body}: {run:#?}");
        assert_eq!(sent(&cloud).len(), 0, "{body}");
        assert!(!run.stderr.contains(secret) && !run.stdout.contains(secret), "{body}: {run:#?}");
    });
}

#[test]
fn whoever_stops_listening_changes_nothing() {
    for (close_stdout, close_stderr) in [(true, false), (false, true), (true, true)] {
        for (arguments, exit) in [(&["--tag=asg"][..], 0), (&["--tag=asg=none"], 78), (&["--help"], 0), (&["--x"], 64)]
        {
            let (cloud, _, instance) = one_of_each();
            let arguments = [HASTY, arguments].concat();
            let mut child = command(&cloud.env(&instance), &arguments).spawn().expect("the binary starts");
            if close_stdout {
                child.stdout.take();
            }
            if close_stderr {
                child.stderr.take();
            }
            let output = child.wait_with_output().expect("a child of ours");
            let stderr = String::from_utf8_lossy(&output.stderr);
            let row = format!("{arguments:?} {close_stdout} {close_stderr}: {:?} {stderr}", output.status);
            assert_eq!(output.status.code(), Some(exit), "{row}");
            assert!(!stderr.contains("panicked"), "{row}");
        }
    }
}

#[test]
fn a_claim_of_a_free_address_is_made_of_these_requests_and_no_others() {
    let cloud = Cloud::start(Options::default());
    cloud.allocate(&[("eip-claim", "web")]);
    let instance = cloud.launch(Launch { tags: tags(&[("eip-claim", "web")]), ..launch(OLD) });
    run_with(&cloud, &instance, &[], &[]).expect(0, "claimed");
    let mac = cloud.interfaces(&instance)[0].mac.clone();
    let data = "GET /latest/meta-data";
    let mut expected = String::new();
    for (times, action) in [
        (1, "AssociateAddress".to_owned()),
        (2, "DescribeAddresses".to_owned()),
        (1, "GET /latest/dynamic/instance-identity/document".to_owned()),
        (2, format!("{data}/autoscaling/target-lifecycle-state")),
        (1, format!("{data}/iam/security-credentials/")),
        (1, format!("{data}/iam/security-credentials/eip-claim")),
        (1, format!("{data}/network/interfaces/macs/")),
        (1, format!("{data}/network/interfaces/macs/{mac}/device-number")),
        (1, format!("{data}/network/interfaces/macs/{mac}/interface-id")),
        (1, format!("{data}/network/interfaces/macs/{mac}/local-ipv4s")),
        (2, format!("{data}/tags/instance/aws:autoscaling:groupName")),
        (1, format!("{data}/tags/instance/eip-claim")),
        (1, "PUT /latest/api/token".to_owned()),
    ] {
        for _ in 0..times {
            writeln!(expected, "{action}").expect("a string takes everything");
        }
    }
    let mut actions: Vec<String> = cloud.log().into_iter().map(|r| r.action + "\n").collect();
    actions.sort_unstable();
    assert_eq!(actions.concat(), expected);
    assert_eq!(sent(&cloud), ["DescribeAddresses", "AssociateAddress", "DescribeAddresses"]);
}
