//! Every failure, its class, and what follows from the class: how long it is retried, and the exit code.

use std::fmt;
use std::time::Duration;

use crate::classify::{classify, remedy};
use crate::retry::{Pace, Patience};
use crate::sanity::on_one_line;

/// How the program ends, in the codes of `sysexits.h` that systemd knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// This instance holds the address, or the gate said skip.
    Success = 0,
    /// A bad option or value; nothing was called.
    Usage = 64,
    /// Addresses match, and none will be ours.
    Unavailable = 69,
    /// A bug, or an answer that makes no sense.
    Software = 70,
    /// The deadline passed while the cause was one that may go away.
    TempFail = 75,
    /// IAM says no.
    NoPerm = 77,
    /// No address matches, or the configuration is impossible.
    Config = 78,
}

/// What kind of failure it is; decides everything that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A timeout, a broken connection, a server error.
    Transient,
    /// EC2's request rate limit.
    Throttled,
    /// True soon: the instance is pending, IMDS is not up, the role is not there yet.
    NotYet,
    /// Somebody else was quicker.
    LostRace,
    /// Every candidate is held by somebody who may keep it.
    Waiting,
    /// EC2 does not know the holder yet, which is most likely newer than this instance.
    UnknownHolder,
    /// SIGTERM, or too little time left for the next step.
    Interrupted,
    /// No address matches.
    NotVisible,
    /// Addresses match, and none of them is a candidate.
    LeftAlone,
    /// An answer that makes no sense.
    Nonsense,
    /// IAM says no, or the credentials are not accepted.
    Denied,
    /// EC2 refuses this address to us.
    NotOurs,
    /// A better holder has the address.
    Yielded,
    /// The private address that the claim is for has another Elastic IP address.
    TargetTaken,
    /// The instance has several interfaces, and the call named none.
    WrongTargetMode,
    /// IMDS is switched off.
    MetadataOff,
    /// A bad option or value.
    Usage,
    /// All else.
    Fatal,
}

/// An address or a tag may be seconds old and not visible to reads yet.
const VISIBILITY_WINDOW: Duration = Duration::from_secs(30);

impl Class {
    /// How long to retry; a denied call gets `denied_window`, which is longer than zero only on a young instance.
    pub fn patience(self, denied_window: Duration) -> Patience {
        use Class::*;
        match self {
            Transient | Throttled | NotYet | LostRace | Waiting | UnknownHolder | WrongTargetMode => Patience::Deadline,
            NotVisible | LeftAlone | Nonsense => Patience::Window(VISIBILITY_WINDOW),
            Denied if !denied_window.is_zero() => Patience::Window(denied_window),
            // Where other candidates are left, a refusal counts as a lost race: see `Claim::learn`.
            Denied | NotOurs | Yielded | TargetTaken | MetadataOff | Usage | Fatal | Interrupted => Patience::None,
        }
    }

    /// Whether an error of this class shows that an earlier, bounded cause has gone away.
    /// A lost answer shows nothing.
    pub fn interrupts_windows(self) -> bool {
        !matches!(self, Class::Transient | Class::Throttled)
    }

    /// The exit code of a run that ends with it.
    pub fn exit(self) -> Exit {
        use Class::*;
        match self {
            Transient | Throttled | NotYet | LostRace | Waiting | Interrupted => Exit::TempFail,
            UnknownHolder | LeftAlone | NotOurs | Yielded => Exit::Unavailable,
            Nonsense => Exit::Software,
            Denied => Exit::NoPerm,
            NotVisible | TargetTaken | WrongTargetMode | MetadataOff | Fatal => Exit::Config,
            Usage => Exit::Usage,
        }
    }
}

/// A failure that names its cause and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What follows from it.
    pub class: Class,
    /// How soon it is tried again, where its class has it tried again.
    pub pace: Pace,
    /// AWS's error code, or ours in the same manner (`ConnectionFailed`).
    pub code: String,
    /// One sentence that names the thing and the value.
    pub message: String,
    /// What caused it, the nearest cause first.
    pub causes: Vec<String>,
    /// What to do, where that is more than [`remedy`] knows from the code.
    pub advice: Option<String>,
    /// EC2's own explanation of a denied call, encoded.
    pub encoded: Option<String>,
    /// The same in one sentence, after STS decoded it.
    pub decoded: Option<String>,
}

