//! The few calls to EC2 and STS, answered in our own types; those to Auto Scaling are in `scaling.rs`.
//!
//! No call retries by itself; each has one attempt with a time limit, and an error with a class.
//! Empty strings from the API count as absent.

use std::net::Ipv4Addr;
use std::time::Duration;

use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::config::{BehaviorVersion, IdentityCache, Region};
use aws_sdk_ec2::operation::associate_address::builders::AssociateAddressFluentBuilder;

use crate::answers;
use crate::attempt::Attempts;
use crate::credentials::InstanceProfile;
use crate::decide::Reassociation;
use crate::endpoints;
use crate::error::{Class, Error};
use crate::http::Connections;
use crate::ids::{AllocationId, AssociationId, InstanceId, InterfaceId};
use crate::retry::Deadline;
use crate::world::{Address, Instance};

/// EC2 takes at most 200 values a filter.
const FILTER_VALUES: usize = 200;
/// DescribeInstanceStatus takes at most 100 instance ids.
const STATUS_IDS: usize = 100;

/// A filter as EC2 takes it: values are alternatives, several filters narrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Its name, such as `tag:asg`.
    pub name: String,
    /// Its values; `*` and `?` are wildcards unless a backslash precedes them.
    pub values: Vec<String>,
}

impl Filter {
    /// The filter that passes exactly `values`.
    pub fn exactly<S: AsRef<str>>(name: impl Into<String>, values: impl IntoIterator<Item = S>) -> Self {
        let escape = |value: S| value.as_ref().replace('\\', "\\\\").replace('*', "\\*").replace('?', "\\?");
        Self { name: name.into(), values: values.into_iter().map(escape).collect() }
    }
}

/// Where an address goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Onto the primary private address of the only interface of this instance.
    Instance(InstanceId),
    /// Onto this private address of this interface.
    Interface(InterfaceId, Ipv4Addr),
}

/// The AWS APIs of one region, with this instance's credentials.
#[derive(Debug, Clone)]
pub struct Cloud {
    pub(crate) ec2: aws_sdk_ec2::Client,
    pub(crate) sts: aws_sdk_sts::Client,
    pub(crate) scaling: aws_sdk_autoscaling::Client,
    connections: Connections,
    pub(crate) attempts: Attempts,
}

impl Cloud {
    /// The APIs of `region`; a call takes at most `attempt_timeout` and never outlives `deadline`.
    pub fn new(region: &str, profile: InstanceProfile, attempt_timeout: Duration, deadline: Deadline) -> Self {
        let connections = Connections::default();
        // One client for all attempts: it learns the clock skew from the answers.
        macro_rules! client {
            ($sdk:ident, $endpoint:literal) => {{
                let mut config = $sdk::Config::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .region(Region::new(region.to_owned()))
                    .credentials_provider(profile.clone())
                    .identity_cache(IdentityCache::no_cache())
                    .http_client(connections.clone())
                    .retry_config($sdk::config::retry::RetryConfig::disabled())
                    .timeout_config(TimeoutConfig::disabled())
                    .use_dual_stack(endpoints::is_on("AWS_USE_DUALSTACK_ENDPOINT"))
                    .use_fips(endpoints::is_on("AWS_USE_FIPS_ENDPOINT"));
                config.set_endpoint_url(endpoints::url($endpoint));
                $sdk::Client::from_conf(config.build())
            }};
        }
        let ec2 = client!(aws_sdk_ec2, "AWS_ENDPOINT_URL_EC2");
        let sts = client!(aws_sdk_sts, "AWS_ENDPOINT_URL_STS");
        let scaling = client!(aws_sdk_autoscaling, "AWS_ENDPOINT_URL_AUTO_SCALING");
        let attempts = Attempts { profile, timeout: attempt_timeout, deadline };
        Self { ec2, sts, scaling, connections, attempts }
    }

    /// The same APIs with another deadline.
    pub fn until(&self, deadline: Deadline) -> Self {
        Self { attempts: Attempts { deadline, ..self.attempts.clone() }, ..self.clone() }
    }

    /// Opens a connection to EC2 for the first call, while the caller has other things to wait for.
    pub(crate) async fn open(&self) {
        // Should there be no endpoint, the first call says why.
        if let Ok(url) = self.endpoint().await {
            self.connections.open(&url);
        }
    }

    /// Makes every later call open a new connection.
    pub fn renew_connections(&self) {
        self.connections.renew();
    }

    /// The addresses that pass `filters` (DescribeAddresses).
    ///
    /// # Errors
    /// As EC2 answers; an answer without the documented fields is [`Class::Nonsense`].
    pub async fn addresses(&self, filters: &[Filter]) -> Result<Vec<Address>, Error> {
        let request = self.ec2.describe_addresses().set_filters(Some(filters.iter().map(to_sdk).collect()));
        let answer = self.attempts.call("DescribeAddresses", request.send()).await?;
        answers::addresses(answer.addresses())
    }

    /// Those of the instances `ids` that EC2 knows (DescribeInstances).
    ///
    /// # Errors
    /// See [`Cloud::addresses`].
    pub async fn instances(&self, ids: &[InstanceId]) -> Result<Vec<Instance>, Error> {
        self.describe_instances(ids).await?.iter().map(answers::instance).collect()
    }

