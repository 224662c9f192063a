//! Answers that a call should not get, and what may become of the run that gets them.

use fakecloud::Fault;

/// An answer in the place of the right one.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// An error of [`ERRORS`], and nothing done.
    Error(usize),
    /// A server error, though the call was carried out. (No other error says so of a call that was.)
    ErrorAfterAll,
    /// A bare HTTP status with a page, as a proxy or a portal has it.
    Page(u16),
    /// Status 200 and a page.
    Html,
    /// Status 200 and an answer of the action's own form in which nothing is.
    Empty,
}

/// Code, status, message, and the exit codes that may come of it.
type Row = (&'static str, u16, &'static str, &'static [i32]);

/// Errors of EC2, one at least of every class.
pub const ERRORS: &[Row] = &[
    ("InternalError", 500, "An internal error has occurred", &[75]),
    ("Unavailable", 503, "The server is overloaded", &[75]),
    ("RequestLimitExceeded", 503, "Request limit exceeded.", &[75]),
    ("InvalidInstanceID.NotFound", 400, "The instance ID 'i-1' does not exist", &[75]),
    ("InvalidInstanceID", 400, "The pending instance 'i-1' is not in a valid state for this operation.", &[75]),
    // The first time the interface is named instead, the second time it is for good.
    ("InvalidInstanceID", 400, "There are multiple interfaces attached to instance 'i-1'.", &[75, 78]),
    (
        "Resource.AlreadyAssociated",
        400,
        "resource eipalloc-1 is already associated with associate-id eipassoc-1",
        &[75],
    ),
    // Whose address it is is asked then; where that cannot be had, the target counts as taken.
    ("Resource.AlreadyAssociated", 400, "resource eni-1 is already associated with associate-id eipassoc-1", &[75, 78]),
    ("InvalidAssociationID.NotFound", 400, "The association ID 'eipassoc-1' does not exist", &[75]),
    ("InvalidAllocationID.NotFound", 400, "The allocation ID 'eipalloc-1' does not exist", &[78]),
    ("UnauthorizedOperation", 403, "You are not authorized to perform this operation.", &[77]),
    ("AuthFailure", 401, "AWS was not able to validate the provided access credentials", &[77]),
    ("RequestExpired", 400, "Request has expired.", &[77]),
    // Another candidate may be left, and may have a holder.
    ("AuthFailure", 400, "You do not have permission to access the specified resource.", &[69, 75]),
    ("InvalidParameterValue", 400, "Value (x) for parameter y is invalid.", &[78]),
    ("OptInRequired", 401, "You are not subscribed to this service.", &[78]),
    ("Gateway.NotAttached", 400, "Network vpc-1 is not attached to any internet gateway", &[78]),
];
const NOT_OURS: &str = "You do not have permission to access the specified resource.";

impl Answer {
    /// The fault that gives this answer.
    pub fn fault(self, api: &str) -> Fault {
        let html = "<html><head><title>Welcome</title></head><body>Please log in.</body></html>";
        match self {
            Answer::Error(row) => {
                let (code, status, message, _) = ERRORS[row];
                Fault::Error { status, code: code.to_owned(), message: message.to_owned() }
            }
            Answer::ErrorAfterAll => {
                let (code, status, message, _) = ERRORS[0];
                Fault::CommitThenError { status, code: code.to_owned(), message: message.to_owned() }
            }
            Answer::Page(code) => Fault::Status { code, body: html.to_owned() },
            Answer::Html => Fault::Garbage { content_type: "text/html".to_owned(), body: html.into() },
            Answer::Empty => {
                let body =
                    format!("<{api}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"></{api}Response>");
                Fault::Garbage { content_type: "text/xml;charset=UTF-8".to_owned(), body: body.into_bytes() }
            }
        }
    }

    /// The exit codes that it may cause when calls of `api` get it.
    pub fn may_cause(self, api: &str, by_own_tag: bool) -> Vec<i32> {
        let of_imds = api == "IMDS" || api.contains(" /");
        match (self, api) {
            // Only explains what is denied.
            (_, "STS") => vec![],
            (Answer::Page(403), _) if of_imds => vec![78],
            // An item that is not there is waited for; without a private address there is no target.
            (Answer::Page(404), _) if of_imds => vec![75, 78],
            (Answer::Page(_), _) if of_imds => vec![75],
            // What does not parse is nonsense, or means credentials that are not ready; a page as the value of the
            // own tag selects nothing, and as the lifecycle state it leaves only what is free.
            (Answer::Html, _) if of_imds && by_own_tag => vec![70, 75, 78],
            (Answer::Html, _) if of_imds => vec![70, 75],
            (Answer::Page(500..), _) => vec![75],
            // Without a code it is no answer of EC2's.
            (Answer::Page(_), _) => vec![70],
            (Answer::Html | Answer::ErrorAfterAll, _) => vec![75],
            (Answer::Error(row), _) => ERRORS[row].3.to_vec(),
            // No address matches.
            (Answer::Empty, "DescribeAddresses") => vec![78],
            // Nobody is known.
            (Answer::Empty, "DescribeInstances") => vec![69, 75],
            (Answer::Empty, "DescribeTags") => vec![78],
            // A trial that is answered like the real thing; an association that is not seen.
            (Answer::Empty, "AssociateAddress") => vec![70, 75],
            (Answer::Empty, _) => vec![75],
        }
    }

    /// Whether a run remembers it to its end: that an address is refused.
    pub fn is_remembered(self) -> bool {
        matches!(self, Answer::Error(row) if ERRORS[row].2 == NOT_OURS || ERRORS[row].0.starts_with("AuthFailure"))
            || matches!(self, Answer::Error(row) if ERRORS[row].2.contains("multiple interfaces"))
            || matches!(self, Answer::Error(row) if ERRORS[row].0 == "RequestExpired")
    }
}
