//! The check: everything that a claim needs, in the order of a claim, each thing by itself. It changes nothing.
//!
//! Every item is looked at even when one before it fails; what cannot be looked at without another says so.
//! What EC2 and STS would answer is in `check_aws.rs`.

use std::time::SystemTime;

use crate::check_aws::Aws;
use crate::checklist::{Checklist, Finding};
use crate::cli::Options;
use crate::cloud::Cloud;
use crate::credentials::InstanceProfile;
use crate::endpoints;
use crate::error::Error;
use crate::gate::Gate;
use crate::here::Here;
use crate::imds::Imds;
use crate::report::rfc3339;
use crate::retry::Deadline;
use crate::status::{PATIENCE, despite_the_transient};

/// The items, in the order of a claim.
pub(crate) const NAMES: [&str; 17] = [
    "environment",
    "metadata",
    "identity",
    "target",
    "gate",
    "credentials",
    "endpoint",
    "clock",
    "tags",
    "addresses",
    "DescribeInstances",
    "DescribeInstanceStatus",
    "AssociateAddress",
    "DisassociateAddress",
    "sts",
    "DecodeAuthorizationMessage",
    "auto-scaling",
];

/// Looks at everything that a claim by `options` needs.
pub async fn check(options: &Options) -> Checklist {
    let mut list = Checklist::default();
    let deadline = Deadline::after(options.timeout.min(PATIENCE));
    match endpoints::check().and_then(|()| Imds::from_env(deadline)) {
        Ok(imds) => {
            list.add("environment", Finding::Good(environment()));
            let profile = InstanceProfile::new(&imds);
            Check { options, deadline, imds, profile, list: &mut list }.run().await;
        }
        Err(error) => list.add("environment", Finding::Bad(error)),
    }
    list.skip(&NAMES, "something that it needs is missing, see above");
    list.sort_by(&NAMES);
    list
}

struct Check<'a> {
    options: &'a Options,
    deadline: Deadline,
    imds: Imds,
    profile: InstanceProfile,
    list: &'a mut Checklist,
}

impl Check<'_> {
    async fn run(self) {
        let found = despite_the_transient(self.deadline, async || self.imds.identity().await).await;
        let is_out_of_reach = |error: &Error| ["ImdsUnreachable", "MetadataOff"].contains(&error.code.as_str());
        let identity = match found {
            Err(error) if is_out_of_reach(&error) => {
                let error = Error {
                    message: format!("this is no EC2 instance, or cannot see that it is: {}", error.message),
                    ..error
                };
                return self.list.add("metadata", Finding::Bad(error));
            }
            found => found,
        };
        self.list.add("metadata", Finding::Good("IMDSv2 answers".to_owned()));
        let here = match identity {
            Ok(identity) => {
                let (id, zone, launched) = (&identity.instance, &identity.zone, rfc3339(identity.launched));
                self.list.add("identity", Finding::Good(format!("{id} in {zone}, launched {launched}")));
                let here = Here::of(identity.clone(), self.options);
                self.list.add("target", target(&here));
                // Where the options mean no place that there is, the rest is tried with the usual one.
                let usual = Options { device_index: None, private_ip: None, ..self.options.clone() };
                here.or_else(|_| Here::of(identity, &usual)).ok()
            }
            Err(error) => {
                self.list.add("identity", Finding::Bad(error));
                None
            }
        };
        let gate = despite_the_transient(self.deadline, async || Gate::read(&self.imds, self.options).await).await;
        self.list.add("gate", gate.map_or_else(Finding::Bad, |gate| Finding::Good(gate.in_words())));
        self.list.add("credentials", self.credentials().await);
        if let Some(here) = here {
            let (region, profile, time) = (&here.identity.region, self.profile.clone(), self.options.attempt_timeout);
            let cloud = Cloud::new(region, profile, time, self.deadline);
            let aws = Aws { options: self.options, deadline: self.deadline, imds: &self.imds, cloud, here };
            aws.run(self.list).await;
        }
    }

    /// Whose they are and how long they are good for; never what they are.
    async fn credentials(&self) -> Finding {
        let load = async || self.profile.load().await;
        match despite_the_transient(self.deadline, load).await {
            Ok(credentials) => {
                let expiry = credentials.expiry().map_or("never".to_owned(), rfc3339);
                let role = self.profile.role().await.ok().flatten().unwrap_or_else(|| "unknown".to_owned());
                let updated = self.imds.profile_updated().await.ok().flatten();
                let updated = updated.map(|time| format!(", given out {time}")).unwrap_or_default();
                let left = credentials.expiry().and_then(|expiry| expiry.duration_since(SystemTime::now()).ok());
                let left = left.map(|left| format!(" (in {} min)", left.as_secs() / 60)).unwrap_or_default();
                Finding::Good(format!("role {role}{updated}, good until {expiry}{left}"))
            }
            Err(error) => Finding::Bad(error),
        }
    }
}

/// What there is in the environment that changes whom the program asks.
fn environment() -> String {
    let names = [
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_EC2",
        "AWS_ENDPOINT_URL_STS",
        "AWS_ENDPOINT_URL_AUTO_SCALING",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
        "AWS_USE_DUALSTACK_ENDPOINT",
        "AWS_USE_FIPS_ENDPOINT",
        "HTTPS_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
    ];
    let set: Vec<_> = names.into_iter().filter(|name| endpoints::set(name).is_some()).collect();
    if set.is_empty() { "nothing out of the ordinary".to_owned() } else { format!("{} set", set.join(", ")) }
}

fn target(here: &Result<Here, Error>) -> Finding {
    match here {
        Ok(Here { identity, interface, private_ip, .. }) => {
            let count = match identity.interfaces.len() {
                1 => "the only interface".to_owned(),
                count => format!("one of {count} interfaces"),
            };
            Finding::Good(format!("{private_ip} on {}, device {}, {count}", interface.id, interface.device))
        }
        Err(error) => Finding::Bad(error.clone()),
    }
}
