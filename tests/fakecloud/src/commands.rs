//! The commands of the binary: JSON in, the library's calls, JSON out.

use fakecloud::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// A cloud, and the names that its things were given.
pub(crate) struct Session {
    cloud: Cloud,
    names: BTreeMap<String, String>,
}

type Answer = Result<Value, String>;

impl Session {
    /// Builds the world of a file; the answer is the line that is printed first.
    pub(crate) fn start(world: &Value) -> Result<(Session, Value), String> {
        let cloud = Cloud::start(options(&world["options"])?);
        let mut session = Session { cloud, names: BTreeMap::new() };
        let parts = [
            ("addresses", "allocate"),
            ("instances", "launch"),
            ("groups", "create_group"),
            ("policies", "put_role_policy"),
            ("denials", "deny"),
            ("faults", "fault"),
        ];
        for (part, command) in parts {
            for item in world[part].as_array().into_iter().flatten() {
                session.carry_out(command, item).map_err(|error| format!("{part}: {error}"))?;
            }
        }
        let hello = session.hello();
        Ok((session, hello))
    }

    /// Obeys one command; null is the end.
    pub(crate) fn obey(&mut self, command: &Value) -> Answer {
        let name = text(command, "do")?;
        self.carry_out(name, command)
    }

    fn hello(&self) -> Value {
        let services = [Service::Ec2, Service::Sts, Service::AutoScaling];
        let endpoints = services.map(|service| (service.name().to_string(), json!(self.cloud.url(service))));
        let instances = self.cloud.instances().into_iter().map(|id| {
            let env = object(self.cloud.env(&id));
            (id, env)
        });
        json!({
            "endpoints": Map::from_iter(endpoints),
            "env": object(self.cloud.cli_env()),
            "names": self.names,
            "instances": Map::from_iter(instances),
        })
    }

