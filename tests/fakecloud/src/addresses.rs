//! Elastic IPs: what may be associated with what, and what else changes when it is.

use crate::types::*;
use crate::versioned::Versioned;
use crate::world::{Address, ApiError, Eip, Instance, World, nth};
use std::net::Ipv4Addr;

/// What `AssociateAddress` was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct AssociateRequest {
    pub(crate) allocation_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) interface_id: Option<String>,
    pub(crate) private_ip: Option<Ipv4Addr>,
    /// Omitted, it is automatic.
    pub(crate) allow_reassociation: Option<bool>,
}

/// What `AssociateAddress` did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Associated {
    pub(crate) association_id: String,
    /// It was there already.
    pub(crate) remap: bool,
}

/// A private address on an interface.
struct Place {
    instance_id: String,
    interface_id: String,
    private_ip: Ipv4Addr,
}

const NO_PERMISSION: &str = "You do not have permission to access the specified resource.";

impl World {
    pub(crate) fn allocate(&mut self, tags: std::collections::BTreeMap<String, String>) -> Allocation {
        let allocation_id = self.id("eipalloc");
        let public_ip = nth_elastic(self.count("elastic address"));
        let record = AddressRecord {
            tags,
            service_managed: None,
            network_border_group: self.options.region.clone(),
            owner: self.options.account.clone(),
        };
        let address = Address { allocation_id: allocation_id.clone(), public_ip, record, holder: None };
        self.addresses.insert(allocation_id.clone(), Versioned::new(self.now, address));
        Allocation { allocation_id, public_ip }
    }

    pub(crate) fn address(&self, allocation_id: &str) -> &Address {
        self.addresses.get(allocation_id).unwrap_or_else(|| panic!("there is no address {allocation_id}")).now()
    }

    pub(crate) fn edit_address<R>(&mut self, allocation_id: &str, edit: impl FnOnce(&mut Address) -> R) -> R {
        let now = self.now;
        let address = self.addresses.get_mut(allocation_id);
        address.unwrap_or_else(|| panic!("there is no address {allocation_id}")).edit(now, edit)
    }

    /// `AssociateAddress`, after its permission.
    pub(crate) fn associate(&mut self, ask: &AssociateRequest, by: Option<&str>) -> Result<Associated, ApiError> {
        let Some(address) = self.addresses.get(&ask.allocation_id).map(Versioned::now) else {
            return Err(no_allocation(&ask.allocation_id));
        };
        self.may_move(address)?;
        let place = self.place(ask)?;
        let region = &self.options.region;
        let group = &address.record.network_border_group;
        if group != region {
            let text = format!(
                "You cannot associate an address of the network border group '{group}' \
                 with an instance in the network border group '{region}'."
            );
            return Err(ApiError::bad("InvalidParameterCombination", text));
        }
        if let Some(holder) = &address.holder {
            if holder.interface_id == place.interface_id && holder.private_ip == place.private_ip {
                let association_id = holder.association_id.clone();
                let instance = holder.instance_id.clone();
                self.note(&ask.allocation_id, instance.clone(), instance, None, by, true);
                return Ok(Associated { association_id, remap: true });
            }
            if ask.allow_reassociation == Some(false) {
                return Err(already_associated(&ask.allocation_id, &holder.association_id));
            }
        }
        if let Some(eip) = self.eip_at(&place) {
            if ask.allow_reassociation == Some(false) {
                return Err(already_associated(&place.interface_id, &eip.association_id));
            }
            self.take_off(&eip.allocation_id, by);
        }
        Ok(Associated { association_id: self.put_on(&ask.allocation_id, place, by), remap: false })
    }

    /// `DisassociateAddress`, after its permission.
    pub(crate) fn disassociate(&mut self, association_id: &str, by: Option<&str>) -> Result<(), ApiError> {
        let unknown = || {
            let text = format!("The association ID '{association_id}' does not exist");
            ApiError::bad("InvalidAssociationID.NotFound", text)
        };
        let allocation_id = self.associations.get(association_id).ok_or_else(unknown)?.clone();
        let address = self.address(&allocation_id);
        if address.holder.as_ref().is_none_or(|holder| holder.association_id != association_id) {
            return if self.options.stale_association_not_found { Err(unknown()) } else { Ok(()) };
        }
        self.may_move(address)?;
        self.take_off(&allocation_id, by);
        Ok(())
    }

