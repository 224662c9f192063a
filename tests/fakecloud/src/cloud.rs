//! The handle by which a test builds a world, breaks it, and asks what happened.

use crate::region::{Inside, Region};
use crate::server::{self, Door, Order};
use crate::tls::Tls;
use crate::traffic::Traffic;
use crate::types::*;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

/// As many connections may wait to be accepted as a herd opens at once.
const BACKLOG: i32 = 4096;
/// A port of loopback that nobody has.
const ANYWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
const APIS: [Service; 3] = [Service::Ec2, Service::Sts, Service::AutoScaling];

/// A region that runs until it is dropped. Every method is synchronous, may be called from any
/// thread, and takes effect before it returns. Unknown ids are a mistake of the test: they panic.
pub struct Cloud {
    region: Arc<Region>,
    doors: Mutex<Doors>,
    /// Taken on drop, which ends the thread.
    orders: Option<mpsc::UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Doors {
    places: HashMap<Door, Place>,
    /// Services whose doors are closed.
    closed: Vec<Service>,
    metadata: u32,
}

/// Where a door is; with a socket, it is closed, and the socket keeps its port.
struct Place {
    address: SocketAddr,
    held: Option<Socket>,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.orders.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Begin, and build the world.
impl Cloud {
    /// Starts an empty region and its three API listeners.
    pub fn start(options: Options) -> Cloud {
        let (ec2_at, tls) = (options.ec2_at, options.tls.as_ref().map(Tls::acceptor));
        let region = Arc::new(Region::new(options));
        let (orders, received) = mpsc::unbounded_channel();
        let shared = region.clone();
        let thread = std::thread::Builder::new().name("fakecloud".into());
        let thread = thread.spawn(move || server::run(shared, tls, received)).expect("a thread can be had");
        let cloud = Cloud { region, doors: Mutex::default(), orders: Some(orders), thread: Some(thread) };
        let mut doors = cloud.doors();
        for service in APIS {
            let chosen = ec2_at.filter(|_| service == Service::Ec2);
            cloud.open(&mut doors, Door::Api(service), chosen.unwrap_or(ANYWHERE));
        }
        drop(doors);
        cloud
    }

    /// Launches an instance, and returns its id.
    pub fn launch(&self, launch: Launch) -> String {
        self.inside().world.launch(launch)
    }

    /// Allocates an address.
    pub fn allocate(&self, tags: &[(&str, &str)]) -> Allocation {
        self.inside().world.allocate(crate::types::tags(tags))
    }

    /// Changes an address's tags, owner, and what else a test may.
    pub fn edit_address(&self, allocation_id: &str, edit: impl FnOnce(&mut AddressRecord)) {
        self.inside().world.edit_address(allocation_id, |address| edit(&mut address.record));
    }

    /// Puts the address on an interface without an instance, as a NAT gateway has it.
    pub fn associate_bare_interface(&self, allocation_id: &str) {
        self.inside().world.associate_bare_interface(allocation_id);
    }

    /// Another hand puts the address on the instance's first interface, whatever EC2's rules say.
    pub fn associate(&self, allocation_id: &str, instance_id: &str) {
        self.inside().world.hand_over(allocation_id, instance_id);
    }

    /// Another hand takes the address off.
    pub fn disassociate(&self, allocation_id: &str) {
        self.inside().world.take_off(allocation_id, None);
    }

    /// Creates an Auto Scaling group, and returns the ids of its instances.
    pub fn create_group(&self, group: Group) -> Vec<String> {
        self.inside().world.create_group(group)
    }

    /// The instances that the group has now.
    pub fn group_instances(&self, name: &str) -> Vec<String> {
        self.inside().world.group_instances(name)
    }
}

/// Change the world.
impl Cloud {
    /// Sets the state of an instance; `terminated` frees its addresses.
    pub fn set_state(&self, instance_id: &str, state: InstanceState) {
        self.inside().world.set_state(instance_id, state);
    }

    /// The instance is terminated, and its addresses are free.
    pub fn terminate(&self, instance_id: &str) {
        self.set_state(instance_id, InstanceState::Terminated);
    }

    /// The instance is stopped, and keeps its addresses.
    pub fn stop(&self, instance_id: &str) {
        self.set_state(instance_id, InstanceState::Stopped);
    }

    /// A stopped instance runs again, with a new launch time.
    pub fn start_again(&self, instance_id: &str) {
        self.inside().world.start_again(instance_id);
    }

    /// A reboot changes nothing that EC2 shows.
    pub fn reboot(&self, instance_id: &str) {
        self.inside().world.instance(instance_id);
    }

