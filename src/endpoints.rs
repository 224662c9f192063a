//! Where the AWS APIs are, as far as the environment says: the variables that all AWS SDKs share.

use std::env;

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
    for name in ["AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"] {
        if let Some(url) = set(name).filter(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
            return Err(Error::new(Class::Usage, "InvalidEnvironment", format!("{name} is not a URL: `{url}`")));
        }
    }
    Ok(())
}

/// The value of `variable`; an empty one is as none.
pub(crate) fn set(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty())
}

/// Whether the environment turns `variable` on.
pub(crate) fn is_on(variable: &str) -> bool {
    set(variable).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}