    fn carry_out(&mut self, command: &str, args: &Value) -> Answer {
        let cloud = &self.cloud;
        let instance = || self.instance(text(args, "instance")?);
        let address = || self.address(text(args, "address")?);
        match command {
            "launch" => return self.launch(args),
            "allocate" => return self.allocate(args),
            "create_group" => {
                let group = Group {
                    name: text(args, "name")?.into(),
                    size: args["size"].as_u64().unwrap_or(1) as usize,
                    zones: strings(&args["zones"]),
                    tags: string_map(&args["tags"]),
                    launch: launch(&args["launch"])?,
                    hook: args["hook"].as_str().map(String::from),
                    grace: args["grace_s"].as_u64().map_or(Group::default().grace, Duration::from_secs),
                };
                if group.zones.is_empty() {
                    return Err("a group needs zones".into());
                }
                let bound = |name: &str| args[name].as_u64().map_or(group.size, |bound| bound as usize);
                if !(bound("min")..=bound("max")).contains(&group.size) {
                    return Err(format!("the size of group {} is not within its bounds", group.name));
                }
                return Ok(json!({ "instances": cloud.create_group(group) }));
            }
            "group_instances" => {
                return Ok(json!({ "instances": cloud.group_instances(text(args, "group")?) }));
            }
            "env" => return Ok(json!({ "env": object(cloud.env(&instance()?)) })),
            "holder" => return Ok(json!({ "holder": cloud.holder(&address()?).map(holder) })),
            "history" => {
                return Ok(json!({ "history": cloud.history().into_iter().map(event).collect::<Value>() }));
            }
            "log" => {
                return Ok(json!({ "requests": cloud.log().into_iter().map(request).collect::<Value>() }));
            }
            "requests" => {
                let requests = cloud.requests(text(args, "action")?);
                return Ok(json!({ "requests": requests.into_iter().map(request).collect::<Value>() }));
            }
            "traffic" => {
                let (apis, metadata) = cloud.traffic();
                return Ok(json!({ "apis": traffic(apis), "metadata": traffic(metadata) }));
            }
            "quit" => return Ok(Value::Null),

            "terminate" => cloud.terminate(&instance()?),
            "stop" => cloud.stop(&instance()?),
            "start_again" => cloud.start_again(&instance()?),
            "rotate_credentials" => cloud.rotate_credentials(&instance()?),
            "set_state" => cloud.set_state(&instance()?, state(text(args, "state")?)?),
            "set_impaired" => cloud.set_impaired(&instance()?, flag(args, "impaired")?),
            "set_lifecycle" => cloud.set_lifecycle(&instance()?, args["lifecycle"].as_str()),
            "set_role" => cloud.set_role(&instance()?, args["role"].as_str()),
            "set_imds_enabled" => cloud.set_imds_enabled(&instance()?, flag(args, "enabled")?),
            "associate" => cloud.associate(&address()?, &instance()?),
            "disassociate" => cloud.disassociate(&address()?),
            "associate_bare_interface" => cloud.associate_bare_interface(&address()?),
            "edit_address" => cloud.edit_address(&address()?, |record| {
                record.tags.extend(string_map(&args["tags"]));
                if let Some(service) = args.get("service_managed") {
                    record.service_managed = service.as_str().map(String::from);
                }
                if let Some(group) = args["network_border_group"].as_str() {
                    record.network_border_group = group.into();
                }
                if let Some(owner) = args["owner"].as_str() {
                    record.owner = owner.into();
                }
            }),
            "fail_zone" => cloud.fail_zone(text(args, "zone")?),
            "restore_zone" => cloud.restore_zone(text(args, "zone")?),
            "deny" | "allow" => {
                let who = args["instance"].as_str().map(|name| self.instance(name)).transpose()?;
                let action = text(args, "action")?;
                match command {
                    "deny" => cloud.deny(who.as_deref(), action),
                    _ => cloud.allow(who.as_deref(), action),
                }
            }
            "put_role_policy" => {
                let policy = args["policy"].to_string();
                cloud.put_role_policy(text(args, "role")?, text(args, "name")?, &policy)?;
            }
            "fault" => {
                let only = args["only"].as_str().map(|name| self.instance(name)).transpose()?;
                let set = cloud.fault(text(args, "api")?, calls(&args["calls"])?, fault(&args["fault"])?);
                if let Some(instance) = only {
                    set.only(&instance);
                }
            }
            "clear_faults" => cloud.clear_faults(),
            "clear_log" => cloud.clear_log(),
            "settle" => cloud.settle(),
            "outage" => cloud.outage(service(text(args, "service")?)?, flag(args, "on")?),
            "set_options" => {
                if let Some(lag) = args["read_lag_ms"].as_u64() {
                    cloud.set_read_lag(Duration::from_millis(lag));
                }
                if let Some(latency) = args["latency_ms"].as_u64() {
                    cloud.set_latency(Duration::from_millis(latency));
                }
                if let Some(latency) = args["imds_latency_ms"].as_u64() {
                    cloud.set_imds_latency(Duration::from_millis(latency));
                }
                if let Some(seconds) = args["clock_offset"].as_i64() {
                    cloud.set_clock_offset(seconds);
                }
                if let Some(throttle) = args["throttle"].as_bool() {
                    cloud.set_buckets(throttle.then(Buckets::published));
                }
                if let Some(die) = args["connections_die_on_swap"].as_bool() {
                    cloud.set_connections_die_on_swap(die);
                }
            }
            other => return Err(format!("there is no command {other}")),
        }
        Ok(json!({ "ok": true }))
    }

    fn launch(&mut self, args: &Value) -> Answer {
        let holds = args["holds"].as_str().map(|name| self.address(name)).transpose()?;
        let id = self.cloud.launch(launch(args)?);
        if let Some(address) = holds {
            self.cloud.associate(&address, &id);
        }
        self.name(args, &id);
        Ok(json!({ "instance": id, "env": object(self.cloud.env(&id)) }))
    }

    fn allocate(&mut self, args: &Value) -> Answer {
        let tags = string_map(&args["tags"]);
        let pairs: Vec<(&str, &str)> = tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let Allocation { allocation_id, public_ip } = self.cloud.allocate(&pairs);
        self.name(args, &allocation_id);
        Ok(json!({ "address": allocation_id, "public_ip": public_ip.to_string() }))
    }