    /// Sets the launch time, to the millisecond.
    pub fn set_launch_time(&self, instance_id: &str, time: SystemTime) {
        self.inside().world.edit_instance(instance_id, |instance| instance.launch_time = time);
    }

    /// Whether `DescribeInstanceStatus` calls the instance's system impaired.
    pub fn set_impaired(&self, instance_id: &str, impaired: bool) {
        self.inside().world.edit_instance(instance_id, |instance| instance.impaired = impaired);
    }

    /// Sets `autoscaling/target-lifecycle-state` of the metadata service; `None` is 404.
    pub fn set_lifecycle(&self, instance_id: &str, target: Option<&str>) {
        self.inside().world.edit_instance(instance_id, |instance| instance.lifecycle = target.map(String::from));
    }

    /// Turns the instance's metadata service on or off (403).
    pub fn set_imds_enabled(&self, instance_id: &str, enabled: bool) {
        self.inside().world.edit_instance(instance_id, |instance| instance.imds.enabled = enabled);
    }

    /// Sets or removes a tag of an instance.
    pub fn set_instance_tag(&self, instance_id: &str, key: &str, value: Option<&str>) {
        self.inside().world.edit_instance(instance_id, |instance| match value {
            Some(value) => drop(instance.tags.insert(key.into(), value.into())),
            None => drop(instance.tags.remove(key)),
        });
    }

    /// From now on `Describe*` shows the world late. What is there now counts as having always been there.
    pub fn set_read_lag(&self, lag: Duration) {
        self.settle();
        self.inside().world.options.read_lag = lag;
    }

    /// From now on the metadata service shows associations late, as [`Cloud::set_read_lag`] does.
    pub fn set_imds_lag(&self, lag: Duration) {
        self.settle();
        self.inside().world.options.imds_lag = lag;
    }

    /// What is there now has always been there, for readers who see the past.
    pub fn settle(&self) {
        self.inside().world.settle();
    }

    /// Sets the cloud's clock against the machine's.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.inside().world.options.clock_offset = seconds;
    }

    /// Sets how long every call of an API takes.
    pub fn set_latency(&self, latency: Duration) {
        self.inside().world.options.latency = latency;
    }

    /// Sets how long every call of the metadata service takes.
    pub fn set_imds_latency(&self, latency: Duration) {
        self.inside().world.options.imds_latency = latency;
    }

    /// Sets EC2's throttling.
    pub fn set_buckets(&self, buckets: Option<Buckets>) {
        self.inside().world.options.buckets = buckets;
    }

    /// Sets for how long after their launch instances are missing from `DescribeInstances`.
    pub fn set_new_instance_hidden_for(&self, hidden: Duration) {
        self.inside().world.options.new_instance_hidden_for = hidden;
    }

    /// Sets whether a change of the public address kills open connections.
    pub fn set_connections_die_on_swap(&self, die: bool) {
        self.inside().world.options.connections_die_on_swap = die;
    }

    /// The zone fails: its instances are impaired, and groups replace them elsewhere. They run on,
    /// and hold what they hold, until they are terminated.
    pub fn fail_zone(&self, zone: &str) {
        self.inside().world.fail_zone(zone, true);
    }

    /// The zone is well again.
    pub fn restore_zone(&self, zone: &str) {
        self.inside().world.fail_zone(zone, false);
    }
}

/// Permissions.
impl Cloud {
    /// Denies an action (`ec2:AssociateAddress`; `*` and `?` are wildcards) to an instance, or to
    /// every instance. The administrator may always do everything.
    pub fn deny(&self, instance_id: Option<&str>, action: &str) {
        self.inside().world.permissions.deny(instance_id, action);
    }

    /// Takes the same denial back.
    pub fn allow(&self, instance_id: Option<&str>, action: &str) {
        self.inside().world.permissions.allow(instance_id, action);
    }

    /// Gives a role a policy, or puts another one in the place of the one with this name. From its first policy on a
    /// role may do what its policies allow, and nothing else.
    ///
    /// # Errors
    /// The document is no policy, or has something that is not known here: nothing has changed.
    pub fn put_role_policy(&self, role: &str, name: &str, document: &str) -> Result<(), String> {
        self.inside().world.permissions.put_role_policy(role, name, document)
    }

    /// Sets the role; with `None` the `iam/` paths of the metadata service are 404.
    pub fn set_role(&self, instance_id: &str, role: Option<&str>) {
        self.inside().world.edit_instance(instance_id, |instance| instance.role = role.map(String::from));
    }

