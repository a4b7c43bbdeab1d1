//! `wss://` gateways.

use std::io::Write as _;
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use tempfile::NamedTempFile;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::program::{Run, command, finish};
use crate::{kafka, server};

#[tokio::test]
async fn a_gateway_whose_certificate_is_trusted_is_used() {
    let own = certificate();
    let run = ping(&own, &own).await;
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
}

#[tokio::test]
async fn a_gateway_whose_certificate_is_not_trusted_is_exit_code_3() {
    let run = ping(&certificate(), &certificate()).await;
    assert_eq!((run.code, &*run.stdout), (Some(3), ""));
    assert!(run.stderr.contains("certificate") && run.stderr.lines().count() == 1, "{}", run.stderr);
}

#[tokio::test]
async fn a_gateway_without_tls_is_exit_code_3() {
    let url = kafka::serve().await.replace("ws:", "wss:");
    let run = finish(&mut command(&url, &["ping", "-c", "1"])).await;
    assert_eq!((run.code, &*run.stdout, run.stderr.lines().count()), (Some(3), "", 1), "{run:?}");
}

fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap()
}

/// Pings a gateway that shows `own`, trusting `trusted` alone.
async fn ping(own: &CertifiedKey<KeyPair>, trusted: &CertifiedKey<KeyPair>) -> Run {
    let url = serve(own).await;
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(trusted.cert.pem().as_bytes()).unwrap();
    finish(command(&url, &["ping", "-q", "-c", "1"]).env("SSL_CERT_FILE", file.path())).await
}

/// Puts TLS in front of the example topics.
async fn serve(own: &CertifiedKey<KeyPair>) -> String {
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let plain = kafka::serve().await.replace("ws://", "").replace("/pubsub", "");
    let (listener, url) = server::listener().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that does not trust us leaves in the middle of this.
        let Ok(mut outer) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return };
        let mut inner = TcpStream::connect(plain).await.unwrap();
        let _ = copy_bidirectional(&mut outer, &mut inner).await;
    });
    url.replace("ws:", "wss:")
}
