//! The state of the region and the rules by which it changes, without sockets and without a clock:
//! whoever holds it sets [`World::now`] first. Associations are in `addresses.rs`, Auto Scaling
//! groups in `groups.rs`, keys in `iam.rs`, permissions in `permissions.rs`.

use crate::iam::Iam;
use crate::permissions::Permissions;
use crate::types::*;
use crate::versioned::Versioned;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

/// An error as an API answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> ApiError {
        ApiError { status, code: code.into(), message: message.into() }
    }

    /// The usual error of a client.
    pub(crate) fn bad(code: &str, message: impl Into<String>) -> ApiError {
        ApiError::new(400, code, message)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) zone: String,
    pub(crate) state: InstanceState,
    pub(crate) launch_time: SystemTime,
    /// When it came into being here, whatever its launch time says.
    pub(crate) created: Duration,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) tags_in_metadata: bool,
    pub(crate) role: Option<String>,
    pub(crate) impaired: bool,
    pub(crate) lifecycle: Option<String>,
    pub(crate) imds: ImdsOptions,
    pub(crate) nics: Vec<Nic>,
    /// Those of every interface that it has.
    pub(crate) interface_tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Nic {
    pub(crate) id: String,
    pub(crate) mac: String,
    pub(crate) private_ips: Vec<PrivateIp>,
    /// The address of EC2's own choice on the primary private address.
    pub(crate) auto_public: Option<Ipv4Addr>,
}

#[derive(Clone, Debug)]
pub(crate) struct PrivateIp {
    pub(crate) ip: Ipv4Addr,
    pub(crate) eip: Option<Eip>,
}

/// An Elastic IP as its private address sees it.
#[derive(Clone, Debug)]
pub(crate) struct Eip {
    pub(crate) allocation_id: String,
    pub(crate) association_id: String,
    pub(crate) public_ip: Ipv4Addr,
}

impl Nic {
    pub(crate) fn primary(&self) -> &PrivateIp {
        &self.private_ips[0]
    }

    /// The public address that a private one is seen as.
    pub(crate) fn public_of(&self, private: &PrivateIp) -> Option<Ipv4Addr> {
        let auto = self.auto_public.filter(|_| private.ip == self.primary().ip);
        private.eip.as_ref().map(|eip| eip.public_ip).or(auto)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) allocation_id: String,
    pub(crate) public_ip: Ipv4Addr,
    pub(crate) record: AddressRecord,
    pub(crate) holder: Option<Holder>,
}

pub(crate) struct World {
    pub(crate) options: Options,
    /// Since the start; never goes back.
    pub(crate) now: Duration,
    started: SystemTime,
    pub(crate) instances: BTreeMap<String, Versioned<Instance>>,
    pub(crate) addresses: BTreeMap<String, Versioned<Address>>,
    /// The instance of every interface.
    pub(crate) interfaces: HashMap<String, String>,
    /// The address of every association that ever was.
    pub(crate) associations: HashMap<String, String>,
    pub(crate) groups: BTreeMap<String, crate::groups::GroupState>,
    pub(crate) failed_zones: BTreeSet<String>,
    pub(crate) history: Vec<Event>,
    pub(crate) iam: Iam,
    pub(crate) permissions: Permissions,
    /// Tokens left, and when they were counted.
    levels: HashMap<String, (f64, Duration)>,
    counters: HashMap<&'static str, u64>,
    last_launch: SystemTime,
    /// The last connection opened.
    connections: u64,
    /// The last connection that was open when an instance's public address changed.
    pub(crate) swapped: HashMap<String, u64>,
}

impl World {
    pub(crate) fn new(options: Options, started: SystemTime) -> World {
        World {
            iam: Iam::new(&options.account),
            permissions: Permissions::default(),
            options,
            now: Duration::ZERO,
            started,
            instances: BTreeMap::new(),
            addresses: BTreeMap::new(),
            interfaces: HashMap::new(),
            associations: HashMap::new(),
            groups: BTreeMap::new(),
            failed_zones: BTreeSet::new(),
            history: Vec::new(),
            levels: HashMap::new(),
            counters: HashMap::new(),
            last_launch: SystemTime::UNIX_EPOCH,
            connections: 0,
            swapped: HashMap::new(),
        }
    }

    /// The cloud's clock.
    pub(crate) fn clock(&self) -> SystemTime {
        let offset = Duration::from_secs(self.options.clock_offset.unsigned_abs());
        let machine = self.started + self.now;
        if self.options.clock_offset < 0 { machine - offset } else { machine + offset }
    }

    /// The next number of its kind, from 0.
    pub(crate) fn count(&mut self, kind: &'static str) -> u64 {
        let counter = self.counters.entry(kind).or_default();
        *counter += 1;
        *counter - 1
    }

    /// A new id of AWS's shape. Ids do not show the order of their making, and are the same in every run.
    pub(crate) fn id(&mut self, prefix: &'static str) -> String {
        let n = self.count(prefix);
        let kind = prefix.bytes().fold(0, |sum: u64, byte| sum * 131 + u64::from(byte));
        format!("{prefix}-0{:016x}", scramble(kind << 32 | n))
    }

