//! The parsers that are public: options, ids, filters and EC2's errors, each against what is known without them.

use std::time::Duration;

use clap::Parser;
use eip_claim::classify::{classify, remedy};
use eip_claim::cli::{Options, Tag};
use eip_claim::cloud::Filter;
use eip_claim::error::{Class, Error};
use eip_claim::ids::{AllocationId, AssociationId, InstanceId, InterfaceId};
use proptest::prelude::*;

use crate::harness::one_of_each;
use crate::prove::size;
use crate::requests::run_with;

fn cases() -> ProptestConfig {
    ProptestConfig::with_cases(size(256, 20_000))
}

/// What `--option=VALUE` is read as, if it is accepted.
fn options(arguments: &[String]) -> Result<Options, clap::Error> {
    Options::try_parse_from([&["eip-claim".to_owned()], arguments].concat())
}

/// Short texts of the characters that mean something to some parser, and any others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![r#"[-=*?\\,:;#'" \n\ta-c0-9é]{0,24}"#, any::<String>(), r"\PC{0,300}"]
}

/// EC2's matching of filter values: `*` any text, `?` any character, a backslash takes the next literally.
fn matches(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], rest) => rest.is_empty(),
        (['*', pattern @ ..], _) => (0..=text.len()).any(|skipped| matches(pattern, &text[skipped..])),
        (['\\', literal, pattern @ ..], [c, rest @ ..]) => c == literal && matches(pattern, rest),
        (['?', pattern @ ..], [_, rest @ ..]) => matches(pattern, rest),
        ([literal, pattern @ ..], [c, rest @ ..]) => c == literal && matches(pattern, rest),
        (_, []) => false,
    }
}

/// Few characters, so that different texts are often nearly the same.
const NEARLY: &str = r"[*?\\ab]{0,6}";

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_literal_value_passes_itself_through_ec2s_matching_and_nothing_else(
        value in prop_oneof![NEARLY, text()], others in prop::collection::vec(NEARLY, 1..20)
    ) {
        let filter = Filter::exactly("tag:a", [&value]);
        let pattern: Vec<char> = filter.values[0].chars().collect();
        for other in others.iter().chain([&value]) {
            let passes = matches(&pattern, &other.chars().collect::<Vec<_>>());
            prop_assert_eq!(passes, *other == value, "{:?} for {:?}: {:?}", other, value, filter);
        }
    }

    #[test]
    fn a_tag_is_read_as_it_is_written(key in r"[^=]{1,128}", value in prop::option::of(text())) {
        let written = value.as_ref().map_or(key.clone(), |value| format!("{key}={value}"));
        let read = options(&[format!("--tag={written}")]).expect("a key of 1 to 128 characters").tag;
        prop_assert_eq!(read, [Tag { key, value }]);
    }

    #[test]
    fn a_tag_without_a_key_of_1_to_128_characters_is_refused(key in r"([^=]{129,140})?", value in text()) {
        let written = format!("--tag={key}={value}");
        prop_assert!(options(&[written]).is_err());
    }

    #[test]
    fn a_filter_is_read_as_it_is_written(
        name in r"[^=]{1,20}", values in prop::collection::vec(r"[^,]{0,10}", 1..5)
    ) {
        let read = options(&[format!("--filter={name}={}", values.join(","))]).expect("a name and values").filter;
        prop_assert_eq!(read, [Filter { name, values }]);
    }

    #[test]
    fn a_time_is_accepted_if_it_is_one_to_humantime_or_in_seconds_and_from_above_zero_to_a_day(
        written in prop_oneof![
            text(),
            any::<u64>().prop_map(|n| n.to_string()),
            (0_u64..90_000, 0_u32..1_000).prop_map(|(s, ms)| {
                humantime::format_duration(Duration::new(s, ms * 1_000_000)).to_string()
            }),
            (any::<u64>(), prop::sample::select(vec!["ns", "ms", "s", "sec", "min", "h", "days", "y", "x", ""]))
                .prop_map(|(n, unit)| format!("{n}{unit}")),
        ]
    ) {
        let seconds = written.parse().map(Duration::from_secs).ok();
        let expected = seconds.or_else(|| humantime::parse_duration(&written).ok());
        let expected = expected.filter(|d| !d.is_zero() && *d <= Duration::from_secs(86_400));
        for option in ["--timeout", "--attempt-timeout"] {
            let read = options(&[format!("{option}={written}")]).ok();
            let read = read.map(|o| if option == "--timeout" { o.timeout } else { o.attempt_timeout });
            prop_assert_eq!(read, expected, "{}={}", option, written);
        }
    }

    #[test]
    fn an_id_is_read_if_it_has_its_prefix_and_1_to_32_digits_and_is_written_as_it_was_read(
        id in prop_oneof![r"(i|eni|eipalloc|eipassoc|[a-z]{1,4})-?[-0-9a-zA-Zé]{0,34}", text()]
    ) {
        let (prefix, digits) = id.split_once('-').unwrap_or(("", ""));
        let is_id = (1..=32).contains(&digits.chars().count()) && digits.chars().all(|c| c.is_ascii_alphanumeric());
        let read = [
            ("i", id.parse::<InstanceId>().map(|id| id.to_string())),
            ("eni", id.parse::<InterfaceId>().map(|id| id.to_string())),
            ("eipalloc", id.parse::<AllocationId>().map(|id| id.to_string())),
            ("eipassoc", id.parse::<AssociationId>().map(|id| id.to_string())),
        ];
        for (own, read) in read {
            prop_assert_eq!(read.ok(), (is_id && prefix == own).then(|| id.clone()), "{}", own);
        }
    }

    #[test]
    fn no_command_line_makes_the_parser_panic(
        arguments in prop::collection::vec(prop_oneof![
            text(),
            (prop::sample::select(vec![
                "tag", "allocation-id", "public-ip", "filter", "device-index", "private-ip", "takeover", "timeout",
                "attempt-timeout", "ignore-lifecycle", "output", "log-format", "log-level", "help", "version", "x",
            ]), text()).prop_map(|(name, value)| format!("--{name}={value}")),
        ], 0..5)
    ) {
        if let Err(error) = options(&arguments) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

/// Codes of the error table, codes nearly like them, and any others.
fn code() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "SlowDown",
        "EC2ThrottledException",
        "InternalError",
        "InvalidInstanceID",
        "InvalidInstanceID.NotFound",
        "IncorrectInstanceState",
        "Resource.AlreadyAssociated",
        "InvalidAllocationID.NotFound",
        "AuthFailure",
        "UnauthorizedOperation",
        "AccessDeniedException",
        "Gateway.NotAttached",
        "InvalidAction",
    ]);
    prop_oneof![known.prop_map(str::to_owned), "[A-Z][A-Za-z.]{0,40}", text()]
}

