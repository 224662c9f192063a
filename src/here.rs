//! This instance: what every command has to know before it can ask EC2 anything, and the way there.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::cli::Options;
use crate::cloud::{Cloud, Target};
use crate::credentials::InstanceProfile;
use crate::decide::Me;
use crate::error::Error;
use crate::imds::{Identity, Imds, Interface};
use crate::report::Facts;
use crate::selector::own_tags;
use crate::target;

/// This instance, and where on it the address belongs.
#[derive(Debug, Clone)]
pub(crate) struct Here {
    pub(crate) identity: Identity,
    pub(crate) interface: Interface,
    pub(crate) private_ip: Ipv4Addr,
    pub(crate) target: Target,
    /// Those of this instance's own tags that the selectors mean and IMDS has shown already, by their keys.
    pub(crate) own_tags: BTreeMap<String, String>,
}

impl Here {
    /// Asks IMDS once, and opens the way to EC2 as soon as the region is known.
    pub(crate) async fn find(
        imds: &Imds,
        profile: &InstanceProfile,
        options: &Options,
    ) -> Result<(Self, Cloud), Error> {
        let region = async {
            let identity = imds.document().await?;
            let cloud = Cloud::new(&identity.region, profile.clone(), options.attempt_timeout, imds.deadline());
            cloud.open().await;
            Ok((identity, cloud))
        };
        // The credentials are fetched meanwhile; should that fail, the first call says why.
        let (found, _, own_tags) = tokio::join!(
            async { tokio::try_join!(region, imds.interfaces()) },
            profile.load(),
            own_tags(options, imds),
        );
        let ((identity, cloud), interfaces) = found?;
        let here = Self::of(Identity { interfaces, ..identity }, options)?;
        Ok((Self { own_tags, ..here }, cloud))
    }

    /// The place on the instance `identity` that the options mean; none of its tags is known.
    pub(crate) fn of(identity: Identity, options: &Options) -> Result<Self, Error> {
        let (interface, private_ip) = target::choose(&identity, options)?;
        let target = target::named(&identity, &interface, private_ip, options);
        Ok(Self { identity, interface, private_ip, target, own_tags: BTreeMap::new() })
    }

    /// The same, as the policy sees it.
    pub(crate) fn me(&self) -> Me {
        Me {
            instance: self.identity.instance.clone(),
            interface: self.interface.id.clone(),
            private_ip: self.private_ip,
            lost: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// What a result says of it.
    pub(crate) fn facts(&self) -> Facts {
        Facts {
            instance: Some(self.identity.instance.clone()),
            interface: Some(self.interface.id.clone()),
            private_ip: Some(self.private_ip),
            region: Some(self.identity.region.clone()),
            zone: Some(self.identity.zone.clone()),
            ..Facts::default()
        }
    }
}