    /// The metadata service gives out another key, and the old one is not valid any more.
    pub fn rotate_credentials(&self, instance_id: &str) {
        let mut inside = self.inside();
        inside.world.instance(instance_id);
        inside.world.iam.new_key(instance_id);
    }
}

/// The truth.
impl Cloud {
    /// Who holds the address now, whatever `DescribeAddresses` shows.
    pub fn holder(&self, allocation_id: &str) -> Option<Holder> {
        self.inside().world.address(allocation_id).holder.clone()
    }

    /// How addresses changed hands, oldest first.
    pub fn history(&self) -> Vec<Event> {
        self.inside().world.history.clone()
    }

    /// Every instance there ever was, by id.
    pub fn instances(&self) -> Vec<String> {
        self.inside().world.instances.keys().cloned().collect()
    }

    /// Every address, by allocation id.
    pub fn addresses(&self) -> Vec<Allocation> {
        let inside = self.inside();
        let addresses = inside.world.addresses.values().map(|address| address.now());
        addresses.map(|a| Allocation { allocation_id: a.allocation_id.clone(), public_ip: a.public_ip }).collect()
    }

    /// The state of an instance now.
    pub fn state(&self, instance_id: &str) -> InstanceState {
        self.inside().world.instance(instance_id).state
    }

    /// The launch time of an instance.
    pub fn launch_time(&self, instance_id: &str) -> SystemTime {
        self.inside().world.instance(instance_id).launch_time
    }

    /// The interfaces of an instance, by device number.
    pub fn interfaces(&self, instance_id: &str) -> Vec<InterfaceView> {
        let inside = self.inside();
        let view = |nic: &crate::world::Nic| InterfaceView {
            interface_id: nic.id.clone(),
            mac: nic.mac.clone(),
            private_ips: nic.private_ips.iter().map(|private| private.ip).collect(),
            public_ips: nic.private_ips.iter().filter_map(|private| nic.public_of(private)).collect(),
        };
        inside.world.instance(instance_id).nics.iter().map(view).collect()
    }

    /// Time since the start, as in [`Event::at`] and [`Request::at`].
    pub fn elapsed(&self) -> Duration {
        self.region.elapsed()
    }
}

/// What was asked.
impl Cloud {
    /// Every request since the start, or since the log was cleared.
    pub fn log(&self) -> Vec<Request> {
        self.inside().log().to_vec()
    }

    /// Forgets the requests so far, and what they were in bytes.
    pub fn clear_log(&self) {
        self.inside().clear_log();
        self.region.apis.clear();
        self.region.metadata.clear();
    }

    /// What went over the wire since the start, or since the log was cleared: the APIs', and the metadata services'.
    pub fn traffic(&self) -> (Traffic, Traffic) {
        (self.region.apis.read(), self.region.metadata.read())
    }

    /// The requests with this action: `AssociateAddress`, `GET /latest/meta-data/instance-id`.
    pub fn requests(&self, action: &str) -> Vec<Request> {
        self.inside().log().iter().filter(|request| request.action == action).cloned().collect()
    }
}

/// What goes wrong.
impl Cloud {
    /// Sets a fault for calls of an API: an action (`AssociateAddress`), the beginning of a path of
    /// the metadata service (`GET /latest/meta-data/iam/`, `PUT /latest/api/token`; with a `$` after
    /// it, that path alone), or a whole service (`EC2`, `STS`, `AutoScaling`, `IMDS`). Of several faults the first that hits is used.
    pub fn fault(&self, api: &str, calls: Calls, fault: Fault) -> FaultSet<'_> {
        let id = self.inside().faults.set(api, calls, fault, None);
        FaultSet { cloud: self, id }
    }

    /// Removes every fault.
    pub fn clear_faults(&self) {
        self.inside().faults.clear();
    }

    /// Closes the listener of a service (that of every instance, for the metadata service) and resets
    /// its connections, so that connecting is refused; or opens it again on the same port.
    pub fn outage(&self, service: Service, on: bool) {
        let mut doors = self.doors();
        if doors.closed.contains(&service) == on {
            return;
        }
        match on {
            true => doors.closed.push(service),
            false => doors.closed.retain(|closed| *closed != service),
        }
        for (door, place) in doors.places.iter_mut().filter(|(door, _)| service_of(door) == service) {
            match on {
                true => self.close(door, place),
                false => self.reopen(door, place),
            }
        }
    }
}

/// How to reach it.
impl Cloud {
    /// The address of an API's listener.
    pub fn endpoint(&self, service: Service) -> SocketAddr {
        let doors = self.doors();
        let place = doors.places.get(&Door::Api(service));
        place.expect("the metadata service has an endpoint for each instance: imds_endpoint").address
    }