    /// Another hand puts the address on the instance's first interface, whatever the rules say.
    pub(crate) fn hand_over(&mut self, allocation_id: &str, instance_id: &str) {
        let nic = &self.instance(instance_id).nics[0];
        let place =
            Place { instance_id: instance_id.into(), interface_id: nic.id.clone(), private_ip: nic.primary().ip };
        if let Some(eip) = self.eip_at(&place) {
            self.take_off(&eip.allocation_id, None);
        }
        self.put_on(allocation_id, place, None);
    }

    /// An interface without an instance holds the address, as that of a NAT gateway does.
    pub(crate) fn associate_bare_interface(&mut self, allocation_id: &str) {
        self.take_off(allocation_id, None);
        let holder = Holder {
            instance_id: None,
            interface_id: self.id("eni"),
            private_ip: nth(Ipv4Addr::new(172, 30, 0, 0), self.count("bare interface")),
            association_id: self.new_association(allocation_id),
        };
        self.edit_address(allocation_id, |address| address.holder = Some(holder));
        self.note(allocation_id, None, None, None, None, false);
    }

    /// The address is on nobody afterwards.
    pub(crate) fn take_off(&mut self, allocation_id: &str, by: Option<&str>) {
        if let Some(holder) = self.unplug(allocation_id) {
            self.note(allocation_id, holder.instance_id.clone(), None, Some(holder.association_id), by, false);
            if let Some(instance) = holder.instance_id {
                self.auto_assign(&instance);
            }
        }
    }

    pub(crate) fn free_addresses_of(&mut self, instance_id: &str) {
        let held: Vec<String> = self
            .instance(instance_id)
            .nics
            .iter()
            .flat_map(|nic| &nic.private_ips)
            .filter_map(|private| private.eip.as_ref().map(|eip| eip.allocation_id.clone()))
            .collect();
        for allocation_id in held {
            self.take_off(&allocation_id, None);
        }
    }

    /// Somebody else's address, and one that a service or a bare interface has, stays where it is.
    fn may_move(&self, address: &Address) -> Result<(), ApiError> {
        let bare = address.holder.as_ref().is_some_and(|holder| holder.instance_id.is_none());
        if bare || address.record.service_managed.is_some() || address.record.owner != self.options.account {
            return Err(ApiError::bad("AuthFailure", NO_PERMISSION));
        }
        Ok(())
    }

    fn place(&self, ask: &AssociateRequest) -> Result<Place, ApiError> {
        let (instance, nic) = match (&ask.instance_id, &ask.interface_id) {
            (Some(id), None) => {
                let instance = self.instances.get(id).map(Versioned::now);
                let instance = instance.ok_or_else(|| no_instance(&[id]))?;
                valid_instance(instance)?;
                let [nic] = instance.nics.as_slice() else {
                    let text = format!(
                        "There are multiple interfaces attached to instance '{id}'. \
                         Please specify an interface ID for the operation instead."
                    );
                    return Err(ApiError::bad("InvalidInstanceID", text));
                };
                (instance, nic)
            }
            (None, Some(id)) => {
                let text = format!("The networkInterface ID '{id}' does not exist");
                let missing = || ApiError::bad("InvalidNetworkInterfaceID.NotFound", text);
                let instance = self.interfaces.get(id).map(|owner| self.instance(owner));
                // The interfaces of an instance go with it.
                let instance = instance.filter(|i| i.state != InstanceState::Terminated).ok_or_else(missing)?;
                valid_interface(instance, id)?;
                let nic = instance.nics.iter().find(|nic| nic.id == *id);
                (instance, nic.expect("the index of interfaces names their instance"))
            }
            (Some(_), Some(_)) => {
                let text = "You may specify either InstanceId or NetworkInterfaceId, but not both";
                return Err(ApiError::bad("InvalidParameterCombination", text));
            }
            (None, None) => {
                let text = "Either 'InstanceId' or 'NetworkInterfaceId' must be provided";
                return Err(ApiError::bad("MissingParameter", text));
            }
        };
        let private_ip = ask.private_ip.unwrap_or(nic.primary().ip);
        if !nic.private_ips.iter().any(|private| private.ip == private_ip) {
            let text = format!("The private IP address {private_ip} is not assigned to interface '{}'", nic.id);
            return Err(ApiError::bad("InvalidParameterValue", text));
        }
        Ok(Place { instance_id: instance.id.clone(), interface_id: nic.id.clone(), private_ip })
    }

