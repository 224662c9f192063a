//! Auto Scaling groups: each keeps its size, at once, in the zones that are well.

use crate::types::*;
use crate::world::{ApiError, World};

pub(crate) struct GroupState {
    pub(crate) group: Group,
    pub(crate) members: Vec<Member>,
    next_zone: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    /// `Pending:Wait` until its launch hook is completed, then `InService`.
    pub(crate) lifecycle: &'static str,
    pub(crate) healthy: bool,
}

const WAITING: &str = "Pending:Wait";
const IN_SERVICE: &str = "InService";

impl World {
    pub(crate) fn create_group(&mut self, group: Group) -> Vec<String> {
        assert!(!group.zones.is_empty(), "group {} has no zones", group.name);
        let name = group.name.clone();
        self.groups.insert(name.clone(), GroupState { group, members: Vec::new(), next_zone: 0 });
        self.reconcile();
        self.group_instances(&name)
    }

    pub(crate) fn group_instances(&self, name: &str) -> Vec<String> {
        let state = self.groups.get(name).unwrap_or_else(|| panic!("there is no group {name}"));
        state.members.iter().map(|member| member.id.clone()).collect()
    }

    pub(crate) fn member(&self, id: &str) -> Option<(&Group, &Member)> {
        self.groups.values().find_map(|state| Some((&state.group, state.members.iter().find(|m| m.id == id)?)))
    }

