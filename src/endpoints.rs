//! Where the AWS APIs are, as far as the environment says: the variables that all AWS SDKs share.

use std::env;
use std::net::Ipv6Addr;

use crate::error::{Class, Error};

/// The URL that the environment names for one service by `variable`, or for all.
pub(crate) fn url(variable: &str) -> Option<String> {
    set(variable).or_else(|| set("AWS_ENDPOINT_URL"))
}

/// Checks the endpoints that the environment names, before anything is called.
///
/// # Errors
/// One of them is not a URL; the SDK itself would say so at the first call only, and not which.
pub(crate) fn check() -> Result<(), Error> {
    let services = ["EC2", "STS", "AUTO_SCALING"].map(|service| format!("AWS_ENDPOINT_URL_{service}"));
    for name in services.iter().map(String::as_str).chain(["AWS_ENDPOINT_URL"]) {
        if let Some(url) = set(name).filter(|url| !is_url(url)) {
            return Err(Error::new(Class::Usage, "InvalidEnvironment", format!("{name} is not a URL: `{url}`")));
        }
    }
    Ok(())
}

/// Whether `text` is a scheme that is spoken here, a host, perhaps a port, and perhaps a path.
pub(crate) fn is_url(text: &str) -> bool {
    let Some((host, port)) = place(text) else { return false };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    let is_plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b));
    is_host && is_plain && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// The host in `url`, an IPv6 address with its brackets, and the port, if it names one.
fn place(url: &str) -> Option<(&str, Option<&str>)> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
    Some(match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    })
}

/// The value of `variable`; an empty one is as none.
pub(crate) fn set(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty())
}

/// Whether the environment turns `variable` on.
pub(crate) fn is_on(variable: &str) -> bool {
    set(variable).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_sdk_could_not_connect_to_is_no_url() {
        for url in ["http://169.254.169.254", "http://[fd00:ec2::254]:80/", "https://ec2.eu-west-1.amazonaws.com/a?b#c"]
        {
            assert!(is_url(url), "{url}");
        }
        for other in [
            "",
            "x",
            "/",
            "ftp://x",
            "169.254.169.254",
            "http://",
            "http://:80",
            "http://a b",
            "http://[::1",
            "http://x:99999",
            "http://a@b",
            "http://é",
        ] {
            assert!(!is_url(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_a_url_the_sdks_client_of_imds_takes_for_one(
            text in prop_oneof![any::<String>(), "https?://[-a-z.:0-9@\\[\\]]{0,12}[ -~é]{0,8}", "https?://[a-z]{1,5}(:[0-9]{1,6})?/?"]
        ) {
            if is_url(&text) {
                prop_assert!(aws_config::imds::Client::builder().endpoint(&text).is_ok(), "{}", text);
            }
        }
    }
}
