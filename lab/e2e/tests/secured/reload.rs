//! A password that is corrected in its file, while sessions are open.

use std::fs;
use std::time::Duration;

use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::secured::{READER, Secured, listener, password};
use sluicegate_stack::secrets::secret;
use sluicegate_stack::waiting;

use crate::secured::gateway::{open, with};
use crate::secured::records::log;
use crate::secured::section::Section;

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
