//! Messages for operators when TLS fails, against a small server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::address::Address;
use crate::config::Config;
use crate::config::security_tests::{Directory, pem};
use crate::config::tests::read;
use crate::dial::dial;
use crate::error::ConnectionError;
use crate::sasl::{Sasl, TokenSource};
use crate::transport::Limits;

/// A certificate authority of its own.
struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, key()).expect("a CA"))
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> (CertificateDer<'static>, KeyPair) {
        let mut params =
            CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned)).expect("names");
        params.serial_number = Some(SerialNumber::from(7));
        change(&mut params);
        let key = key();
        (params.signed_by(&key, &self.0).expect("a certificate").der().clone(), key)
    }

    fn revoking(&self, serial: u64, until: i32) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).expect("a list").pem().expect("PEM")
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// Does `serve` with one connection after the other.
async fn server<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            serve(stream).await;
        }
    });
    address
}

async fn tls_server(
    (certificate, key): (CertificateDer<'static>, KeyPair),
    clients: Option<&Ca>,
    version: &'static SupportedProtocolVersion,
) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .expect("a version");
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.0.der().clone()).expect("a CA");
            let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
            config.with_client_cert_verifier(clients.build().expect("a verifier"))
        }
    };
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    // Unchecked: certificates can be of any version.
    let key = provider.key_provider.load_private_key(key).expect("a key");
    let shown = CertifiedKey::new(vec![certificate], key);
    let config = config.with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    server(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.read_u8().await;
                let _ = stream.write_all(b"x").await;
            }
        }
    })
    .await
}

fn config(protocol: &str, properties: &[(&str, &str)]) -> Config {
    let base = [("bootstrap.servers", "a:1"), ("security.protocol", protocol)];
    read(&[&base, properties].concat()).expect("a configuration")
}

async fn connect(server: SocketAddr, config: &Config) -> ConnectionError {
    let address = Address { host: server.ip().to_string(), port: server.port() };
    let limits = Limits { in_flight: 1, max_response: 1 << 20, max_idle: None };
    dial(&address, config, limits).await.err().expect("no broker is there")
}

/// Expects a permanent TLS error that contains `want`. `None`: a secured stream, where the call fails only because no
/// broker answers.
async fn check(server: SocketAddr, config: &Config, want: Option<&str>) {
    match (connect(server, config).await, want) {
        (ConnectionError::Tls { what, retriable: false, .. }, Some(want)) if what.contains(want) => {}
        (ConnectionError::Lost { .. }, None) => {}
        (other, want) => panic!("{other:?}, expected: {want:?}"),
    }
}

