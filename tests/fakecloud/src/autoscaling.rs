//! Auto Scaling, as far as an instance asks it: my group, my launch hook, my health.

use crate::filters::list;
use crate::groups::{GroupState, Member};
use crate::policies::Resource;
use crate::query::{Done, Query, invalid_action, respond};
use crate::types::{Service, timestamp};
use crate::world::{ApiError, World};
use crate::xml::Xml;

pub(crate) fn run(world: &mut World, query: &Query) -> Result<Done, ApiError> {
    let carry_out = match query.action {
        "DescribeAutoScalingInstances" => describe_instances,
        "DescribeAutoScalingGroups" => describe_groups,
        "CompleteLifecycleAction" => complete,
        "SetInstanceHealth" => set_health,
        _ => return Err(invalid_action(query)),
    };
    let resource = resource(world, query);
    world.authorize(query.caller, &format!("autoscaling:{}", query.action), &[resource])?;
    carry_out(world, query)
}

/// What the caller needs permission on: the group, for the two actions that change something.
fn resource(world: &World, query: &Query) -> Resource {
    let name = match query.action {
        "CompleteLifecycleAction" => query.get("AutoScalingGroupName"),
        "SetInstanceHealth" => query.get("InstanceId").and_then(|id| world.member(id)).map(|(group, _)| &*group.name),
        _ => return Resource::none(),
    };
    let name = name.unwrap_or("*");
    let tags = world.groups.get(name).map(|state| state.group.tags.clone()).unwrap_or_default();
    Resource { arn: arn(world, name), tags, instance_id: None }
}

fn arn(world: &World, group: &str) -> String {
    let (region, account) = (&world.options.region, &world.options.account);
    format!("arn:aws:autoscaling:{region}:{account}:autoScalingGroup:0:autoScalingGroupName/{group}")
}

fn describe_instances(world: &mut World, query: &Query) -> Result<Done, ApiError> {
    let ids = list(query.params, "InstanceIds.member");
    let members = world.groups.values().flat_map(|state| state.members.iter().map(move |m| (state, m)));
    let shown = members.filter(|(_, member)| ids.is_empty() || ids.contains(&member.id));
    Ok(Done::read(respond(Service::AutoScaling, query, |xml| {
        xml.list("AutoScalingInstances", "member", shown, |xml, (state, member)| {
            xml.value("AutoScalingGroupName", &state.group.name);
            one_member(xml, world, member, ["HEALTHY", "UNHEALTHY"]);
        });
    })))
}

fn describe_groups(world: &mut World, query: &Query) -> Result<Done, ApiError> {
    let names = list(query.params, "AutoScalingGroupNames.member");
    let shown = world.groups.values().filter(|state| names.is_empty() || names.contains(&state.group.name));
    Ok(Done::read(respond(Service::AutoScaling, query, |xml| {
        xml.list("AutoScalingGroups", "member", shown, |xml, state| one_group(xml, world, state));
    })))
}

fn one_group(xml: &mut Xml, world: &World, state: &GroupState) {
    let group = &state.group;
    xml.value("AutoScalingGroupName", &group.name);
    xml.value("AutoScalingGroupARN", arn(world, &group.name));
    for size in ["MinSize", "MaxSize", "DesiredCapacity"] {
        xml.value(size, group.size);
    }
    xml.value("DefaultCooldown", 300);
    xml.nest("AvailabilityZones", |xml| group.zones.iter().for_each(|zone| xml.value("member", zone)));
    xml.value("HealthCheckType", "EC2");
    xml.value("HealthCheckGracePeriod", 300);
    xml.value("CreatedTime", timestamp(world.clock()));
    xml.list("Instances", "member", &state.members, |xml, member| {
        one_member(xml, world, member, ["Healthy", "Unhealthy"]);
    });
    xml.list("Tags", "member", &group.tags, |xml, (key, value)| {
        xml.value("ResourceId", &group.name);
        xml.value("ResourceType", "auto-scaling-group");
        xml.value("Key", key);
        xml.value("Value", value);
        xml.value("PropagateAtLaunch", true);
    });
}

/// Two actions write the words of health differently.
fn one_member(xml: &mut Xml, world: &World, member: &Member, [healthy, unhealthy]: [&str; 2]) {
    xml.value("InstanceId", &member.id);
    xml.value("AvailabilityZone", &world.instance(&member.id).zone);
    xml.value("LifecycleState", member.lifecycle);
    xml.value("HealthStatus", if member.healthy { healthy } else { unhealthy });
    xml.value("ProtectedFromScaleIn", false);
}

fn complete(world: &mut World, query: &Query) -> Result<Done, ApiError> {
    let group = query.need("AutoScalingGroupName")?;
    let hook = query.need("LifecycleHookName")?;
    let result = query.need("LifecycleActionResult")?;
    world.complete_lifecycle_action(group, hook, query.need("InstanceId")?, result)?;
    Ok(written(respond(Service::AutoScaling, query, |_| {})))
}

fn set_health(world: &mut World, query: &Query) -> Result<Done, ApiError> {
    let healthy = match query.need("HealthStatus")? {
        "Healthy" => true,
        "Unhealthy" => false,
        other => {
            let text = format!("Valid instance health states are: [Healthy, Unhealthy], not {other}");
            return Err(ApiError::bad("ValidationError", text));
        }
    };
    let grace = query.flag("ShouldRespectGracePeriod")?.unwrap_or(true);
    world.set_instance_health(query.need("InstanceId")?, healthy, grace)?;
    Ok(written(respond(Service::AutoScaling, query, |_| {})))
}

fn written(xml: String) -> Done {
    Done { xml, committed: true, remap: false }
}
