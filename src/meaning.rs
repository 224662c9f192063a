//! What every exit code and every class of failure means, in words: the log has them, and so has `docs/exit-codes.md`.

use crate::error::{Class, Exit};

impl Exit {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Success, Self::Usage, Self::Unavailable, Self::Software, Self::TempFail, Self::NoPerm, Self::Config];

    /// The name by which systemd shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Usage => "USAGE",
            Self::Unavailable => "UNAVAILABLE",
            Self::Software => "SOFTWARE",
            Self::TempFail => "TEMPFAIL",
            Self::NoPerm => "NOPERM",
            Self::Config => "CONFIG",
        }
    }

    /// When a run ends with it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Success => {
                "this instance holds the address, or Auto Scaling wants it not to, or `release` has left nothing held"
            }
            Self::Usage => "bad option or value; nothing was called",
            Self::Unavailable => {
                "addresses match, none will be ours: a newer instance has it, or EC2 refuses them to us"
            }
            Self::Software => "a bug, or an answer that makes no sense",
            Self::TempFail => "the deadline (`--timeout`, 5 minutes) passed while the cause was one that may go away",
            Self::NoPerm => "IAM says no",
            Self::Config => "no address matches, or an impossible configuration",
        }
    }
}

impl Class {
    /// All of them, in the order of their exit codes.
    pub const ALL: [Self; 18] = [
        Self::Usage,
        Self::Yielded,
        Self::UnknownHolder,
        Self::LeftAlone,
        Self::NotOurs,
        Self::Nonsense,
        Self::Transient,
        Self::Throttled,
        Self::NotYet,
        Self::LostRace,
        Self::Waiting,
        Self::Interrupted,
        Self::Denied,
        Self::NotVisible,
        Self::TargetTaken,
        Self::WrongTargetMode,
        Self::MetadataOff,
        Self::Fatal,
    ];

    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Yielded => "yielded",
            Self::UnknownHolder => "unknown holder",
            Self::LeftAlone => "left alone",
            Self::NotOurs => "not ours",
            Self::Nonsense => "nonsense",
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::NotYet => "not yet",
            Self::LostRace => "lost race",
            Self::Waiting => "waiting",
            Self::Interrupted => "interrupted",
            Self::Denied => "denied",
            Self::NotVisible => "not visible",
            Self::TargetTaken => "target taken",
            Self::WrongTargetMode => "wrong target mode",
            Self::MetadataOff => "metadata off",
            Self::Fatal => "fatal",
        }
    }

    /// What happened, and why.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Usage => {
                "an option, a variable or a line of the configuration file is not one that the program knows"
            }
            Self::Yielded => "an instance that was launched later holds the address, and the newest one keeps it",
            Self::UnknownHolder => {
                "EC2 does not know the instance that holds the address yet, which is most likely newer"
            }
            Self::LeftAlone => "every address that matches is managed by AWS or on an interface without an instance",
            Self::NotOurs => {
                "EC2 refuses the address to this instance: it is another account's, or of another network border group"
            }
            Self::Nonsense => "an answer came that neither EC2 nor the metadata service can have given, for 30 seconds",
            Self::Transient => "calls were not answered, or with a server's failure, until the deadline",
            Self::Throttled => "EC2 answered that the account calls it too often, until the deadline",
            Self::NotYet => "something that becomes true soon after a launch was not true until the deadline",
            Self::LostRace => "whenever an address was free, another claimer was quicker, until the deadline",
            Self::Waiting => "every address that matches was held by somebody who may keep it, until the deadline",
            Self::Interrupted => "a signal stopped the run, or too little time was left for the next step",
            Self::Denied => "IAM does not allow a call, or AWS does not accept the credentials or the clock",
            Self::NotVisible => "nothing matches: no such address, tag or interface, for 30 seconds",
            Self::TargetTaken => "the private address that the claim is for has another Elastic IP address",
            Self::WrongTargetMode => "the instance has several interfaces, and the call named none",
            Self::MetadataOff => "the metadata service is switched off for this instance",
            Self::Fatal => "EC2 refuses the call for a reason that time does not mend",
        }
    }
}