/// What EC2 says, and parts of it.
fn message() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "resource ",
        "eni-1",
        "eipalloc-1",
        "10.0.0.1",
        " is already associated",
        "pending",
        "multiple interfaces",
        "network border group",
        "do not have permission to access",
        "Encoded authorization failure message:",
        " é\n",
    ]);
    prop_oneof![prop::collection::vec(known, 0..6).prop_map(|parts| parts.concat()), text(), "[a-z]{5000}"]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_error_answer_has_a_class_an_exit_code_of_the_table_and_a_remedy(
        code in code(), message in message(), status in any::<u16>()
    ) {
        let class = classify(&code, &message, status);
        prop_assert!([69, 70, 75, 77, 78].contains(&(class.exit() as u8)), "{:?}", class);
        prop_assert!(!remedy(class, &code).is_empty());
        if ["RequestLimitExceeded", "SlowDown", "EC2ThrottledException"].contains(&code.as_str())
            || code.starts_with("Throttling") {
            prop_assert_eq!(class, Class::Throttled, "whatever the message and the status");
        }
        if code.is_empty() && !message.to_lowercase().contains("network border group") {
            prop_assert_eq!(class, if status >= 500 { Class::Transient } else { Class::Nonsense });
        }
        if class == Class::TargetTaken {
            prop_assert!(!message.starts_with("resource eipalloc-"), "this names the address, not the target");
        }
    }

    #[test]
    fn whatever_is_answered_the_error_is_one_line_that_has_an_end_and_steers_no_terminal(
        code in prop_oneof![code(), r"(?s).{200,400}"], message in message(), filler in r"[\x00-\x1fé-]{0,3}",
        repeated in 0_usize..20_000, status in any::<u16>()
    ) {
        let mut error = Error::answered("Call", &code, &format!("{message}{}", filler.repeat(repeated)), status);
        error.explained(&message.repeat(3));
        let cause = Error::new(Class::Fatal, "Cause", &message);
        let error = error.caused_by(&cause);
        for text in [&error.message, &error.code, error.decoded.as_ref().expect("it was just explained"), &error.in_full()] {
            prop_assert!(text.len() < 9_000 && !text.contains(char::is_control), "{} bytes: {}", text.len(), text);
        }
        prop_assert!(error.message.starts_with("Call failed: ") && !error.code.is_empty());
        prop_assert!(error.encoded.as_ref().is_none_or(|e| e.len() <= 10_240 && !e.contains(char::is_whitespace)));
    }

    #[test]
    fn the_encoded_explanation_is_what_follows_its_label_and_stays_out_of_the_message(
        said in "[ -~]{0,80}", encoded in "[A-Za-z0-9_-]{1,400}", more in "(\\s[a-z]{0,9})?"
    ) {
        let label = "Encoded authorization failure message:";
        prop_assume!(!said.contains(label));
        let error = Error::answered("Call", "UnauthorizedOperation", &format!("{said} {label} {encoded}{more}"), 403);
        prop_assert_eq!(error.class, Class::Denied);
        prop_assert_eq!(error.encoded.as_deref(), Some(encoded.as_str()));
        let shown = if said.trim().is_empty() { "HTTP status 403" } else { said.trim() };
        prop_assert_eq!(error.message, format!("Call failed: {shown}"));
    }
}

#[test]
fn an_endpoint_of_imds_that_is_none_is_found_before_anything_is_called() {
    for endpoint in ["x", "/", "127.0.0.1", "ftp://x", "http://", "http://a b", "http://[::1", "https://127.0.0.1"] {
        let (cloud, _, me) = one_of_each();
        let run = run_with(&cloud, &me, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)], &["--timeout=5s"]);
        run.expect(64, "failed");
        assert!(run.error("message").contains("AWS_EC2_METADATA_SERVICE_ENDPOINT"), "{endpoint}: {run:#?}");
        assert_eq!(cloud.log().len(), 0, "{endpoint}: {:#?}", cloud.log());
    }
}
