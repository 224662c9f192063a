//! The configuration file: `KEY=VALUE` lines, which systemd's `EnvironmentFile=` reads as well.
//!
//! Lines that are empty or begin with `#` or `;` are comments; a value may stand in quotes;
//! of two lines with one key the last one counts; keys that do not begin with the prefix are others' business.

use std::path::Path;
use std::{fs, io};

/// The entries of one file.
#[derive(Debug, Default)]
pub(crate) struct EnvFile {
    /// Its name, for messages.
    pub(crate) name: String,
    entries: Vec<(String, String)>,
}

impl EnvFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// In one sentence: it cannot be read, or one of its lines is no entry.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let text = fs::read(path).map_err(|error| format!("cannot read {name}: {error}"))?;
        Self::parse(&name, &String::from_utf8_lossy(&text))
    }

    /// Reads the file at `path`; if there is none, there are no entries.
    ///
    /// # Errors
    /// See [`EnvFile::read`].
    pub(crate) fn read_if_there(path: &Path) -> Result<Self, String> {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            _ => Self::read(path),
        }
    }

    /// The entries in `text`, the content of the file `name`.
    ///
    /// # Errors
    /// In one sentence: which line is no entry.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut entries = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                return Err(format!("{name}, line {number}: not of the form KEY=VALUE"));
            };
            if key.trim().contains(char::is_whitespace) {
                return Err(format!("{name}, line {number}: `{}` is not a key", key.trim()));
            }
            entries.push((key.trim().to_owned(), unquote(value.trim()).to_owned()));
        }
        Ok(Self { name: name.to_owned(), entries })
    }

    /// The value of `key`.
    pub(crate) fn value(&self, key: &str) -> Option<String> {
        self.entries.iter().rfind(|(k, _)| k == key).map(|(_, value)| value.clone())
    }

    /// All keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(key, _)| key.as_str())
    }
}

fn unquote(text: &str) -> &str {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn comments_quotes_and_repetitions_are_read_as_systemd_does() {
        let text = "# a comment\n; another\n\nA=1\nB = \"two words\"\nC='it'\nA=2\nD=x=y\nE=\n";
        let file = EnvFile::parse("f", text).expect("all lines are entries");
        let value = |key| file.value(key);
        assert_eq!(value("A").as_deref(), Some("2"));
        assert_eq!(value("B").as_deref(), Some("two words"));
        assert_eq!(value("C").as_deref(), Some("it"));
        assert_eq!(value("D").as_deref(), Some("x=y"));
        assert_eq!(value("E").as_deref(), Some(""));
        assert_eq!(value("F"), None);
    }

    #[test]
    fn a_line_that_is_no_entry_is_named() {
        let error = EnvFile::parse("/etc/f", "export A=1\n").expect_err("it would not be found under A");
        assert_eq!(error, "/etc/f, line 1: `export A` is not a key");
        let error = EnvFile::parse("/etc/f", "A=1\nexport\n").expect_err("line 2");
        assert_eq!(error, "/etc/f, line 2: not of the form KEY=VALUE");
    }

    /// An entry, and one of the lines that say so.
    fn entry() -> impl Strategy<Value = (String, String, String)> {
        ("[A-Z][A-Z_0-9]{0,12}", "[ -~é]{0,20}", 0..4_u8).prop_map(|(key, value, form)| {
            // Outside quotes neither quotes nor spaces at the ends would be the value's own.
            let plain = value.replace(['"', '\''], "").trim().to_owned();
            match form {
                0 => (key.clone(), value.clone(), format!("{key}=\"{value}\"")),
                1 => (key.clone(), value.clone(), format!("  {key} = '{value}' ")),
                2 => (key.clone(), plain.clone(), format!("{key}={plain}")),
                _ => (key.clone(), plain.clone(), format!("\t{key} =  {plain}  ")),
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            entries in prop::collection::vec((entry(), prop::sample::select(vec!["", "# A=b\n", "\n ;C='d\n", "  \n"])), 0..8),
            end in prop::sample::select(vec!["\n", "\r\n"]),
        ) {
            let text: String = entries.iter().map(|((.., line), noise)| format!("{noise}{line}{end}")).collect();
            let file = EnvFile::parse("f", &text).expect("all lines are entries or comments");
            prop_assert_eq!(file.keys().count(), entries.len());
            for ((key, ..), _) in &entries {
                let last = entries.iter().rfind(|((k, ..), _)| k == key).map(|((_, value, _), _)| value.clone());
                prop_assert_eq!(file.value(key), last, "{}", key);
            }
        }

        #[test]
        fn any_text_is_read_or_the_line_that_cannot_be_is_named(
            text in prop_oneof![any::<String>(), "[A-C=#;'\" \n\r\t\\\\]{0,60}"]
        ) {
            let is_entry = |line: &str| !line.is_empty() && !line.starts_with(['#', ';']);
            let lines: Vec<_> = text.lines().map(str::trim).collect();
            match EnvFile::parse("f", &text) {
                Ok(file) => {
                    prop_assert_eq!(file.keys().count(), lines.iter().filter(|line| is_entry(line)).count());
                    prop_assert!(file.keys().all(|key| !key.contains(char::is_whitespace)));
                }
                Err(why) => {
                    let number = why.strip_prefix("f, line ").and_then(|rest| rest.split(':').next());
                    let number: usize = number.expect("a line").parse().expect("its number");
                    let line = lines[number - 1];
                    let key = line.split('=').next().expect("split is never empty").trim();
                    prop_assert!(is_entry(line) && (!line.contains('=') || key.contains(char::is_whitespace)), "{}", why);
                }
            }
        }
    }
}
