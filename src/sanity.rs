//! Answers that AWS may have given: whole texts that have an end.
//!
//! What answers in place of AWS must not cost this machine its memory, and the SDK must not see everything:
//! it panics at a session token that is not UTF-8 or good for ages, it takes the beginning of a list for all of it,
//! and it takes whatever comes with status 200 for the success of a call whose answer has no content.

use std::error::Error;
use std::fmt;
use std::str::Utf8Error;

use http::HeaderMap;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

/// For how many seconds a session token of IMDS can be good.
const LONGEST_TOKEN: u64 = 21_600;

/// What is asked of the headers and the text of an answer that reports success.
pub(crate) type Check = fn(&HeaderMap, &str) -> Result<(), Flaw>;

/// The whole of an answer, if it is a text of at most `longest` bytes.
///
/// # Errors
/// It is not, or breaks off.
pub(crate) async fn text(body: Incoming, longest: usize) -> Result<String, Box<dyn Error + Send + Sync>> {
    let bytes = Limited::new(body, longest).collect().await?.to_bytes();
    String::from_utf8(bytes.into()).map_err(|error| error.utf8_error().into())
}

/// What an answer that reports success lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It is something else than the answer of the service.
    NoAnswer,
    /// It is the beginning of one.
    CutOff,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flaw::NoAnswer => "the answer is not one of AWS",
            Flaw::CutOff => "the answer is cut off",
        })
    }
}

impl Error for Flaw {}

/// What is wrong with the answer that `error` comes from, if one came that AWS cannot have given.
pub(crate) fn nonsense(error: &(dyn Error + 'static)) -> Option<&'static str> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| {
        let is_too_long = error.is::<LengthLimitError>().then_some("it is longer than any can be");
        let is_no_text = || error.is::<Utf8Error>().then_some("it is not UTF-8");
        let is_no_answer = || (error.downcast_ref() == Some(&Flaw::NoAnswer)).then_some("it is something else");
        is_too_long.or_else(is_no_text).or_else(is_no_answer)
    })
}

/// Whether EC2 or STS may have answered so: the query protocol answers `Action` with an element `ActionResponse`,
/// and that it ends with the end of it is the only sign that nothing is missing, since a connection that closes
/// early looks like the end of an answer that does not tell its length.
pub(crate) fn is_of_an_api(_: &HeaderMap, text: &str) -> Result<(), Flaw> {
    let mut tags = text.split('<').skip(1).filter(|tag| tag.starts_with(|c: char| c.is_alphabetic()));
    let root = tags.next().unwrap_or_default();
    let name = root.split(|c: char| c.is_whitespace() || c == '>' || c == '/').next().unwrap_or_default();
    if name.strip_suffix("Response").is_none_or(str::is_empty) {
        return Err(Flaw::NoAnswer);
    }
    let last = text.trim_end().rsplit('<').next().unwrap_or_default();
    let is_its_end = last.strip_prefix('/').and_then(|tag| tag.strip_suffix('>')).is_some_and(|tag| tag.trim() == name);
    let is_empty = tags.next().is_none() && root.trim_end().ends_with("/>");
    if is_its_end || is_empty { Ok(()) } else { Err(Flaw::CutOff) }
}

/// Whether IMDS may have answered so: a session token is good for six hours at most. The SDK adds what is said of
/// that to the time of day, and panics at a sum beyond all time.
pub(crate) fn is_of_imds(headers: &HeaderMap, _: &str) -> Result<(), Flaw> {
    let seconds = headers.get("x-aws-ec2-metadata-token-ttl-seconds").and_then(|seconds| seconds.to_str().ok());
    let seconds = seconds.and_then(|seconds| seconds.parse::<u64>().ok());
    if seconds.is_none_or(|seconds| seconds <= LONGEST_TOKEN) { Ok(()) } else { Err(Flaw::NoAnswer) }
}

/// The text, without what would break a line or steer a terminal, and at most `longest` bytes of it.
pub(crate) fn on_one_line(text: &str, longest: usize) -> String {
    let (kept, rest) = text.split_at(text.floor_char_boundary(longest));
    let kept = kept.replace(char::is_control, " ");
    if rest.is_empty() { kept } else { format!("{kept}… ({} bytes in all)", text.len()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn api(text: &str) -> Result<(), Flaw> {
        is_of_an_api(&HeaderMap::new(), text)
    }

    #[test]
    fn an_answer_is_whole_if_it_ends_as_it_began() {
        let whole =
            "<?xml version=\"1.0\"?>\n<AResponse xmlns=\"x\">\n <set><item>1</item></set> <none/>\n</AResponse>\n";
        assert_eq!(api(whole), Ok(()));
        let end = whole.trim_end().len();
        for cut in (0..end).filter(|cut| whole[..*cut].contains("<AResponse")) {
            assert_eq!(api(&whole[..cut]), Err(Flaw::CutOff), "{}", &whole[..cut]);
        }
        for other in ["<AResponse/>", "<AResponse a=\"x\" />", "<AResponse></AResponse >"] {
            assert_eq!(api(other), Ok(()), "{other}");
        }
    }

    #[test]
    fn what_is_not_the_answer_of_an_api_is_none() {
        let page = "<!DOCTYPE html><html>a page</html>";
        for other in ["", "no XML", page, "<Response><Errors/></Response>", "<Other/>", "<", "</AResponse>"] {
            assert_eq!(api(other), Err(Flaw::NoAnswer), "{other}");
        }
    }

    fn element() -> impl Strategy<Value = String> {
        "[a-z &;]{0,6}".prop_recursive(4, 20, 4, |inner| {
            ("[a-zA-Z]{1,6}", "( a=\"[a-z]\")?", prop::collection::vec(inner, 0..4))
                .prop_map(|(name, attribute, inside)| format!("<{name}{attribute}>{}</{name}>", inside.concat()))
        })
    }

    proptest! {
        #[test]
        fn an_answer_is_taken_whole_and_no_beginning_of_it_is(inside in element(), name in "[A-Z][a-z]{1,8}", cut in any::<prop::sample::Index>()) {
            let text = format!("<?xml version=\"1.0\"?><{name}Response>{inside}</{name}Response>");
            prop_assert_eq!(api(&text), Ok(()));
            let beginning = &text[..cut.index(text.len())];
            prop_assert!(api(beginning).is_err(), "{}", beginning);
        }

        #[test]
        fn what_does_not_end_is_never_taken(text in prop_oneof![any::<String>(), "[</> a-cARespon=\"!?-]{0,80}"]) {
            prop_assert!(api(&text).is_err() || text.contains("Response") && text.trim_end().ends_with('>'));
        }
    }
}
