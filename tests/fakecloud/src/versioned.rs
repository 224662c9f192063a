//! A value that remembers what it was, for readers who see the past.

use std::time::Duration;

/// A record and its former versions, each with the time at which it began.
pub(crate) struct Versioned<T> {
    versions: Vec<(Duration, T)>,
}

impl<T: Clone> Versioned<T> {
    pub(crate) fn new(at: Duration, value: T) -> Versioned<T> {
        Versioned { versions: vec![(at, value)] }
    }

    /// The truth.
    pub(crate) fn now(&self) -> &T {
        let (_, value) = self.versions.last().expect("a versioned value has a first version that is never removed");
        value
    }

    /// What it was at that time, if it was there at all.
    pub(crate) fn at(&self, time: Duration) -> Option<&T> {
        self.versions.iter().rev().find(|(since, _)| *since <= time).map(|(_, value)| value)
    }

    /// Begins a new version.
    pub(crate) fn edit<R>(&mut self, at: Duration, edit: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.now().clone();
        let result = edit(&mut value);
        self.versions.push((at, value));
        result
    }

    /// Forgets the past: it has always been as it is now.
    pub(crate) fn settle(&mut self) {
        self.versions.drain(..self.versions.len() - 1);
        self.versions[0].0 = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_stays_as_it_was_until_it_is_settled() {
        let second = Duration::from_secs;
        let mut value = Versioned::new(second(1), "a");
        value.edit(second(3), |v| *v = "b");
        let seen = |v: &Versioned<&'static str>| [0, 1, 2, 3].map(|t| v.at(second(t)).copied());
        assert_eq!(seen(&value), [None, Some("a"), Some("a"), Some("b")]);
        value.settle();
        assert_eq!(seen(&value), [Some("b"); 4]);
    }
}
