//! What an error code of AWS means: its class, and what to do about it.
//!
//! EC2 models none of its errors, so code, message and HTTP status are all there is to go by,
//! and this is the one place that reads them.

use std::net::Ipv4Addr;

use crate::error::Class;

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
        "" => Class::Nonsense,
        _ => Class::Fatal,
    }
}

/// `Resource.AlreadyAssociated` says `resource X is already associated …`:
/// X is the address that somebody else has, or the interface or private address that has another one.
fn names_a_target(message: &str) -> bool {
    let subject = message.split(" is already associated").next().unwrap_or_default();
    let mut words = subject.split(|c: char| c.is_whitespace() || "/:,[]()'\"".contains(c));
    let is_private = |word: &str| word.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_private());
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

/// The codes with a remedy of their own, in the order of `docs/exit-codes.md`.
pub const EXPLAINED: [(Class, &str); 24] = [
    (Class::NotYet, "NoRole"),
    (Class::NotYet, "ImdsUnreachable"),
    (Class::Denied, "AuthFailure"),
    (Class::Denied, "RequestExpired"),
    (Class::Denied, "ExpiredToken"),
    (Class::Denied, "InvalidClientTokenId"),
    (Class::Denied, "SignatureDoesNotMatch"),
    (Class::Fatal, "Gateway.NotAttached"),
    (Class::Fatal, "OptInRequired"),
    (Class::Fatal, "Blocked"),
    (Class::Fatal, "PendingVerification"),
    (Class::Fatal, "AccountDisabled"),
    (Class::Fatal, "IncorrectInstanceState"),
    (Class::Fatal, "InvalidInstanceID"),
    (Class::Fatal, "IncorrectState"),
    (Class::Fatal, "OperationNotPermitted"),
    (Class::Fatal, "UnsupportedOperation"),
    (Class::Fatal, "InvalidAction"),
    (Class::Fatal, "UnknownParameter"),
    (Class::Fatal, "MissingParameter"),
    (Class::Fatal, "ValidationError"),
    (Class::Fatal, "InvalidParameterValue"),
    (Class::Fatal, "InvalidParameterCombination"),
    (Class::Fatal, "InvalidNetworkInterfaceID.Malformed"),
];

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
        (Class::Fatal, code) => meaning(code)
            .unwrap_or("EC2 refuses it for a reason unknown to this program: see the message and EC2's error codes"),
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
            ("Teapot", "", 418, Fatal),
        ];
        for (code, message, status, class) in rows {
            assert_eq!(classify(code, message, *status), *class, "{code} {message}");
        }
    }
}
