//! The log: events with fields on standard error, or in the journal.
//!
//! Only this program's own events are logged. The SDK's could carry a token or a credential.

use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::{env, fs, io};

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::{LogFormat, Options};
use crate::style;

/// Starts logging as `options` say.
pub fn start(options: &Options) {
    // clap has checked the level.
    let level = options.log_level.parse().unwrap_or(LevelFilter::INFO);
    let ours = Targets::new().with_target("eip_claim", level);
    let lines = || tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    let is_journal = match options.log_format {
        LogFormat::Auto => is_under_journal(),
        LogFormat::Journal => true,
        LogFormat::Text | LogFormat::Json => false,
    };
    let journal = is_journal.then(tracing_journald::layer).and_then(Result::ok);
    let layer = match (journal, options.log_format) {
        (Some(journal), _) => journal.with_field_prefix(Some("EIP_CLAIM".to_owned())).boxed(),
        (None, LogFormat::Json) => lines().json().flatten_event(true).boxed(),
        (None, _) => lines().with_ansi(io::stderr().is_terminal() && !style::wants_no_colour()).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(ours)).init();
}

/// Whether standard error is the connection to the journal that systemd made (`JOURNAL_STREAM`, systemd.exec(5)).
fn is_under_journal() -> bool {
    let stream = env::var("JOURNAL_STREAM").unwrap_or_default();
    fs::metadata("/proc/self/fd/2").is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}
