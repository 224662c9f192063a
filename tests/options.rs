//! Options: from the command line, the environment and the file, and what is wrong with any of them.

use std::time::Duration;

use fakecloud::{Cloud, Launch, Options, tags};

use crate::harness::{OLD, assert_no_writes, command, finish, holder, launch, one_of_each};
use crate::requests::{Folder, PATIENT, claim, filters, held_since, run_with, these};

/// Options that are none, or whose value is none, and the words that the message must have.
const BAD: &[(&str, &str)] = &[
    ("--no-such-option", "--no-such-option"),
    ("--takeove=never", "--takeove"),
    ("frobnicate", "frobnicate"),
    ("--tag=", "--tag"),
    ("--tag==test", "--tag"),
    ("--allocation-id=", "--allocation-id"),
    ("--allocation-id=203.0.113.1", "--allocation-id"),
    ("--allocation-id=i-0123456789abcdef0", "--allocation-id"),
    ("--public-ip=", "--public-ip"),
    ("--public-ip=203.0.113.256", "--public-ip"),
    ("--public-ip=2001:db8::1", "--public-ip"),
    ("--filter=tag:asg", "--filter"),
    ("--filter==test", "--filter"),
    ("--device-index=-1", "--device-index"),
    ("--device-index=eth0", "--device-index"),
    ("--private-ip=10.0.0", "--private-ip"),
    ("--private-ip=::1", "--private-ip"),
    ("--takeover=sometimes", "--takeover"),
    ("--ignore-lifecycle=perhaps", "--ignore-lifecycle"),
    ("--timeout=0", "--timeout"),
    ("--timeout=soon", "--timeout"),
    ("--timeout=-5s", "--timeout"),
    ("--timeout=2days", "--timeout"),
    ("--timeout=99999999999999999999s", "--timeout"),
    ("--attempt-timeout=0s", "--attempt-timeout"),
    ("--attempt-timeout=5 parsecs", "--attempt-timeout"),
    ("--output=yaml", "--output"),
    ("--log-format=xml", "--log-format"),
    ("--log-level=loud", "--log-level"),
];

#[test]
fn a_bad_option_on_the_command_line_is_named_and_nothing_is_asked_of_anybody() {
    let (cloud, _, instance) = one_of_each();
    for (argument, named) in BAD {
        let run = claim(&cloud, &instance, &[], &[argument]);
        assert_eq!((run.exit, run.stdout.as_str()), (64, ""), "{argument}: {run:#?}");
        assert!(run.stderr.contains(named), "{argument}: {}", run.stderr);
    }
    assert_eq!(cloud.log().len(), 0, "{:#?}", cloud.log());
}

#[test]
fn a_bad_value_in_the_environment_or_in_the_file_is_named_with_its_place() {
    let (cloud, _, instance) = one_of_each();
    let folder = Folder::new();
    for (argument, named) in BAD {
        let Some((_, value)) = argument.split_once('=').filter(|(_, value)| !value.is_empty()) else { continue };
        let Some(option) = named.strip_prefix("--").filter(|name| *name != "takeove") else { continue };
        let name = format!("EIP_CLAIM_{}", option.replace('-', "_").to_uppercase());
        let run = run_with(&cloud, &instance, &[(&name, value)], &[]);
        assert_eq!((run.exit, run.stdout.as_str()), (64, ""), "{name}={value}: {run:#?}");
        assert!(run.stderr.contains(&name), "{name}={value}: {}", run.stderr);
        let file = folder.file("options.env", &format!("{name}={value}\n"));
        // The harness asks for JSON in the environment, which would come before the file.
        let variables = [("EIP_CLAIM_CONFIG", file.as_str()), ("EIP_CLAIM_OUTPUT", "")];
        let run = run_with(&cloud, &instance, &variables, &[]);
        assert_eq!((run.exit, run.stdout.as_str()), (64, ""), "{name}={value} in a file: {run:#?}");
        assert!(run.stderr.contains(&name) && run.stderr.contains(&file), "{name}={value}: {}", run.stderr);
    }
    assert_eq!(cloud.log().len(), 0, "{:#?}", cloud.log());
}

#[test]
fn a_file_that_is_wrong_is_named_and_nothing_is_asked_of_anybody() {
    let (cloud, _, instance) = one_of_each();
    let folder = Folder::new();
    for (content, named) in [
        ("EIP_CLAIM_TAKOVER=never\n", "EIP_CLAIM_TAKOVER"),
        ("EIP_CLAIM_TAG=asg\nEIP_CLAIM_=x\n", "EIP_CLAIM_"),
        ("EIP_CLAIM_TAG=asg\nwhat is this\n", "line 2"),
    ] {
        let file = folder.file("options.env", content);
        let run = run_with(&cloud, &instance, &[("EIP_CLAIM_CONFIG", &file)], &[]);
        assert_eq!(run.exit, 64, "{content}: {run:#?}");
        assert!(run.stderr.contains(named) && run.stderr.contains(&file), "{content}: {}", run.stderr);
    }
    let missing = folder.0.join("missing.env").display().to_string();
    let run = run_with(&cloud, &instance, &[("EIP_CLAIM_CONFIG", &missing)], &[]);
    assert_eq!(run.exit, 64, "a file that is asked for must be there: {run:#?}");
    assert!(run.stderr.contains(&missing), "{}", run.stderr);
    assert_eq!(cloud.log().len(), 0, "{:#?}", cloud.log());
}

