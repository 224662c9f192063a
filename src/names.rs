//! The addresses of a name, by `/etc/hosts` and the servers in `/etc/resolv.conf`, read anew each time: while an
//! instance boots, both change. The C library's resolver loads libraries, which a static executable must not.

use std::fs;
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use domain::base::iana::Rcode;
use domain::base::wire::ParseError;
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::{A, Aaaa};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::race::first;

/// The resolvers of every VPC, for the moments of a boot in which `/etc/resolv.conf` is not there yet.
const VPC_RESOLVERS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(169, 254, 169, 253)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253))];
/// Each server is asked as often: a datagram may be lost.
const ROUNDS: usize = 2;
/// What is left of the time that a connection may take is for the connection.
const TIMEOUT: Duration = Duration::from_millis(1_500);
/// When there are addresses of IPv4, those of IPv6 are waited for this long; a little more than RFC 8305 recommends,
/// for an instance may have IPv6 alone.
const RESOLUTION_DELAY: Duration = Duration::from_millis(200);
const PORT: u16 = 53;

/// The addresses of `host`, which may be one itself; those of IPv6 first, since these fail at once where there is no way.
///
/// # Errors
/// In a few words: it has none, or no server answers.
pub(crate) async fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    let known = in_hosts(&text("/etc/hosts"), host);
    if !known.is_empty() {
        return Ok(known);
    }
    let servers = Servers::parse(&text("/etc/resolv.conf"));
    let mut why = Error::new(ErrorKind::NotFound, "it is no name");
    for name in servers.full_names(host) {
        match servers.look_up(&name).await {
            Ok(ips) => return Ok(ips),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                why = error;
                break;
            }
            // That one of the names is not there says less than that another could not be looked up.
            Err(error) if why.kind() == ErrorKind::NotFound => why = error,
            Err(_) => {}
        }
    }
    Err(format!("the name {host} cannot be resolved: {why}"))
}

/// A file that is not there, or not readable, says nothing.
fn text(path: &str) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// What the text of a hosts file says of `host`.
fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().split_whitespace());
    lines
        .filter_map(|mut words| {
            let ip = words.next()?.parse().ok()?;
            words.any(|name| name.eq_ignore_ascii_case(host)).then_some(ip)
        })
        .collect()
}

/// Whom to ask, and how to complete a name.
#[derive(Debug, PartialEq, Eq)]
struct Servers {
    ips: Vec<IpAddr>,
    search: Vec<String>,
    /// A name with as many dots is tried as it is first.
    ndots: usize,
}

impl Servers {
    /// What the text of a `resolv.conf` says (resolv.conf(5)); of `options`, only `ndots` matters here.
    fn parse(text: &str) -> Self {
        let mut servers = Self { ips: Vec::new(), search: Vec::new(), ndots: 1 };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => servers.ips.extend(words.next().and_then(|ip| ip.parse::<IpAddr>().ok())),
                Some("search" | "domain") => servers.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    let ndots = words.find_map(|option| option.strip_prefix("ndots:")?.parse().ok());
                    servers.ndots = ndots.unwrap_or(servers.ndots);
                }
                _ => {}
            }
        }
        if servers.ips.is_empty() {
            servers.ips.extend(VPC_RESOLVERS);
        }
        servers
    }

    /// The names that `host` may mean, in the order in which they are to be tried.
    fn full_names(&self, host: &str) -> Vec<Name<Vec<u8>>> {
        let searched = self.search.iter().map(|domain| format!("{}.{}", host, domain.trim_matches('.')));
        let mut names: Vec<String> = if host.ends_with('.') { Vec::new() } else { searched.collect() };
        let is_complete = host.ends_with('.') || host.matches('.').count() >= self.ndots;
        names.insert(if is_complete { 0 } else { names.len() }, host.to_owned());
        names.iter().filter_map(|name| Name::from_str(name).ok()).collect()
    }

    /// Asks one server after the other, and beside those that are silent, until one has an answer.
    async fn look_up(&self, name: &Name<Vec<u8>>) -> Result<Vec<IpAddr>, Error> {
        let silent = || {
            let ips: Vec<_> = self.ips.iter().map(IpAddr::to_string).collect();
            Error::new(ErrorKind::TimedOut, format!("no answer from the name server {}", ips.join(" or ")))
        };
        let asked = self.ips.repeat(ROUNDS).into_iter().map(|server| {
            let name = name.clone();
            async move {
                match ask_both(server, name).await {
                    // That the name is not there is an answer, too.
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(Err(error)),
                    answer => answer.map(Ok),
                }
            }
        });
        match timeout(TIMEOUT, first(asked)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(Some(failure))) => Err(failure),
            Ok(Err(None)) | Err(_) => Err(silent()),
        }
    }
}

