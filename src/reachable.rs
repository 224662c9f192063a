//! Whether an endpoint can be reached: its name, a TCP connection, TLS and HTTP, and where it fails, the way out.

use std::time::{Duration, SystemTime};

use ::http::Uri;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::connect::place;
use crate::endpoints;
use crate::error::{Class, Error};
use crate::http::{self, CONNECT_TIMEOUT, Way};
use crate::imds::{Imds, Interface};
use crate::names;

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
    let step = tcp(url).await;
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
async fn tcp(url: &str) -> Result<String, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url} is not a URL: {error}"))?;
    let (host, port) = place(&uri)?;
    let mut why = format!("the name {host} has no address");
    for ip in names::resolve(host).await? {
        let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        match timeout(CONNECT_TIMEOUT, TcpStream::connect((ip, port))).await {
            Ok(Ok(_)) => return Ok(format!("over {family} at {ip}")),
            Ok(Err(error)) => why = format!("no connection to {ip} port {port}: {error}"),
            Err(_) => why = format!("no connection to {ip} port {port}: no answer"),
        }
    }
    Err(why)
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
