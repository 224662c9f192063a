//! The gate: should this instance claim at all? Auto Scaling says what it wants the instance to be.

use std::time::Duration;

use tokio::time::Instant;

use crate::cli::Options;
use crate::decide::Reach;
use crate::error::Error;
use crate::imds::Imds;

/// An instance that Auto Scaling has just made may not have its state in IMDS yet.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);

/// The tag by which an Auto Scaling group marks its instances.
pub(crate) const GROUP_TAG: &str = "aws:autoscaling:groupName";

/// What Auto Scaling wants this instance to be, as far as the claim goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// In service: claim.
    Open,
    /// No word of a group in IMDS, which shows tags only where it is told to: claim.
    Silent,
    /// `Detached`, or a state that this program does not know: only what nobody has.
    FreeOnly(String),
    /// In a group that has not said yet.
    NotKnownYet,
    /// `Standby`, `Terminated`, `Warmed:…`: not this instance.
    Skip(String),
}

impl Gate {
    /// Reads it from IMDS, unless `options` turn it off.
    ///
    /// # Errors
    /// IMDS fails.
    pub async fn read(imds: &Imds, options: &Options) -> Result<Self, Error> {
        if options.ignore_lifecycle {
            return Ok(Self::Open);
        }
        let (state, is_in_group) = tokio::join!(imds.target_lifecycle_state(), imds.is_in_group());
        Ok(match state? {
            Some(state) => Self::of(state),
            None if is_in_group? => Self::NotKnownYet,
            None => Self::Silent,
        })
    }

    fn of(state: String) -> Self {
        match state.as_str() {
            "InService" => Self::Open,
            "Standby" | "Terminated" => Self::Skip(state),
            _ if state.starts_with("Warmed:") => Self::Skip(state),
            _ => Self::FreeOnly(state),
        }
    }

    /// What it means for a claim, in words.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Open => "Auto Scaling wants this instance in service, or is not asked".to_owned(),
            Self::Silent => "no word of Auto Scaling in the metadata: a claim takes free and held addresses".to_owned(),
            Self::FreeOnly(state) => {
                format!("Auto Scaling wants this instance {state}: a claim takes free addresses only")
            }
            Self::NotKnownYet => "the group of this instance has not said yet what it wants it to be".to_owned(),
            Self::Skip(state) => format!("Auto Scaling wants this instance {state}: a claim would be skipped"),
        }
    }

    /// The same, now that EC2 has told that a group made this instance.
    pub fn of_member(self) -> Self {
        if self == Self::Silent { Self::NotKnownYet } else { self }
    }

    /// Which addresses it leaves in reach of a claim that began at `start`.
    pub fn reach(&self, start: Instant) -> Reach {
        match self {
            Self::Open | Self::Silent => Reach::Held,
            Self::NotKnownYet if start.elapsed() >= UNKNOWN_FOR => Reach::Held,
            Self::NotKnownYet | Self::FreeOnly(_) | Self::Skip(_) => Reach::FreeOnly,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_state_has_its_gate() {
        assert_eq!(Gate::of("InService".into()), Gate::Open);
        for state in
            ["Standby", "Terminated", "Warmed:Hibernated", "Warmed:Running", "Warmed:Stopped", "Warmed:Terminated"]
        {
            assert_eq!(Gate::of(state.into()), Gate::Skip(state.into()));
        }
        for state in ["Detached", "SomethingNew", ""] {
            assert_eq!(Gate::of(state.into()), Gate::FreeOnly(state.into()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_says_nothing_for_thirty_seconds_is_taken_for_one_that_wants_the_instance() {
        let start = Instant::now();
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!(Gate::NotKnownYet.reach(start), Reach::FreeOnly);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(Gate::NotKnownYet.reach(start), Reach::Held);
        assert_eq!(Gate::FreeOnly("Detached".into()).reach(start), Reach::FreeOnly);
        assert_eq!(Gate::Silent.reach(start), Reach::Held);
    }
}
