//! Reads offsets and a whole log over each security protocol, also after a password was corrected in its file.

use std::fs;
use std::time::Duration;

use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::secured::{READER, Secured, listener, password};
use sluicegate_stack::secrets::secret;
use sluicegate_stack::tokens::{Claims, TokenResponse};
use sluicegate_stack::waiting;

use crate::secured::gateway::{open, readiness, with};
use crate::secured::log;
use crate::secured::section::{Section, encrypted, endpoint};

#[tokio::test]
async fn secured_clusters_are_read() {
    let kafka = Secured::shared().await.unwrap();
    let folder = Folder::new("readable").unwrap();
    let file = |name: &str, content: &str| folder.write(name, content).unwrap();
    let at = |listener: &str| kafka.kafka.bootstrap_of(listener).unwrap();

    let authority = file("authority.pem", &kafka.authority.pem());
    let certificate = file("reader.pem", &kafka.reader.certificate);
    let key = file("reader-key.pem", &kafka.reader.key);
    let key_password = secret("password-of-a-key");
    let locked = file("reader-locked.pem", &encrypted(&kafka.reader.key, &key_password));
    // As an editor leaves it.
    let reader_password = file("password", &format!("{}\n", password(READER)));
    let token = file("token", &Claims::new(READER, Duration::from_secs(3600)).unsecured());
    let client_secret = secret("of-the-bridge");
    let response = TokenResponse::Token(Duration::from_secs(3600));
    let token_endpoint = endpoint(kafka, &client_secret, READER, response, false);
    let secured_endpoint = endpoint(kafka, &client_secret, READER, response, true);

    let ssl = |name, listener: &str| Section::new(name, &at(listener), "ssl");
    let sasl = |name| Section::new(name, &at(listener::SASL), "sasl_plaintext");
    let sasl_ssl = |name| Section::new(name, &at(listener::SASL_SSL), "SASL_SSL").trusting(kafka);
    let oidc = |name| Section::new(name, &at(listener::OIDC), "sasl_ssl").trusting(kafka);
    let sections = [
        ssl("ssl", listener::SSL).trusting(kafka),
        ssl("unverified", listener::FOREIGN).with("enable.ssl.certificate.verification", "false"),
        ssl("anyname", listener::MISNAMED)
            .with("ssl.ca.location", authority.to_str().unwrap())
            .with("ssl.endpoint.identification.algorithm", "none"),
        ssl("mtlsfiles", listener::MTLS)
            .with_file("ssl.ca.pem", &authority)
            .with_file("ssl.certificate.pem", &certificate)
            .with_variable_file("ssl.key.pem", &key),
        ssl("mtlsencrypted", listener::MTLS)
            .with("ssl.ca.location", authority.to_str().unwrap())
            .with("ssl.certificate.location", certificate.to_str().unwrap())
            .with("ssl.key.location", locked.to_str().unwrap())
            .with("ssl.key.password", &key_password),
        sasl("plain").user("PLAIN", READER),
        sasl("scram512")
            .with("sasl.mechanisms", "SCRAM-SHA-512")
            .with_variable("sasl.username", READER)
            .with_variable("sasl.password", &password(READER)),
        sasl_ssl("tlsplain")
            .with("sasl.mechanism", "PLAIN")
            .with("sasl.username", READER)
            .with_variable_file("sasl.password", &reader_password),
        sasl_ssl("tlsscram256")
            .with("sasl.mechanism", "SCRAM-SHA-256")
            .with("sasl.username", READER)
            .with_file("sasl.password", &reader_password),
        Section::new("token", &at(listener::UNSECURED), "sasl_plaintext").token_file(&token),
        oidc("oidc").oidc(&token_endpoint.url(), &client_secret),
        oidc("oidctls")
            .oidc(&secured_endpoint.url(), &client_secret)
            .with("https.ca.pem", &kafka.authority.pem()),
    ];
    let (stack, log) = (with(&sections, "").await, log(&kafka.kafka).await);
    for Section { name, .. } in sections {
        log.check(&mut open(&stack, name).await, name).await;
        assert_eq!(readiness(&stack, name).await, (200, "ok\n".to_owned()), "{name}");
    }
}

/// While sessions are open.
#[tokio::test]
async fn open_session_uses_a_corrected_password() {
    let kafka = Secured::shared().await.unwrap();
    let log = log(&kafka.kafka).await;
    let folder = Folder::new("password").unwrap();
    let path = folder.path().join("password");
    fs::write(&path, secret("outdated")).unwrap();
    let at = kafka.kafka.bootstrap_of(listener::SASL_SSL).unwrap();
    let section = |name| Section::new(name, &at, "sasl_ssl").with("ssl.ca.pem", &kafka.authority.pem());
    let outdated = section("rotated").with("sasl.mechanism", "SCRAM-SHA-512").with("sasl.username", READER);
    let other = section("other").user("PLAIN", READER);
    let stack = with(&[outdated.with_file("sasl.password", &path), other], "").await;
    let (mut session, mut bystander) = (open(&stack, "rotated").await, open(&stack, "other").await);
    assert!(session.fetch(&log.topic, 0, 0).await.is_err());
    assert_eq!(bystander.fetch(&log.topic, 0, 0).await.unwrap()[0], log.messages[0]);

    let connections =
        async || stack.bridge.count("sluicegate_kafka_connections_total", "other").await.unwrap();
    let before = connections().await;

    fs::write(&path, password(READER)).unwrap();
    // No signal: the bridge notices the file.
    let read = waiting::until("a fetch", Duration::from_secs(30), async || {
        session.fetch(&log.topic, 0, 0).await.map_err(|error| error.message)
    });
    assert_eq!(read.await[0], log.messages[0]);
    assert_eq!(bystander.fetch(&log.topic, 0, 0).await.unwrap()[0], log.messages[0]);
    assert_eq!(connections().await, before, "the other cluster was connected anew");
}
