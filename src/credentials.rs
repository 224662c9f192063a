//! The credentials of the instance profile, by IMDS alone.
//!
//! They are fetched when first needed, kept, and fetched anew when they are about to expire
//! or when AWS does not accept them. No other source is ever asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use tokio::time::timeout;

use crate::classify::is_about_credentials;
use crate::error::{Class, Error};
use crate::imds::Imds;
use crate::metadata::{self, Metadata};

/// Credentials that expire sooner than this are fetched anew.
const EXPIRY_MARGIN: Duration = Duration::from_secs(60);
/// Where IMDS has them.
const PATH: &str = "meta-data/iam/security-credentials/";

/// The credentials of the instance profile, fetched when needed and kept until they expire or are forgotten.
#[derive(Debug, Clone)]
pub struct InstanceProfile {
    metadata: Metadata,
    current: Arc<Mutex<Option<Credentials>>>,
}

impl InstanceProfile {
    /// The profile that `imds` knows.
    pub fn new(imds: &Imds) -> Self {
        Self { metadata: imds.metadata().clone(), current: Arc::default() }
    }

    /// Fetches credentials unless there are good ones.
    ///
    /// # Errors
    /// There is no role (yet), or IMDS fails.
    pub async fn load(&self) -> Result<Credentials, Error> {
        let good = |c: &Credentials| c.expiry().is_none_or(|expiry| expiry > SystemTime::now() + EXPIRY_MARGIN);
        if let Some(current) = self.lock().clone().filter(good) {
            return Ok(current);
        }
        // The SDK would ask for the role itself, and panic at a name that does not fit into a path.
        let role =
            self.role().await?.ok_or_else(|| Error::new(Class::NotYet, "NoRole", "this instance has no IAM role"))?;
        let provider = ImdsCredentialsProvider::builder()
            .profile(role)
            .imds_client(self.metadata.client())
            .configure(&metadata::config())
            .build();
        let fetched = timeout(self.metadata.deadline().remaining(), provider.provide_credentials()).await;
        let fresh = fetched.map_err(|_| Error::cut_short(PATH))?.map_err(|error| self.failure(&error))?;
        *self.lock() = Some(fresh.clone());
        Ok(fresh)
    }

    /// The name of the role, if there is one.
    ///
    /// # Errors
    /// IMDS fails.
    pub(crate) async fn role(&self) -> Result<Option<String>, Error> {
        Ok(self.metadata.optional(PATH, parse_role).await?.flatten())
    }

    /// Drops the credentials: AWS did not accept them.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    fn failure(&self, error: &CredentialsError) -> Error {
        if metadata::is_of_imds(error) {
            return self.metadata.failure(PATH, error);
        }
        // IMDS says why itself, or its document is not complete: either may change until the deadline.
        let message = format!("IMDS has no credentials for the IAM role at {PATH}");
        Error::new(Class::NotYet, "RoleNotReady", message).caused_by(error)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Credentials>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Attempts once more with fresh credentials where AWS does not accept those of the first attempt,
/// whatever the age of the instance: it may have slept through their expiry.
pub(crate) async fn with_fresh<T>(mut attempt: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    match attempt().await {
        Err(error) if error.class == Class::Denied && is_about_credentials(&error.code) => attempt().await,
        outcome => outcome,
    }
}

/// The name of a role, in the characters that IAM allows; an empty list has none.
fn parse_role(text: &str) -> Result<Option<String>, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@-_".contains(&b);
    match text.len() {
        0 => Ok(None),
        1..=64 if text.bytes().all(fits) => Ok(Some(text.to_owned())),
        _ => Err(format!("`{text}` is not the name of a role")),
    }
}

impl ProvideCredentials for InstanceProfile {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let load = async { self.load().await.map_err(CredentialsError::provider_error) };
        future::ProvideCredentials::new(load)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_name_that_iam_allows_is_read_as_it_is(name in "[A-Za-z0-9+=,.@_-]{1,64}") {
            prop_assert_eq!(parse_role(&name), Ok(Some(name)));
        }

        #[test]
        fn what_would_not_be_one_segment_of_a_path_is_no_role(
            text in prop_oneof![any::<String>(), "[A-Za-z]{0,9}[ /?#%<>\n\0é][A-Za-z]{0,9}", "[a-z]{65,200}"]
        ) {
            let fits = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
            match parse_role(&text) {
                Ok(None) => prop_assert!(text.is_empty()),
                Ok(Some(name)) => prop_assert!(name == text && text.chars().all(fits) && text.len() <= 64, "{}", text),
                Err(why) => prop_assert!(why.contains(&text) && !(text.chars().all(fits) && text.len() <= 64), "{}", why),
            }
        }
    }
}
