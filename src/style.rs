//! Marks and colours for a person at a terminal; plain words elsewhere.

use std::env;
use std::io::{IsTerminal, stdout};

/// How marks look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Signs in colour.
    Colour,
    /// Signs, for a terminal whose user wants no colour.
    Signs,
    /// Words.
    Plain,
}

/// Whether the user wants no colour anywhere (`NO_COLOR`, no-color.org).
pub(crate) fn wants_no_colour() -> bool {
    env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

impl Style {
    /// The style that fits standard output.
    pub fn of_stdout() -> Self {
        match (stdout().is_terminal(), wants_no_colour()) {
            (true, false) => Self::Colour,
            (true, true) => Self::Signs,
            (false, _) => Self::Plain,
        }
    }

    /// As it should be.
    pub(crate) fn good(self) -> &'static str {
        match self {
            Self::Colour => "\x1b[32m✓\x1b[0m",
            Self::Signs => "✓",
            Self::Plain => "ok  ",
        }
    }

    /// Not as it should be.
    pub(crate) fn bad(self) -> &'static str {
        match self {
            Self::Colour => "\x1b[31m✗\x1b[0m",
            Self::Signs => "✗",
            Self::Plain => "FAIL",
        }
    }

    /// Neither.
    pub(crate) fn neither(self) -> &'static str {
        match self {
            Self::Colour => "\x1b[33m-\x1b[0m",
            Self::Signs => "-",
            Self::Plain => "-   ",
        }
    }
}
