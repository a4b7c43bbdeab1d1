//! TLS, with and without client certificates.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sluicegate_bridge::Bridge;
use sluicegate_bridge::config::Config;
use sluicegate_stack::certificates::{Authority, Certificate};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::raw::{CLOSE, Raw, masked, request};
use sluicegate_stack::waiting::becomes;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Endpoint, Gateway, admin, ping, start, start_with, upgrade};

/// A certificate authority, and a folder for files.
pub(crate) struct Pki {
    authority: Authority,
    folder: Folder,
}

impl Pki {
    pub(crate) fn new() -> Self {
        Self { authority: Authority::new("ca").unwrap(), folder: Folder::new("bridge-tls").unwrap() }
    }

    /// `[tls]` of a bridge on `localhost`.
    pub(crate) fn table(&self) -> String {
        let Certificate { certificate, key } = self.authority.server("localhost").unwrap();
        let [certificate, key] = [("server.pem", certificate), ("server.key", key)]
            .map(|(name, text)| self.folder.write(name, &text).unwrap());
        format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n")
    }

    /// The same for gateways that have certificates.
    fn mutual_table(&self) -> String {
        let ca = self.folder.write("ca.pem", &self.authority.pem()).unwrap();
        format!("{}client_ca = {ca:?}\n", self.table())
    }

    fn gateway(&self) -> Option<Certificate> {
        Some(self.authority.client("gateway").unwrap())
    }

    async fn connect(
        &self,
        bridge: &Bridge,
        identity: Option<Certificate>,
        protocols: &[&[u8]],
    ) -> io::Result<TlsStream<TcpStream>> {
        let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.authority.pem())).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![certificate(&identity.certificate)], key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let tcp = TcpStream::connect(bridge.address()).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }
}

const HTTP_2: &[&[u8]] = &[b"h2"];

#[tokio::test]
async fn websocket_runs_over_tls() {
    let pki = Pki::new();
    for (table, identity, foreign) in [(pki.table(), None, 403), (pki.mutual_table(), pki.gateway(), 101)] {
        let bridge = start(&table).await;
        for protocols in [&[b"http/1.1".as_slice()][..], &[]] {
            for (origin, status) in [("http://localhost", 101), ("https://example.com", foreign)] {
                let tls = pki.connect(&bridge, identity.clone(), protocols).await.unwrap();
                assert_eq!(tls.get_ref().1.alpn_protocol(), protocols.first().copied());
                let mut client = Raw::over(tls);
                let response = client.ask(&upgrade(&[("origin", origin)]).bytes()).await;
                assert_eq!(response.status, status, "{origin} {table}");
                if response.status == 101 {
                    client.write(request(1, ping(&"x".repeat(100_000)))).await;
                    assert_eq!(client.answer().await.sequence, 1);
                    client.write(masked(CLOSE, b"\x03\xe8")).await;
                    assert_eq!(client.closed().await, (1000, String::new()));
                }
            }
        }
    }
}

#[tokio::test]
async fn client_ca_admits_only_its_certificates() {
    let pki = Pki::new();
    let bridge = start(&pki.mutual_table()).await;
    let gateway = Gateway::over(pki.connect(&bridge, pki.gateway(), HTTP_2).await.unwrap()).await;
    gateway.open(Endpoint::Post, &[]).await.unwrap();
    for identity in [None, Pki::new().gateway()] {
        // TLS 1.3 tells a client of its refusal only after the client's own handshake is done.
        if let Ok(io) = pki.connect(&bridge, identity, HTTP_2).await {
            let (_http, connection) = h2::client::handshake(io).await.unwrap();
            assert!(connection.await.is_err(), "a stranger was let in");
        }
    }
}

const CLUSTERS: &str = "[clusters.default]\nbootstrap.servers = \"127.0.0.1:1\"\n";

#[tokio::test]
async fn renewed_certificates_end_no_session() {
    let (before, after) = (Pki::new(), Pki::new());
    let bridge = start(&before.mutual_table()).await;
    let connect = async |pki: &Pki| pki.connect(&bridge, pki.gateway(), HTTP_2).await;
    let gateway = Gateway::over(connect(&before).await.unwrap()).await;
    let mut session = gateway.open(Endpoint::Connect, &[]).await.unwrap();

    let renewed = format!("{CLUSTERS}{}", after.mutual_table());
    bridge.reload(Config::load(&renewed, std::iter::empty())).await;
    // The gateway's certificate is not valid any more: it may not begin anything.
    let takes_requests = async || gateway.takes_requests().await;
    becomes("the connection takes requests", false, Duration::from_secs(5), takes_requests).await;
    session.is_open().await;
    assert!(connect(&before).await.is_err());
    let gateway = Gateway::over(connect(&after).await.unwrap()).await;
    gateway.open(Endpoint::Connect, &[]).await.unwrap();
}

/// From a secret over TCP to certificates alone, in two steps.
#[tokio::test]
async fn connection_without_a_certificate_profits_from_no_new_configuration() {
    let pki = Pki::new();
    let secret = "gateway_secret = \"0123456789abcdef\"\n";
    let bridge = start_with(secret, "").await;
    // Within its first request, a connection is not closed for a new certificate.
    let mut client = Raw::connect(bridge.address()).await;
    let request = upgrade(&[]).bytes();
    let (begin, end) = request.split_at(request.len() - 2);
    client.write(begin).await;
    // The bridge has read that much before it answers this.
    assert_eq!(admin(&bridge, "/livez").await.0, 200);
    for text in [format!("{secret}{CLUSTERS}{}", pki.table()), format!("{CLUSTERS}{}", pki.mutual_table())] {
        bridge.reload(Config::load(&text, std::iter::empty())).await;
    }
    let response = client.ask(end).await;
    assert_eq!(response.status, 503, "{response:?}");
}
