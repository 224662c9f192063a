//! Options: from the command line, else from the environment, else from the configuration file.
//!
//! Every option `--some-name` is `EIP_CLAIM_SOME_NAME` in the environment and in the file, with the same values.
//! An option that repeats takes several there, one per line or separated by commas.
//! Whatever is wrong with any of them is found here, before anything is called.

use std::env;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, ValueEnum, parser::ValueSource};

use crate::cloud::Filter;
use crate::decide::Takeover;
use crate::env_file::EnvFile;
use crate::ids::AllocationId;

const PREFIX: &str = "EIP_CLAIM_";
const DEFAULT_FILE: &str = "/etc/eip-claim.env";
/// The tag of the zero-configuration setup.
const DEFAULT_TAG: &str = "eip-claim";
/// Names the file instead of [`DEFAULT_FILE`]; the one variable that is not an option.
const FILE_VARIABLE: &str = "EIP_CLAIM_CONFIG";
/// Nobody waits longer at boot, and it keeps the arithmetic of instants far from its limits.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Claims the Elastic IP address that belongs to this EC2 instance.
///
/// Without an option that says which address, it is the one whose tag `eip-claim` has the value
/// of this instance's own tag `eip-claim`.
#[derive(Debug, Clone, Parser)]
#[command(name = "eip-claim", version, max_term_width = 100)]
pub struct Options {
    /// What to do
    #[arg(value_enum, default_value_t = Command::Claim)]
    pub command: Command,

    /// The address with this tag; without a value, with the value of this instance's own tag KEY
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = parse_tag, help_heading = "Which address")]
    pub tag: Vec<Tag>,
    /// The address with this allocation id; repeat for a pool
    #[arg(long, value_name = "ID", help_heading = "Which address")]
    pub allocation_id: Vec<AllocationId>,
    /// The address itself; repeat for a pool
    #[arg(long, value_name = "IP", help_heading = "Which address")]
    pub public_ip: Vec<Ipv4Addr>,
    /// Any filter of DescribeAddresses, as EC2 takes it
    #[arg(long, value_name = "NAME=VALUE[,VALUE…]", value_parser = parse_filter, help_heading = "Which address")]
    pub filter: Vec<Filter>,

    /// The interface of this instance with this device number [default: 0]
    #[arg(long, value_name = "N", help_heading = "Where to")]
    pub device_index: Option<u32>,
    /// This private address of this instance [default: the primary one of the interface]
    #[arg(long, value_name = "IP", help_heading = "Where to")]
    pub private_ip: Option<Ipv4Addr>,

    /// From whom the address may be taken over
    #[arg(long, value_enum, value_name = "POLICY", default_value = "successor", help_heading = "May I take it")]
    pub takeover: Takeover,
    /// Claim whatever Auto Scaling wants this instance to be
    #[arg(long, help_heading = "May I take it")]
    pub ignore_lifecycle: bool,

    /// When to give up
    #[arg(long, value_name = "TIME", default_value = "5min", value_parser = parse_timeout, help_heading = "How long")]
    pub timeout: Duration,
    /// How long one call may take
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_timeout, help_heading = "How long")]
    pub attempt_timeout: Duration,

    /// How the result is printed
    #[arg(long, value_enum, value_name = "FORM", default_value = "text", help_heading = "Output")]
    pub output: Output,
    /// How the log is written; auto: to the journal under systemd
    #[arg(long, value_enum, value_name = "FORM", default_value = "auto", help_heading = "Output")]
    pub log_format: LogFormat,
    /// How much is logged
    #[arg(long, value_name = "LEVEL", default_value = "info", help_heading = "Output",
          value_parser = PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"]))]
    pub log_level: String,
}

/// What the program can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Command {
    /// Take the address
    Claim,
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

impl ValueEnum for Takeover {
    fn value_variants<'a>() -> &'a [Self] {
        &[Takeover::Successor, Takeover::Never, Takeover::Always]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(match self {
            Takeover::Successor => "successor",
            Takeover::Never => "never",
            Takeover::Always => "always",
        })
        .map(Into::into)
    }
}

