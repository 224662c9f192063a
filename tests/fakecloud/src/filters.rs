//! Filters as EC2 takes them: names are exact, values are wildcards, everything is case-sensitive.

use std::collections::BTreeMap;

/// One `Filter.N`: any of the values will do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

/// The filters of a query.
pub(crate) fn filters(params: &BTreeMap<String, String>) -> Vec<Filter> {
    (1..)
        .map_while(|n| {
            let name = params.get(&format!("Filter.{n}.Name"))?.clone();
            Some(Filter { name, values: list(params, &format!("Filter.{n}.Value")) })
        })
        .collect()
}

/// `Name.1`, `Name.2` and so on.
pub(crate) fn list(params: &BTreeMap<String, String>, name: &str) -> Vec<String> {
    (1..).map_while(|n| params.get(&format!("{name}.{n}")).cloned()).collect()
}

impl Filter {
    /// Whether any of what a resource has under the filter's name matches any of its values.
    pub(crate) fn matches<S: AsRef<str>>(&self, has: impl IntoIterator<Item = S>) -> bool {
        has.into_iter().any(|text| self.values.iter().any(|pattern| matches(pattern, text.as_ref())))
    }

    /// The answer of the filters on tags, `None` when it is another filter.
    pub(crate) fn on_tags(&self, tags: &BTreeMap<String, String>) -> Option<bool> {
        match self.name.strip_prefix("tag:") {
            Some(key) => Some(self.matches(tags.get(key))),
            None if self.name == "tag-key" => Some(self.matches(tags.keys())),
            None => None,
        }
    }
}

/// Whether the text matches the pattern: `*` any text, `?` any character, `\` takes the next literally.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    #[derive(PartialEq)]
    enum Piece {
        Any,
        One,
        Exactly(char),
    }
    let mut pieces = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        pieces.push(match c {
            '*' => Piece::Any,
            '?' => Piece::One,
            '\\' => Piece::Exactly(chars.next().unwrap_or('\\')),
            other => Piece::Exactly(other),
        });
    }
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t, mut retry) = (0, 0, None);
    while t < text.len() {
        match pieces.get(p) {
            Some(Piece::Any) => {
                retry = Some((p, t));
                p += 1;
            }
            Some(piece) if *piece == Piece::One || *piece == Piece::Exactly(text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    p = star + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pieces[p..].iter().all(|piece| *piece == Piece::Any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_and_escapes_are_literal() {
        for (pattern, text, expected) in [
            ("web", "web", true),
            ("web", "Web", false),
            ("web", "web1", false),
            ("web*", "web", true),
            ("*b*1", "abcb01", true),
            ("*b*1", "abcb02", false),
            ("we?", "web", true),
            ("we?", "we", false),
            (r"a\*b", "a*b", true),
            (r"a\*b", "axb", false),
            (r"a\?b", "a?b", true),
            (r"a\\b", r"a\b", true),
            ("", "", true),
            ("*", "", true),
            ("?", "é", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn filters_are_read_in_order_up_to_the_first_gap() {
        let params = crate::types::tags(&[
            ("Filter.1.Name", "tag:a"),
            ("Filter.1.Value.1", "x"),
            ("Filter.1.Value.2", "y"),
            ("Filter.3.Name", "lost"),
        ]);
        let expected = Filter { name: "tag:a".into(), values: vec!["x".into(), "y".into()] };
        assert_eq!(filters(&params), [expected]);
    }
}
