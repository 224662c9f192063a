//! `fakecloud [--world FILE]`: the fake region as a process, for clients that are not Rust.
//!
//! It builds the world of a JSON file, prints one line of JSON (`endpoints`, `env` for an
//! administrator, `names` with the id of everything that was given a name, `instances` with the
//! environment of a process on each), then obeys commands on standard input, one JSON object a
//! line, and answers each with one line: what was asked for, or `{"error": "…"}`. It ends at the
//! end of its input, or at `quit`.
//!
//! The file has these parts, all optional; an item has the arguments of the command it stands for:
//!
//! ```json
//! {
//!   "options": {"region": "ap-northeast-2", "account": "123456789012", "read_lag_ms": 0,
//!               "imds_lag_ms": 0, "clock_offset": 0, "throttle": false, "auto_assign_public_ip": true,
//!               "new_instance_hidden_for_ms": 0, "connections_die_on_swap": false,
//!               "stale_association_not_found": false, "associate_needs_both_targets": false, "latency_ms": 0,
//!               "imds_latency_ms": 0, "tls": {"certificate": "chain.pem", "key": "key.pem"},
//!               "ec2_at": "127.0.0.1:443"},
//!   "addresses": [{"name": "web", "tags": {"eip-claim": "web"}}],
//!   "instances": [{"name": "old", "zone": "ap-northeast-2a", "tags": {}, "tags_in_metadata": true,
//!                  "role": "eip-claim", "launched_ago_s": 3600, "state": "running",
//!                  "interfaces": [["10.0.0.10", "10.0.0.11"], []], "interface_tags": {},
//!                  "lifecycle": "InService", "holds": "web", "imds_at": "169.254.169.254:80"}],
//!   "groups": [{"name": "asg", "size": 1, "min": 1, "max": 1, "zones": ["ap-northeast-2a"], "tags": {},
//!               "hook": "claim", "grace_s": 300, "launch": {}}],
//!   "policies": [{"role": "eip-claim", "name": "claim", "policy": {"Version": "2012-10-17", "Statement": []}}],
//!   "denials": [{"instance": "old", "action": "ec2:AssociateAddress"}],
//!   "faults": [{"api": "EC2", "calls": {"first": 2}, "fault": "hang", "only": "old"}]
//! }
//! ```
//!
//! A command names itself in `do`; a name stands wherever an id does:
//! `launch`, `allocate`, `create_group`, `put_role_policy`, `deny` and `fault` as above (a role with a policy may do
//! what its policies allow and nothing else, a role with none everything; a policy of the same name is replaced);
//! `allow` as `deny`; `clear_faults`, `clear_log`, `settle`, `quit`;
//! `terminate`, `stop`, `start_again`, `rotate_credentials`, `env` with `instance`;
//! `set_state` (`state`), `set_impaired` (`impaired`), `set_lifecycle` (`lifecycle` or null),
//! `set_role` (`role` or null), `set_imds_enabled` (`enabled`) with `instance`;
//! `associate` with `address` and `instance`; `disassociate`, `associate_bare_interface`, `holder`
//! with `address`; `edit_address` with `address` and any of `tags` (which are added), `service_managed`,
//! `network_border_group`, `owner`; `fail_zone`, `restore_zone` with `zone`; `group_instances` with
//! `group`; `outage` with `service` (as faults name it) and `on`; `set_options` with
//! `read_lag_ms`, `latency_ms`, `imds_latency_ms`, `clock_offset`, `throttle` or `connections_die_on_swap`;
//! `history`; `log` and `requests` (`action`); `traffic`, which counts below TLS.
//!
//! `calls` is `"all"`, `{"nth": 2}`, `{"first": 2}`, `{"from": 2}` or `{"range": [2, 3]}`. A fault is
//! `"hang"`, `"reset"`, `"close"`, `"truncate"`, `"commit_then_hang"`, `"commit_then_reset"`, or one of
//! `{"delay_ms": 100}`, `{"commit_then_delay_ms": 100}`, `{"status": 500, "body": ""}`,
//! `{"error": {"status": 503, "code": "Unavailable", "message": ""}}`, `{"commit_then_error": {…}}`,
//! `{"garbage": "text", "content_type": "text/html"}`.
#![forbid(unsafe_code)]

mod commands;

use commands::Session;
use serde_json::{Value, json};
use std::io::{BufRead, Write};

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let world = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => json!({}),
        (Some("--world"), Some(file)) => {
            let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
            serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))?
        }
        _ => return Err("usage: fakecloud [--world FILE]".into()),
    };
    let (mut session, hello) = Session::start(&world)?;
    say(&hello)?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let command: Result<Value, _> = serde_json::from_str(&line);
        let answer = command.map_err(|error| error.to_string()).and_then(|command| session.obey(&command));
        match answer {
            Ok(Value::Null) => break,
            Ok(answer) => say(&answer)?,
            Err(error) => say(&json!({ "error": error }))?,
        }
    }
    Ok(())
}

fn say(answer: &Value) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}").and_then(|()| out.flush()).map_err(|error| error.to_string())
}
