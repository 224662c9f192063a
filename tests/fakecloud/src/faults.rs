//! What goes wrong on purpose, and which calls it hits.

use crate::types::{Calls, Fault, Service};

/// The faults that are set. Of several that hit the same call, the one set first does.
#[derive(Default)]
pub(crate) struct Faults {
    rules: Vec<Rule>,
    set: u64,
}

struct Rule {
    id: u64,
    api: String,
    calls: Calls,
    fault: Fault,
    only: Option<String>,
    seen: u32,
}

impl Faults {
    /// Sets a fault and names it.
    pub(crate) fn set(&mut self, api: &str, calls: Calls, fault: Fault, only: Option<String>) -> u64 {
        self.set += 1;
        self.rules.push(Rule { id: self.set, api: api.into(), calls, fault, only, seen: 0 });
        self.set
    }

    pub(crate) fn limit(&mut self, id: u64, instance: &str) {
        for rule in self.rules.iter_mut().filter(|rule| rule.id == id) {
            rule.only = Some(instance.into());
        }
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// Counts the call with every rule that means it, and says what goes wrong with it.
    pub(crate) fn hit(&mut self, service: Service, action: &str, instance: Option<&str>) -> Option<Fault> {
        let mut hit = None;
        for rule in &mut self.rules {
            if rule.means(service, action) && rule.only.as_deref().is_none_or(|only| instance == Some(only)) {
                rule.seen += 1;
                if hit.is_none() && rule.calls.contains(rule.seen) {
                    hit = Some(rule.fault.clone());
                }
            }
        }
        hit
    }
}

impl Rule {
    /// A service, an action, or the beginning of a path of the metadata service; with `$` at its end, all of it.
    fn means(&self, service: Service, action: &str) -> bool {
        self.api == service.name()
            || self.api.strip_suffix('$') == Some(action)
            || self.api == action
            || service == Service::Imds && self.api.contains(" /") && action.starts_with(&self.api)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_for_each_fault_since_it_was_set() {
        let mut faults = Faults::default();
        faults.set("AssociateAddress", Calls::Nth(2), Fault::Hang, None);
        faults.set("EC2", Calls::Range(2..=3), Fault::Reset, None);
        let mut hit = |action| faults.hit(Service::Ec2, action, None);
        assert!(hit("AssociateAddress").is_none());
        assert!(matches!(hit("DescribeAddresses"), Some(Fault::Reset)));
        assert!(matches!(hit("AssociateAddress"), Some(Fault::Hang)));
        assert!(hit("AssociateAddress").is_none());
    }

    #[test]
    fn a_path_means_what_is_below_it_unless_it_is_ended() {
        let mut faults = Faults::default();
        faults.set("GET /latest/meta-data/iam/$", Calls::All, Fault::Hang, None);
        let mut hit = |path| faults.hit(Service::Imds, path, None).is_some();
        assert!(hit("GET /latest/meta-data/iam/"));
        assert!(!hit("GET /latest/meta-data/iam/info"));
    }

    #[test]
    fn a_limited_fault_neither_hits_nor_counts_others() {
        let mut faults = Faults::default();
        let id = faults.set("GET /latest/meta-data/iam/", Calls::First(1), Fault::Hang, None);
        faults.limit(id, "i-1");
        let mut hit = |path, from| faults.hit(Service::Imds, path, Some(from)).is_some();
        assert!(!hit("GET /latest/meta-data/iam/info", "i-2"));
        assert!(!hit("GET /latest/meta-data/mac", "i-1"));
        assert!(hit("GET /latest/meta-data/iam/info", "i-1"));
        assert!(!hit("GET /latest/meta-data/iam/info", "i-1"));
    }
}
