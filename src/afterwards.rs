//! After the claim: Auto Scaling is told how it ended, where the options ask for that.
//!
//! It has ten seconds of its own, and whatever comes of it is logged: the result of the claim stays as it is.

use std::time::Duration;

use crate::cli::Options;
use crate::cloud::Cloud;
use crate::credentials::{InstanceProfile, with_fresh};
use crate::error::{Class, Error, Exit};
use crate::gate::GROUP_TAG;
use crate::ids::InstanceId;
use crate::imds::Imds;
use crate::report::Report;
use crate::retry::{Backoff, Deadline, Retry};
use crate::scaling::{Completion, Verdict};

/// What follows the claim may take this long, after its deadline too.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The health is told first, and leaves the hook its time.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Tells Auto Scaling how the claim ended, as far as `options` ask for it.
pub(crate) async fn tell_auto_scaling(options: &Options, report: &Report) {
    let exit = report.exit();
    let is_sick = options.unhealthy_on_failure && exit == Exit::TempFail;
    let hook = options.lifecycle_hook.as_deref();
    if report.error().is_some_and(Error::is_stop) && (is_sick || hook.is_some()) {
        // Most likely it is about to be started again, by user data or at the next boot.
        let why = "a signal stopped the claim, which says nothing against this instance";
        return tracing::warn!("Auto Scaling is told nothing: {why}");
    }
    let completion = hook.zip(verdict(exit));
    if let (Some(hook), None) = (hook, completion) {
        let why = "another instance would fare no better";
        tracing::warn!(hook, exit = exit as u8, "the launch hook {hook} is left to its default result: {why}");
    }
    if !is_sick && completion.is_none() {
        return;
    }
    let deadline = Deadline::after(TIMEOUT);
    if is_sick {
        match sick(options, report, deadline.within(HEALTH_TIMEOUT)).await {
            Ok(()) => tracing::info!("Auto Scaling is told that this instance is unhealthy"),
            Err(error) => complain("this instance is not reported as unhealthy", &error),
        }
    }
    if let Some((hook, verdict)) = completion {
        let verdict_text = verdict.as_str();
        match complete(options, report, hook, verdict, deadline).await {
            Ok(Completion::Done) => tracing::info!(hook, verdict = verdict_text, "the launch hook {hook} is completed"),
            Ok(Completion::NoneActive) => tracing::info!(hook, "nothing waits for the launch hook {hook}"),
            Err(error) => complain(&format!("the launch hook {hook} is not completed with {verdict_text}"), &error),
        }
    }
}

/// What an end of the claim means for an instance that waits for it.
fn verdict(exit: Exit) -> Option<Verdict> {
    match exit {
        Exit::Success => Some(Verdict::Continue),
        Exit::Unavailable | Exit::Software | Exit::TempFail => Some(Verdict::Abandon),
        // What is wrong with the configuration or the role is wrong with the next instance as well.
        Exit::Usage | Exit::NoPerm | Exit::Config => None,
    }
}

fn complain(what: &str, error: &Error) {
    tracing::error!(code = %error.code, "{what}: {}", error.in_full());
    tracing::error!("what to do: {}", error.remedy());
}

async fn sick(options: &Options, report: &Report, deadline: Deadline) -> Result<(), Error> {
    let (_, cloud, instance) = reach(options, report, deadline)?;
    let report = async || cloud.set_unhealthy(&instance).await;
    patient(deadline).run(async || with_fresh(report).await).await
}

async fn complete(
    options: &Options,
    report: &Report,
    hook: &str,
    verdict: Verdict,
    deadline: Deadline,
) -> Result<Completion, Error> {
    let (imds, cloud, instance) = reach(options, report, deadline)?;
    let ask = async || group(options, &imds, &cloud, &instance).await;
    let group = patient(deadline).run(async || with_fresh(ask).await).await?;
    let tell = async || cloud.complete(&group, hook, &instance, verdict).await;
    patient(deadline).run(async || with_fresh(tell).await).await
}

/// On connections of its own: those of the claim may have died with the address of before.
fn reach(options: &Options, report: &Report, deadline: Deadline) -> Result<(Imds, Cloud, InstanceId), Error> {
    let unknown = || Error::new(Class::NotYet, "UnknownInstance", "IMDS has not told which instance this is");
    let facts = &report.facts;
    let (instance, region) = facts.instance.clone().zip(facts.region.as_deref()).ok_or_else(unknown)?;
    let imds = Imds::from_env(deadline)?;
    let cloud = Cloud::new(region, InstanceProfile::new(&imds), options.attempt_timeout, deadline);
    Ok((imds, cloud, instance))
}

/// The group that was named, else the one that the instance's own tag names, else the one that Auto Scaling knows.
async fn group(options: &Options, imds: &Imds, cloud: &Cloud, instance: &InstanceId) -> Result<String, Error> {
    if let Some(name) = &options.auto_scaling_group {
        return Ok(name.clone());
    }
    if let Some(name) = imds.tag(GROUP_TAG).await? {
        return Ok(name);
    }
    cloud.group_of(instance).await?.ok_or_else(|| no_group(instance))
}

/// There is nothing to tell Auto Scaling.
pub(crate) fn no_group(instance: &InstanceId) -> Error {
    Error::new(Class::Fatal, "NoGroup", format!("{instance} is in no Auto Scaling group"))
        .advise("name the group with --auto-scaling-group, or leave --lifecycle-hook out")
}

/// A launch hook is for new instances, whose role may still be propagating: all the time there is, it is waited for.
fn patient(deadline: Deadline) -> Retry {
    let mut retry = Retry::new(deadline, Backoff::default());
    retry.allow_denied_for(TIMEOUT);
    retry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_has_its_verdict_or_none() {
        for (exit, expected) in [
            (Exit::Success, Some("CONTINUE")),
            (Exit::Unavailable, Some("ABANDON")),
            (Exit::Software, Some("ABANDON")),
            (Exit::TempFail, Some("ABANDON")),
            (Exit::Usage, None),
            (Exit::NoPerm, None),
            (Exit::Config, None),
        ] {
            assert_eq!(verdict(exit).map(Verdict::as_str), expected, "{exit:?}");
        }
    }
}
