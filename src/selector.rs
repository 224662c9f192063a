//! Which addresses: the selectors as filters of DescribeAddresses.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::claim::Claim;
use crate::cli::Options;
use crate::cloud::{Cloud, Filter};
use crate::decide::Takeover;
use crate::error::Error;
use crate::ids::{AllocationId, InstanceId};
use crate::imds::Imds;
use crate::reasons;

impl Claim<'_> {
    /// The selectors, read once a run.
    pub(crate) async fn filters(&mut self) -> Result<Vec<Filter>, Error> {
        if let Some(filters) = &self.filters {
            return Ok(filters.clone());
        }
        let filters = filters(self.options, &self.own_tags, self.imds, &self.cloud, &self.me.instance).await?;
        self.filters = Some(filters.clone());
        Ok(filters)
    }
}

/// The values of this instance's own tags that the selectors mean, as far as IMDS shows them; what it does not show
/// [`filters`] asks for again, and says why there is none.
pub(crate) async fn own_tags(options: &Options, imds: &Imds) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for tag in options.tag.iter().filter(|tag| tag.value.is_none()) {
        if let Ok(Some(value)) = imds.tag(&tag.key).await {
            values.insert(tag.key.clone(), value);
        }
    }
    values
}

/// The selectors as filters of DescribeAddresses, with the values of the own tags of `instance`, which is this one:
/// those that are `known`, and the others.
pub(crate) async fn filters(
    options: &Options,
    known: &BTreeMap<String, String>,
    imds: &Imds,
    cloud: &Cloud,
    instance: &InstanceId,
) -> Result<Vec<Filter>, Error> {
    let mut filters = options.filter.clone();
    for tag in &options.tag {
        let value = match tag.value.as_ref().or_else(|| known.get(&tag.key)) {
            Some(value) => value.clone(),
            None => own_tag(&tag.key, imds, cloud, instance).await?,
        };
        filters.push(Filter::exactly(format!("tag:{}", tag.key), [value]));
    }
    if !options.allocation_id.is_empty() {
        filters.push(Filter::exactly("allocation-id", options.allocation_id.iter().map(AllocationId::as_str)));
    }
    if !options.public_ip.is_empty() {
        filters.push(Filter::exactly("public-ip", options.public_ip.iter().map(Ipv4Addr::to_string)));
    }
    Ok(filters)
}

async fn own_tag(key: &str, imds: &Imds, cloud: &Cloud, instance: &InstanceId) -> Result<String, Error> {
    if let Some(value) = imds.tag(key).await? {
        return Ok(value);
    }
    let value = cloud.tag(instance, key).await.map_err(|e| reasons::tags_denied(e, key))?;
    value.ok_or_else(|| reasons::untagged(instance, key))
}

/// The address, where it can be claimed without a look: `--takeover=always` and one `--allocation-id`.
pub(crate) fn only_allocation(options: &Options) -> Option<AllocationId> {
    let Options { takeover, tag, allocation_id, public_ip, filter, .. } = options;
    let only = *takeover == Takeover::Always && tag.is_empty() && public_ip.is_empty() && filter.is_empty();
    allocation_id.first().filter(|_| only && allocation_id.len() == 1).cloned()
}
