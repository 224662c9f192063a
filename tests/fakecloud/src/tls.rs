//! The certificate by which the APIs are answered over TLS.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// A certificate, its chain, and its key, ready for use.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ServerConfig>);

impl Tls {
    /// Reads both from files in PEM; the error says which file is no good.
    pub fn read(certificate: &Path, key: &Path) -> Result<Tls, String> {
        let about = |file: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(certificate).map_err(|error| about(certificate, &error))?.collect();
        let chain = chain.map_err(|error| about(certificate, &error))?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| about(key, &error))?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private);
        Ok(Tls(Arc::new(config.map_err(|error| about(key, &error))?)))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.clone())
    }
}