#[tokio::test]
async fn certificate_is_verified() {
    let (ours, other) = (Ca::new("ours"), Ca::new("other"));
    let trusting = |ca: &Ca| config("ssl", &[("ssl.ca.pem", &ca.0.pem())]);

    let server = tls_server(ours.issue(|_| {}), None, &rustls::version::TLS13).await;
    check(server, &trusting(&ours), None).await;
    check(server, &trusting(&other), Some("not signed by a trusted CA, see `ssl.ca.location`")).await;
    check(server, &trusting(&Ca::new("ours")), Some("not signed by a trusted CA")).await;
    let unverified = [("ssl.ca.pem", &*other.0.pem()), ("enable.ssl.certificate.verification", "false")];
    check(server, &config("ssl", &unverified), None).await;

    let of_another_name = |params: &mut CertificateParams| {
        params.subject_alt_names =
            CertificateParams::new(["kafka.example".to_owned()]).expect("a name").subject_alt_names;
    };
    let other_name = "its certificate is for kafka.example, not for 127.0.0.1; \
                      `ssl.endpoint.identification.algorithm=none` accepts any name";
    // As OpenSSL makes it without extensions.
    let first = base64::engine::general_purpose::STANDARD.decode(VERSION_1).expect("base64");
    for (certificate, problem) in [
        (ours.issue(|params| params.not_after = date_time_ymd(2020, 1, 1)), "its certificate expired "),
        (
            ours.issue(|params| params.not_before = date_time_ymd(3000, 1, 1)),
            "its certificate is not valid before ",
        ),
        (ours.issue(of_another_name), other_name),
        (
            ours.issue(|params| params.subject_alt_names.clear()),
            "has no subjectAltName, and a common name does not",
        ),
        (
            ours.issue(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            "expected the extended key usage serverAuth",
        ),
        ((first.into(), key()), "is of X.509 version 1 or 2: expected version 3"),
        (
            (ours.0.der().clone(), KeyPair::from_pem(&ours.0.key().serialize_pem()).expect("a key")),
            "is that of a CA",
        ),
    ] {
        let server = tls_server(certificate, None, &rustls::version::TLS12).await;
        check(server, &trusting(&ours), Some(problem)).await;
    }
    let server = tls_server(ours.issue(of_another_name), None, &rustls::version::TLS13).await;
    let unnamed = |ca: &Ca| {
        config("ssl", &[("ssl.ca.pem", &ca.0.pem()), ("ssl.endpoint.identification.algorithm", "none")])
    };
    check(server, &unnamed(&ours), None).await;
    check(server, &unnamed(&other), Some("not signed by a trusted CA")).await;
}

#[tokio::test]
async fn token_endpoint_has_its_own_cas() {
    let (ours, other) = (Ca::new("ours"), Ca::new("other"));
    let server = tls_server(ours.issue(|_| {}), None, &rustls::version::TLS13).await;
    let url = format!("https://{}/token", server);
    for (ca, want) in [
        (&ours, "did not answer with HTTP/1.1"),
        (&other, "its certificate is not signed by a trusted CA, see `https.ca.location`"),
    ] {
        let properties = [
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.oauthbearer.method", "oidc"),
            ("sasl.oauthbearer.token.endpoint.url", &*url),
            ("sasl.oauthbearer.client.id", "me"),
            ("sasl.oauthbearer.client.secret", "hunter2"),
            ("https.ca.pem", &*ca.0.pem()),
        ];
        let Some(Sasl::OAuthBearer(TokenSource::Oidc(oidc), _)) =
            config("sasl_plaintext", &properties).security.sasl
        else {
            panic!("no endpoint")
        };
        let fault = oidc.token(Instant::now() + Duration::from_secs(5)).await.expect_err("no token");
        assert!(fault.what.contains(want), "{fault:?}, expected: {want}");
    }
}

#[tokio::test]
async fn client_certificate_is_sent() {
    let (ours, clients) = (Ca::new("ours"), Ca::new("other"));
    let ca = ours.0.pem();
    let (certificate, key) = clients.issue(|_| {});
    let (stranger, strange_key) = ours.issue(|_| {});
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = tls_server(ours.issue(|_| {}), Some(&clients), version).await;
        let with = |certificate: &CertificateDer<'_>, key: &KeyPair| {
            let (certificate, key) = (pem("CERTIFICATE", certificate), key.serialize_pem());
            let identity = [("ssl.certificate.pem", &*certificate), ("ssl.key.pem", &key)];
            config("ssl", &[&[("ssl.ca.pem", &*ca)], &identity[..]].concat())
        };
        check(server, &config("ssl", &[("ssl.ca.pem", &ca)]), Some("demands a client certificate")).await;
        check(server, &with(&stranger, &strange_key), Some("refused the client certificate")).await;
        check(server, &with(&certificate, &key), None).await;
    }
}

#[tokio::test]
async fn revoked_certificate_is_rejected() {
    let (ours, other) = (Ca::new("ours"), Ca::new("other"));
    let named = tls_server(ours.issue(|_| {}), None, &rustls::version::TLS13).await;
    let elsewhere = ours.issue(|params| params.subject_alt_names.clear());
    let unnamed = tls_server(elsewhere, None, &rustls::version::TLS13).await;
    let directory = Directory::new("crl");
    for (list, want) in [
        (ours.revoking(7, 3000), Some("has been revoked")),
        (ours.revoking(8, 3000), None),
        (ours.revoking(8, 2021), Some("has expired, see `ssl.crl.location`")),
        (other.revoking(8, 3000), Some("no list says whether")),
    ] {
        let path = directory.write("crl.pem", &list);
        // The list counts whether names do or not.
        for (server, names) in [(named, "https"), (named, "none"), (unnamed, "none")] {
            let properties = [
                ("ssl.ca.pem", &*ours.0.pem()),
                ("ssl.crl.location", &path),
                ("ssl.endpoint.identification.algorithm", names),
            ];
            let config = config("ssl", &properties);
            check(server, &config, want).await;
        }
    }
}

