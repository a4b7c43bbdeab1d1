//! People who are known by the certificates of their clients.

use std::path::PathBuf;
use std::time::Duration;

use sluicegate_client::{Client, ConnectError, Tls};
use sluicegate_stack::certificates::{Authority, Certificate};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::until;
use sluicegate_stack::way::Way;

use crate::identity::stacks::{BELIEVED, setup, topics_of_people};

mod tunnel {
    #[tokio::test]
    async fn verified_certificate_is_an_identity() {
        super::verified_certificate_is_an_identity(sluicegate_stack::way::Way::Tunnel).await;
    }
}

mod relay {
    #[tokio::test]
    async fn verified_certificate_is_an_identity() {
        super::verified_certificate_is_an_identity(sluicegate_stack::way::Way::Relay).await;
    }
}

/// PEM files of one run.
struct Files {
    folder: Folder,
}

impl Files {
    fn add(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The TLS settings of a client that trusts the gateway, with a certificate or without.
    fn client(&self, name: &str, of: Option<&Certificate>) -> Tls {
        let authority = self.folder.path().join("gateway-ca.pem");
        let files = of.map(|of| {
            (self.add(&format!("{name}.pem"), &of.certificate), self.add(&format!("{name}.key"), &of.key))
        });
        Tls::new(Some(&authority), files.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()))).unwrap()
    }
}

/// The gateway terminates TLS, asks for certificates, and lets in what it cannot verify.
fn accepting_untrusted(files: &Files, people: &Authority) -> (String, String) {
    let gateways = Authority::new("gateways").unwrap();
    let gateway = gateways.server("127.0.0.1").unwrap();
    files.add("gateway-ca.pem", &gateways.pem());
    let (cert, key) =
        (files.add("gateway.pem", &gateway.certificate), files.add("gateway.key", &gateway.key));
    let trusted = files.add("people-ca.pem", &people.pem());
    let listener = "    - filters:\n      - name: envoy.filters.network.http_connection_manager\n";
    let rest = listener.strip_prefix("    - ").unwrap();
    let tls = format!(
        "    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates:
            - certificate_chain: {{filename: {cert:?}}}
              private_key: {{filename: {key:?}}}
            validation_context:
              trusted_ca: {{filename: {trusted:?}}}
              trust_chain_verification: ACCEPT_UNTRUSTED
      {rest}"
    );
    (listener.to_owned(), tls)
}

async fn verified_certificate_is_an_identity(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let shared = topics_of_people(kafka, "certified").await;
    let of = |person: &str| format!("{shared}.{person}");
    let files = Files { folder: Folder::new("certificates").unwrap() };
    let (people, strangers) = (Authority::new("people").unwrap(), Authority::new("people").unwrap());
    let keys = format!(
        r#""identity": {{"from": "certificate", "subject": "dns_san"}}, "topics": ["{shared}.${{sub}}"]"#
    );
    let mut setup = setup(way, kafka, &keys, BELIEVED);
    setup.envoy_edits.push(accepting_untrusted(&files, &people));
    let stack = Stack::start(setup).await.unwrap();
    let url = stack.url().replace("ws://", "wss://");
    let open = async |tls: &Tls| Client::builder(&url).tls(tls.clone()).connect().await;

    let alice = files.client("alice", Some(&people.server("alice").unwrap()));
    let open_alice = async || open(&alice).await.map_err(|error| error.to_string());
    let client = until("open alice's session", Duration::from_secs(30), open_alice).await;
    assert!(client.fetch(&of("alice"), 0, 0).await.is_ok());
    assert!(client.fetch(&of("bob"), 0, 0).await.is_err());
    for (name, certificate) in [
        ("forged", Some(strangers.server("alice").unwrap())),
        ("expired", Some(people.expired_server("alice").unwrap())),
        // Its name is in the subject, where this route does not look.
        ("other-part", Some(people.client("alice").unwrap())),
        ("none", None),
    ] {
        let opened = open(&files.client(name, certificate.as_ref())).await;
        assert!(matches!(opened, Err(ConnectError::Refused { status: 401, .. })), "{name}: {opened:?}");
    }
}
