//! One attempt of one call to AWS: its time limit, and what its failure amounts to.

use std::future::Future;
use std::time::Duration;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use tokio::time::timeout;

use crate::classify::is_about_credentials;
use crate::credentials::InstanceProfile;
use crate::error::{Class, Error};
use crate::retry::Deadline;
use crate::sanity::nonsense;

/// The code of an answer that AWS cannot have given.
const NONSENSE: &str = "NonsenseAnswer";

/// Whether the call that failed with `error` may have been carried out: it was sent, and not refused.
pub(crate) fn may_be_done(error: &Error) -> bool {
    error.class == Class::Transient || error.code == NONSENSE
}

/// What every call has in common.
#[derive(Debug, Clone)]
pub(crate) struct Attempts {
    /// Whose credentials sign it.
    pub(crate) profile: InstanceProfile,
    /// How long it may take.
    pub(crate) timeout: Duration,
    /// When it must be over, whatever else.
    pub(crate) deadline: Deadline,
}

impl Attempts {
    /// One attempt of one call.
    ///
    /// # Errors
    /// As AWS answers, or that it does not; credentials that are not accepted are forgotten.
    pub(crate) async fn call<T, E>(
        &self,
        operation: &'static str,
        answer: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Error>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        self.profile.load().await?;
        let budget = self.deadline.cap(self.timeout);
        let outcome = timeout(budget, answer).await;
        tracing::debug!(operation, ok = matches!(outcome, Ok(Ok(_))), "called");
        match outcome {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failure(operation, error)),
            Err(_) if budget < self.timeout => Err(Error::cut_short(operation)),
            Err(_) => {
                let message = format!("{operation} was not answered within {}", humantime::format_duration(budget));
                Err(Error::new(Class::Transient, "AttemptTimeout", message))
            }
        }
    }

    fn failure<E>(&self, operation: &str, error: SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let (class, code, what) = match &error {
            SdkError::ServiceError(context) => {
                let (code, message) = (context.err().code(), context.err().message());
                let status = context.raw().status().as_u16();
                let answered =
                    Error::answered(operation, code.unwrap_or_default(), message.unwrap_or_default(), status);
                if answered.class == Class::Denied && is_about_credentials(&answered.code) {
                    self.profile.forget();
                }
                return answered;
            }
            error if nonsense(error).is_some() => (Class::Nonsense, NONSENSE, "got an answer that makes no sense"),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                (Class::Transient, "ConnectTimeout", "could not connect")
            }
            SdkError::DispatchFailure(_) => (Class::Transient, "ConnectionFailed", "got no answer"),
            SdkError::ResponseError(_) => (Class::Transient, "UnreadableAnswer", "got an answer that cannot be read"),
            _ => (Class::Nonsense, "BadRequest", "could not be asked"),
        };
        Error::new(class, code, format!("{operation} {what}")).caused_by(&error)
    }
}