#[test]
fn a_variable_that_looks_like_an_option_and_is_none_is_warned_of() {
    let (cloud, _, instance) = one_of_each();
    let run = run_with(&cloud, &instance, &[("EIP_CLAIM_TAKOVER", "never")], &[PATIENT, &["--tag=asg"]].concat());
    run.expect(0, "claimed");
    let warned = |line: &str| line.contains("WARN") && line.contains("EIP_CLAIM_TAKOVER");
    assert!(run.stderr.lines().any(warned), "{}", run.stderr);
}

#[test]
fn the_command_line_comes_before_the_environment_and_the_environment_before_the_file() {
    let folder = Folder::new();
    let file = folder.file("options.env", "EIP_CLAIM_TAG=from=file\n");
    let in_file = ("EIP_CLAIM_CONFIG", file.as_str());
    let in_environment = ("EIP_CLAIM_TAG", "from=environment");
    let empty = ("EIP_CLAIM_TAG", "");
    for (variables, arguments, expected) in [
        (&[in_file][..], &[][..], "file"),
        (&[in_file, empty], &[], "file"),
        (&[in_file, in_environment], &[], "environment"),
        (&[in_file, in_environment], &["--tag=from=line"], "line"),
        (&[in_file], &["--tag=from=line"], "line"),
        (&[in_environment], &["--tag=from=line"], "line"),
    ] {
        let cloud = Cloud::start(Options::default());
        let address = cloud.allocate(&[("from", expected)]);
        let instance = cloud.launch(launch(OLD));
        let run = run_with(&cloud, &instance, variables, &[PATIENT, arguments].concat());
        assert_eq!(run.exit, 0, "{variables:?} {arguments:?}: {run:#?}");
        assert_eq!(holder(&cloud, &address), Some(instance));
        let selected = filters(&cloud.requests("DescribeAddresses")[0]);
        assert_eq!(selected, these(&[("tag:from", &[expected])]), "{variables:?} {arguments:?}");
    }
}

#[test]
fn each_place_gives_what_the_others_leave_open() {
    let (cloud, address, instance) = one_of_each();
    let newer = held_since(&cloud, &address, Duration::from_secs(60));
    let folder = Folder::new();
    let file = folder.file(
        "options.env",
        "# comment\n; another\n\nEIP_CLAIM_TAKEOVER = \"never\"\nEIP_CLAIM_TIMEOUT='2s'\nAWS_REGION=moon-1\nFOO=bar\n",
    );
    let variables = [("EIP_CLAIM_CONFIG", file.as_str()), ("EIP_CLAIM_ATTEMPT_TIMEOUT", "500ms")];
    let run = run_with(&cloud, &instance, &variables, &["--tag=asg"]);
    run.expect(75, "failed");
    assert!(run.took < Duration::from_secs(20), "the timeout is that of the file: {:?}", run.took);
    assert_no_writes(&cloud);
    assert_eq!(cloud.requests("DescribeInstances").len(), 0, "the policy is that of the file");
    assert_eq!(holder(&cloud, &address), Some(newer));
}

#[test]
fn an_option_that_repeats_takes_several_values_by_comma_or_by_line() {
    for separator in [",", "\n", " , ", "\n\n", ",\n"] {
        let cloud = Cloud::start(Options::default());
        let pool = [cloud.allocate(&[]), cloud.allocate(&[])];
        let instance = cloud.launch(launch(OLD));
        let ids = pool.each_ref().map(|address| address.allocation_id.as_str());
        let ips = pool.each_ref().map(|address| address.public_ip.to_string());
        let variables = [
            ("EIP_CLAIM_ALLOCATION_ID", ids.join(separator)),
            ("EIP_CLAIM_PUBLIC_IP", ips.join(separator)),
            ("EIP_CLAIM_FILTER", ["domain=vpc", "network-border-group=ap-*"].join(separator)),
        ];
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let run = run_with(&cloud, &instance, &variables, PATIENT);
        assert_eq!(run.exit, 0, "{separator:?}: {run:#?}");
        let expected = these(&[
            ("allocation-id", &ids),
            ("public-ip", &ips.each_ref().map(String::as_str)),
            ("domain", &["vpc"]),
            ("network-border-group", &["ap-*"]),
        ]);
        assert_eq!(filters(&cloud.requests("DescribeAddresses")[0]), expected, "{separator:?}");
    }
}

