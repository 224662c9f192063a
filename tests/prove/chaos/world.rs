//! The world of a round: its instances and addresses, and what was true of every instance when.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fakecloud::{AddressRecord, Allocation, Cloud, InstanceState};

use crate::prove::chaos::ills::ZONES;

/// What an instance was for a while.
#[derive(Clone, Debug)]
pub struct Was {
    pub instance: String,
    pub state: InstanceState,
    pub launched: SystemTime,
    pub impaired: bool,
    /// From when on it may have been so, and until when.
    pub from: Duration,
    pub until: Duration,
}

impl Was {
    pub fn is_gone(&self) -> bool {
        !matches!(self.state, InstanceState::Running | InstanceState::Pending)
    }
}

pub struct World {
    pub cloud: Cloud,
    pub instances: Vec<String>,
    /// All of them, of which a claim may select but some.
    pub addresses: Vec<Allocation>,
    /// Those that the claims select.
    pub selected: Vec<String>,
    /// An address that nobody selects.
    pub stranger: Allocation,
    /// An address as it is when nothing is wrong with it.
    pub record: AddressRecord,
    pub policy: &'static str,
    /// Whether the value of the tag is this instance's own.
    pub by_own_tag: bool,
    was: Mutex<Vec<Was>>,
    failed: Mutex<Vec<&'static str>>,
}

impl World {
    pub fn new(
        cloud: Cloud,
        instances: Vec<String>,
        addresses: Vec<Allocation>,
        selected: Vec<String>,
        policy: &'static str,
        by_own_tag: bool,
    ) -> World {
        let stranger = cloud.allocate(&[("asg", "another")]);
        let mut record = None;
        cloud.edit_address(&addresses[0].allocation_id, |now| record = Some(now.clone()));
        let record = record.expect("the address was there to be edited");
        let world = World {
            cloud,
            instances,
            addresses,
            selected,
            stranger,
            record,
            policy,
            by_own_tag,
            was: Mutex::default(),
            failed: Mutex::default(),
        };
        world.change(|| {});
        world
    }

    /// Changes something, and notes what is true of the instances from then on.
    pub fn change(&self, change: impl FnOnce()) {
        let from = self.cloud.elapsed();
        change();
        let until = self.cloud.elapsed();
        let mut was = self.lock();
        let failed = self.failed.lock().expect("nobody panics with it");
        for (n, id) in self.instances.iter().enumerate() {
            let (state, launched) = (self.cloud.state(id), self.launched(id));
            let impaired = failed.contains(&ZONES[n % ZONES.len()]);
            let last = was.iter_mut().rfind(|was| was.instance == *id);
            match last {
                Some(last) if (last.state, last.launched, last.impaired) == (state, launched, impaired) => continue,
                Some(last) => last.until = until,
                None => {}
            }
            was.push(Was { instance: id.clone(), state, launched, impaired, from, until: Duration::MAX });
        }
    }

    /// Notes that a zone fails, or is well again.
    pub fn zone(&self, zone: &'static str, fails: bool) {
        let mut failed = self.failed.lock().expect("nobody panics with it");
        failed.retain(|other| *other != zone);
        if fails {
            failed.push(zone);
        }
    }

    /// What was true of the instance at some instant of the window.
    pub fn was(&self, instance: &str, from: Duration, until: Duration) -> Vec<Was> {
        let inside = |was: &&Was| was.instance == instance && was.from <= until && was.until >= from;
        self.lock().iter().filter(inside).cloned().collect()
    }

    /// The launch time as EC2 shows it, to the millisecond: what is finer decides nothing.
    pub fn launched(&self, instance: &str) -> SystemTime {
        let since = self.cloud.launch_time(instance).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_millis(since.as_millis() as u64)
    }

    /// Whether it is there at all, running or not.
    pub fn is_there(&self, instance: usize) -> bool {
        self.cloud.state(&self.instances[instance]) != InstanceState::Terminated
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Was>> {
        self.was.lock().expect("nobody panics with it")
    }
}