    fn member_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.groups.values_mut().find_map(|state| state.members.iter_mut().find(|member| member.id == id))
    }

    /// Lets go of every member that is not well, and launches others in their place.
    /// One that is unhealthy begins to shut down; one that stopped, or whose zone failed, is left as it is.
    pub(crate) fn reconcile(&mut self) {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let Some(mut state) = self.groups.remove(&name) else { continue };
            let members = std::mem::take(&mut state.members);
            for member in members {
                let instance = self.instance(&member.id);
                let alive = matches!(instance.state, InstanceState::Pending | InstanceState::Running);
                if alive && member.healthy && !self.failed_zones.contains(&instance.zone) {
                    state.members.push(member);
                } else if alive && !member.healthy {
                    self.edit_instance(&member.id, |instance| {
                        instance.state = InstanceState::ShuttingDown;
                        instance.lifecycle = Some("Terminated".into());
                    });
                }
            }
            while state.members.len() < state.group.size {
                let Some(zone) = self.next_zone(&mut state) else { break };
                state.members.push(self.launch_member(&state.group, zone));
            }
            self.groups.insert(name, state);
        }
    }

    fn next_zone(&self, state: &mut GroupState) -> Option<String> {
        let zones = &state.group.zones;
        let step = (0..zones.len()).find(|step| {
            let zone = &zones[(state.next_zone + step) % zones.len()];
            !self.failed_zones.contains(zone)
        })?;
        let chosen = (state.next_zone + step) % zones.len();
        state.next_zone = chosen + 1;
        Some(zones[chosen].clone())
    }

    fn launch_member(&mut self, group: &Group, zone: String) -> Member {
        let mut launch = group.launch.clone();
        launch.zone = zone;
        launch.launched = None;
        launch.lifecycle = Some(IN_SERVICE.into());
        launch.tags.extend(group.tags.clone());
        launch.tags.insert("aws:autoscaling:groupName".into(), group.name.clone());
        let lifecycle = if group.hook.is_some() { WAITING } else { IN_SERVICE };
        Member { id: self.launch(launch), lifecycle, healthy: true }
    }

    /// `CompleteLifecycleAction`, after its permission.
    pub(crate) fn complete_lifecycle_action(
        &mut self,
        group: &str,
        hook: &str,
        instance: &str,
        result: &str,
    ) -> Result<(), ApiError> {
        let none = || {
            ApiError::bad("ValidationError", format!("No active Lifecycle Action found with instance ID {instance}"))
        };
        let (owner, member) = self.member(instance).ok_or_else(none)?;
        if owner.name != group || owner.hook.as_deref() != Some(hook) || member.lifecycle != WAITING {
            return Err(none());
        }
        let member = self.member_mut(instance).ok_or_else(none)?;
        match result {
            "CONTINUE" => member.lifecycle = IN_SERVICE,
            "ABANDON" => member.healthy = false,
            other => {
                let text = format!("Lifecycle action result must be CONTINUE or ABANDON, not {other}");
                return Err(ApiError::bad("ValidationError", text));
            }
        }
        self.reconcile();
        Ok(())
    }

    /// `SetInstanceHealth`, after its permission.
    pub(crate) fn set_instance_health(
        &mut self,
        instance: &str,
        healthy: bool,
        respect_grace: bool,
    ) -> Result<(), ApiError> {
        let clock = self.clock();
        let Some((group, _)) = self.member(instance) else {
            let text = format!("Instance Id not found - No managed instance found for instance ID: {instance}");
            return Err(ApiError::bad("ValidationError", text));
        };
        let launch_time = self.instance(instance).launch_time;
        let young = clock.duration_since(launch_time).unwrap_or_default() < group.grace;
        if healthy || !respect_grace || !young {
            if let Some(member) = self.member_mut(instance) {
                member.healthy = healthy;
            }
            self.reconcile();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn world(hook: Option<&str>) -> (World, String) {
        let mut world = World::new(Options::default(), SystemTime::now());
        let group = Group {
            name: "asg".into(),
            size: 1,
            zones: vec!["a".into(), "b".into()],
            tags: tags(&[("eip-claim", "web")]),
            hook: hook.map(String::from),
            ..Group::default()
        };
        let id = world.create_group(group).remove(0);
        (world, id)
    }

    fn only(world: &World) -> String {
        let [id] = world.group_instances("asg").try_into().unwrap();
        id
    }

    #[test]
    fn a_lost_instance_is_replaced_at_once_in_the_next_zone() {
        for state in [InstanceState::Terminated, InstanceState::ShuttingDown, InstanceState::Stopped] {
            let (mut world, first) = world(None);
            assert_eq!(world.instance(&first).tags["aws:autoscaling:groupName"], "asg");
            assert_eq!(world.instance(&first).tags["eip-claim"], "web");
            world.set_state(&first, state);
            let second = only(&world);
            assert_ne!(first, second);
            assert_eq!((world.instance(&first).zone.as_str(), world.instance(&second).zone.as_str()), ("a", "b"));
        }
    }

    #[test]
    fn a_failed_zone_is_left_and_its_instance_runs_on() {
        let (mut world, first) = world(None);
        let eip = world.allocate(Default::default()).allocation_id;
        world.hand_over(&eip, &first);
        world.fail_zone("a", true);
        let second = only(&world);
        assert_eq!(world.instance(&second).zone, "b");
        assert_eq!(world.instance(&first).state, InstanceState::Running);
        assert!(world.instance(&first).impaired);
        assert_eq!(world.address(&eip).holder.as_ref().unwrap().instance_id, Some(first));
        world.fail_zone("b", true);
        assert!(world.group_instances("asg").is_empty());
        world.fail_zone("a", false);
        assert_eq!(world.instance(&only(&world)).zone, "a");
    }

    #[test]
    fn a_hook_waits_until_it_is_completed() {
        let (mut world, id) = world(Some("claim"));
        let none = world.complete_lifecycle_action("asg", "other", &id, "CONTINUE").unwrap_err();
        assert_eq!(none.code, "ValidationError");
        assert_eq!(world.member(&id).unwrap().1.lifecycle, "Pending:Wait");
        world.complete_lifecycle_action("asg", "claim", &id, "CONTINUE").unwrap();
        assert_eq!(world.member(&id).unwrap().1.lifecycle, "InService");
        let again = world.complete_lifecycle_action("asg", "claim", &id, "CONTINUE").unwrap_err();
        assert!(again.message.starts_with("No active Lifecycle Action found"), "{}", again.message);
    }

    #[test]
    fn an_abandoned_instance_is_shut_down_and_replaced() {
        let (mut world, id) = world(Some("claim"));
        world.complete_lifecycle_action("asg", "claim", &id, "ABANDON").unwrap();
        assert_eq!(world.instance(&id).state, InstanceState::ShuttingDown);
        assert_ne!(only(&world), id);
    }

    #[test]
    fn bad_health_in_the_grace_period_counts_only_when_it_insists() {
        let (mut world, id) = world(None);
        world.set_instance_health(&id, false, true).unwrap();
        assert_eq!(only(&world), id);
        world.set_instance_health(&id, false, false).unwrap();
        assert_ne!(only(&world), id);
        let unknown = world.set_instance_health(&id, false, false).unwrap_err();
        assert_eq!(unknown.code, "ValidationError");
    }

    #[test]
    fn without_a_grace_period_bad_health_counts_at_once() {
        let mut world = World::new(Options::default(), SystemTime::now());
        let zones = vec!["a".into()];
        let group = Group { name: "asg".into(), size: 1, zones, grace: Duration::ZERO, ..Group::default() };
        let id = world.create_group(group).remove(0);
        world.set_instance_health(&id, false, true).unwrap();
        assert_ne!(only(&world), id);
    }
}