#[test]
fn a_flag_in_the_environment_is_on_off_or_unset() {
    for (value, claims) in [
        ("true", true),
        ("1", true),
        ("yes", true),
        ("on", true),
        ("TRUE", true),
        ("false", false),
        ("0", false),
        ("no", false),
        ("off", false),
        ("", false),
    ] {
        let (cloud, address, instance) = one_of_each();
        cloud.set_lifecycle(&instance, Some("Standby"));
        let variables = [("EIP_CLAIM_IGNORE_LIFECYCLE", value), ("EIP_CLAIM_TAG", "asg")];
        let run = run_with(&cloud, &instance, &variables, PATIENT);
        run.expect(0, if claims { "claimed" } else { "skipped" });
        assert_eq!(holder(&cloud, &address).is_some(), claims, "{value:?}");
    }
}

#[test]
fn an_empty_value_is_as_unset() {
    let cloud = Cloud::start(Options::default());
    cloud.allocate(&[("eip-claim", "web")]);
    let instance = cloud.launch(Launch { tags: tags(&[("eip-claim", "web")]), ..launch(OLD) });
    let options = "TAG ALLOCATION_ID PUBLIC_IP FILTER DEVICE_INDEX PRIVATE_IP TAKEOVER IGNORE_LIFECYCLE TIMEOUT \
                   ATTEMPT_TIMEOUT LOG_FORMAT LOG_LEVEL CONFIG";
    let names: Vec<String> = options.split_whitespace().map(|name| format!("EIP_CLAIM_{name}")).collect();
    let variables: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    run_with(&cloud, &instance, &variables, &[]).expect(0, "claimed");
    let selected = filters(&cloud.requests("DescribeAddresses")[0]);
    assert_eq!(selected, these(&[("tag:eip-claim", &["web"])]));
    assert!(cloud.requests("AssociateAddress")[0].params.contains_key("InstanceId"), "no interface was chosen");
}

#[test]
fn help_and_version_are_printed_and_nothing_is_asked_of_anybody() {
    let (cloud, _, instance) = one_of_each();
    let version = claim(&cloud, &instance, &[], &["--version"]);
    assert_eq!((version.exit, version.stderr.as_str()), (0, ""), "{version:#?}");
    // The commit in hexadecimal digits, unless it is built outside a repository; and the target.
    let built = version.stdout.trim().strip_prefix(concat!("eip-claim ", env!("CARGO_PKG_VERSION"), " ("));
    let (commit, target) = built.and_then(|b| b.strip_suffix(')')?.split_once(", ")).expect("a commit and a target");
    assert!(commit == "unknown" || commit.len() >= 7 && commit.bytes().all(|b| b.is_ascii_hexdigit()), "{commit}");
    assert!(target.contains("-linux-"), "{target}");
    let help = claim(&cloud, &instance, &[], &["--help"]);
    assert_eq!((help.exit, help.stderr.as_str()), (0, ""), "{help:#?}");
    for (_, option) in BAD.iter().filter(|(_, named)| named.starts_with("--")) {
        let is_one = !["--no-such-option", "--takeove"].contains(option);
        assert_eq!(
            help.stdout.contains(&format!("{option} ")) || help.stdout.contains(&format!("{option}\n")),
            is_one,
            "{option}"
        );
    }
    assert_eq!(cloud.log().len(), 0, "{:#?}", cloud.log());
}

#[test]
fn help_fits_on_one_screen_and_groups_the_options_by_question() {
    let (cloud, _, instance) = one_of_each();
    let [long, short] = ["--help", "-h"].map(|option| claim(&cloud, &instance, &[], &[option]).stdout);
    assert_eq!(long, short);
    let lines: Vec<_> = long.lines().collect();
    assert!(lines.len() <= 50, "{} lines:\n{long}", lines.len());
    for line in &lines {
        assert!(line.chars().count() <= 100, "{line}");
    }
    let groups: Vec<_> = lines.iter().filter(|line| line.ends_with(':') && !line.starts_with(' ')).copied().collect();
    let expected = ["Which address:", "Where to:", "May I take it:", "How long:", "Afterwards:", "Output:"];
    assert_eq!(groups, expected, "{long}");
    for command in ["claim", "release", "check", "status"] {
        assert!(lines.iter().any(|line| line.starts_with(&format!("  {command} "))), "{command}:\n{long}");
    }
}

#[test]
fn an_endpoint_that_is_no_url_is_found_before_anything_is_called() {
    for name in ["EC2", "STS", "AUTO_SCALING", ""].map(|service| format!("AWS_ENDPOINT_URL_{service}")) {
        let name = name.trim_end_matches("_");
        let (cloud, _, me) = one_of_each();
        let mut process = command(&cloud.env(&me), &["--tag=asg"]);
        let run = finish(process.env(name, "ec2.example").spawn().expect("the binary starts"));
        run.expect(64, "failed");
        assert!(run.error("message").contains(name), "{run:#?}");
        assert_eq!(cloud.log().len(), 0, "{name}: {:#?}", cloud.log());
    }
}