/// A server that answers the first byte with these, and waits for the end.
async fn answering(answer: &'static [u8]) -> SocketAddr {
    server(move |mut stream| async move {
        let _ = stream.read_u8().await;
        let _ = stream.write_all(answer).await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

/// As Kafka takes a ClientHello for a frame that is too long.
async fn closing() -> SocketAddr {
    server(|mut stream| async move {
        let _ = stream.read_u8().await;
    })
    .await
}

#[tokio::test]
async fn plaintext_listener_is_recognized() {
    let secured = config("ssl", &[("ssl.ca.pem", &Ca::new("ours").0.pem())]);
    let want = "closed the connection during the TLS handshake: expected a TLS listener";
    check(closing().await, &secured, Some(want)).await;
    let other = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    check(other, &secured, Some("answered with something other than TLS")).await;
    // handshake_failure, before any certificate: of a broker with a P-521 key, or without ECDHE.
    let want = "as it has no algorithm in common: expected ECDHE with";
    check(answering(&[21, 3, 3, 0, 2, 2, 40]).await, &secured, Some(want)).await;
    let want = "answered with a TLS alert: set `security.protocol` to ssl or sasl_ssl";
    check(answering(&[21, 3, 3, 0, 2, 2, 80]).await, &config("plaintext", &[]), Some(want)).await;
}

#[tokio::test]
async fn internal_alert_and_a_handshake_closed_after_a_success_are_retriable() {
    let ca = Ca::new("ours");
    let config = config("ssl", &[("ssl.ca.pem", &ca.0.pem())]);
    // RFC 8446, section 6: internal_error, user_canceled, handshake_failure.
    for (alert, retriable) in [
        (&[21, 3, 3, 0, 2, 2, 80], true),
        (&[21, 3, 3, 0, 2, 2, 90], true),
        (&[21, 3, 3, 0, 2, 2, 40], false),
    ] {
        let error = connect(answering(alert).await, &config).await;
        assert!(matches!(error, ConnectionError::Tls { .. }), "{error:?}");
        assert_eq!(error.retriable(), retriable, "{error:?}");
    }
    let server = tls_server(ca.issue(|_| {}), None, &rustls::version::TLS13).await;
    check(server, &config, None).await;
    assert!(connect(closing().await, &config).await.retriable());
    let tls = config.security.tls.expect("TLS");
    let garbled = tls.fault(&io::Error::new(io::ErrorKind::InvalidData, Error::DecryptError));
    assert!(garbled.expect("a fault of TLS").retriable);
}

#[tokio::test(start_paused = true)]
async fn silent_listener_times_out() {
    let ca = Ca::new("ours");
    let silent = server(|stream| async move {
        let _open = stream;
        std::future::pending().await
    })
    .await;
    let error = connect(silent, &config("ssl", &[("ssl.ca.pem", &ca.0.pem())])).await;
    assert!(matches!(error, ConnectionError::Silent { .. }), "{error:?}");
}

/// A self-signed certificate of version 1, valid until 2081.
const VERSION_1: &str = "MIIBJDCBywIUct8C5/Vwjs6dWpHVHZTw9eKyC9cwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyOTIxNDgwMFo\
    YDzIwODEwOTAxMjE0ODAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQQoCYFxGRU31slwd1RT1bdama43B1c3qIPHC3IPlz+\
    PzyqTF0gyknm9rueMmPvsd9GjyTFHnAHhHHqT4Z3qj6FMAoGCCqGSM49BAMCA0gAMEUCIEvy3XCufDa3Jj7UolWA9J6dYvEqRR5VQQqZcgoIo1wKAiEA90Wpiqqfrlq6\
    OUQp1J79uaArCAQnV9Twxp5hOtagUas=";
