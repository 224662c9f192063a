//! Every failure, its class, and what follows from the class: how long it is retried, the exit code, the remedy.
//!
//! [`classify`] is the one place that reads EC2's error codes.
//! EC2 models none of them, so code, message and HTTP status are all there is to go by.

use std::fmt;
use std::time::Duration;

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

/// For how long attempts go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all.
    None,
    /// For this long since the first failure of the class.
    Window(Duration),
    /// Until the deadline.
    Deadline,
}

/// How long the pauses between attempts grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The usual backoff.
    Usual,
    /// Longer: the other side asked for it.
    Throttled,
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
            // A refused address is out of the list: the next round tries the others, and ends when there are none.
            NotOurs => Patience::Deadline,
            Denied | Yielded | TargetTaken | MetadataOff | Usage | Fatal | Interrupted => Patience::None,
        }
    }

    /// The pauses that fit.
    pub fn pace(self) -> Pace {
        if self == Class::Throttled { Pace::Throttled } else { Pace::Usual }
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

impl Error {
    /// A failure without further causes.
    pub fn new(class: Class, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class,
            code: code.into(),
            message: message.into(),
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

    /// Whether only the deadline ended the call.
    pub fn is_cut_short(&self) -> bool {
        self.code == CUT_SHORT
    }

    /// An error answer of AWS to `operation`.
    pub fn answered(operation: &str, code: &str, message: &str, status: u16) -> Self {
        let (message, encoded) = split_encoded(message);
        let said = if message.is_empty() { format!("HTTP status {status}") } else { message.to_owned() };
        let mut error = Self::new(classify(code, message, status), code, format!("{operation} failed: {said}"));
        error.encoded = encoded.map(str::to_owned);
        error
    }

    /// The same failure with its causes.
    pub fn caused_by(mut self, cause: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(cause);
        while let Some(cause) = next {
            let text = cause.to_string();
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            next = cause.source();
        }
        self
    }

    /// The same failure with advice of its own.
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
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

/// The class of an error answer: a total match over code, message and HTTP status.
///
/// Sources: the EC2 API reference (error codes), and what users of AssociateAddress have reported.
pub fn classify(code: &str, message: &str, status: u16) -> Class {
    let says = |words: &str| message.to_ascii_lowercase().contains(words);
    match code {
        "RequestLimitExceeded" | "SlowDown" | "EC2ThrottledException" | "BandwidthLimitExceeded" => Class::Throttled,
        _ if code.starts_with("Throttling") => Class::Throttled,
        "InternalError" | "InternalFailure" | "ServerInternal" | "ServiceUnavailable" | "Unavailable"
        | "RequestTimeout" => Class::Transient,
        "InvalidInstanceID.NotFound" => Class::NotYet,
        "InvalidInstanceID" if says("multiple interfaces") => Class::WrongTargetMode,
        "InvalidInstanceID" | "IncorrectInstanceState" if says("pending") => Class::NotYet,
        "InvalidAssociationID.NotFound" => Class::LostRace,
        "Resource.AlreadyAssociated" if names_a_target(message) => Class::TargetTaken,
        "Resource.AlreadyAssociated" => Class::LostRace,
        "InvalidAllocationID.NotFound"
        | "InvalidAddress.NotFound"
        | "InvalidAddressID.NotFound"
        | "InvalidNetworkInterfaceID.NotFound" => Class::NotVisible,
        "AuthFailure" if says("do not have permission to access") || says("does not belong to you") => Class::NotOurs,
        _ if says("network border group") => Class::NotOurs,
        "UnauthorizedOperation"
        | "AuthFailure"
        | "InvalidClientTokenId"
        | "RequestExpired"
        | "ExpiredToken"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "UnrecognizedClientException" => Class::Denied,
        _ if code.starts_with("AccessDenied") => Class::Denied,
        _ if status >= 500 => Class::Transient,
        _ if meaning(code).is_some() => Class::Fatal,
        _ => Class::Nonsense,
    }
}

/// `Resource.AlreadyAssociated` says `resource X is already associated …`:
/// X is the address that somebody else has, or the interface or private address that has another one.
fn names_a_target(message: &str) -> bool {
    let subject = message.split(" is already associated").next().unwrap_or_default();
    let mut words = subject.split(|c: char| c.is_whitespace() || "/:,[]()'\"".contains(c));
    let is_private = |word: &str| word.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_private());
    !subject.contains("eipalloc-") && words.any(|w| w.starts_with("eni-") || w.starts_with("i-") || is_private(w))
}

/// Whether fresh credentials, or a clock corrected by the SDK, may mend it.
pub fn is_about_credentials(code: &str) -> bool {
    matches!(code, "AuthFailure" | "RequestExpired" | "ExpiredToken" | "InvalidClientTokenId" | "SignatureDoesNotMatch")
}

/// What a fatal code means, in words.
fn meaning(code: &str) -> Option<&'static str> {
    Some(match code {
        "Gateway.NotAttached" => {
            "attach an internet gateway to the VPC of this instance: without one no public address can be used"
        }
        "OptInRequired" => "the AWS account is not subscribed to EC2 in this region: enable the region",
        "Blocked" | "PendingVerification" | "AccountDisabled" => {
            "AWS has restricted this account: see its billing and support pages"
        }
        "IncorrectInstanceState" | "InvalidInstanceID" | "IncorrectState" => {
            "the instance is in no state to have an address (it may be terminating): replace it"
        }
        "OperationNotPermitted" | "UnsupportedOperation" => {
            "EC2 does not allow this for this address or interface: see the message"
        }
        "InvalidAction" | "UnknownParameter" => {
            "the endpoint is not an EC2 API: check AWS_ENDPOINT_URL_EC2 and AWS_ENDPOINT_URL"
        }
        "MissingParameter" | "ValidationError" => "the request was incomplete: report this as a bug, with the log",
        _ if code.starts_with("InvalidParameter") => {
            "a value is not accepted by EC2: check --filter, --private-ip and --device-index"
        }
        _ if code.starts_with("Invalid") => {
            "EC2 does not know a value of the request: check the options, the region and the account"
        }
        _ => return None,
    })
}

/// What to do about a failure, as far as class and code tell.
pub fn remedy(class: Class, code: &str) -> &'static str {
    match (class, code) {
        (Class::Transient, _) => {
            "check that this instance reaches the EC2 API before it has the address: a public address of its own, a NAT gateway, a VPC endpoint for ec2, or IPv6 with AWS_USE_DUALSTACK_ENDPOINT=true"
        }
        (Class::Throttled, _) => {
            "the account exceeds EC2's request rate: allow more time with --timeout, or find who calls EC2 so often"
        }
        (Class::NotYet, "NoRole") => "attach an instance profile with a role to this instance",
        (Class::NotYet, "ImdsUnreachable") => {
            "check that this is an EC2 instance with a network, and in a container that the hop limit of IMDS is at least 2"
        }
        (Class::NotYet, _) => "allow more time with --timeout",
        (Class::LostRace, _) => "others claim the same address at the same time: run it again, or look who does",
        (Class::Waiting, _) => "release an address, allocate one more, or allow a takeover with --takeover",
        (Class::UnknownHolder, _) => "run it again once EC2 knows the holder; a newer instance keeps the address",
        (Class::Interrupted, _) => "run it again",
        (Class::NotVisible, _) => "check the tags of the address, the selectors, the region and the account",
        (Class::LeftAlone | Class::NotOurs, _) => {
            "allocate an address for this instance and tag it, or correct the selectors"
        }
        (Class::Nonsense, _) => "something answers in place of AWS, or this is a bug: see the log at --log-level=debug",
        (Class::Denied, code) if is_about_credentials(code) => {
            "check the clock of this instance and its instance profile"
        }
        (Class::Denied, _) => "allow the action in the policy of the instance's role",
        (Class::Yielded, _) => "nothing, if the newer instance is meant to have it",
        (Class::TargetTaken, _) => {
            "disassociate the other address, or choose another target with --private-ip or --device-index"
        }
        (Class::WrongTargetMode, _) => "choose the interface with --device-index or --private-ip",
        (Class::MetadataOff, _) => "turn on the instance metadata service (HttpEndpoint=enabled)",
        (Class::Usage, _) => "see eip-claim --help",
        (Class::Fatal, code) => meaning(code).unwrap_or("see the message"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_error_table_has_its_class() {
        use Class::*;
        let rows: &[(&str, &str, u16, Class)] = &[
            ("", "", 500, Transient),
            ("", "", 503, Transient),
            ("InternalError", "An internal error has occurred", 500, Transient),
            ("ServiceUnavailable", "", 503, Transient),
            ("Unavailable", "", 503, Transient),
            ("RequestLimitExceeded", "Request limit exceeded.", 503, Throttled),
            ("Throttling", "", 400, Throttled),
            ("ThrottlingException", "", 400, Throttled),
            ("SlowDown", "", 503, Throttled),
            ("EC2ThrottledException", "", 400, Throttled),
            ("InvalidInstanceID.NotFound", "The instance ID 'i-1' does not exist", 400, NotYet),
            (
                "InvalidInstanceID",
                "The pending instance 'i-1' is not in a valid state for this operation.",
                400,
                NotYet,
            ),
            (
                "IncorrectInstanceState",
                "The pending-instance-creation instance to which 'eni-1' is attached …",
                400,
                NotYet,
            ),
            (
                "Resource.AlreadyAssociated",
                "resource eipalloc-1 is already associated with associate-id eipassoc-1",
                400,
                LostRace,
            ),
            ("Resource.AlreadyAssociated", "Resource 203.0.113.7 is already associated.", 400, LostRace),
            ("InvalidAssociationID.NotFound", "The association ID 'eipassoc-1' does not exist", 400, LostRace),
            (
                "Resource.AlreadyAssociated",
                "resource eni-1 is already associated with associate-id eipassoc-1",
                400,
                TargetTaken,
            ),
            (
                "Resource.AlreadyAssociated",
                "resource 10.0.0.5 is already associated with associate-id eipassoc-1",
                400,
                TargetTaken,
            ),
            ("InvalidInstanceID", "There are multiple interfaces attached to instance 'i-1'.", 400, WrongTargetMode),
            ("InvalidAllocationID.NotFound", "", 400, NotVisible),
            ("InvalidAddress.NotFound", "", 400, NotVisible),
            ("UnauthorizedOperation", "You are not authorized to perform this operation.", 403, Denied),
            ("AccessDenied", "", 403, Denied),
            ("AccessDeniedException", "", 403, Denied),
            ("AuthFailure", "AWS was not able to validate the provided access credentials", 401, Denied),
            ("InvalidClientTokenId", "", 403, Denied),
            ("RequestExpired", "Request has expired.", 400, Denied),
            ("AuthFailure", "You do not have permission to access the specified resource.", 400, NotOurs),
            ("InvalidParameterCombination", "You cannot associate it: another network border group", 400, NotOurs),
            ("Gateway.NotAttached", "", 400, Fatal),
            ("OptInRequired", "", 401, Fatal),
            ("InvalidParameterValue", "", 400, Fatal),
            ("MissingParameter", "", 400, Fatal),
            ("InvalidInstanceID", "The terminated instance 'i-1' is not in a valid state", 400, Fatal),
            ("IncorrectInstanceState", "The instance is stopped", 400, Fatal),
            ("", "<html>", 404, Nonsense),
            ("Teapot", "", 418, Nonsense),
        ];
        for (code, message, status, class) in rows {
            assert_eq!(classify(code, message, *status), *class, "{code} {message}");
        }
    }

    #[test]
    fn the_encoded_explanation_is_cut_out_of_the_message() {
        let said = "You are not authorized to perform this operation. Encoded authorization failure message: aGVsbG8_-";
        let error = Error::answered("AssociateAddress", "UnauthorizedOperation", said, 403);
        assert_eq!(error.message, "AssociateAddress failed: You are not authorized to perform this operation.");
        assert_eq!(error.encoded.as_deref(), Some("aGVsbG8_-"));
    }
}
