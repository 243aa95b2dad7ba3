//! TLS around anything that speaks TCP: certificates made as needed, and a server's and a client's side of
//! the connection.

use std::{io, net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::{io::copy_bidirectional, net::TcpStream};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use crate::server::Server;

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub chain: String,
    /// Its private key.
    pub key: String,
}

/// A socket on loopback that relays connections to another address, and adds or removes TLS. Ends when
/// dropped.
#[derive(Debug)]
pub struct TlsRelay {
    server: Server,
}

#[derive(Clone)]
enum Role {
    Server(TlsAcceptor),
    Client(TlsConnector, ServerName<'static>),
}

// === impl Authority ===

impl Authority {
    /// A new authority, which nothing trusts yet.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its own certificate, in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for the server of that name.
    pub fn certificate(&self, name: &str) -> Certificate {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a host's name");
        // A certificate with the authority's name would be taken for the authority's own.
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Certificate { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Certificate ===

impl Certificate {
    /// The certificate in DER.
    pub fn der(&self) -> Vec<u8> {
        self.parse().0.to_vec()
    }

    fn parse(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::from_pem_slice(self.chain.as_bytes()).expect("a certificate");
        (chain, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key"))
    }
}

// === impl TlsRelay ===

impl TlsRelay {
    /// Serves TLS with this certificate in front of a server without TLS.
    pub async fn before(server: SocketAddr, certificate: &Certificate) -> Self {
        let (chain, key) = certificate.parse();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![chain], key);
        let config = config.expect("a key that fits its certificate");
        Self::start(server, Role::Server(TlsAcceptor::from(Arc::new(config)))).await
    }

    /// Connects to a TLS server for clients without TLS. It trusts this authority and expects that name.
    pub async fn to(server: SocketAddr, name: &str, authority: &Authority) -> Self {
        let config =
            ClientConfig::builder().with_root_certificates(trusting(authority)).with_no_client_auth();
        Self::connecting(server, name, config).await
    }

    /// The same, and presents this certificate as its own.
    pub async fn to_as(
        server: SocketAddr,
        name: &str,
        authority: &Authority,
        certificate: &Certificate,
    ) -> Self {
        let (chain, key) = certificate.parse();
        let config = ClientConfig::builder().with_root_certificates(trusting(authority));
        let config = config.with_client_auth_cert(vec![chain], key).expect("a key that fits its certificate");
        Self::connecting(server, name, config).await
    }

    async fn connecting(server: SocketAddr, name: &str, config: ClientConfig) -> Self {
        let name = ServerName::try_from(name.to_owned()).expect("a host's name");
        Self::start(server, Role::Client(TlsConnector::from(Arc::new(config)), name)).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    async fn start(to: SocketAddr, role: Role) -> Self {
        let serve = move |stream| {
            let role = role.clone();
            async move {
                // It is not an error if either side goes away or rejects a certificate.
                let _ = role.relay(stream, to).await;
            }
        };
        Self { server: Server::start(serve).await }
    }
}

fn trusting(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("a certificate");
    roots.add(root).expect("a certificate of an authority");
    roots
}

// === impl Role ===

impl Role {
    async fn relay(self, mut inner: TcpStream, to: SocketAddr) -> io::Result<(u64, u64)> {
        let mut outer = TcpStream::connect(to).await?;
        match self {
            Self::Server(acceptor) => {
                copy_bidirectional(&mut acceptor.accept(inner).await?, &mut outer).await
            }
            Self::Client(connector, name) => {
                copy_bidirectional(&mut inner, &mut connector.connect(name, outer).await?).await
            }
        }
    }
}
