//! People who are known by the certificates of their clients.

use std::time::Duration;

use serde_json::json;
use sluicegate_client::{Client, Tls};
use sluicegate_stack::certificates::{Authority, Certificate};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::waiting::until;
use sluicegate_stack::way::Way;

use crate::identity::stacks::{BELIEVED, config, status, topics_of_people};

/// The TLS settings of a client that trusts the gateway, with a certificate or without.
fn client(folder: &Folder, name: &str, of: Option<&Certificate>) -> Tls {
    let authority = folder.path().join("gateway-ca.pem");
    let file = |end: &str, text: &str| folder.write(&format!("{name}.{end}"), text).unwrap();
    let files = of.map(|of| (file("pem", &of.certificate), file("key", &of.key)));
    Tls::new(Some(&authority), files.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()))).unwrap()
}

/// The gateway terminates TLS, asks for certificates, and lets in what it cannot verify.
fn accepting_untrusted(folder: &Folder, people: &Authority) -> (String, String) {
    let gateways = Authority::new("gateways").unwrap();
    let gateway = gateways.server("127.0.0.1").unwrap();
    let file = |name: &str, text: &str| folder.write(name, text).unwrap();
    file("gateway-ca.pem", &gateways.pem());
    let (cert, key) = (file("gateway.pem", &gateway.certificate), file("gateway.key", &gateway.key));
    let trusted = file("people-ca.pem", &people.pem());
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

#[tokio::test]
async fn verified_certificate_is_an_identity() {
    let kafka = Kafka::shared().await.unwrap();
    let shared = topics_of_people(kafka, "certified").await;
    let of = |person: &str| format!("{shared}.{person}");
    let folder = Folder::new("certificates").unwrap();
    let (people, strangers) = (Authority::new("people").unwrap(), Authority::new("people").unwrap());
    let identity = json!({"from": "certificate", "subject": "dns_san"});
    let keys = json!({"identity": identity, "topics": [of("${sub}")]});
    let edit = accepting_untrusted(&folder, &people);
    let stack = config(Way::Tunnel, &keys, BELIEVED).await.edit(edit).unready().await;
    let url = stack.url().replace("ws://", "wss://");
    let open = async |tls: &Tls| Client::builder(&url).tls(tls.clone()).connect().await;

    let alice = client(&folder, "alice", Some(&people.server("alice").unwrap()));
    let open_alice = async || open(&alice).await.map_err(|error| error.to_string());
    let opened = until("open alice's session", Duration::from_secs(30), open_alice).await;
    assert!(opened.fetch(&of("alice"), 0, 0).await.is_ok());
    assert!(opened.fetch(&of("bob"), 0, 0).await.is_err());
    for (name, certificate) in [
        ("forged", Some(strangers.server("alice").unwrap())),
        ("expired", Some(people.expired_server("alice").unwrap())),
        // Its name is in the subject, where this route does not look.
        ("other-part", Some(people.client("alice").unwrap())),
        ("none", None),
    ] {
        assert_eq!(status(open(&client(&folder, name, certificate.as_ref())).await), 401, "{name}");
    }
}
