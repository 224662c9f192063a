//! Which addresses: the selectors as filters of DescribeAddresses.

use std::net::Ipv4Addr;

use crate::claim::Claim;
use crate::cli::Options;
use crate::cloud::Filter;
use crate::decide::Takeover;
use crate::error::Error;
use crate::ids::AllocationId;
use crate::reasons;

impl Claim<'_> {
    /// The selectors as filters of DescribeAddresses, with the values of this instance's own tags.
    pub(crate) async fn filters(&mut self) -> Result<Vec<Filter>, Error> {
        if let Some(filters) = &self.filters {
            return Ok(filters.clone());
        }
        let mut filters = self.options.filter.clone();
        for tag in &self.options.tag {
            let value = match &tag.value {
                Some(value) => value.clone(),
                None => self.own_tag(&tag.key).await?,
            };
            filters.push(Filter::exactly(format!("tag:{}", tag.key), [value]));
        }
        if !self.options.allocation_id.is_empty() {
            filters.push(Filter::exactly("allocation-id", self.options.allocation_id.iter().map(AllocationId::as_str)));
        }
        if !self.options.public_ip.is_empty() {
            filters.push(Filter::exactly("public-ip", self.options.public_ip.iter().map(Ipv4Addr::to_string)));
        }
        self.filters = Some(filters.clone());
        Ok(filters)
    }

    async fn own_tag(&self, key: &str) -> Result<String, Error> {
        if let Some(value) = self.imds.tag(key).await? {
            return Ok(value);
        }
        let value = self.cloud.tag(&self.me.instance, key).await.map_err(|e| reasons::tags_denied(e, key))?;
        value.ok_or_else(|| reasons::untagged(&self.me.instance, key))
    }

    /// The address, where it can be claimed without a look: `--takeover=always` and one `--allocation-id`.
    pub(crate) fn only_allocation(&self) -> Option<AllocationId> {
        let Options { takeover, tag, allocation_id, public_ip, filter, .. } = self.options;
        let only = *takeover == Takeover::Always && tag.is_empty() && public_ip.is_empty() && filter.is_empty();
        allocation_id.first().filter(|_| only && allocation_id.len() == 1).cloned()
    }
}
