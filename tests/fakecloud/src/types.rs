//! The words in which a test describes a world and reads back what happened in it.

use crate::tls::Tls;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

/// What kind of region this is.
#[derive(Clone, Debug)]
pub struct Options {
    /// The region's name, which is also its network border group.
    pub region: String,
    /// The account that owns everything here.
    pub account: String,
    /// How old the world is that `Describe*` shows.
    pub read_lag: Duration,
    /// How old the associations are that the metadata service shows.
    pub imds_lag: Duration,
    /// The cloud's clock minus the machine's, in seconds.
    pub clock_offset: i64,
    /// Throttling of EC2; `None` is none.
    pub buckets: Option<Buckets>,
    /// Whether an instance with one interface gets a public address of EC2's choice.
    pub auto_assign_public_ip: bool,
    /// For how long after its launch an instance is missing from `DescribeInstances` and `DescribeInstanceStatus`.
    pub new_instance_hidden_for: Duration,
    /// Whether a change of an instance's public address kills its open connections to the APIs.
    pub connections_die_on_swap: bool,
    /// Whether `DisassociateAddress` of an association that is over answers
    /// `InvalidAssociationID.NotFound` instead of nothing at all.
    pub stale_association_not_found: bool,
    /// Whether `AssociateAddress` needs permission on both the instance and its interface, whichever of them it names.
    pub associate_needs_both_targets: bool,
    /// How long every call of an API takes (not those of the metadata service).
    pub latency: Duration,
    /// How long every call of the metadata service takes.
    pub imds_latency: Duration,
    /// By what the APIs are spoken to over TLS; without it they are in the clear.
    pub tls: Option<Tls>,
    /// Where EC2 listens; without it, at a free port of loopback.
    pub ec2_at: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            region: "ap-northeast-2".into(),
            account: "123456789012".into(),
            read_lag: Duration::ZERO,
            imds_lag: Duration::ZERO,
            clock_offset: 0,
            buckets: None,
            auto_assign_public_ip: true,
            new_instance_hidden_for: Duration::ZERO,
            connections_die_on_swap: false,
            stale_association_not_found: false,
            associate_needs_both_targets: false,
            latency: Duration::ZERO,
            imds_latency: Duration::ZERO,
            tls: None,
            ec2_at: None,
        }
    }
}

/// EC2's token buckets, one for each action of the account in this region.
#[derive(Clone, Copy, Debug)]
pub struct Buckets {
    /// For each action that only reads.
    pub describe: Bucket,
    /// For each action that writes.
    pub mutate: Bucket,
    /// One bucket for all reads and one for all writes, rather than one for each action.
    pub shared: bool,
}

impl Buckets {
    /// The figures that EC2's documentation publishes.
    pub fn published() -> Buckets {
        Buckets {
            describe: Bucket { burst: 100, per_second: 20.0 },
            mutate: Bucket { burst: 50, per_second: 5.0 },
            shared: false,
        }
    }
}

/// One token bucket.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// How many calls a full bucket lets through at once.
    pub burst: u32,
    /// How many calls flow back in a second.
    pub per_second: f64,
}

/// What to launch.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The availability zone.
    pub zone: String,
    /// The instance's tags.
    pub tags: BTreeMap<String, String>,
    /// Whether the metadata service serves the tags (on AWS this is off unless asked for).
    pub tags_in_metadata: bool,
    /// The role of the instance profile.
    pub role: Option<String>,
    /// How long ago it was launched; `None` is now, and strictly later than every earlier launch.
    pub launched: Option<Duration>,
    /// The state in which it begins.
    pub state: InstanceState,
    /// Its interfaces, in the order of their device numbers.
    pub interfaces: Vec<Interface>,
    /// The tags of each of its interfaces.
    pub interface_tags: BTreeMap<String, String>,
    /// `autoscaling/target-lifecycle-state` of the metadata service.
    pub lifecycle: Option<String>,
    /// How the metadata service behaves.
    pub imds: ImdsOptions,
}

impl Default for Launch {
    fn default() -> Launch {
        Launch {
            zone: "ap-northeast-2a".into(),
            tags: BTreeMap::new(),
            tags_in_metadata: true,
            role: Some("eip-claim".into()),
            launched: None,
            state: InstanceState::Running,
            interfaces: vec![Interface::default()],
            interface_tags: BTreeMap::new(),
            lifecycle: None,
            imds: ImdsOptions::default(),
        }
    }
}

