//! Reads offsets and a whole log over each security protocol, also after a password was corrected in its file, and writes.

use std::fs;
use std::time::Duration;

use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::secured::{READER, Secured, WRITER, listener, password};
use sluicegate_stack::secrets::secret;
use sluicegate_stack::tokens::Claims;
use sluicegate_stack::waiting;

use crate::secured::gateway::{open, readiness, with};
use crate::secured::section::{Section, encrypted, endpoint};
use crate::secured::{log, writable};

#[tokio::test]
async fn secured_clusters_are_read_and_written_to() {
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
    let corrected = file("corrected", &secret("outdated"));
    let token = |user: &str| file(user, &Claims::new(user, HOUR).unsecured());
    let client_secret = secret("of-the-bridge");
    let endpoint = |user, tls| endpoint(kafka, &client_secret, user, tls);
    let [token_endpoint, secured_endpoint] = [false, true].map(|tls| endpoint(READER, tls));

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
        Section::new("token", &at(listener::UNSECURED), "sasl_plaintext").token_file(&token(READER)),
        oidc("oidc").oidc(&token_endpoint.url(), &client_secret),
        oidc("oidctls")
            .oidc(&secured_endpoint.url(), &client_secret)
            .with("https.ca.pem", &kafka.authority.pem()),
    ];
    let writer_endpoint = endpoint(WRITER, false);
    let writers = writable::sections(kafka, &token(WRITER), &writer_endpoint, &client_secret);
    let outdated = sasl_ssl("rotated").with("sasl.mechanism", "SCRAM-SHA-512").with("sasl.username", READER);
    let outdated = outdated.with_file("sasl.password", &corrected);
    let all = [&sections[..], &writers, &[outdated]].concat();
    let (stack, log) = (with(&all, &writers).await, log(&kafka.kafka).await);
    for Section { name, .. } in sections {
        log.check(&mut open(&stack, name).await, name).await;
        assert_eq!(readiness(&stack, name).await, (200, "ok\n".to_owned()), "{name}");
    }
    writable::check(kafka, &stack).await;
    let other = with(&writers, &writers).await;
    writable::check_repeats(kafka, [&*stack, &*other]).await;

    // While sessions are open.
    let (mut session, mut bystander) = (open(&stack, "rotated").await, open(&stack, "tlsplain").await);
    assert!(session.fetch(&log.topic, 0, 0).await.is_err());
    assert_eq!(bystander.fetch(&log.topic, 0, 0).await.unwrap()[0], log.messages[0]);

    let connections =
        async || stack.bridge.count("sluicegate_kafka_connections_total", "tlsplain").await.unwrap();
    let before = connections().await;

    fs::write(&corrected, password(READER)).unwrap();
    // No signal: the bridge notices the file.
    let read = waiting::until("a fetch", Duration::from_secs(30), async || {
        session.fetch(&log.topic, 0, 0).await.map_err(|error| error.message)
    });
    assert_eq!(read.await[0], log.messages[0]);
    assert_eq!(bystander.fetch(&log.topic, 0, 0).await.unwrap()[0], log.messages[0]);
    assert_eq!(connections().await, before, "the other cluster was connected anew");
}

const HOUR: Duration = Duration::from_secs(3600);
