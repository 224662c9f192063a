//! Where to: the interface of this instance, the private address on it, and what is there already.

use std::net::Ipv4Addr;

use crate::claim::Claim;
use crate::cli::Options;
use crate::cloud::{Filter, Target};
use crate::error::{Class, Error};
use crate::imds::{Identity, Interface};
use crate::reasons;
use crate::world::Address;

/// The interface and the private address on it that the options mean.
pub(crate) fn choose(identity: &Identity, options: &Options) -> Result<(Interface, Ipv4Addr), Error> {
    let device = options.device_index.or(options.private_ip.is_none().then_some(0));
    let mut interfaces = identity.interfaces.iter().filter(|i| device.is_none_or(|device| i.device == device));
    let found = match options.private_ip {
        Some(ip) => interfaces.find(|i| i.private_ips.contains(&ip)).map(|i| (i, ip)),
        None => interfaces.next().and_then(|i| Some((i, *i.private_ips.first()?))),
    };
    found.map(|(interface, ip)| (interface.clone(), ip)).ok_or_else(|| reasons::no_target(identity, options))
}

/// How the call names that place: by the instance only where there is no other interface to mean.
pub(crate) fn named(identity: &Identity, interface: &Interface, private_ip: Ipv4Addr, options: &Options) -> Target {
    let chosen = options.device_index.is_some() || options.private_ip.is_some();
    if chosen || identity.interfaces.len() > 1 {
        Target::Interface(interface.id.clone(), private_ip)
    } else {
        Target::Instance(identity.instance.clone())
    }
}

impl Claim<'_> {
    /// A refusal that names the target's private address, whatever its range, is about the target.
    pub(crate) fn about_target(&self, error: Error) -> Error {
        let is_named = |word: &str| word.parse() == Ok(self.me.private_ip);
        let mut words = error.message.split(|c: char| !c.is_ascii_hexdigit() && c != '.' && c != ':');
        match error.class {
            Class::LostRace if words.any(is_named) => Error { class: Class::TargetTaken, ..error },
            _ => error,
        }
    }

    /// Names the address that the target has already. It may be one of ours, which the reads do not show yet.
    pub(crate) async fn who_is_on_target(&self, mut error: Error, addresses: &[Address]) -> Error {
        match self.on_target().await {
            Ok(found) if found.iter().any(|a| addresses.iter().any(|b| b.allocation == a.allocation)) => {
                error.class = Class::LostRace;
            }
            Ok(found) => match found.first() {
                Some(other) => return reasons::target_taken(&self.me, other),
                None => error.class = Class::LostRace,
            },
            Err(why) => tracing::warn!(code = %why.code, "cannot tell which address the target has: {why}"),
        }
        error
    }

    /// The addresses that are on the very private address that the claim is for.
    pub(crate) async fn on_target(&self) -> Result<Vec<Address>, Error> {
        let filter = Filter::exactly("network-interface-id", [self.me.interface.as_str()]);
        let found = self.cloud.addresses(&[filter]).await?;
        let here = |a: &Address| {
            a.association.as_ref().is_some_and(|a| a.private_ip.is_none_or(|ip| ip == self.me.private_ip))
        };
        Ok(found.into_iter().filter(here).collect())
    }
}