    pub(crate) async fn describe_instances(
        &self,
        ids: &[InstanceId],
    ) -> Result<Vec<aws_sdk_ec2::types::Instance>, Error> {
        let mut found = Vec::new();
        for some in ids.chunks(FILTER_VALUES) {
            let filter = Filter::exactly("instance-id", some.iter().map(InstanceId::as_str));
            let mut next = None;
            loop {
                let request = self.ec2.describe_instances().filters(to_sdk(&filter)).set_next_token(next);
                let answer = self.attempts.call("DescribeInstances", request.send()).await?;
                found.extend(answer.reservations().iter().flat_map(|r| r.instances()).cloned());
                next = answers::present(answer.next_token()).map(str::to_owned);
                if next.is_none() {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Those of the running instances `ids` whose system status EC2 reports as impaired (DescribeInstanceStatus).
    ///
    /// # Errors
    /// See [`Cloud::addresses`].
    pub async fn impaired(&self, ids: &[InstanceId]) -> Result<Vec<InstanceId>, Error> {
        let mut found = Vec::new();
        for some in ids.chunks(STATUS_IDS) {
            let ids = some.iter().map(|id| id.as_str().to_owned()).collect();
            let request = self.ec2.describe_instance_status().set_instance_ids(Some(ids));
            let answer = self.attempts.call("DescribeInstanceStatus", request.send()).await?;
            found.extend(answers::impaired(answer.instance_statuses())?);
        }
        Ok(found)
    }

    /// The value of the tag `key` of `instance` (DescribeTags).
    ///
    /// # Errors
    /// See [`Cloud::addresses`].
    pub async fn tag(&self, instance: &InstanceId, key: &str) -> Result<Option<String>, Error> {
        let request = self
            .ec2
            .describe_tags()
            .filters(to_sdk(&Filter::exactly("resource-id", [instance.as_str()])))
            .filters(to_sdk(&Filter::exactly("key", [key])));
        let answer = self.attempts.call("DescribeTags", request.send()).await?;
        Ok(answer.tags().iter().find(|tag| tag.key() == Some(key)).and_then(|tag| tag.value()).map(str::to_owned))
    }

    /// Associates `address` with `target` (AssociateAddress).
    ///
    /// # Errors
    /// As EC2 answers. After [`Class::Transient`] the association may have been made nevertheless.
    pub async fn associate(
        &self,
        address: &AllocationId,
        target: &Target,
        reassociation: Reassociation,
    ) -> Result<Option<AssociationId>, Error> {
        let request = self.associate_request(address, target, reassociation);
        let answer = self.attempts.call("AssociateAddress", request.send()).await?;
        answers::optional("associationId", answer.association_id())
    }

    /// Whether EC2 would let this instance associate `address` with `target` (AssociateAddress, `DryRun`).
    ///
    /// # Errors
    /// As EC2 answers, when it would not.
    pub async fn may_associate(&self, address: &AllocationId, target: &Target) -> Result<(), Error> {
        let request = self.associate_request(address, target, Reassociation::Refuse).dry_run(true);
        match self.attempts.call("AssociateAddress (DryRun)", request.send()).await {
            Err(error) if error.code == "DryRunOperation" => Ok(()),
            // Permission is judged first; that somebody has the address yet is why there is a trial.
            Err(error) if error.class == Class::LostRace => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(Error::new(Class::Nonsense, "DryRunIgnored", "EC2 did not answer a DryRun as one")),
        }
    }

    /// Ends the association `id` (DisassociateAddress); no other association of the address is touched.
    ///
    /// # Errors
    /// As EC2 answers; [`Class::LostRace`] when the association has ended already.
    pub async fn disassociate(&self, id: &AssociationId) -> Result<(), Error> {
        let request = self.ec2.disassociate_address().association_id(id.as_str());
        self.attempts.call("DisassociateAddress", request.send()).await.map(|_| ())
    }

    /// EC2's own explanation of a denied call, as JSON (DecodeAuthorizationMessage).
    ///
    /// # Errors
    /// As STS answers; the permission for this call is often missing.
    pub async fn decode(&self, encoded: &str) -> Result<String, Error> {
        let request = self.sts.decode_authorization_message().encoded_message(encoded);
        let answer = self.attempts.call("DecodeAuthorizationMessage", request.send()).await?;
        Ok(answer.decoded_message().unwrap_or_default().to_owned())
    }

    fn associate_request(
        &self,
        address: &AllocationId,
        target: &Target,
        reassociation: Reassociation,
    ) -> AssociateAddressFluentBuilder {
        let request = self
            .ec2
            .associate_address()
            .allocation_id(address.as_str())
            .allow_reassociation(reassociation == Reassociation::Allow);
        match target {
            Target::Instance(id) => request.instance_id(id.as_str()),
            Target::Interface(id, ip) => request.network_interface_id(id.as_str()).private_ip_address(ip.to_string()),
        }
    }
}

pub(crate) fn to_sdk(filter: &Filter) -> aws_sdk_ec2::types::Filter {
    aws_sdk_ec2::types::Filter::builder().name(&filter.name).set_values(Some(filter.values.clone())).build()
}