    fn eip_at(&self, place: &Place) -> Option<Eip> {
        let nic = self.instance(&place.instance_id).nics.iter().find(|nic| nic.id == place.interface_id)?;
        nic.private_ips.iter().find(|private| private.ip == place.private_ip)?.eip.clone()
    }

    fn put_on(&mut self, allocation_id: &str, place: Place, by: Option<&str>) -> String {
        let before = self.unplug(allocation_id);
        let ended = before.as_ref().map(|holder| holder.association_id.clone());
        let from = before.and_then(|holder| holder.instance_id);
        let association_id = self.new_association(allocation_id);
        let public_ip = self.address(allocation_id).public_ip;
        let eip = Eip { allocation_id: allocation_id.into(), association_id: association_id.clone(), public_ip };
        self.edit_instance(&place.instance_id, |instance| {
            for nic in instance.nics.iter_mut().filter(|nic| nic.id == place.interface_id) {
                if nic.primary().ip == place.private_ip {
                    nic.auto_public = None;
                }
                for private in nic.private_ips.iter_mut().filter(|private| private.ip == place.private_ip) {
                    private.eip = Some(eip.clone());
                }
            }
        });
        self.swap(&place.instance_id);
        let holder = Holder {
            instance_id: Some(place.instance_id.clone()),
            interface_id: place.interface_id,
            private_ip: place.private_ip,
            association_id: association_id.clone(),
        };
        self.edit_address(allocation_id, |address| address.holder = Some(holder));
        self.note(allocation_id, from.clone(), Some(place.instance_id), ended, by, false);
        if let Some(loser) = from {
            self.auto_assign(&loser);
        }
        association_id
    }

    /// Takes the address from its holder, without a word of history.
    fn unplug(&mut self, allocation_id: &str) -> Option<Holder> {
        self.address(allocation_id).holder.as_ref()?;
        let holder = self.edit_address(allocation_id, |address| address.holder.take())?;
        if let Some(id) = &holder.instance_id {
            self.edit_instance(id, |instance| {
                for private in instance.nics.iter_mut().flat_map(|nic| &mut nic.private_ips) {
                    if private.eip.as_ref().is_some_and(|eip| eip.allocation_id == allocation_id) {
                        private.eip = None;
                    }
                }
            });
            self.swap(id);
        }
        Some(holder)
    }

    fn new_association(&mut self, allocation_id: &str) -> String {
        let id = self.id("eipassoc");
        self.associations.insert(id.clone(), allocation_id.into());
        id
    }

    fn note(
        &mut self,
        allocation_id: &str,
        from: Option<String>,
        to: Option<String>,
        ended: Option<String>,
        by: Option<&str>,
        remap: bool,
    ) {
        let by = by.map(String::from);
        self.history.push(Event { at: self.now, allocation_id: allocation_id.into(), from, to, ended, by, remap });
    }
}

/// In EC2's words, when an instance is named.
fn valid_instance(instance: &Instance) -> Result<(), ApiError> {
    match instance.state {
        InstanceState::Running | InstanceState::Stopping | InstanceState::Stopped => Ok(()),
        state => {
            let text =
                format!("The {} instance '{}' is not in a valid state for this operation.", state.name(), instance.id);
            Err(ApiError::bad("InvalidInstanceID", text))
        }
    }
}

/// In EC2's other words, when an interface is named.
fn valid_interface(instance: &Instance, interface_id: &str) -> Result<(), ApiError> {
    let state = match instance.state {
        InstanceState::Running | InstanceState::Stopping | InstanceState::Stopped => return Ok(()),
        InstanceState::Pending => "pending-instance-creation",
        state => state.name(),
    };
    let text = format!(
        "The {state} instance to which '{interface_id}' is attached is not in a valid state for this operation"
    );
    Err(ApiError::bad("IncorrectInstanceState", text))
}