/// Asks one server for the addresses of both families, at once.
///
/// # Errors
/// It fails, or there are none ([`ErrorKind::NotFound`]).
async fn ask_both(server: IpAddr, name: Name<Vec<u8>>) -> Result<Vec<IpAddr>, Error> {
    let (v6, v4) = (ask(server, &name, Rtype::AAAA), ask(server, &name, Rtype::A));
    tokio::pin!(v6, v4);
    let (v6, v4) = tokio::select! {
        v6 = &mut v6 => (v6, v4.await),
        v4 = &mut v4 => match v4 {
            Ok(ips) if !ips.is_empty() => (timeout(RESOLUTION_DELAY, v6).await.unwrap_or(Ok(Vec::new())), Ok(ips)),
            v4 => (v6.await, v4),
        },
    };
    match (v6, v4) {
        (Ok(v6), Ok(v4)) if v6.is_empty() && v4.is_empty() => {
            Err(Error::new(ErrorKind::NotFound, format!("{name} has no address")))
        }
        (Ok(v6), Ok(v4)) => Ok([v6, v4].concat()),
        (Ok(ips), Err(_)) | (Err(_), Ok(ips)) if !ips.is_empty() => Ok(ips),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// Asks one server for one family.
async fn ask(server: IpAddr, name: &Name<Vec<u8>>, family: Rtype) -> Result<Vec<IpAddr>, Error> {
    let query = query(name, family)?;
    let here = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((here, 0)).await?;
    socket.connect((server, PORT)).await?;
    socket.send(query.as_slice()).await?;
    let mut buffer = [0; 1500];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match answer(&query, &buffer[..length]) {
            Some(Answer::CutOff) => break,
            Some(Answer::Whole(ips)) => return ips,
            None => {}
        }
    }
    let mut stream = TcpStream::connect((server, PORT)).await?;
    let length = u16::try_from(query.as_slice().len()).map_err(Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query.as_slice()].concat()).await?;
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    match answer(&query, &message) {
        Some(Answer::Whole(ips)) => ips,
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

fn query(name: &Name<Vec<u8>>, family: Rtype) -> Result<Message<Vec<u8>>, Error> {
    let mut query = MessageBuilder::new_vec().question();
    query.header_mut().set_id(fastrand::u16(..));
    query.header_mut().set_rd(true);
    query.push((name, family)).map_err(Error::other)?;
    Ok(query.into_message())
}

#[derive(Debug)]
enum Answer {
    Whole(Result<Vec<IpAddr>, Error>),
    /// It does not fit into a datagram.
    CutOff,
}

/// What `bytes` answer to `query`, if that is what they do.
fn answer(query: &Message<Vec<u8>>, bytes: &[u8]) -> Option<Answer> {
    let message = Message::from_octets(bytes).ok()?;
    let header = message.header();
    let refuses = !matches!(header.rcode(), Rcode::NOERROR | Rcode::NXDOMAIN);
    // Some refuse without repeating the question.
    let is_bare = message.header_counts().qdcount() == 0 && header.qr() && header.id() == query.header().id();
    if !(message.is_answer(query) || refuses && is_bare) {
        return None;
    }
    if message.header().tc() {
        return Some(Answer::CutOff);
    }
    Some(Answer::Whole(match message.header().rcode() {
        Rcode::NOERROR => addresses(message).map_err(Error::other),
        Rcode::NXDOMAIN => Err(Error::new(ErrorKind::NotFound, "there is no such name")),
        other => Err(Error::other(format!("the server answers {other}"))),
    }))
}

/// The addresses in a message, whichever of a chain of aliases they belong to.
fn addresses(message: Message<&[u8]>) -> Result<Vec<IpAddr>, ParseError> {
    let v6 = message.answer()?.limit_to_in::<Aaaa>().map(|record| Ok(record?.data().addr().into()));
    let v4 = message.answer()?.limit_to_in::<A>().map(|record| Ok(record?.data().addr().into()));
    v6.chain(v4).collect()
}

#[cfg(test)]
mod tests {
    use domain::base::Ttl;
    use domain::base::iana::Class;
    use domain::rdata::Cname;
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name<Vec<u8>> {
        Name::from_str(text).expect("a name")
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn a_hosts_file_is_read_as_the_c_library_reads_it() {
        let text = "127.0.0.1 localhost\n# 10.0.0.1 ec2\n10.0.0.2\tother EC2.Example # ec2\nfd00::1 ec2.example\nx y\n";
        assert_eq!(in_hosts(text, "ec2.example"), ips(&["10.0.0.2", "fd00::1"]));
        assert_eq!(in_hosts(text, "ec2"), ips(&[]));
    }

    #[test]
    fn without_a_file_the_resolver_of_the_vpc_is_asked() {
        let servers = Servers::parse("");
        assert_eq!((servers.ips, servers.ndots), (VPC_RESOLVERS.to_vec(), 1));
    }

    #[test]
    fn names_are_completed_as_resolv_conf_says() {
        let text = "; of DHCP\nnameserver 10.0.0.2\nnameserver fd00:ec2::253\nsearch a.internal b.\noptions timeout:1 ndots:2\n";
        let servers = Servers::parse(text);
        assert_eq!(servers.ips, ips(&["10.0.0.2", "fd00:ec2::253"]));
        for (host, meant) in [
            ("proxy", vec!["proxy.a.internal", "proxy.b", "proxy"]),
            ("proxy.x", vec!["proxy.x.a.internal", "proxy.x.b", "proxy.x"]),
            (
                "ec2.x.amazonaws.com",
                vec!["ec2.x.amazonaws.com", "ec2.x.amazonaws.com.a.internal", "ec2.x.amazonaws.com.b"],
            ),
            ("ec2.x.", vec!["ec2.x."]),
            ("no..name", vec![]),
        ] {
            assert_eq!(servers.full_names(host), meant.into_iter().map(name).collect::<Vec<_>>(), "{host}");
        }
    }

    /// What a server that knows `host` by an alias answers.
    fn answered(query: &Message<Vec<u8>>, rcode: Rcode, found: &[IpAddr]) -> Vec<u8> {
        let mut answer = MessageBuilder::new_vec().start_answer(query, rcode).expect("there is room");
        let (host, alias, ttl) = (name("ec2.example"), name("alias.example"), Ttl::from_secs(1));
        answer.push((&host, Class::IN, ttl, Cname::new(&alias))).expect("there is room");
        for ip in found {
            match ip {
                IpAddr::V4(ip) => answer.push((&alias, Class::IN, ttl, A::new(*ip))),
                IpAddr::V6(ip) => answer.push((&alias, Class::IN, ttl, Aaaa::new(*ip))),
            }
            .expect("there is room");
        }
        answer.finish()
    }

    fn read(query: &Message<Vec<u8>>, bytes: &[u8]) -> Result<Vec<IpAddr>, String> {
        match answer(query, bytes) {
            Some(Answer::Whole(ips)) => ips.map_err(|error| error.to_string()),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn an_answer_has_the_addresses_at_the_end_of_a_chain_of_aliases() {
        let query = query(&name("ec2.example"), Rtype::A).expect("a query");
        let found = ips(&["fd00::1", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(read(&query, &answered(&query, Rcode::NOERROR, &found)), Ok(found));
        assert_eq!(read(&query, &answered(&query, Rcode::NOERROR, &[])), Ok(vec![]));
        assert_eq!(read(&query, &answered(&query, Rcode::NXDOMAIN, &[])), Err("there is no such name".into()));
        assert!(read(&query, &answered(&query, Rcode::SERVFAIL, &[])).is_err_and(|why| why.contains("SERVFAIL")));
    }

    #[test]
    fn an_answer_to_another_question_is_none_and_one_that_is_cut_off_is_asked_for_again() {
        let asked = query(&name("ec2.example"), Rtype::A).expect("a query");
        let other = query(&name("evil.example"), Rtype::A).expect("a query");
        assert!(answer(&asked, &answered(&other, Rcode::NOERROR, &[])).is_none());
        let mut later = Message::from_octets(asked.as_slice().to_vec()).expect("a message");
        later.header_mut().set_id(asked.header().id().wrapping_add(1));
        assert!(answer(&asked, &answered(&later, Rcode::NOERROR, &[])).is_none());
        assert!(answer(&asked, asked.as_slice()).is_none(), "a question is no answer");
        let refused = MessageBuilder::new_vec().start_error(&asked, Rcode::REFUSED).into_message();
        assert!(read(&asked, refused.as_slice()).is_err_and(|why| why.contains("REFUSED")));
        let mut bare = refused.as_slice()[..12].to_vec();
        bare[5] = 0;
        assert!(read(&asked, &bare).is_err_and(|why| why.contains("REFUSED")), "without the question");
        let mut cut = Message::from_octets(answered(&asked, Rcode::NOERROR, &[])).expect("a message");
        cut.header_mut().set_tc(true);
        assert!(matches!(answer(&asked, cut.as_slice()), Some(Answer::CutOff)));
    }

    proptest! {
        #[test]
        fn no_answer_and_no_file_makes_it_panic(
            cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>(), text in any::<String>()
        ) {
            let query = query(&name("ec2.example"), Rtype::A).expect("a query");
            let mut bytes = answered(&query, Rcode::NOERROR, &ips(&["10.0.0.1"]));
            let end = cut.index(bytes.len() + 1);
            *at.get_mut(&mut bytes) = byte;
            drop(answer(&query, &bytes[..end]));
            drop(in_hosts(&text, "ec2.example"));
            prop_assert!(!Servers::parse(&text).ips.is_empty());
        }
    }
}
