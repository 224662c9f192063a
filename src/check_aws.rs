//! The part of the check that asks AWS: is there a way, which addresses match, and what may this instance do.

use std::time::Duration;

use crate::afterwards;
use crate::checklist::{Checklist, Finding};
use crate::cli::Options;
use crate::cloud::{Cloud, Filter};
use crate::decide::{Me, Takeover, candidates};
use crate::error::{Class, Error};
use crate::explain::explain;
use crate::gate::GROUP_TAG;
use crate::here::Here;
use crate::iam;
use crate::imds::Imds;
use crate::reachable::{Reached, reach, way_out};
use crate::reasons::{self, described};
use crate::retry::Deadline;
use crate::selector::{filters, only_allocation};
use crate::status::despite_the_transient;
use crate::world::Address;

/// AWS accepts no signature that is further off.
const MOST_SKEW: Duration = Duration::from_secs(5 * 60);
/// How long one item is tried again for what may go away at any moment.
const ITEM_PATIENCE: Duration = Duration::from_secs(3);

/// What it takes to ask AWS.
pub(crate) struct Aws<'a> {
    pub(crate) options: &'a Options,
    pub(crate) deadline: Deadline,
    pub(crate) imds: &'a Imds,
    pub(crate) cloud: Cloud,
    pub(crate) here: Here,
}

