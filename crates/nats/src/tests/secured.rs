//! Users, permissions and encrypted connections.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use sluicegate_stack::certificates::Authority;
use sluicegate_stack::folder::Folder;

use super::*;

#[tokio::test]
async fn credentials_are_sent() {
    let nkey = r#"{ users: [ { nkey: "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4" } ] }"#;
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    for (authorization, right, wrong) in [
        ("{ user: u, password: p }", password("p"), password("wrong")),
        ("{ token: t }", Credentials::Token("t".to_owned()), Credentials::None),
        (nkey, Credentials::NKey(seed.to_owned()), Credentials::NKey("no seed".to_owned())),
    ] {
        let server = Server::jetstream(&format!("authorization {authorization}")).await.unwrap();
        let (accepted, _shared) = nats(&server, |config| config.credentials = right);
        assert!(accepted.ready(Duration::from_secs(5)).await.is_ok(), "{authorization}");
        let (refused, _shared) = nats(&server, |config| config.credentials = wrong);
        assert!(refused.ready(Duration::from_secs(5)).await.is_err(), "{authorization}");
        let error = fetch(&refused, "S", at(1)).await.unwrap_err();
        assert_eq!(error.fault, Fault::Unreachable { retriable: false }, "an operator must fix it");
    }
}

#[tokio::test]
async fn denied_request_fails_at_once() {
    let users = r#"authorization { users = [
        { user: u, password: p, permissions: { publish: { deny: ["$JS.API.STREAM.INFO.>"] } } }
    ] }"#;
    let server = Server::jetstream(users).await.unwrap();
    let (nats, _shared) = nats(&server, |config| {
        config.credentials = password("p");
        config.request_timeout = Duration::from_secs(600);
    });
    let error = fetch(&nats, "S", at(1)).await.unwrap_err();
    assert_eq!(error.fault, Fault::NotAuthorized);
    assert!(!error.message.contains("STREAM"), "{}", error.message);
}

#[tokio::test]
async fn connections_are_encrypted_if_that_is_configured() {
    let (ours, other) = (Authority::new("ours").unwrap(), Authority::new("other").unwrap());
    let certificate = ours.server("127.0.0.1").unwrap();
    let folder = Folder::new("nats-tls").unwrap();
    let cert = folder.write("cert.pem", &certificate.certificate).unwrap();
    let key = folder.write("key.pem", &certificate.key).unwrap();
    for handshake_first in [false, true] {
        let tls = format!("cert_file: {cert:?}, key_file: {key:?}, handshake_first: {handshake_first}");
        let server = Server::jetstream(&format!("tls {{ {tls} }}")).await.unwrap();
        for (authority, is_trusted) in [(&ours, true), (&other, false)] {
            let (nats, _shared) = nats(&server, |config| {
                config.tls = Some(Tls { client: client(authority), handshake_first });
                config.request_timeout = Duration::from_secs(2);
            });
            let is_ready = nats.ready(Duration::from_secs(2)).await.is_ok();
            assert_eq!(is_ready, is_trusted, "handshake first: {handshake_first}");
        }
    }
}

fn client(authority: &Authority) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}
