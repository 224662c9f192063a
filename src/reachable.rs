//! Whether an endpoint can be reached: its name, a TCP connection, TLS and HTTP, and where it fails, the way out.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::endpoints;
use crate::error::{Class, Error};
use crate::http::{self, Way};
use crate::imds::{Imds, Interface};
use crate::names;

/// A TCP connection within a region takes milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A name, a connection and an answer, each within its time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// An endpoint that answered.
#[derive(Debug)]
pub(crate) struct Reached {
    /// By which way, for a person.
    pub(crate) how: String,
    /// The other side's clock, and what this side's showed then.
    pub(crate) clocks: Option<(SystemTime, SystemTime)>,
}

/// Asks `url` for anything: any answer shows that there is a way.
///
/// # Errors
/// Which step fails, and why.
pub(crate) async fn reach(url: &str) -> Result<Reached, Error> {
    let (host, port) = place(url);
    let step = match names::resolve(&host).await {
        Ok(ips) => connect(&host, &ips, port).await,
        Err(why) => Err(why),
    };
    let failure = |why: String| Error::new(Class::Transient, "EndpointUnreachable", format!("no way to {url}: {why}"));
    match (timeout(ANSWER_TIMEOUT, http::get(url, Way::AsTheApis)).await, step) {
        (Ok(Ok(answer)), step) => {
            let parse = |date: String| SystemTime::try_from(DateTime::from_str(&date, Format::HttpDate).ok()?).ok();
            let clocks = answer.date.and_then(parse).map(|there| (there, SystemTime::now()));
            // Where this instance has no way of its own, it is a proxy that has one.
            let how = step.unwrap_or_else(|_| "by way of a proxy".to_owned());
            Ok(Reached { how: format!("{url} answers {how}"), clocks })
        }
        (_, Err(step)) => Err(failure(step)),
        (Ok(Err(error)), Ok(how)) => {
            Err(failure(format!("TCP connects {how}, but there is no answer")).caused_by(&error))
        }
        (Err(_), Ok(how)) => Err(failure(format!("TCP connects {how}, but there is no answer"))),
    }
}

/// The family and the address that connects, or why none does.
async fn connect(host: &str, ips: &[IpAddr], port: u16) -> Result<String, String> {
    let mut why = format!("the name {host} has no address");
    for ip in ips {
        let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        match timeout(CONNECT_TIMEOUT, TcpStream::connect((*ip, port))).await {
            Ok(Ok(_)) => return Ok(format!("over {family} at {ip}")),
            Ok(Err(error)) => why = format!("no connection to {ip} port {port}: {error}"),
            Err(_) => why = format!("no connection to {ip} port {port}: no answer"),
        }
    }
    Err(why)
}

/// The host and the port that `url` means.
fn place(url: &str) -> (String, u16) {
    let usual = if url.starts_with("http://") { 80 } else { 443 };
    let (host, port) = endpoints::place(url).unwrap_or((url, None));
    (host.trim_matches(['[', ']']).to_owned(), port.and_then(|port| port.parse().ok()).unwrap_or(usual))
}

/// Which of the ways to EC2 fits this instance, by what IMDS shows of its interface.
pub(crate) async fn way_out(imds: &Imds, interface: &Interface) -> String {
    let has_public_ip = imds.public_ips(interface).await.is_ok_and(|ips| !ips.is_empty());
    let has_ipv6 = imds.ipv6s(interface).await.is_ok_and(|ips| !ips.is_empty());
    let is_dual_stack = endpoints::is_on("AWS_USE_DUALSTACK_ENDPOINT");
    let way = match (has_public_ip, has_ipv6) {
        (true, _) => {
            "this instance has a public address: check that its subnet routes 0.0.0.0/0 to an internet gateway, \
             and that its security group and network ACL let port 443 out"
        }
        (false, true) if !is_dual_stack => {
            "this instance has an IPv6 address and no public IPv4 address: set AWS_USE_DUALSTACK_ENDPOINT=true, \
             and route ::/0 to an internet gateway or an egress-only one"
        }
        (false, true) => {
            "this instance has an IPv6 address: route ::/0 of its subnet to an internet gateway or an egress-only one, \
             and let port 443 out"
        }
        (false, false) => {
            "this instance has no public address before it has claimed one: give it one of its own at launch, \
             or its subnet a NAT gateway or a VPC endpoint for ec2, or both IPv6 and AWS_USE_DUALSTACK_ENDPOINT=true"
        }
    };
    way.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_url_is_its_host_and_port() {
        for (url, host, port) in [
            ("https://ec2.eu-west-1.amazonaws.com", "ec2.eu-west-1.amazonaws.com", 443),
            ("http://127.0.0.1:4566/path?x", "127.0.0.1", 4566),
            ("http://[::1]:80/", "::1", 80),
            ("https://[fd00::1]", "fd00::1", 443),
        ] {
            assert_eq!(place(url), (host.to_owned(), port), "{url}");
        }
    }
}