impl Aws<'_> {
    pub(crate) async fn run(&self, list: &mut Checklist) {
        let is_reached = self.endpoint(list).await;
        let filters = self.tags(list).await;
        if is_reached {
            let addresses = match filters {
                Some(filters) => self.addresses(&filters, list).await,
                None => Vec::new(),
            };
            self.permissions(&addresses, list).await;
        }
        self.sts(list).await;
        list.add("auto-scaling", self.auto_scaling().await);
    }

    async fn endpoint(&self, list: &mut Checklist) -> bool {
        let reached = match self.cloud.endpoint().await {
            Ok(url) => despite_the_transient(self.patience(), async || reach(&url).await).await,
            Err(error) => Err(error),
        };
        match reached {
            Ok(reached) => {
                list.add("endpoint", Finding::Good(reached.how.clone()));
                list.add("clock", clock(&reached));
                true
            }
            Err(error) => {
                let way = way_out(self.imds, &self.here.interface).await;
                list.add("endpoint", Finding::Bad(error.advise(way)));
                false
            }
        }
    }

    /// Which addresses are meant, where this instance's own tags say so.
    async fn tags(&self, list: &mut Checklist) -> Option<Vec<Filter>> {
        let (imds, cloud, own) = (self.imds, &self.cloud, &self.here.identity.instance);
        let known = &self.here.own_tags;
        match despite_the_transient(self.patience(), async || filters(self.options, known, imds, cloud, own).await)
            .await
        {
            Ok(filters) => {
                let shown = if imds.shows_tags().await.unwrap_or_default() { "on" } else { "off, or there are none" };
                let meant = described(&filters);
                list.add(
                    "tags",
                    Finding::Good(format!("instance tags in the metadata are {shown}; addresses {meant}")),
                );
                Some(filters)
            }
            Err(error) => {
                let remedy = error.remedy();
                let error = match error.class {
                    Class::Denied => error.advise(format!("{remedy}: {}", iam::statement("ec2:DescribeTags", &[]))),
                    _ => error,
                };
                list.add("tags", Finding::Bad(error));
                None
            }
        }
    }

    /// Which addresses match, and whether that says which one is meant.
    async fn addresses(&self, filters: &[Filter], list: &mut Checklist) -> Vec<Address> {
        let (found, finding) =
            match despite_the_transient(self.patience(), async || self.cloud.addresses(filters).await).await {
                Ok(found) => {
                    let me = self.here.me();
                    let words: Vec<_> = candidates(&me, &found).into_iter().map(|a| in_words(&me, a)).collect();
                    let finding = match words.as_slice() {
                        [] => Finding::Bad(reasons::no_match(&me, &found, filters, &self.here.identity.region)),
                        [only] => Finding::Good(format!("the only match is {only}")),
                        several => Finding::Good(format!("a pool of {}: {}", several.len(), several.join("; "))),
                    };
                    (found, finding)
                }
                Err(error) => {
                    let error = self.explained(iam::lacking(error, "ec2:DescribeAddresses", &[])).await;
                    let is_needed = only_allocation(self.options).is_none() || error.class != Class::Denied;
                    (Vec::new(), if is_needed { Finding::Bad(error) } else { Finding::Lacking(error) })
                }
            };
        list.add("addresses", finding);
        found
    }

    async fn permissions(&self, addresses: &[Address], list: &mut Checklist) {
        let (me, cloud, region) = (self.here.me(), &self.cloud, &self.here.identity.region);
        let candidates = candidates(&me, addresses);
        let held = candidates.iter().find(|address| address.holder().is_some()).copied();
        if self.options.takeover == Takeover::Successor {
            let may = despite_the_transient(self.patience(), async || cloud.may_describe_instances().await).await;
            list.add("DescribeInstances", self.permission(may, "ec2:DescribeInstances", &[]).await);
            if candidates.len() > 1 {
                let may = despite_the_transient(self.patience(), async || cloud.may_describe_status().await).await;
                list.add("DescribeInstanceStatus", self.permission(may, "ec2:DescribeInstanceStatus", &[]).await);
            }
            let association = held.and_then(|address| address.association.as_ref()).map(|a| &a.id);
            let may = despite_the_transient(self.patience(), async || cloud.may_disassociate(association).await).await;
            let resources = held.map(|address| iam::of_disassociation(region, &address.allocation)).unwrap_or_default();
            let finding = match self.permission(may, "ec2:DisassociateAddress", &resources).await {
                Finding::Bad(error) if error.class == Class::Denied && held.is_none() => {
                    Finding::Bad(maybe_by_tags(error))
                }
                finding => finding,
            };
            list.add("DisassociateAddress", finding);
        }
        let any = candidates.first().map(|address| &address.allocation).or(self.options.allocation_id.first());
        if let Some(address) = any {
            let may =
                despite_the_transient(self.patience(), async || cloud.may_associate(address, &self.here.target).await)
                    .await;
            let resources = iam::of_association(region, address);
            list.add("AssociateAddress", self.permission(may, "ec2:AssociateAddress", &resources).await);
        }
        let unused = ["DescribeInstances", "DescribeInstanceStatus", "DisassociateAddress"];
        list.skip(&unused, "these options need it for none of the matching addresses");
        list.skip(&["AssociateAddress"], "there is no address to try it with");
    }

    async fn permission(&self, may: Result<(), Error>, action: &str, resources: &[String]) -> Finding {
        match may {
            Ok(()) => Finding::Good("allowed, by EC2's own trial (DryRun)".to_owned()),
            Err(error) => Finding::Bad(self.explained(iam::lacking(error, action, resources)).await),
        }
    }

    /// STS only explains: a claim can do without.
    async fn sts(&self, list: &mut Checklist) {
        match despite_the_transient(self.patience(), async || self.cloud.caller().await).await {
            Ok(arn) => list.add("sts", Finding::Good(format!("AWS knows this instance as {arn}"))),
            Err(error) => {
                list.add("sts", Finding::Lacking(error));
                return list.skip(&["DecodeAuthorizationMessage"], "there is no way to STS");
            }
        }
        let action = "sts:DecodeAuthorizationMessage";
        let finding = match despite_the_transient(self.patience(), async || self.cloud.may_decode().await).await {
            Ok(()) => Finding::Good("allowed: a denied call will be explained".to_owned()),
            Err(error) => Finding::Lacking(iam::lacking(error, action, &[])),
        };
        list.add("DecodeAuthorizationMessage", finding);
    }

    /// Auto Scaling knows no trial: what can be found out is the group.
    async fn auto_scaling(&self) -> Finding {
        let Options { lifecycle_hook, unhealthy_on_failure, auto_scaling_group, .. } = self.options;
        if lifecycle_hook.is_none() && !unhealthy_on_failure {
            return Finding::NotTried("neither --lifecycle-hook nor --unhealthy-on-failure asks for it".to_owned());
        }
        let tag = async || self.imds.tag(GROUP_TAG).await;
        let named = match auto_scaling_group {
            Some(name) => Some(name.clone()),
            None => despite_the_transient(self.patience(), tag).await.ok().flatten(),
        };
        let group = match named {
            Some(name) => Ok(Some(name)),
            None => {
                despite_the_transient(self.patience(), async || self.cloud.group_of(&self.here.identity.instance).await)
                    .await
            }
        };
        let untried = "whether the role may complete a hook or set the health cannot be tried without doing it";
        match group {
            Ok(Some(name)) => Finding::Good(format!("group {name}; {untried}")),
            Ok(None) => Finding::Bad(afterwards::no_group(&self.here.identity.instance)),
            Err(error) => Finding::Bad(iam::lacking(error, "autoscaling:DescribeAutoScalingInstances", &[])),
        }
    }

    /// Until when one item is tried again.
    fn patience(&self) -> Deadline {
        self.deadline.within(ITEM_PATIENCE)
    }

    async fn explained(&self, mut error: Error) -> Error {
        explain(&mut error, &self.cloud.until(self.patience())).await;
        error
    }
}

/// A policy by tags allows nothing on an association that does not exist, and there is no other while all are free.
fn maybe_by_tags(error: Error) -> Error {
    let again = "check again while an instance has the address, if the policy goes by its tags";
    let advice = format!("{again}; else {}", error.remedy());
    error.advise(advice)
}

fn in_words(me: &Me, address: &Address) -> String {
    let state = match address.holder() {
        _ if me.holds(address) => "held by this instance".to_owned(),
        Some(holder) => format!("held by {holder}"),
        None => "free".to_owned(),
    };
    format!("{} ({}), {state}", address.public_ip, address.allocation)
}

/// How far the clocks are apart.
fn clock(reached: &Reached) -> Finding {
    let Some((there, here)) = reached.clocks else {
        return Finding::NotTried("the endpoint does not tell the time".to_owned());
    };
    let skew = here.duration_since(there).or_else(|_| there.duration_since(here)).unwrap_or_default();
    let said = format!("{} s from that of the endpoint", skew.as_secs());
    if skew < MOST_SKEW {
        return Finding::Good(said);
    }
    let error = Error::new(Class::Denied, "ClockSkew", format!("the clock of this instance is {said}"));
    Finding::Bad(error.advise("set the clock: let chrony follow 169.254.169.123, the time service of every VPC"))
}