/// The code of a call that the deadline of the run cut short; it tells nothing about the other side.
const CUT_SHORT: &str = "DeadlineReached";
/// The code of a run that a signal has stopped; it tells nothing about this instance.
const STOPPED: &str = "Interrupted";

/// Layers of the SDK and of hyper that add no fact to a chain of causes.
const SAYS_NOTHING: [&str; 5] =
    ["dispatch failure", "io error", "client error (Connect)", "request has timed out", "service error"];

/// The longest text of somebody else's that is repeated, in bytes: a line for a person, not a page for the journal.
const LONGEST_TEXT: usize = 4_096;
/// AWS's codes have some forty characters.
const LONGEST_CODE: usize = 128;
/// STS decodes no explanation that is longer.
const LONGEST_ENCODED: usize = 10_240;

impl Error {
    /// A failure without further causes.
    pub fn new(class: Class, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class,
            pace: Pace::Usual,
            code: on_one_line(&code.into(), LONGEST_CODE),
            message: on_one_line(&message.into(), LONGEST_TEXT),
            causes: Vec::new(),
            advice: None,
            encoded: None,
            decoded: None,
        }
    }

    /// `operation` had no time left to be answered.
    pub fn cut_short(operation: &str) -> Self {
        Self::new(Class::Transient, CUT_SHORT, format!("{operation} was not answered before the deadline"))
    }

    /// A signal has stopped the run; `when` says how far it was, and `last` what it was recovering from.
    pub fn stopped(when: &str, last: Option<&Error>) -> Self {
        let error = Self::new(Class::Interrupted, STOPPED, format!("stopped by a signal {when}"));
        match last {
            Some(last) => error.caused_by(last),
            None => error,
        }
    }

    /// Whether only a signal ended the run.
    pub fn is_stop(&self) -> bool {
        self.code == STOPPED
    }

    /// Whether only the deadline ended the call.
    pub fn is_cut_short(&self) -> bool {
        self.code == CUT_SHORT
    }

    /// An error answer of AWS to `operation`.
    pub fn answered(operation: &str, code: &str, message: &str, status: u16) -> Self {
        let (message, encoded) = split_encoded(message);
        let said = if message.is_empty() { format!("HTTP status {status}") } else { message.to_owned() };
        // A proxy or a portal answers with a page, not with a code.
        let named = if code.is_empty() { format!("HttpStatus{status}") } else { code.to_owned() };
        let mut error = Self::new(classify(code, message, status), named, format!("{operation} failed: {said}"));
        error.encoded = encoded.filter(|encoded| encoded.len() <= LONGEST_ENCODED).map(str::to_owned);
        error
    }

    /// The same failure with its causes.
    pub fn caused_by(mut self, cause: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(cause);
        while let Some(cause) = next {
            let text = on_one_line(&cause.to_string(), LONGEST_TEXT);
            if self.causes.last() != Some(&text) && !SAYS_NOTHING.contains(&text.as_str()) {
                self.causes.push(text);
            }
            next = cause.source();
        }
        self
    }

    /// The same failure with EC2's own explanation in one sentence.
    pub fn explained(&mut self, sentence: &str) {
        self.decoded = Some(on_one_line(sentence, LONGEST_TEXT));
    }

    /// The same failure with advice of its own.
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// What happened and why: the message and its deepest cause.
    pub fn in_full(&self) -> String {
        match self.causes.last() {
            Some(cause) => format!("{}: {cause}", self.message),
            None => self.message.clone(),
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        self.advice.clone().unwrap_or_else(|| remedy(self.class, &self.code).to_owned())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// EC2 appends its encoded explanation to the message of a denied call.
fn split_encoded(message: &str) -> (&str, Option<&str>) {
    match message.split_once("Encoded authorization failure message:") {
        Some((said, encoded)) => (said.trim(), encoded.split_whitespace().next()),
        None => (message.trim(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoded_explanation_is_cut_out_of_the_message() {
        let said = "You are not authorized to perform this operation. Encoded authorization failure message: aGVsbG8_-";
        let error = Error::answered("AssociateAddress", "UnauthorizedOperation", said, 403);
        assert_eq!(error.message, "AssociateAddress failed: You are not authorized to perform this operation.");
        assert_eq!(error.encoded.as_deref(), Some("aGVsbG8_-"));
    }
}
