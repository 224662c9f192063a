//! What a check found: one item a line for a person, one object for machines, and the exit code.

use serde_json::{Value, json};

use crate::error::{Error, Exit};
use crate::style::Style;
use crate::table;

/// What was found about one thing that a claim needs.
#[derive(Debug)]
pub(crate) enum Finding {
    /// It is as it should be.
    Good(String),
    /// A claim would fail of it.
    Bad(Error),
    /// It is missing, and a claim can do without.
    Lacking(Error),
    /// It was not tried, for this reason.
    NotTried(String),
}

/// One thing that a claim needs.
#[derive(Debug)]
struct Item {
    name: &'static str,
    finding: Finding,
}

/// All of them, in the order of a claim.
#[derive(Debug, Default)]
pub struct Checklist {
    items: Vec<Item>,
}

impl Checklist {
    /// Adds what was found about `name`.
    pub(crate) fn add(&mut self, name: &'static str, finding: Finding) {
        tracing::debug!(item = name, ?finding, "checked");
        self.items.push(Item { name, finding });
    }

    /// Puts the items into the order of `names`.
    pub(crate) fn sort_by(&mut self, names: &[&'static str]) {
        self.items.sort_by_key(|item| names.iter().position(|name| *name == item.name));
    }

    /// Adds that nothing is known of each of `names` that is not there yet, and why.
    pub(crate) fn skip(&mut self, names: &[&'static str], why: &str) {
        for name in names {
            if !self.items.iter().any(|item| item.name == *name) {
                self.add(name, Finding::NotTried(why.to_owned()));
            }
        }
    }

    /// The exit code: that of the first failure.
    pub fn exit(&self) -> Exit {
        self.items.iter().find_map(Item::failure).map_or(Exit::Success, |error| error.class.exit())
    }

    /// One line for each item, and below it what to do, if there is something to do.
    pub fn text(&self, style: Style) -> String {
        let rows: Vec<_> = self.items.iter().map(|item| [item.name.to_owned(), item.detail()]).collect();
        let lines = table::lines(&rows).into_iter().zip(&self.items);
        let text = lines.flat_map(|(line, item)| {
            let mark = match item.finding {
                Finding::Good(_) => style.good(),
                Finding::Bad(_) => style.bad(),
                Finding::Lacking(_) | Finding::NotTried(_) => style.neither(),
            };
            let remedy = item.remedy().map(|remedy| format!("      what to do: {remedy}"));
            [Some(format!("{mark}  {line}")), remedy].into_iter().flatten()
        });
        text.collect::<Vec<_>>().join("\n")
    }

    /// One JSON object.
    pub fn json(&self) -> Value {
        let items = self
            .items
            .iter()
            .map(|item| json!({"name": item.name, "ok": item.ok(), "detail": item.detail(), "remedy": item.remedy()}));
        json!({
            "outcome": if self.exit() == Exit::Success { "ok" } else { "failed" },
            "items": items.collect::<Vec<_>>(),
        })
    }
}

impl Item {
    fn failure(&self) -> Option<&Error> {
        if let Finding::Bad(error) = &self.finding { Some(error) } else { None }
    }

    fn ok(&self) -> Option<bool> {
        match self.finding {
            Finding::Good(_) => Some(true),
            Finding::Bad(_) => Some(false),
            Finding::Lacking(_) | Finding::NotTried(_) => None,
        }
    }

    fn detail(&self) -> String {
        match &self.finding {
            Finding::Good(detail) => detail.clone(),
            Finding::Bad(error) | Finding::Lacking(error) => match &error.decoded {
                Some(decoded) => format!("{}; {decoded}", error.in_full()),
                None => error.in_full(),
            },
            Finding::NotTried(why) => format!("not tried: {why}"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match &self.finding {
            Finding::Bad(error) | Finding::Lacking(error) => Some(error.remedy()),
            Finding::Good(_) | Finding::NotTried(_) => None,
        }
    }
}
