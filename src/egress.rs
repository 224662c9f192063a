//! The egress proof: the internet itself says from which address it sees this instance.
//!
//! It is asked on a connection of its own, never by way of a proxy, until it gives the right answer
//! or the deadline has passed.

use std::net::IpAddr;

use tokio::time::timeout;

use crate::claim::Claim;
use crate::error::{Class, Error};
use crate::http::{self, Way};
use crate::report::Witness;
use crate::sanity::on_one_line;

/// As much of a wrong answer as says what it is.
const SHOWN: usize = 100;

impl Claim<'_> {
    /// Asks `url` once.
    ///
    /// # Errors
    /// It gives no answer, or none that is an address, or another one: each may change until the deadline.
    pub(crate) async fn verify_egress(&mut self, url: &str) -> Result<(), Error> {
        let seen = self.seen_from(url).await?;
        let expected = match self.facts.public_ip {
            Some(ip) => vec![ip],
            // Claimed without a look: IMDS knows.
            None => self.imds.public_ips(&self.interface).await?,
        };
        if let Some(ip) = expected.iter().find(|ip| IpAddr::V4(**ip) == seen) {
            self.facts.public_ip = Some(*ip);
            self.facts.verified_by.push(Witness::Egress);
            return Ok(());
        }
        let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
        let message = format!("{url} sees this instance as {seen}, not as {}", expected.join(" or "));
        Err(Error::new(Class::NotYet, "EgressMismatch", message).advise(format!(
            "route the traffic from {} straight to the internet gateway, without a NAT gateway in between; \
             where it is meant to leave by another address, leave --verify-egress out",
            self.me.private_ip
        )))
    }

    async fn seen_from(&self, url: &str) -> Result<IpAddr, Error> {
        let failure = |class, code, message: String| {
            Error::new(class, code, message)
                .advise(format!("check that this instance reaches {url}, which is asked without a proxy"))
        };
        let budget = self.deadline.cap(self.options.attempt_timeout);
        let answer = match timeout(budget, http::get(url, Way::Direct)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                return Err(
                    failure(Class::Transient, "EgressUnreachable", format!("no answer from {url}")).caused_by(&error)
                );
            }
            Err(_) if budget < self.options.attempt_timeout => return Err(Error::cut_short(url)),
            Err(_) => {
                let message = format!("{url} did not answer within {}", humantime::format_duration(budget));
                return Err(failure(Class::Transient, "EgressTimeout", message));
            }
        };
        let body = answer.body.trim();
        match body.parse() {
            Ok(seen) if answer.status == 200 => Ok(seen),
            _ => {
                let said = on_one_line(body, SHOWN);
                let message = format!("{url} answered with HTTP status {} and no address: `{said}`", answer.status);
                Err(failure(Class::NotYet, "EgressNonsense", message))
            }
        }
    }
}
