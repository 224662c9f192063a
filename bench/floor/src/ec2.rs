//! EC2's query protocol over one TLS connection.

use crate::http::{Connection, tcp};
use crate::sign::{Credentials, Request, authorization};
use crate::{Result, sign};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::SystemTime;

/// What EC2 is asked by, over one connection.
pub(crate) struct Ec2<'a> {
    pub(crate) connection: Tls,
    pub(crate) region: &'a str,
    pub(crate) credentials: Credentials<'a>,
}

type Tls = Connection<StreamOwned<ClientConnection, TcpStream>>;

/// Connects and shakes hands; the trust store is the file, as it is everybody's.
pub(crate) fn connect(place: SocketAddr, host: &str, ca: &str) -> Result<Tls> {
    let mut socket = tcp(place)?;
    let mut trusted = RootCertStore::empty();
    let certificates: std::result::Result<Vec<_>, _> = CertificateDer::pem_file_iter(ca)?.collect();
    trusted.add_parsable_certificates(certificates?);
    let config = ClientConfig::builder().with_root_certificates(trusted).with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from(host.to_owned())?)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    Ok(Connection::new(StreamOwned::new(tls, socket), host))
}

impl Ec2<'_> {
    /// The addresses that a filter lets pass.
    pub(crate) fn addresses(&mut self, filter: &str, value: &str) -> Result<String> {
        self.call("DescribeAddresses", &[("Filter.1.Name", filter), ("Filter.1.Value.1", value)])
    }

    /// Associates an address that nobody has.
    pub(crate) fn associate(&mut self, allocation: &str, instance: &str) -> Result<String> {
        let parameters = [("AllocationId", allocation), ("AllowReassociation", "false"), ("InstanceId", instance)];
        self.call("AssociateAddress", &parameters)
    }

    /// Asks, and waits for the answer.
    fn call(&mut self, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        let mut body = format!("Action={action}");
        for (name, value) in parameters.iter().chain(&[("Version", "2016-11-15")]) {
            body.push_str(&format!("&{name}={}", sign::escape(value)));
        }
        let date = sign::date(SystemTime::now());
        let request = Request { host: self.connection.host(), body: &body, date: &date, region: self.region };
        let authorization = authorization(&request, &self.credentials);
        let headers = [
            ("content-type", sign::FORM),
            ("x-amz-date", &date),
            ("x-amz-security-token", self.credentials.token),
            ("authorization", &authorization),
        ];
        self.connection.send("POST /", &headers, &body)?;
        self.connection.answer()
    }
}