    fn name(&mut self, args: &Value, id: &str) {
        if let Some(name) = args["name"].as_str() {
            self.names.insert(name.into(), id.into());
        }
    }

    fn instance(&self, name: &str) -> Result<String, String> {
        let id = self.names.get(name).map_or(name, String::as_str);
        let found = self.cloud.instances().into_iter().find(|known| known == id);
        found.ok_or_else(|| format!("there is no instance {name}"))
    }

    fn address(&self, name: &str) -> Result<String, String> {
        let id = self.names.get(name).map_or(name, String::as_str);
        let mut ids = self.cloud.addresses().into_iter().map(|address| address.allocation_id);
        ids.find(|known| known == id).ok_or_else(|| format!("there is no address {name}"))
    }
}

// From JSON.

fn text<'a>(args: &'a Value, name: &str) -> Result<&'a str, String> {
    args[name].as_str().ok_or_else(|| format!("{name} is missing, or not a string"))
}

fn flag(args: &Value, name: &str) -> Result<bool, String> {
    args[name].as_bool().ok_or_else(|| format!("{name} is missing, or neither true nor false"))
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(String::from)).collect()
}

fn string_map(map: &Value) -> BTreeMap<String, String> {
    let pairs = map.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string()))).collect()
}

fn options(args: &Value) -> Result<Options, String> {
    let default = Options::default();
    let millis = |name: &str| Duration::from_millis(args[name].as_u64().unwrap_or_default());
    let is = |name: &str, default: bool| args[name].as_bool().unwrap_or(default);
    Ok(Options {
        region: args["region"].as_str().map_or(default.region, String::from),
        account: args["account"].as_str().map_or(default.account, String::from),
        read_lag: millis("read_lag_ms"),
        imds_lag: millis("imds_lag_ms"),
        clock_offset: args["clock_offset"].as_i64().unwrap_or_default(),
        buckets: is("throttle", false).then(Buckets::published),
        auto_assign_public_ip: is("auto_assign_public_ip", true),
        new_instance_hidden_for: millis("new_instance_hidden_for_ms"),
        connections_die_on_swap: is("connections_die_on_swap", false),
        stale_association_not_found: is("stale_association_not_found", false),
        associate_needs_both_targets: is("associate_needs_both_targets", false),
        latency: millis("latency_ms"),
        imds_latency: millis("imds_latency_ms"),
        tls: match &args["tls"] {
            Value::Null => None,
            tls => Some(Tls::read(Path::new(text(tls, "certificate")?), Path::new(text(tls, "key")?))?),
        },
        ec2_at: socket(&args["ec2_at"])?,
    })
}

fn socket(at: &Value) -> Result<Option<SocketAddr>, String> {
    at.as_str().map(|at| at.parse().map_err(|_| format!("{at} is no address with a port"))).transpose()
}

fn launch(args: &Value) -> Result<Launch, String> {
    let mut launch = Launch::default();
    launch.imds.at = socket(&args["imds_at"])?;
    if let Some(zone) = args["zone"].as_str() {
        launch.zone = zone.into();
    }
    launch.tags = string_map(&args["tags"]);
    launch.tags_in_metadata = args["tags_in_metadata"].as_bool().unwrap_or(true);
    if let Some(role) = args.get("role") {
        launch.role = role.as_str().map(String::from);
    }
    launch.launched = args["launched_ago_s"].as_u64().map(Duration::from_secs);
    if let Some(name) = args["state"].as_str() {
        launch.state = state(name)?;
    }
    if let Some(interfaces) = args["interfaces"].as_array() {
        let ips = |list: &Value| -> Result<Vec<Ipv4Addr>, String> {
            strings(list).iter().map(|ip| ip.parse().map_err(|_| format!("{ip} is no address"))).collect()
        };
        let parsed: Result<Vec<Interface>, String> =
            interfaces.iter().map(|list| Ok(Interface { private_ips: ips(list)? })).collect();
        launch.interfaces = parsed?;
    }
    launch.interface_tags = string_map(&args["interface_tags"]);
    launch.lifecycle = args["lifecycle"].as_str().map(String::from);
    Ok(launch)
}