    /// The address of the instance's metadata service, which is opened when this is first asked.
    pub fn imds_endpoint(&self, instance_id: &str) -> SocketAddr {
        let chosen = self.inside().world.instance(instance_id).imds.at;
        let mut doors = self.doors();
        let door = Door::Imds(instance_id.into());
        if let Some(place) = doors.places.get(&door) {
            return place.address;
        }
        doors.metadata += 1;
        let [_, b, c, d] = doors.metadata.to_be_bytes();
        let own = SocketAddr::from((Ipv4Addr::new(127, 64 + b, c, d), 0));
        self.open(&mut doors, door, chosen.unwrap_or(own))
    }

    /// The environment of a process on the instance.
    pub fn env(&self, instance_id: &str) -> Vec<(String, String)> {
        let metadata = format!("http://{}", self.imds_endpoint(instance_id));
        let mut env = vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT".into(), metadata)];
        env.extend(self.endpoint_env());
        env
    }

    /// The environment of an administrator with the AWS CLI or an SDK.
    pub fn cli_env(&self) -> Vec<(String, String)> {
        let mut env = self.endpoint_env();
        let inside = self.inside();
        let region = &inside.world.options.region;
        let key = &inside.world.iam.administrator;
        let pairs = [
            ("AWS_ACCESS_KEY_ID", &key.access),
            ("AWS_SECRET_ACCESS_KEY", &key.secret),
            ("AWS_REGION", region),
            ("AWS_DEFAULT_REGION", region),
        ];
        env.extend(pairs.map(|(name, value)| (name.into(), value.clone())));
        env
    }

    /// The URL of an API's listener.
    pub fn url(&self, service: Service) -> String {
        let scheme = if self.inside().world.options.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.endpoint(service))
    }

    fn endpoint_env(&self) -> Vec<(String, String)> {
        let names = ["AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_AUTO_SCALING"];
        let pairs = names.into_iter().zip(APIS);
        pairs.map(|(name, service)| (name.into(), self.url(service))).collect()
    }
}

/// Doors.
impl Cloud {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.region.lock()
    }

    fn doors(&self) -> MutexGuard<'_, Doors> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, order: Order) {
        let orders = self.orders.as_ref().expect("orders are taken only on drop");
        assert!(orders.send(order).is_ok(), "the thread of the fake cloud died");
    }

    fn open(&self, doors: &mut Doors, door: Door, at: SocketAddr) -> SocketAddr {
        let socket = bound(at);
        let address = socket.local_addr().ok().and_then(|address| address.as_socket());
        let address = address.expect("a bound socket has an address");
        let mut place = Place { address, held: Some(socket) };
        if !doors.closed.contains(&service_of(&door)) {
            self.reopen(&door, &mut place);
        }
        doors.places.insert(door, place);
        address
    }

    fn reopen(&self, door: &Door, place: &mut Place) {
        if let Some(socket) = place.held.take() {
            socket.listen(BACKLOG).expect("a bound socket can listen");
            self.order(Order::Open(door.clone(), socket.into()));
        }
    }

    fn close(&self, door: &Door, place: &mut Place) {
        let (done, closed) = std::sync::mpsc::channel();
        self.order(Order::Close(door.clone(), done));
        closed.recv().expect("the thread of the fake cloud closes what it is told to");
        // Bound, it keeps the port; without listening, it refuses.
        place.held = Some(bound(place.address));
    }
}

fn service_of(door: &Door) -> Service {
    match door {
        Door::Api(service) => *service,
        Door::Imds(_) => Service::Imds,
    }
}

/// How long a port may be somebody else's: a connection of this machine that got it between close and bind ends soon.
const PORT_PATIENCE: Duration = Duration::from_secs(10);

fn bound(address: SocketAddr) -> Socket {
    let make = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok::<_, std::io::Error>(socket)
    };
    let since = Instant::now();
    loop {
        match make() {
            Ok(socket) => return socket,
            Err(error) if error.kind() == ErrorKind::AddrInUse && since.elapsed() < PORT_PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => panic!("no listener on {address}: {error}"),
        }
    }
}

/// A fault that was just set.
pub struct FaultSet<'a> {
    cloud: &'a Cloud,
    id: u64,
}

impl FaultSet<'_> {
    /// It hits, and counts, only what comes from this instance.
    pub fn only(self, instance_id: &str) {
        self.cloud.inside().faults.limit(self.id, instance_id);
    }
}
