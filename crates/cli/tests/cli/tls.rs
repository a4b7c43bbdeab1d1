//! `wss://` gateways.

use std::io::Write as _;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedKey, DnType, KeyPair, generate_simple_self_signed};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::NamedTempFile;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::*;

#[tokio::test]
async fn trusted_gateway_is_used() {
    let own = certificate();
    let ca = file(&own.cert.pem());
    let url = serve(&own, None).await;
    let run = finish(command(&url, &["ping", "-qc", "1"]).env("SSL_CERT_FILE", ca.path())).await;
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    let url = serve(&own, None).await;
    let run = ping(&url, &["--cacert", path(&ca), "-v"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("TLSv1_3"), "{run:?}");
}

#[tokio::test]
async fn untrusted_gateway_is_exit_code_3() {
    let mut other = CertificateParams::new([]).unwrap();
    other.distinguished_name.push(DnType::CommonName, "another CA");
    let ca = file(&other.self_signed(&KeyPair::generate().unwrap()).unwrap().pem());
    let run = ping(&serve(&certificate(), None).await, &["--cacert", path(&ca)]).await;
    fails(&run, "invalid peer certificate: UnknownIssuer; to trust a private CA, use --cacert\n");
}

#[tokio::test]
async fn client_certificate_lets_the_client_in() {
    let (own, client) = (certificate(), certificate());
    let ca = file(&own.cert.pem());
    let [cert, key] = [client.cert.pem(), client.signing_key.serialize_pem()];
    let both = file(&format!("{cert}{key}"));
    let [cert, key] = [file(&cert), file(&key)];
    for (options, code) in [
        (&["--cert", path(&cert), "--key", path(&key)][..], 0),
        (&["--cert", path(&both)], 0),
        (&[], 3),
        (&["--cert", path(&cert)], 2),
        (&["--cert", path(&key), "--key", path(&key)], 2),
    ] {
        let url = serve(&own, Some(&client)).await;
        let run = ping(&url, &[&["--cacert", path(&ca)], options].concat()).await;
        assert_eq!(run.code, Some(code), "{options:?}: {run:?}");
    }
}

#[tokio::test]
async fn gateway_without_tls_is_exit_code_3() {
    let own = file(&certificate().cert.pem());
    let url = kafka::serve().await.replace("ws:", "wss:");
    let run = ping(&url, &["--cacert", path(&own)]).await;
    fails(&run, "; if the port is one without TLS, use ws://\n");
}

#[tokio::test]
async fn gateway_with_tls_is_named_to_clients_without() {
    let url = serve(&certificate(), None).await.replace("wss:", "ws:");
    let run = ping(&url, &[]).await;
    fails(&run, "; if the port expects TLS, use wss://\n");
    let url = serve(&certificate(), None).await.replace("wss:", "http:");
    let run = finish(&mut command(&url, &["topics"])).await;
    fails(&run, "; if the port expects TLS, use https://\n");
}

#[track_caller]
fn fails(run: &Run, end: &str) {
    run.tells(3, "", &[end]);
    assert!(run.stderr.lines().count() == 1 && run.stderr.ends_with(end), "{run:?}");
}

fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap()
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

async fn ping(url: &str, options: &[&str]) -> Run {
    finish(&mut command(url, &[&["ping", "-c", "1"], options].concat())).await
}

/// Puts TLS in front of the example topics, for `client` alone if it is given.
async fn serve(own: &CertifiedKey<KeyPair>, client: Option<&CertifiedKey<KeyPair>>) -> String {
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = match client {
        None => config.with_no_client_auth(),
        Some(client) => {
            let mut roots = RootCertStore::empty();
            roots.add(client.cert.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = config.with_single_cert(vec![own.cert.der().clone()], key).unwrap();
    let plain = kafka::serve().await.replace("ws://", "").replace("/pubsub", "");
    let (listener, url) = server::listener().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that does not trust this server ends the handshake.
        let Ok(mut outer) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return };
        let mut inner = TcpStream::connect(plain).await.unwrap();
        let _ = copy_bidirectional(&mut outer, &mut inner).await;
    });
    url.replace("ws:", "wss:")
}