fn state(name: &str) -> Result<InstanceState, String> {
    InstanceState::parse(name).ok_or_else(|| format!("there is no state {name}"))
}

fn service(name: &str) -> Result<Service, String> {
    let all = [Service::Ec2, Service::Sts, Service::AutoScaling, Service::Imds];
    let found = all.into_iter().find(|service| service.name() == name);
    found.ok_or_else(|| format!("there is no service {name}"))
}

fn calls(args: &Value) -> Result<Calls, String> {
    let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    let calls = match args {
        Value::Null => Some(Calls::All),
        Value::String(all) if all == "all" => Some(Calls::All),
        _ => number(&args["nth"])
            .map(Calls::Nth)
            .or_else(|| number(&args["first"]).map(Calls::First))
            .or_else(|| number(&args["from"]).map(Calls::From))
            .or_else(|| Some(Calls::Range(number(&args["range"][0])?..=number(&args["range"][1])?))),
    };
    calls.ok_or_else(|| format!("these are no calls: {args}"))
}

fn fault(args: &Value) -> Result<Fault, String> {
    let millis = |name: &str| args[name].as_u64().map(Duration::from_millis);
    let parts = |name: &str| -> Option<(u16, String, String)> {
        let error = args.get(name)?;
        let word = |name: &str| error[name].as_str().unwrap_or_default().to_string();
        Some((u16::try_from(error["status"].as_u64()?).ok()?, word("code"), word("message")))
    };
    let word = |name: &str| args[name].as_str().unwrap_or_default().to_string();
    let fault = match args.as_str() {
        Some("hang") => Some(Fault::Hang),
        Some("reset") => Some(Fault::Reset),
        Some("close") => Some(Fault::Close),
        Some("truncate") => Some(Fault::Truncate),
        Some("commit_then_hang") => Some(Fault::CommitThenHang),
        Some("commit_then_reset") => Some(Fault::CommitThenReset),
        Some(_) => None,
        None => {
            let status = args["status"].as_u64().and_then(|code| u16::try_from(code).ok());
            let error = |(status, code, message)| Fault::Error { status, code, message };
            let commit = |(status, code, message)| Fault::CommitThenError { status, code, message };
            let garbage = args["garbage"]
                .as_str()
                .map(|body| Fault::Garbage { content_type: word("content_type"), body: body.as_bytes().to_vec() });
            millis("delay_ms")
                .map(Fault::Delay)
                .or_else(|| millis("commit_then_delay_ms").map(Fault::CommitThenDelay))
                .or_else(|| status.map(|code| Fault::Status { code, body: word("body") }))
                .or_else(|| parts("error").map(error))
                .or_else(|| parts("commit_then_error").map(commit))
                .or(garbage)
        }
    };
    fault.ok_or_else(|| format!("this is no fault: {args}"))
}

// To JSON.

fn object(pairs: Vec<(String, String)>) -> Value {
    pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
}

fn millis(at: Duration) -> u64 {
    at.as_millis() as u64
}

fn holder(holder: Holder) -> Value {
    json!({
        "instance": holder.instance_id,
        "interface": holder.interface_id,
        "private_ip": holder.private_ip.to_string(),
        "association": holder.association_id,
    })
}

fn event(event: Event) -> Value {
    let at_ms = millis(event.at);
    json!({
        "at_ms": at_ms,
        "address": event.allocation_id,
        "from": event.from,
        "to": event.to,
        "by": event.by,
        "remap": event.remap,
    })
}

fn traffic(traffic: Traffic) -> Value {
    json!({ "connections": traffic.connections, "received": traffic.received, "sent": traffic.sent })
}

fn request(request: Request) -> Value {
    let at_ms = millis(request.at);
    json!({
        "at_ms": at_ms,
        "service": request.service.name(),
        "instance": request.instance_id,
        "action": request.action,
        "params": request.params,
        "headers": request.headers,
        "connection": request.connection,
        "status": request.status,
        "error_code": request.error_code,
        "committed": request.committed,
        "remap": request.remap,
        "dry_run": request.dry_run,
    })
}