    // Instances.

    pub(crate) fn launch(&mut self, launch: Launch) -> String {
        let id = self.id("i");
        let launch_time = match launch.launched {
            Some(ago) => self.clock() - ago,
            None => self.next_launch_time(),
        };
        let mut nics = Vec::new();
        for interface in &launch.interfaces {
            let nic = self.new_nic(&interface.private_ips);
            self.interfaces.insert(nic.id.clone(), id.clone());
            nics.push(nic);
        }
        assert!(!nics.is_empty(), "an instance has at least one interface");
        self.iam.new_key(&id);
        let instance = Instance {
            id: id.clone(),
            state: launch.state,
            launch_time,
            created: self.now,
            impaired: self.failed_zones.contains(&launch.zone),
            zone: launch.zone,
            tags: launch.tags,
            tags_in_metadata: launch.tags_in_metadata,
            role: launch.role,
            lifecycle: launch.lifecycle,
            imds: launch.imds,
            nics,
            interface_tags: launch.interface_tags,
        };
        self.instances.insert(id.clone(), Versioned::new(self.now, instance));
        self.auto_assign(&id);
        id
    }

    /// Strictly later than every launch before it, to the millisecond.
    fn next_launch_time(&mut self) -> SystemTime {
        let since = self.clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(since.as_millis() as u64);
        self.last_launch = now.max(self.last_launch + Duration::from_millis(1));
        self.last_launch
    }

    fn new_nic(&mut self, private_ips: &[Ipv4Addr]) -> Nic {
        let id = self.id("eni");
        let n = self.count("private address");
        let chosen = nth(Ipv4Addr::new(172, 31, 0, 0), n);
        let ips = if private_ips.is_empty() { vec![chosen] } else { private_ips.to_vec() };
        let [a, b, c, d] = u32::try_from(n + 1).expect("fewer interfaces than 2^32").to_be_bytes();
        Nic {
            id,
            mac: format!("02:5e:{a:02x}:{b:02x}:{c:02x}:{d:02x}"),
            private_ips: ips.into_iter().map(|ip| PrivateIp { ip, eip: None }).collect(),
            auto_public: None,
        }
    }

    /// Gives a running instance with one interface and no Elastic IP an address of EC2's choice.
    pub(crate) fn auto_assign(&mut self, id: &str) {
        let instance = self.instance(id);
        let [nic] = instance.nics.as_slice() else { return };
        let has_one = nic.auto_public.is_some() || nic.private_ips.iter().any(|p| p.eip.is_some());
        let alive = matches!(instance.state, InstanceState::Pending | InstanceState::Running);
        if self.options.auto_assign_public_ip && alive && !has_one {
            let ip = nth(Ipv4Addr::new(198, 19, 0, 0), self.count("automatic address"));
            self.edit_instance(id, |instance| instance.nics[0].auto_public = Some(ip));
        }
    }

    pub(crate) fn instance(&self, id: &str) -> &Instance {
        self.instances.get(id).unwrap_or_else(|| panic!("there is no instance {id}")).now()
    }

    pub(crate) fn edit_instance<R>(&mut self, id: &str, edit: impl FnOnce(&mut Instance) -> R) -> R {
        let now = self.now;
        self.instances.get_mut(id).unwrap_or_else(|| panic!("there is no instance {id}")).edit(now, edit)
    }

    pub(crate) fn set_state(&mut self, id: &str, state: InstanceState) {
        self.edit_instance(id, |instance| instance.state = state);
        match state {
            InstanceState::Terminated => self.free_addresses_of(id),
            InstanceState::Stopped => {}
            _ => return self.reconcile(),
        }
        self.edit_instance(id, |instance| instance.nics.iter_mut().for_each(|nic| nic.auto_public = None));
        self.reconcile();
    }

    /// A stopped instance runs again, as if launched now.
    pub(crate) fn start_again(&mut self, id: &str) {
        let launch_time = self.next_launch_time();
        self.edit_instance(id, |instance| {
            instance.launch_time = launch_time;
            instance.state = InstanceState::Running;
        });
        self.auto_assign(id);
    }

    pub(crate) fn fail_zone(&mut self, zone: &str, failed: bool) {
        match failed {
            true => self.failed_zones.insert(zone.into()),
            false => self.failed_zones.remove(zone),
        };
        let there: Vec<String> =
            self.instances.values().map(Versioned::now).filter(|i| i.zone == zone).map(|i| i.id.clone()).collect();
        for id in there {
            self.edit_instance(&id, |instance| instance.impaired = failed);
        }
        self.reconcile();
    }

    // Reading, as late as it is.

    /// The time that `Describe*` shows.
    pub(crate) fn seen(&self) -> Duration {
        self.now.saturating_sub(self.options.read_lag)
    }

    /// The instances that `Describe*` shows.
    pub(crate) fn visible_instances(&self) -> impl Iterator<Item = &Instance> {
        let hidden_for = self.options.new_instance_hidden_for;
        let seen = self.seen();
        self.instances
            .values()
            .filter_map(move |instance| instance.at(seen))
            .filter(move |instance| self.now >= instance.created + hidden_for)
    }

