//! `floor MODE CA-FILE IP:PORT [ALLOCATION]`: the exchanges that nobody who claims an address can do without, and
//! nothing else.
//!
//! It is the yardstick of the benchmark, not a tool: it takes every answer for the good one, decides nothing, retries
//! nothing, and ends in an error at the first surprise. Whatever need not wait does not:
//!
//! ```text
//! token ─┬─ identity document ── TCP and TLS with EC2 ──┐
//!        ├─ own tag ────────────────────────────────────┼─ DescribeAddresses ── AssociateAddress ── DescribeAddresses
//!        └─ role ── credentials ────────────────────────┘
//! ```
//!
//! `claim` does all of it, over one connection with EC2; `held` ends after the first `DescribeAddresses`; `given` is
//! told the allocation, and goes straight to `AssociateAddress`. Names are free here: the address of EC2 is an argument.
#![forbid(unsafe_code)]

mod ec2;
mod http;
mod sign;

use ec2::Ec2;
use http::Connection;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;

/// Anything that is not as it should be ends the run.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Where every instance finds its metadata.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const ROLE: &str = "meta-data/iam/security-credentials/";
const TAG: &str = "meta-data/tags/instance/eip-claim";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String> {
    let [mode, ca, ec2, given @ ..] = arguments else {
        return Err("usage: floor claim|held|given CA-FILE IP:PORT [ALLOCATION]".into());
    };
    let given = given.first();

    // One connection for each answer that is waited for at the same time.
    let [mut a, mut b, mut c] = [metadata()?, metadata()?, metadata()?];
    a.send("PUT /latest/api/token", &[("x-aws-ec2-metadata-token-ttl-seconds", "60")], "")?;
    let token = a.answer()?;
    get(&mut a, &token, "dynamic/instance-identity/document")?;
    if given.is_none() {
        get(&mut b, &token, TAG)?;
    }
    get(&mut c, &token, ROLE)?;
    let role = c.answer()?;
    get(&mut c, &token, &format!("{ROLE}{role}"))?;
    let document = a.answer()?;
    let (instance, region) = (field(&document, "instanceId")?, field(&document, "region")?);
    let connection = ec2::connect(ec2.parse()?, &format!("ec2.{region}.amazonaws.com"), ca)?;
    let credentials = c.answer()?;
    let credentials = sign::Credentials {
        access: field(&credentials, "AccessKeyId")?,
        secret: field(&credentials, "SecretAccessKey")?,
        token: field(&credentials, "Token")?,
    };

    let mut ec2 = Ec2 { connection, region, credentials };
    let allocation = match given {
        Some(allocation) => allocation.to_owned(),
        None => {
            let found = ec2.addresses("tag:eip-claim", &b.answer()?)?;
            if mode == "held" {
                return proven(&found, instance);
            }
            between(&found, "<allocationId>", "</allocationId>")?.to_owned()
        }
    };
    ec2.associate(&allocation, instance)?;
    proven(&ec2.addresses("allocation-id", &allocation)?, instance)
}

fn metadata() -> Result<Connection<TcpStream>> {
    http::plain(SocketAddr::from((METADATA, 80)))
}

fn get(connection: &mut Connection<TcpStream>, token: &str, path: &str) -> Result<()> {
    connection.send(&format!("GET /latest/{path}"), &[("x-aws-ec2-metadata-token", token)], "")
}

fn proven(addresses: &str, instance: &str) -> Result<String> {
    match between(addresses, "<instanceId>", "</instanceId>")? {
        holder if holder == instance => Ok(format!("{instance} has it")),
        other => Err(format!("{other} has it").into()),
    }
}

/// A text in an object of JSON that has it once.
fn field<'a>(json: &'a str, name: &str) -> Result<&'a str> {
    between(json, &format!("\"{name}\": \""), "\"")
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Result<&'a str> {
    let found = text.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    found.map(|(inside, _)| inside).ok_or_else(|| format!("no {before} in {text}").into())
}