/// One network interface.
#[derive(Clone, Debug, Default)]
pub struct Interface {
    /// Its private addresses, the primary one first; when empty, one is chosen.
    pub private_ips: Vec<Ipv4Addr>,
}

/// How an instance's metadata service behaves.
#[derive(Clone, Copy, Debug)]
pub struct ImdsOptions {
    /// When off, every request is answered with 403.
    pub enabled: bool,
    /// Where it listens; without it, at an address of loopback of its own.
    pub at: Option<SocketAddr>,
}

impl Default for ImdsOptions {
    fn default() -> ImdsOptions {
        ImdsOptions { enabled: true, at: None }
    }
}

/// The states of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum InstanceState {
    Pending,
    Running,
    Stopping,
    Stopped,
    ShuttingDown,
    Terminated,
}

impl InstanceState {
    /// The name that EC2 gives it.
    pub fn name(self) -> &'static str {
        match self {
            InstanceState::Pending => "pending",
            InstanceState::Running => "running",
            InstanceState::Stopping => "stopping",
            InstanceState::Stopped => "stopped",
            InstanceState::ShuttingDown => "shutting-down",
            InstanceState::Terminated => "terminated",
        }
    }

    /// The number that EC2 gives it.
    pub fn code(self) -> u8 {
        match self {
            InstanceState::Pending => 0,
            InstanceState::Running => 16,
            InstanceState::ShuttingDown => 32,
            InstanceState::Terminated => 48,
            InstanceState::Stopping => 64,
            InstanceState::Stopped => 80,
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<InstanceState> {
        use InstanceState::*;
        [Pending, Running, Stopping, Stopped, ShuttingDown, Terminated].into_iter().find(|s| s.name() == name)
    }
}

/// An Auto Scaling group that keeps its size.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name, which its instances carry as the tag `aws:autoscaling:groupName`.
    pub name: String,
    /// How many instances it keeps.
    pub size: usize,
    /// Its zones, used in turn.
    pub zones: Vec<String>,
    /// Tags that are propagated at launch.
    pub tags: BTreeMap<String, String>,
    /// The template of its instances; zone, launch time and lifecycle are the group's affair.
    pub launch: Launch,
    /// The name of a launch hook: a new instance is `Pending:Wait` until it is completed.
    pub hook: Option<String>,
    /// How long after its launch a report of bad health is ignored, unless it asks not to be.
    pub grace: Duration,
}

impl Default for Group {
    fn default() -> Group {
        Group {
            name: String::new(),
            size: 0,
            zones: Vec::new(),
            tags: BTreeMap::new(),
            launch: Launch::default(),
            hook: None,
            grace: Duration::from_secs(300),
        }
    }
}

/// What was allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// `eipalloc-…`
    pub allocation_id: String,
    /// The address itself.
    pub public_ip: Ipv4Addr,
}

/// What a test may change of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRecord {
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The service that manages it, such as `alb`: nobody else may associate it.
    pub service_managed: Option<String>,
    /// Where it can be used; at first the region.
    pub network_border_group: String,
    /// The account that owns it; another one than the region's: seen, but not to be associated.
    pub owner: String,
}

/// Who holds an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The instance, unless it is a bare interface (a NAT gateway, a load balancer).
    pub instance_id: Option<String>,
    /// `eni-…`
    pub interface_id: String,
    /// The private address that it is mapped to.
    pub private_ip: Ipv4Addr,
    /// `eipassoc-…`, another one for every attachment.
    pub association_id: String,
}

/// An interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceView {
    /// `eni-…`
    pub interface_id: String,
    /// Its hardware address.
    pub mac: String,
    /// Its private addresses, the primary one first.
    pub private_ips: Vec<Ipv4Addr>,
    /// Its public addresses, Elastic IPs and EC2's own choice alike.
    pub public_ips: Vec<Ipv4Addr>,
}

