//! Signature Version 4, for a `POST` of a form to EC2 with temporary credentials.

use ring::digest::{SHA256, digest};
use ring::hmac;
use std::fmt::Write;
use std::time::SystemTime;

/// What a query is sent as.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// Of an instance profile.
pub(crate) struct Credentials<'a> {
    pub(crate) access: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) token: &'a str,
}

/// What is signed.
pub(crate) struct Request<'a> {
    pub(crate) host: &'a str,
    pub(crate) body: &'a str,
    pub(crate) date: &'a str,
    pub(crate) region: &'a str,
}

/// The header of that name.
pub(crate) fn authorization(request: &Request, credentials: &Credentials) -> String {
    let Request { host, body, date, region } = request;
    let day = &date[..8];
    let token = credentials.token;
    let signed = "content-type;host;x-amz-date;x-amz-security-token";
    let headers = format!("content-type:{FORM}\nhost:{host}\nx-amz-date:{date}\nx-amz-security-token:{token}\n");
    let canonical = format!("POST\n/\n\n{headers}\n{signed}\n{}", hash(body));
    let scope = format!("{day}/{region}/ec2/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(&canonical));
    let signature = hex(hmac(&key(credentials.secret, day, region, "ec2"), &text).as_ref());
    let access = credentials.access;
    format!("AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={signed}, Signature={signature}")
}

fn key(secret: &str, day: &str, region: &str, service: &str) -> Vec<u8> {
    let first = format!("AWS4{secret}").into_bytes();
    [day, region, service, "aws4_request"].iter().fold(first, |key, part| hmac(&key, part).as_ref().to_vec())
}

fn hmac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn hash(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A value of a form.
pub(crate) fn escape(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => text.push(byte.into()),
            _ => drop(write!(text, "%{byte:02X}")),
        }
        text
    })
}

/// `20261231T235959Z`.
pub(crate) fn date(time: SystemTime) -> String {
    // `Thu, 31 Dec 2026 23:59:59 GMT`, in pieces.
    let text = httpdate::fmt_http_date(time);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == &text[8..11]).map_or(0, |n| n + 1);
    format!("{}{month:02}{}T{}Z", &text[12..16], &text[5..7], text[17..25].replace(':', ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_key_is_that_of_the_example_in_the_documentation() {
        let key = key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "iam");
        assert_eq!(hex(&key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn a_date_is_written_without_separators() {
        assert_eq!(date(SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160)), "20150830T123600Z");
    }

    #[test]
    fn what_is_reserved_is_escaped() {
        assert_eq!(escape("tag:a b/é~"), "tag%3Aa%20b%2F%C3%A9~");
    }
}
