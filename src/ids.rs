//! The names that AWS gives to its things, each a type of its own, so that two of them cannot be swapped.
//!
//! A value of one of these types has the shape that EC2 documents: a prefix, a dash, and letters or digits,
//! and not many of them.

use std::fmt;
use std::str::FromStr;

/// A text that is not an id of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MalformedId {
    text: String,
    prefix: &'static str,
}

impl fmt::Display for MalformedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not of the form {}-…", self.text, self.prefix)
    }
}

impl std::error::Error for MalformedId {}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The id as EC2 writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, MalformedId> {
                if is_id(text, $prefix) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(MalformedId { text: text.to_owned(), prefix: $prefix })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// An EC2 instance, `i-…`.
    InstanceId, "i"
);
id!(
    /// An Elastic IP address, `eipalloc-…`.
    AllocationId, "eipalloc"
);
id!(
    /// One attachment of an Elastic IP address, `eipassoc-…`; every attachment gets a new one.
    AssociationId, "eipassoc"
);
id!(
    /// A network interface, `eni-…`.
    InterfaceId, "eni"
);

/// EC2 gives 8 or 17 digits; what is far longer is no id, and would not fit into a line of the log.
const MOST_DIGITS: usize = 32;

fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|rest| (1..=MOST_DIGITS).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_its_own_prefix_and_nothing_else() {
        assert!("i-0abc".parse::<InstanceId>().is_ok());
        for wrong in ["", "i-", "eni-0abc", "i-0abc ", "i-0a/bc", "<html>", "i-0é"] {
            assert!(wrong.parse::<InstanceId>().is_err(), "{wrong}");
        }
        assert!("eipalloc-0abc".parse::<AllocationId>().is_ok());
        assert!("eipassoc-0abc".parse::<AllocationId>().is_err());
    }
}