impl Options {
    /// The options of this process.
    ///
    /// # Errors
    /// One of them is unknown or malformed; also for `--help` and `--version`, as clap does.
    pub fn from_process() -> Result<Self, clap::Error> {
        let variable = |name: &str| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let file = match variable(FILE_VARIABLE).filter(|path| !path.is_empty()) {
            Some(path) => EnvFile::read(Path::new(&path)),
            None => EnvFile::read_if_there(Path::new(DEFAULT_FILE)),
        };
        Self::layered(env::args_os().collect(), &variable, file)
    }

    fn layered(
        args: Vec<OsString>,
        variable: &dyn Fn(&str) -> Option<String>,
        file: Result<EnvFile, String>,
    ) -> Result<Self, clap::Error> {
        let given = Self::command().try_get_matches_from(&args)?;
        let file = file.and_then(only_options).map_err(|why| usage(&why))?;
        let mut all = args;
        for option in Self::command().get_arguments() {
            let Some(name) = variable_name(option) else { continue };
            if given.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine) {
                continue;
            }
            let from_environment = variable(&name).map(|value| (value, "the environment"));
            let from_file = || file.value(&name).map(|value| (value, file.name.as_str()));
            let Some((value, place)) = from_environment.or_else(from_file) else { continue };
            let arguments = arguments(option, &value);
            let alone = [OsString::from("eip-claim")].into_iter().chain(arguments.iter().cloned());
            if let Err(error) = Self::command().try_get_matches_from(alone) {
                return Err(usage(&format!("{name} in {place}: {}", first_line(&error))));
            }
            all.extend(arguments);
        }
        let mut options = Self::from_arg_matches(&Self::command().try_get_matches_from(all)?)?;
        let selectors = (&options.tag, &options.allocation_id, &options.public_ip, &options.filter);
        if matches!(selectors, (t, a, p, f) if t.is_empty() && a.is_empty() && p.is_empty() && f.is_empty()) {
            options.tag.push(Tag { key: DEFAULT_TAG.to_owned(), value: None });
        }
        Ok(options)
    }
}

/// The name of an option in the environment and in the file.
fn variable_name(option: &clap::Arg) -> Option<String> {
    let long = option.get_long().filter(|long| !["help", "version"].contains(long))?;
    Some(format!("{PREFIX}{}", long.replace('-', "_").to_uppercase()))
}

fn only_options(file: EnvFile) -> Result<EnvFile, String> {
    let command = Options::command();
    let known: Vec<String> = command.get_arguments().filter_map(variable_name).collect();
    let stranger = file.keys().find(|key| key.starts_with(PREFIX) && !known.iter().any(|k| k == key));
    match stranger.map(|key| format!("{}: there is no option {key}", file.name)) {
        Some(why) => Err(why),
        None => Ok(file),
    }
}

/// The arguments that amount to `value`, as the environment or the file has it.
fn arguments(option: &clap::Arg, value: &str) -> Vec<OsString> {
    let long = option.get_long().unwrap_or_default();
    let values: Vec<&str> = match option.get_action() {
        ArgAction::Append => value.split([',', '\n']).map(str::trim).collect(),
        _ => vec![value.trim()],
    };
    let is_flag = matches!(option.get_action(), ArgAction::SetTrue);
    let argument = |value: &str| match value.to_ascii_lowercase().as_str() {
        "" => None,
        "0" | "false" | "no" | "off" if is_flag => None,
        "1" | "true" | "yes" | "on" if is_flag => Some(format!("--{long}").into()),
        _ => Some(format!("--{long}={value}").into()),
    };
    values.into_iter().filter_map(argument).collect()
}

/// What clap says of an error, without its usage lines.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
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

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map(Duration::from_secs).ok();
    let duration = seconds.map_or_else(|| humantime::parse_duration(text).map_err(|e| e.to_string()), Ok)?;
    if duration.is_zero() || duration > LONGEST_TIMEOUT {
        return Err("a time is longer than zero, and at most a day".to_owned());
    }
    Ok(duration)
}

fn usage(message: &str) -> clap::Error {
    Options::command().error(clap::error::ErrorKind::ValueValidation, message)
}
