//! The options, their values and their help.
//!
//! Where they come from is in `layers.rs`. Whatever is wrong with one of them is found before anything is called.

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Parser, ValueEnum};

use crate::cloud::Filter;
use crate::decide::Takeover;
use crate::endpoints::is_url;
use crate::ids::AllocationId;

/// Nobody waits longer at boot, and it keeps the arithmetic of instants far from its limits.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Answers with the address from which it is asked, and nothing else.
const CHECKIP: &str = "https://checkip.amazonaws.com";

/// As much as fits on one screen; the options follow in groups, each a question.
const HELP: &str = "\
{about}
By default it is the one whose tag `eip-claim` has the value of this instance's own tag `eip-claim`.

{usage-heading} {usage}

  claim    Take the address, and prove it: the default
  release  Give it back, if this instance holds it
  check    Try everything that a claim needs, and say what is missing
  status   Show the addresses, their holders, and what a claim would do now

{all-args}

Every option is also EIP_CLAIM_… in the environment, and in /etc/eip-claim.env.";

/// What was built, from what, and for what.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("EIP_CLAIM_BUILD"), ")");

/// Claims the Elastic IP address that belongs to this EC2 instance.
///
/// By default it is the one whose tag `eip-claim` has the value of this instance's own tag `eip-claim`.
/// It is taken from instances that are gone or were launched earlier, never from a newer one, and success is reported
/// only after a read has shown that this instance has it.
#[derive(Debug, Clone, Parser)]
#[command(name = "eip-claim", version = VERSION, help_template = HELP, override_usage = "eip-claim [COMMAND] [OPTIONS]")]
#[command(disable_help_flag = true, disable_version_flag = true, arg = help_flag(), arg = version_flag())]
pub struct Options {
    /// What to do
    #[arg(value_enum, default_value_t = Command::Claim, hide = true)]
    pub command: Command,

    /// By this tag; without a value, by this instance's own one
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = parse_tag, help_heading = "Which address")]
    pub tag: Vec<Tag>,
    /// By this allocation id; repeat for a pool
    #[arg(long, value_name = "ID", help_heading = "Which address")]
    pub allocation_id: Vec<AllocationId>,
    /// This one; repeat for a pool
    #[arg(long, value_name = "IP", help_heading = "Which address")]
    pub public_ip: Vec<Ipv4Addr>,
    /// By a filter of DescribeAddresses
    #[arg(long, value_name = "NAME=VALUE[,VALUE…]", value_parser = parse_filter, help_heading = "Which address")]
    pub filter: Vec<Filter>,

    /// The interface with this device number [default: 0]
    #[arg(long, value_name = "N", help_heading = "Where to")]
    pub device_index: Option<u32>,
    /// This private address [default: the primary one of the interface]
    #[arg(long, value_name = "IP", help_heading = "Where to")]
    pub private_ip: Option<Ipv4Addr>,

    /// From whom: successor, never or always
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        default_value = "successor",
        hide_possible_values = true,
        help_heading = "May I take it"
    )]
    pub takeover: Takeover,
    /// Whatever Auto Scaling wants this instance to be
    #[arg(long, help_heading = "May I take it")]
    pub ignore_lifecycle: bool,

    /// When to give up
    #[arg(long, value_name = "TIME", default_value = "5min", value_parser = parse_timeout, help_heading = "How long")]
    pub timeout: Duration,
    /// How long one call may take
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_timeout, help_heading = "How long")]
    pub attempt_timeout: Duration,

    /// The internet must see it, by this page [checkip.amazonaws.com]
    #[arg(long, value_name = "URL", num_args = 0..=1, require_equals = true, default_missing_value = CHECKIP,
          value_parser = parse_url, help_heading = "Afterwards")]
    pub verify_egress: Option<String>,
    /// Complete this launch hook: go into service, or be replaced
    #[arg(long, value_name = "NAME", help_heading = "Afterwards")]
    pub lifecycle_hook: Option<String>,
    /// The group of the hook [default: this instance's own]
    #[arg(long, value_name = "NAME", help_heading = "Afterwards")]
    pub auto_scaling_group: Option<String>,
    /// Have the group replace this instance when the time is up
    #[arg(long, help_heading = "Afterwards")]
    pub unhealthy_on_failure: bool,

    /// The form of the result: text or json
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        default_value = "text",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub output: Output,
    /// The form of the log: auto, text, json or journal
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        default_value = "auto",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub log_format: LogFormat,
    /// What is logged: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", hide_possible_values = true, help_heading = "Output",
          value_parser = PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"]))]
    pub log_level: String,
}

/// What the program can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Command {
    /// Take the address, and prove it
    Claim,
    /// Give the address back, if this instance holds it
    Release,
    /// Try everything that a claim needs, and say what is missing
    Check,
    /// Show the addresses, their holders, and what a claim would do now
    Status,
}

impl Command {
    /// Whether its result is kept for whatever runs after the unit.
    pub fn leaves_a_result(self) -> bool {
        matches!(self, Self::Claim | Self::Release)
    }
}

/// A tag that selects addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Its key.
    pub key: String,
    /// Its literal value; absent for that of this instance's own tag.
    pub value: Option<String>,
}

/// How the result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line for a person.
    Text,
    /// One JSON object on one line.
    Json,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `journal` when systemd has connected standard error to it, `text` otherwise.
    Auto,
    /// Lines for a person, on standard error.
    Text,
    /// One JSON object a line, on standard error.
    Json,
    /// Structured entries, by the journal's own protocol.
    Journal,
}

fn help_flag() -> Arg {
    Arg::new("help").short('h').long("help").action(ArgAction::HelpShort).help_heading("Output").help("This help")
}

fn version_flag() -> Arg {
    let flag = Arg::new("version").short('V').long("version").action(ArgAction::Version);
    flag.help_heading("Output").help("The version, the commit that it is built from, and the target")
}

impl ValueEnum for Takeover {
    fn value_variants<'a>() -> &'a [Self] {
        &[Takeover::Successor, Takeover::Never, Takeover::Always]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let name = match self {
            Takeover::Successor => "successor",
            Takeover::Never => "never",
            Takeover::Always => "always",
        };
        Some(name.into())
    }
}

fn parse_tag(text: &str) -> Result<Tag, String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    if key.is_empty() || key.chars().count() > 128 {
        return Err("a tag key has 1 to 128 characters".to_owned());
    }
    Ok(Tag { key: key.to_owned(), value })
}

fn parse_filter(text: &str) -> Result<Filter, String> {
    match text.split_once('=') {
        Some((name, values)) if !name.is_empty() => {
            Ok(Filter { name: name.to_owned(), values: values.split(',').map(str::to_owned).collect() })
        }
        _ => Err("not of the form NAME=VALUE[,VALUE…]".to_owned()),
    }
}

fn parse_url(text: &str) -> Result<String, String> {
    if is_url(text) { Ok(text.to_owned()) } else { Err("not a URL of the form http://… or https://…".to_owned()) }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map(Duration::from_secs).ok();
    let duration = seconds.map_or_else(|| humantime::parse_duration(text).map_err(|e| e.to_string()), Ok)?;
    if duration.is_zero() || duration > LONGEST_TIMEOUT {
        return Err("a time is longer than zero, and at most a day".to_owned());
    }
    Ok(duration)
}
