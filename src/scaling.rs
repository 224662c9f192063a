//! The calls to Auto Scaling: which group has an instance, the end of its launch hook, its health.

use crate::answers;
use crate::cloud::Cloud;
use crate::error::Error;
use crate::ids::InstanceId;

/// What becomes of an instance that waits for its launch hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes into service.
    Continue,
    /// The group terminates it, and launches another.
    Abandon,
}

impl Verdict {
    /// The verdict in the words of Auto Scaling.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "CONTINUE",
            Self::Abandon => "ABANDON",
        }
    }
}

/// What came of the completion of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completion {
    /// The instance waits no more.
    Done,
    /// It did not wait, as on every boot but the first.
    NoneActive,
}

impl Cloud {
    /// The name of the Auto Scaling group that has `instance`, if one does (DescribeAutoScalingInstances).
    ///
    /// # Errors
    /// As Auto Scaling answers.
    pub(crate) async fn group_of(&self, instance: &InstanceId) -> Result<Option<String>, Error> {
        let request = self.scaling.describe_auto_scaling_instances().instance_ids(instance.as_str());
        let answer = self.attempts.call("DescribeAutoScalingInstances", request.send()).await?;
        let found = answer.auto_scaling_instances().iter().find(|found| found.instance_id() == Some(instance.as_str()));
        Ok(answers::present(found.and_then(|found| found.auto_scaling_group_name())).map(str::to_owned))
    }

    /// Ends the wait of `instance` for `hook` of `group` (CompleteLifecycleAction).
    ///
    /// # Errors
    /// As Auto Scaling answers; that there is no such wait is none.
    pub(crate) async fn complete(
        &self,
        group: &str,
        hook: &str,
        instance: &InstanceId,
        verdict: Verdict,
    ) -> Result<Completion, Error> {
        let request = self
            .scaling
            .complete_lifecycle_action()
            .auto_scaling_group_name(group)
            .lifecycle_hook_name(hook)
            .instance_id(instance.as_str())
            .lifecycle_action_result(verdict.as_str());
        match self.attempts.call("CompleteLifecycleAction", request.send()).await {
            Ok(_) => Ok(Completion::Done),
            Err(error) if error.code == "ValidationError" && error.message.contains("No active Lifecycle Action") => {
                Ok(Completion::NoneActive)
            }
            Err(error) => Err(error),
        }
    }

    /// Reports `instance` as unhealthy, and at once, whatever the grace period (SetInstanceHealth).
    ///
    /// # Errors
    /// As Auto Scaling answers.
    pub(crate) async fn set_unhealthy(&self, instance: &InstanceId) -> Result<(), Error> {
        let request = self
            .scaling
            .set_instance_health()
            .instance_id(instance.as_str())
            .health_status("Unhealthy")
            .should_respect_grace_period(false);
        self.attempts.call("SetInstanceHealth", request.send()).await.map(|_| ())
    }
}
