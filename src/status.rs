//! The status: which addresses match, who holds them, and what `claim` would do now. It changes nothing.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::Options;
use crate::cloud::Filter;
use crate::credentials::{InstanceProfile, with_fresh};
use crate::endpoints;
use crate::error::{Class, Error, Exit};
use crate::gate::Gate;
use crate::here::Here;
use crate::imds::Imds;
use crate::plan::{Plan, plan};
use crate::reasons::described;
use crate::report::{error_json, rfc3339};
use crate::retry::{Backoff, Deadline, Retry};
use crate::selector::filters;
use crate::shown::Tags;
use crate::table;
use crate::world::{Address, Instance, State};

/// A person is waiting for the answer; what has not gone away within this time is what there is to see.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What was seen.
#[derive(Debug, Default)]
pub struct Status {
    heading: String,
    rows: Vec<Row>,
    plan: Option<Plan>,
    error: Option<Error>,
}

/// One address.
#[derive(Debug)]
struct Row {
    address: Address,
    tags: Tags,
    /// The instance that holds it, and its zone, as far as EC2 tells.
    holder: Option<(Instance, String)>,
    mine: bool,
}

/// Looks, once; only what may go away at any moment is tried again.
pub async fn status(options: &Options) -> Status {
    let mut status = Status::default();
    if let Err(error) = look(options, &mut status).await {
        status.error = Some(error);
    }
    status
}

/// Attempts until the error, if there is one, is another than a lost answer or a server's failure.
pub(crate) async fn despite_the_transient<T>(
    deadline: Deadline,
    mut attempt: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let mut retry = Retry::new(deadline, Backoff::default());
    let ended = retry.run(async || match with_fresh(&mut attempt).await {
        Err(error) if error.class == Class::Transient => Err(error),
        ended => Ok(ended),
    });
    ended.await?
}

async fn look(options: &Options, status: &mut Status) -> Result<(), Error> {
    endpoints::check()?;
    let deadline = Deadline::after(options.timeout.min(PATIENCE));
    let imds = Imds::from_env(deadline)?;
    let profile = InstanceProfile::new(&imds);
    let who = async || tokio::try_join!(Here::find(&imds, &profile, options), Gate::read(&imds, options));
    let ((here, cloud), gate) = despite_the_transient(deadline, who).await?;
    let (own, tags) = (&here.identity.instance, &here.own_tags);
    let filters = despite_the_transient(deadline, async || filters(options, tags, &imds, &cloud, own).await).await?;
    status.heading = heading(&here, &filters);
    let found = despite_the_transient(deadline, async || cloud.addresses_and_tags(&filters).await).await?;
    let ids: Vec<_> = found.iter().filter_map(|(address, _)| address.holder()).cloned().collect();
    let shown = despite_the_transient(deadline, async || cloud.instances_and_zones(&ids).await).await;
    // What cannot be shown is left out; whether it matters for the claim, the plan says.
    let shown = shown.unwrap_or_default();
    let holder = |address: &Address| shown.iter().find(|(i, _)| Some(&i.id) == address.holder()).cloned();
    let matched = |tags: Tags| tags.into_iter().filter(|(key, _)| selects(&filters, key)).collect();
    let me = here.me();
    let rows = found.into_iter().map(|(address, tags)| Row {
        holder: holder(&address),
        mine: me.holds(&address),
        tags: matched(tags),
        address,
    });
    status.rows = rows.collect();
    let addresses: Vec<_> = status.rows.iter().map(|row| row.address.clone()).collect();
    let plan = async || plan(options, &here, gate.clone(), &cloud, &filters, &addresses).await;
    status.plan = Some(despite_the_transient(deadline, plan).await?);
    Ok(())
}

fn heading(here: &Here, filters: &[Filter]) -> String {
    let Here { identity, interface, private_ip, .. } = here;
    let (described, region) = (described(filters), &identity.region);
    format!("addresses {described} in {region}, for {private_ip} on {} of {}", interface.id, identity.instance)
}

