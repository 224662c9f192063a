//! What a person is shown beyond what the policy decides on: the tags of addresses, the zones of instances.

use std::collections::BTreeMap;

use crate::answers;
use crate::cloud::{Cloud, Filter, to_sdk};
use crate::error::Error;
use crate::ids::InstanceId;
use crate::world::{Address, Instance};

/// The tags of something.
pub(crate) type Tags = BTreeMap<String, String>;

impl Cloud {
    /// The addresses that pass `filters`, with their tags (DescribeAddresses).
    ///
    /// # Errors
    /// See [`Cloud::addresses`].
    pub(crate) async fn addresses_and_tags(&self, filters: &[Filter]) -> Result<Vec<(Address, Tags)>, Error> {
        let request = self.ec2.describe_addresses().set_filters(Some(filters.iter().map(to_sdk).collect()));
        let answer = self.attempts.call("DescribeAddresses", request.send()).await?;
        let tags = |address: &aws_sdk_ec2::types::Address| {
            let pairs = address.tags().iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned())));
            pairs.collect()
        };
        let shown = answer.addresses().iter().filter(|address| answers::is_allocated(address));
        shown.map(|address| Ok((answers::address(address)?, tags(address)))).collect()
    }

    /// Those of the instances `ids` that EC2 knows, with their zones (DescribeInstances).
    ///
    /// # Errors
    /// See [`Cloud::addresses`].
    pub(crate) async fn instances_and_zones(&self, ids: &[InstanceId]) -> Result<Vec<(Instance, String)>, Error> {
        let zone = |instance: &aws_sdk_ec2::types::Instance| {
            let placement = instance.placement().and_then(|placement| placement.availability_zone());
            answers::present(placement).unwrap_or("unknown").to_owned()
        };
        let found = self.describe_instances(ids).await?;
        found.iter().map(|instance| Ok((answers::instance(instance)?, zone(instance)))).collect()
    }
}