/// An address changed hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Since the start of the cloud.
    pub at: Duration,
    /// Which address.
    pub allocation_id: String,
    /// The instance that held it.
    pub from: Option<String>,
    /// The instance that holds it.
    pub to: Option<String>,
    /// The association that ended with it.
    pub ended: Option<String>,
    /// The instance that asked for it; `None` is another hand.
    pub by: Option<String>,
    /// It was already there: nothing changed, but AWS may bill it.
    pub remap: bool,
}

/// The services, each with its own listener (the metadata service: one for each instance).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Service {
    Ec2,
    Sts,
    AutoScaling,
    Imds,
}

impl Service {
    /// The name by which a fault means the whole service.
    pub fn name(self) -> &'static str {
        match self {
            Service::Ec2 => "EC2",
            Service::Sts => "STS",
            Service::AutoScaling => "AutoScaling",
            Service::Imds => "IMDS",
        }
    }
}

/// One request that arrived, whatever became of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Since the start of the cloud.
    pub at: Duration,
    /// Which service it was sent to.
    pub service: Service,
    /// The instance it came from, by its access key or its metadata address.
    pub instance_id: Option<String>,
    /// `AssociateAddress`, or `GET /latest/meta-data/instance-id`.
    pub action: String,
    /// The parameters of the query.
    pub params: BTreeMap<String, String>,
    /// The headers, in lower case.
    pub headers: BTreeMap<String, String>,
    /// Unique for each TCP connection.
    pub connection: u64,
    /// The status that was answered; `None`: no answer was sent (yet).
    pub status: Option<u16>,
    /// The code of the error that was answered.
    pub error_code: Option<String>,
    /// A write was carried out, whether or not its answer arrived.
    pub committed: bool,
    /// The write found the address where it was to go.
    pub remap: bool,
    /// It asked for a trial.
    pub dry_run: bool,
}

/// Which calls a fault hits, counted from 1 since the fault was set.
#[derive(Clone, Debug)]
pub enum Calls {
    /// Every call.
    All,
    /// Only this one.
    Nth(u32),
    /// This many.
    First(u32),
    /// This one and all after it.
    From(u32),
    /// These.
    Range(std::ops::RangeInclusive<u32>),
}

impl Calls {
    pub(crate) fn contains(&self, n: u32) -> bool {
        match self {
            Calls::All => true,
            Calls::Nth(nth) => n == *nth,
            Calls::First(first) => n <= *first,
            Calls::From(from) => n >= *from,
            Calls::Range(range) => range.contains(&n),
        }
    }
}

/// What goes wrong with a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The request is read, nothing is done, no answer ever comes.
    Hang,
    /// The request is read, nothing is done, the connection is reset.
    Reset,
    /// The request is read, nothing is done, the connection is closed.
    Close,
    /// The call is carried out, later.
    Delay(Duration),
    /// Nothing is done; this status and body are answered.
    #[allow(missing_docs)]
    Status { code: u16, body: String },
    /// Nothing is done; this error is answered in the service's own form.
    #[allow(missing_docs)]
    Error { status: u16, code: String, message: String },
    /// Nothing is done; 200 and this body are answered.
    #[allow(missing_docs)]
    Garbage { content_type: String, body: Vec<u8> },
    /// This is answered, and it comes in this way; before that nothing is done, or, if `done`, the call.
    #[allow(missing_docs)]
    Raw { done: bool, status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8>, flow: Flow },
    /// The call is carried out; half of its answer comes, then the connection is closed.
    Truncate,
    /// The call is carried out; no answer ever comes.
    CommitThenHang,
    /// The call is carried out; the connection is reset.
    CommitThenReset,
    /// The call is carried out; this error is answered.
    #[allow(missing_docs)]
    CommitThenError { status: u16, code: String, message: String },
    /// The call is carried out at once; the answer comes later.
    CommitThenDelay(Duration),
}

/// How a body comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// At once, and as long as its header says.
    Whole,
    /// All of it; more is announced, but the connection is closed.
    Cut,
    /// A byte at a time.
    Trickle,
    /// Over and over again, until so many bytes are sent; their number is announced.
    Repeated(u64),
    /// Over and over again, in chunks, for ever.
    Endless,
}

/// Tags, or any other map of strings, from pairs.
pub fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// A time as EC2 writes it.
pub(crate) fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}
