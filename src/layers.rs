//! Where an option comes from: the command line, else the environment, else the configuration file.
//!
//! `--some-name` is `EIP_CLAIM_SOME_NAME` in the environment and in the file, with the same values.
//! An option that repeats takes several there, separated by commas or, in the environment, one per line.

use std::env;
use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgAction, CommandFactory, FromArgMatches};

use crate::cli::{Options, Tag};
use crate::env_file::EnvFile;

const PREFIX: &str = "EIP_CLAIM_";
const DEFAULT_FILE: &str = "/etc/eip-claim.env";
/// Names the file instead of [`DEFAULT_FILE`]; the one variable that is not an option.
const FILE_VARIABLE: &str = "EIP_CLAIM_CONFIG";
/// The tag of the zero-configuration setup.
const DEFAULT_TAG: &str = "eip-claim";

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
            let set = variable(&name).filter(|value| !value.trim().is_empty());
            let from_environment = set.map(|value| (value, "the environment"));
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
        let Options { tag, allocation_id, public_ip, filter, .. } = &options;
        if tag.is_empty() && allocation_id.is_empty() && public_ip.is_empty() && filter.is_empty() {
            options.tag.push(Tag { key: DEFAULT_TAG.to_owned(), value: None });
        }
        Ok(options)
    }
}

/// Warns of variables of this process that look like options and are none: most likely misspelt.
pub fn warn_of_strangers() {
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names.filter(|name| name != FILE_VARIABLE && is_stranger(name)) {
        tracing::warn!(name, "there is no option of this name: it is ignored");
    }
}

/// The name of an option in the environment and in the file.
fn variable_name(option: &clap::Arg) -> Option<String> {
    let long = option.get_long().filter(|long| !["help", "version"].contains(long))?;
    Some(format!("{PREFIX}{}", long.replace('-', "_").to_uppercase()))
}

/// Whether `name` looks like an option and is none.
fn is_stranger(name: &str) -> bool {
    let is_option = || Options::command().get_arguments().filter_map(variable_name).any(|known| known == name);
    name.starts_with(PREFIX) && !is_option()
}

fn only_options(file: EnvFile) -> Result<EnvFile, String> {
    let stranger = file.keys().find(|key| is_stranger(key));
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
    let needs_no_value = option.get_num_args().is_some_and(|count| count.min_values() == 0);
    let is_flag = needs_no_value || matches!(option.get_action(), ArgAction::SetTrue);
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

fn usage(message: &str) -> clap::Error {
    Options::command().error(clap::error::ErrorKind::ValueValidation, message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// The options by a command line, an environment and the text of a file.
    fn read(args: &[String], environment: &BTreeMap<String, String>, file: &str) -> Result<Options, clap::Error> {
        let args = [&["eip-claim".to_owned()], args].concat().into_iter().map(OsString::from).collect();
        Options::layered(args, &|name| environment.get(name).cloned(), EnvFile::parse("f", file))
    }

    fn one(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    proptest! {
        #[test]
        fn the_command_line_comes_before_the_environment_and_that_before_the_file(
            times in prop::array::uniform3(prop::option::of(1..86_400_u64))
        ) {
            let [line, environment, file] = times;
            let args = Vec::from_iter(line.map(|t| format!("--timeout={t}")));
            let variables = environment.map(|t| one("EIP_CLAIM_TIMEOUT", &format!("{t}s"))).unwrap_or_default();
            let text = file.map(|t| format!("EIP_CLAIM_TIMEOUT=\"{t}s\"\n")).unwrap_or_default();
            let read = read(&args, &variables, &text).expect("all are times");
            prop_assert_eq!(read.timeout, Duration::from_secs(line.or(environment).or(file).unwrap_or(300)));
        }

        #[test]
        fn a_list_means_the_same_in_the_environment_in_the_file_and_on_the_command_line(
            tags in prop::collection::vec("[a-z]{1,5}(=([a-z*?é\\\\ ]{0,5}[a-z])?)?", 1..5)
        ) {
            let args: Vec<_> = tags.iter().map(|tag| format!("--tag={tag}")).collect();
            let expected = read(&args, &BTreeMap::new(), "").expect("all are tags").tag;
            prop_assert_eq!(expected.len(), tags.len());
            for separator in [",", "\n", " , ", ",,\n"] {
                let variables = one("EIP_CLAIM_TAG", &tags.join(separator));
                prop_assert_eq!(&read(&[], &variables, "").expect("all are tags").tag, &expected);
            }
            let text = format!("EIP_CLAIM_TAG='{}'", tags.join(","));
            prop_assert_eq!(&read(&[], &BTreeMap::new(), &text).expect("all are tags").tag, &expected);
        }

        #[test]
        fn whatever_a_variable_has_it_is_read_or_named(
            option in prop::sample::select(vec![
                "TAG", "ALLOCATION_ID", "PUBLIC_IP", "FILTER", "DEVICE_INDEX", "PRIVATE_IP", "TAKEOVER", "TIMEOUT",
                "ATTEMPT_TIMEOUT", "IGNORE_LIFECYCLE", "VERIFY_EGRESS", "LIFECYCLE_HOOK", "AUTO_SCALING_GROUP", "UNHEALTHY_ON_FAILURE", "OUTPUT", "LOG_FORMAT", "LOG_LEVEL",
            ]),
            value in prop_oneof![any::<String>(), "[-=,a-c0-9 \n\"]{0,20}"],
        ) {
            let name = format!("EIP_CLAIM_{option}");
            if let Err(error) = read(&[], &one(&name, &value), "") {
                prop_assert!(error.to_string().contains(&format!("{name} in the environment: ")), "{}", error);
                prop_assert!(error.use_stderr(), "it ends with the code of a bad option");
            }
        }
    }
}