/// Whether one of the filters asks for the tag `key`.
fn selects(filters: &[Filter], key: &str) -> bool {
    let names = |filter: &Filter| match filter.name.strip_prefix("tag:") {
        Some(name) => name == key,
        None => filter.name == "tag-key" && filter.values.iter().any(|value| value == key),
    };
    filters.iter().any(names)
}

impl Status {
    /// The exit code: whether it could be seen, not whether all is well.
    pub fn exit(&self) -> Exit {
        self.error.as_ref().map_or(Exit::Success, |error| error.class.exit())
    }

    /// Why it could not be seen, or not all of it.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// A table for a person, and the plan.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        if !self.rows.is_empty() {
            let names = ["ADDRESS", "TAGS", "HOLDER", "STATE", "ZONE", "LAUNCHED", "MINE"].map(str::to_owned);
            lines.push(self.heading.clone());
            lines.extend(table::lines(&[vec![names], self.rows.iter().map(Row::cells).collect()].concat()));
        }
        if let Some(plan) = &self.plan {
            lines.push(format!("claim would {}", plan.sentence));
            lines.extend(plan.advice.as_ref().map(|advice| format!("what to do: {advice}")));
        }
        if let Some(error) = &self.error {
            lines.push(format!("what claim would do cannot be told: {}", error.in_full()));
            lines.push(format!("what to do: {}", error.remedy()));
        }
        lines.join("\n")
    }

    /// One JSON object.
    pub fn json(&self) -> Value {
        let plan = |plan: &Plan| json!({"decision": plan.decision, "sentence": plan.sentence, "advice": plan.advice});
        json!({
            "outcome": if self.error.is_none() { "ok" } else { "failed" },
            "addresses": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "plan": self.plan.as_ref().map(plan),
            "error": self.error.as_ref().map(error_json),
        })
    }
}

impl Row {
    fn cells(&self) -> [String; 7] {
        let tags: Vec<_> = self.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let association = self.address.association.as_ref();
        let interface = || Some(association?.interface.as_ref()?.to_string());
        let id = self.address.holder().map(ToString::to_string).or_else(interface);
        let (state, zone, launched) = match (&self.holder, association) {
            (Some((i, zone)), _) => (i.state.as_str().to_owned(), zone.clone(), rfc3339(i.launched)),
            (None, Some(_)) if self.address.left_alone().is_some() => ("no instance".to_owned(), dash(), dash()),
            (None, Some(_)) => ("unknown".to_owned(), dash(), dash()),
            (None, None) => ("free".to_owned(), dash(), dash()),
        };
        let mine = if self.mine { "yes" } else { "no" };
        let tags = if tags.is_empty() { dash() } else { tags.join(" ") };
        [self.address.public_ip.to_string(), tags, id.unwrap_or_else(dash), state, zone, launched, mine.to_owned()]
    }

    fn json(&self) -> Value {
        let association = self.address.association.as_ref();
        let state = |(instance, _): &(Instance, String)| State::as_str(instance.state);
        json!({
            "public_ip": self.address.public_ip.to_string(),
            "allocation_id": self.address.allocation.as_str(),
            "tags": self.tags,
            "association_id": association.map(|a| a.id.as_str()),
            "network_interface_id": association.and_then(|a| a.interface.as_ref()).map(|id| id.as_str()),
            "private_ip": association.and_then(|a| a.private_ip).as_ref().map(Ipv4Addr::to_string),
            "holder": self.address.holder().map(|id| json!({
                "instance_id": id.as_str(),
                "state": self.holder.as_ref().map(state),
                "launch_time": self.holder.as_ref().map(|(instance, _)| rfc3339(instance.launched)),
                "availability_zone": self.holder.as_ref().map(|(_, zone)| zone),
            })),
            "mine": self.mine,
            "left_alone": self.address.left_alone(),
        })
    }
}

fn dash() -> String {
    "-".to_owned()
}