fn already_associated(resource: &str, association_id: &str) -> ApiError {
    let text = format!("resource {resource} is already associated with associate-id {association_id}");
    ApiError::bad("Resource.AlreadyAssociated", text)
}

pub(crate) fn no_allocation(id: &str) -> ApiError {
    ApiError::bad("InvalidAllocationID.NotFound", format!("The allocation ID '{id}' does not exist"))
}

pub(crate) fn no_instance(ids: &[&String]) -> ApiError {
    let text = match ids {
        [id] => format!("The instance ID '{id}' does not exist"),
        ids => {
            let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
            format!("The instance IDs '{}' do not exist", ids.join(", "))
        }
    };
    ApiError::bad("InvalidInstanceID.NotFound", text)
}

/// The blocks for documentation first, then that for benchmarks.
fn nth_elastic(n: u64) -> Ipv4Addr {
    let host = (n % 254) as u8 + 1;
    match n / 254 {
        0 => Ipv4Addr::new(203, 0, 113, host),
        1 => Ipv4Addr::new(198, 51, 100, host),
        2 => Ipv4Addr::new(192, 0, 2, host),
        _ => {
            assert!(n < 65_000, "no more Elastic IPs in one cloud: the next block has the automatic addresses");
            nth(Ipv4Addr::new(198, 18, 0, 0), n - 3 * 254)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn world() -> World {
        World::new(Options::default(), SystemTime::now())
    }

    fn onto(allocation_id: &str, instance_id: &str, allow: Option<bool>) -> AssociateRequest {
        AssociateRequest {
            allocation_id: allocation_id.into(),
            instance_id: Some(instance_id.into()),
            allow_reassociation: allow,
            ..AssociateRequest::default()
        }
    }

    fn onto_interface(allocation_id: &str, interface_id: &str) -> AssociateRequest {
        AssociateRequest {
            allocation_id: allocation_id.into(),
            interface_id: Some(interface_id.into()),
            ..AssociateRequest::default()
        }
    }

    fn address(world: &mut World) -> String {
        world.allocate(Default::default()).allocation_id
    }

    fn holder(world: &World, allocation_id: &str) -> Option<String> {
        world.address(allocation_id).holder.clone().and_then(|holder| holder.instance_id)
    }

    fn code<T: std::fmt::Debug>(result: Result<T, ApiError>) -> (String, String) {
        let error = result.unwrap_err();
        (error.code, error.message)
    }

    #[test]
    fn an_address_moves_by_default_and_gets_a_new_association() {
        let mut world = world();
        let (a, b) = (world.launch(Launch::default()), world.launch(Launch::default()));
        let eip = address(&mut world);
        let first = world.associate(&onto(&eip, &a, None), Some(&a)).unwrap();
        let second = world.associate(&onto(&eip, &b, None), Some(&b)).unwrap();
        assert_ne!(first.association_id, second.association_id);
        assert_eq!(holder(&world, &eip), Some(b.clone()));
        let event = world.history.last().unwrap();
        assert_eq!((&event.from, &event.to, &event.by, event.remap), (&Some(a), &Some(b.clone()), &Some(b), false));
    }

    #[test]
    fn without_reassociation_a_held_address_stays() {
        let mut world = world();
        let (a, b) = (world.launch(Launch::default()), world.launch(Launch::default()));
        let eip = address(&mut world);
        let held = world.associate(&onto(&eip, &a, Some(false)), None).unwrap();
        let (code, message) = code(world.associate(&onto(&eip, &b, Some(false)), None));
        assert_eq!(code, "Resource.AlreadyAssociated");
        let association = held.association_id;
        assert_eq!(message, format!("resource {eip} is already associated with associate-id {association}"));
        assert_eq!(holder(&world, &eip), Some(a));
        assert_eq!(world.history.len(), 1);
    }

    #[test]
    fn a_repeat_keeps_the_association_and_counts_as_a_remap() {
        for allow in [None, Some(true), Some(false)] {
            let mut world = world();
            let a = world.launch(Launch::default());
            let eip = address(&mut world);
            let first = world.associate(&onto(&eip, &a, allow), None).unwrap();
            let again = world.associate(&onto(&eip, &a, allow), None).unwrap();
            assert_eq!(again, Associated { association_id: first.association_id, remap: true });
            assert!(world.history.last().unwrap().remap);
        }
    }

    #[test]
    fn a_target_with_another_address_is_taken_or_loses_it() {
        let mut world = world();
        let a = world.launch(Launch::default());
        let (one, two) = (address(&mut world), address(&mut world));
        let first = world.associate(&onto(&one, &a, None), None).unwrap();
        let (code, message) = code(world.associate(&onto(&two, &a, Some(false)), None));
        let interface = world.instance(&a).nics[0].id.clone();
        assert_eq!(code, "Resource.AlreadyAssociated");
        let association = first.association_id;
        assert_eq!(message, format!("resource {interface} is already associated with associate-id {association}"));
        world.associate(&onto(&two, &a, Some(true)), None).unwrap();
        assert_eq!((holder(&world, &one), holder(&world, &two)), (None, Some(a)));
    }

    #[test]
    fn several_interfaces_need_one_to_be_named() {
        let mut world = world();
        let two = vec![Interface::default(), Interface::default()];
        let a = world.launch(Launch { interfaces: two, ..Launch::default() });
        let eip = address(&mut world);
        let (code, message) = code(world.associate(&onto(&eip, &a, None), None));
        assert_eq!(code, "InvalidInstanceID");
        assert!(message.starts_with("There are multiple interfaces attached to instance"), "{message}");
        let second = world.instance(&a).nics[1].id.clone();
        world.associate(&onto_interface(&eip, &second), None).unwrap();
        assert_eq!(world.address(&eip).holder.as_ref().unwrap().interface_id, second);
    }

    #[test]
    fn the_state_of_the_target_matters_in_the_words_of_its_mode() {
        use InstanceState::*;
        let pending_instance = "The pending instance '@' is not in a valid state for this operation.";
        let terminated_instance = "The terminated instance '@' is not in a valid state for this operation.";
        let is_attached = "is attached is not in a valid state for this operation";
        let by_instance = [
            (Pending, Some(("InvalidInstanceID", pending_instance.to_string()))),
            (Terminated, Some(("InvalidInstanceID", terminated_instance.to_string()))),
            (Stopped, None),
            (Running, None),
        ];
        let by_interface = [
            (
                Pending,
                Some((
                    "IncorrectInstanceState",
                    format!("The pending-instance-creation instance to which '@' {is_attached}"),
                )),
            ),
            (
                ShuttingDown,
                Some(("IncorrectInstanceState", format!("The shutting-down instance to which '@' {is_attached}"))),
            ),
            (
                Terminated,
                Some(("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '@' does not exist".into())),
            ),
            (Stopped, None),
        ];
        for (named_interface, cases) in [(false, by_instance), (true, by_interface)] {
            for (state, expected) in cases {
                let mut world = world();
                let a = world.launch(Launch { state, ..Launch::default() });
                let eip = address(&mut world);
                let nic = world.instance(&a).nics[0].id.clone();
                let (id, ask) = match named_interface {
                    true => (nic.clone(), onto_interface(&eip, &nic)),
                    false => (a.clone(), onto(&eip, &a, None)),
                };
                let got = world.associate(&ask, None).err().map(|error| (error.code, error.message));
                let expected = expected.map(|(code, text)| (code.to_string(), text.replace('@', &id)));
                assert_eq!(got, expected, "{state:?}");
            }
        }
    }

    #[test]
    fn addresses_that_are_not_ours_to_move_are_refused() {
        let mut world = world();
        let a = world.launch(Launch::default());
        let (nat, managed, foreign, elsewhere) =
            (address(&mut world), address(&mut world), address(&mut world), address(&mut world));
        world.associate_bare_interface(&nat);
        world.edit_address(&managed, |address| address.record.service_managed = Some("alb".into()));
        world.edit_address(&foreign, |address| address.record.owner = "210987654321".into());
        world.edit_address(&elsewhere, |address| address.record.network_border_group = "lax-1".into());
        for eip in [nat, managed, foreign] {
            let refused = code(world.associate(&onto(&eip, &a, None), None));
            assert_eq!(refused, ("AuthFailure".into(), NO_PERMISSION.into()));
        }
        let (_, message) = code(world.associate(&onto(&elsewhere, &a, None), None));
        assert!(message.contains("network border group"), "{message}");
        let unknown = code(world.associate(&onto("eipalloc-00000000000000000", &a, None), None));
        assert_eq!(unknown.0, "InvalidAllocationID.NotFound");
        assert!(world.history.iter().all(|event| event.to.is_none()));
    }

    #[test]
    fn the_automatic_address_leaves_and_another_returns() {
        let mut world = world();
        let a = world.launch(Launch::default());
        let automatic = world.instance(&a).nics[0].auto_public.unwrap();
        let eip = address(&mut world);
        let done = world.associate(&onto(&eip, &a, None), None).unwrap();
        assert_eq!(world.instance(&a).nics[0].auto_public, None);
        world.disassociate(&done.association_id, None).unwrap();
        let fresh = world.instance(&a).nics[0].auto_public.unwrap();
        assert_ne!(fresh, automatic);
    }

    #[test]
    fn disassociation_is_idempotent_only_for_what_was_once_issued() {
        let mut world = world();
        let a = world.launch(Launch::default());
        let eip = address(&mut world);
        let done = world.associate(&onto(&eip, &a, None), None).unwrap();
        world.disassociate(&done.association_id, None).unwrap();
        world.disassociate(&done.association_id, None).unwrap();
        let unknown = code(world.disassociate("eipassoc-00000000000000000", None));
        assert_eq!(unknown.0, "InvalidAssociationID.NotFound");
        world.options.stale_association_not_found = true;
        assert_eq!(code(world.disassociate(&done.association_id, None)).0, "InvalidAssociationID.NotFound");
    }

    #[test]
    fn a_stale_association_does_not_take_the_address_from_its_next_holder() {
        let mut world = world();
        let (a, b) = (world.launch(Launch::default()), world.launch(Launch::default()));
        let eip = address(&mut world);
        let first = world.associate(&onto(&eip, &a, None), None).unwrap();
        world.associate(&onto(&eip, &b, None), None).unwrap();
        world.disassociate(&first.association_id, None).unwrap();
        assert_eq!(holder(&world, &eip), Some(b));
    }

    #[test]
    fn stopping_keeps_the_address_and_termination_frees_it() {
        let mut world = world();
        let a = world.launch(Launch::default());
        let eip = address(&mut world);
        world.associate(&onto(&eip, &a, None), None).unwrap();
        world.set_state(&a, InstanceState::Stopped);
        assert_eq!(holder(&world, &eip), Some(a.clone()));
        world.set_state(&a, InstanceState::Terminated);
        assert_eq!(holder(&world, &eip), None);
        assert!(world.instance(&a).nics[0].primary().eip.is_none());
    }

    #[test]
    fn readers_see_the_world_as_it_was() {
        let mut world = world();
        let a = world.launch(Launch::default());
        let eip = address(&mut world);
        world.settle();
        world.options.read_lag = Duration::from_secs(5);
        world.now = Duration::from_secs(10);
        world.associate(&onto(&eip, &a, None), None).unwrap();
        let seen = |world: &World| world.visible_addresses().next().unwrap().holder.is_some();
        world.now = Duration::from_millis(14_999);
        assert!(!seen(&world));
        world.now = Duration::from_secs(15);
        assert!(seen(&world));
    }

    #[test]
    fn only_connections_opened_before_a_swap_die() {
        let mut world = world();
        world.options.connections_die_on_swap = true;
        let (a, b, c) =
            (world.launch(Launch::default()), world.launch(Launch::default()), world.launch(Launch::default()));
        let eip = address(&mut world);
        world.hand_over(&eip, &a);
        let before = world.open_connection();
        world.associate(&onto(&eip, &b, None), None).unwrap();
        let after = world.open_connection();
        let dead = |id: &str, connection| world.is_dead(Some(id), connection);
        assert!(dead(&a, before) && dead(&b, before));
        assert!(!dead(&c, before) && !dead(&a, after) && !dead(&b, after));
    }

    #[test]
    fn ten_thousand_addresses_are_all_different() {
        let mut world = world();
        let ips: std::collections::HashSet<_> =
            (0..10_000).map(|_| world.allocate(Default::default()).public_ip).collect();
        assert_eq!(ips.len(), 10_000);
    }
}