    /// The addresses that `Describe*` shows.
    pub(crate) fn visible_addresses(&self) -> impl Iterator<Item = &Address> {
        self.addresses.values().filter_map(|address| address.at(self.seen()))
    }

    /// What is there now has always been there.
    pub(crate) fn settle(&mut self) {
        self.instances.values_mut().for_each(Versioned::settle);
        self.addresses.values_mut().for_each(Versioned::settle);
    }

    // Throttling and connections.

    /// Takes a token for the action, or says that there is none.
    pub(crate) fn take_token(&mut self, action: &str) -> Result<(), ApiError> {
        let Some(buckets) = self.options.buckets else { return Ok(()) };
        let (bucket, kind) = match action.starts_with("Describe") {
            true => (buckets.describe, "reads"),
            false => (buckets.mutate, "writes"),
        };
        let full = f64::from(bucket.burst);
        let key = if buckets.shared { kind } else { action };
        let (level, counted) = self.levels.entry(key.into()).or_insert((full, self.now));
        let flowed = (self.now - *counted).as_secs_f64() * bucket.per_second;
        (*level, *counted) = ((*level + flowed).min(full), self.now);
        if *level < 1.0 {
            return Err(ApiError::new(503, "RequestLimitExceeded", "Request limit exceeded."));
        }
        *level -= 1.0;
        Ok(())
    }

    pub(crate) fn open_connection(&mut self) -> u64 {
        self.connections += 1;
        self.connections
    }

    /// The instance's public address changes: what it has open goes nowhere any more.
    pub(crate) fn swap(&mut self, instance: &str) {
        self.swapped.insert(instance.into(), self.connections);
    }

    /// Whether nothing comes back over this connection of the instance.
    pub(crate) fn is_dead(&self, instance: Option<&str>, connection: u64) -> bool {
        let swapped = instance.and_then(|id| self.swapped.get(id));
        self.options.connections_die_on_swap && swapped.is_some_and(|last| connection <= *last)
    }
}

/// The nth address of a block, without those that end in 0 or 255.
pub(crate) fn nth(block: Ipv4Addr, n: u64) -> Ipv4Addr {
    let step = u32::try_from(n / 254 * 256 + n % 254 + 1).expect("fewer addresses in a cloud than there are");
    Ipv4Addr::from(u32::from(block) + step)
}

/// A reversible mixing of 64 bits: different numbers stay different.
pub(crate) fn scramble(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_launches_are_strictly_later_and_ids_have_their_shape() {
        let mut world = World::new(Options::default(), SystemTime::now());
        let ids: Vec<String> = (0..100).map(|_| world.launch(Launch::default())).collect();
        let times: Vec<SystemTime> = ids.iter().map(|id| world.instance(id).launch_time).collect();
        assert!(times.is_sorted_by(|a, b| a < b));
        assert!(ids.iter().all(|id| id.len() == 19 && id.starts_with("i-0")));
        let again = world.next_launch_time();
        world.start_again(&ids[0]);
        assert!(world.instance(&ids[0]).launch_time > again);
    }

    #[test]
    fn a_bucket_lets_its_burst_through_and_then_flows() {
        let mut world = World::new(Options::default(), SystemTime::now());
        world.options.buckets = Some(Buckets::published());
        let passed =
            |world: &mut World, action: &str| (0..1000).take_while(|_| world.take_token(action).is_ok()).count();
        assert_eq!(passed(&mut world, "AssociateAddress"), 50);
        assert_eq!(passed(&mut world, "DescribeAddresses"), 100);
        assert_eq!(passed(&mut world, "DescribeInstances"), 100);
        world.now = Duration::from_secs(2);
        assert_eq!(passed(&mut world, "AssociateAddress"), 10);
        assert_eq!(passed(&mut world, "DescribeAddresses"), 40);
        let error = world.take_token("DescribeAddresses").unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (503, "RequestLimitExceeded"));
    }

    #[test]
    fn readers_see_instances_as_they_were() {
        let mut world = World::new(Options::default(), SystemTime::now());
        let id = world.launch(Launch::default());
        world.options.read_lag = Duration::from_secs(5);
        let seen = |world: &World| world.visible_instances().map(|i| i.state).next();
        world.now = Duration::from_secs(4);
        world.settle();
        world.now = Duration::from_secs(10);
        world.set_state(&id, InstanceState::Stopped);
        assert_eq!(seen(&world), Some(InstanceState::Running));
        world.now = Duration::from_secs(15);
        assert_eq!(seen(&world), Some(InstanceState::Stopped));
        let late = world.launch(Launch::default());
        assert!(world.visible_instances().all(|instance| instance.id != late));
    }

    #[test]
    fn new_instances_are_hidden_for_a_while() {
        let mut world = World::new(Options::default(), SystemTime::now());
        world.options.new_instance_hidden_for = Duration::from_secs(3);
        world.now = Duration::from_secs(10);
        world.launch(Launch::default());
        world.now = Duration::from_millis(12_999);
        assert_eq!(world.visible_instances().count(), 0);
        world.now = Duration::from_secs(13);
        assert_eq!(world.visible_instances().count(), 1);
    }
}
