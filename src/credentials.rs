//! The credentials of the instance profile, by IMDS alone.
//!
//! They are fetched when first needed, kept, and fetched anew when they are about to expire
//! or when AWS does not accept them. No other source is ever asked.

use std::error::Error as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use tokio::time::timeout;

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
        let provider = ImdsCredentialsProvider::builder()
            .imds_client(self.metadata.client())
            .configure(&metadata::config())
            .build();
        let fetched = timeout(self.metadata.deadline().remaining(), provider.provide_credentials()).await;
        let fresh = fetched.map_err(|_| Error::cut_short(PATH))?.map_err(|error| self.failure(&error))?;
        *self.lock() = Some(fresh.clone());
        Ok(fresh)
    }

    /// Drops the credentials: AWS did not accept them.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    fn failure(&self, error: &CredentialsError) -> Error {
        match error {
            CredentialsError::CredentialsNotLoaded(_) if error.source().is_none_or(|s| s.source().is_none()) => {
                Error::new(Class::NotYet, "NoRole", "this instance has no IAM role").caused_by(error)
            }
            CredentialsError::InvalidConfiguration(_) | CredentialsError::Unhandled(_) => {
                Error::new(Class::NotYet, "RoleNotReady", "IMDS has no credentials for the IAM role").caused_by(error)
            }
            _ => self.metadata.failure(PATH, error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Credentials>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
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
