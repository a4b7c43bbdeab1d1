//! Writing to a secured Kafka, with and without the right.

use std::time::Duration;

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdKafkaProduce, ErrorResp, ProduceRecord, Producer};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::secured::{READER, Secured, WRITABLE, WRITER, listener};
use sluicegate_stack::secrets::secret;
use sluicegate_stack::socket::results;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tokens::{Claims, TokenResponse};

use crate::secured::gateway::{cause, open, with};
use crate::secured::section::{Section, endpoint};

fn at(kafka: &Secured, name: &'static str, listener: &str, protocol: &str) -> Section {
    Section::new(name, &kafka.kafka.bootstrap_of(listener).unwrap(), protocol)
}

/// The bridge's settings with which all these may be written to.
fn allowing(sections: &[Section]) -> String {
    let names: Vec<&str> = sections.iter().map(|section| section.name).collect();
    format!("[write]\nclusters = {names:?}\n")
}

/// The offset of a record that is written through this cluster, or why it is not.
async fn write(stack: &Stack, cluster: &str, topic: &str) -> Result<i64, ErrorResp> {
    let topic = topic.to_owned();
    let record = ProduceRecord { topic, value: Some("value".into()), ..ProduceRecord::default() };
    let mut produced = open(stack, cluster).await.produce(vec![record]).await?;
    let produced = produced.pop().expect("a result");
    produced.error.map_or(Ok(produced.offset), Err)
}

#[tokio::test]
async fn secured_clusters_are_written_to() {
    let kafka = Secured::shared().await.unwrap();
    let topic = &kafka.kafka.topic(WRITABLE, 1, &[]).await.unwrap();
    let folder = Folder::new("token").unwrap();
    let token = folder.write("token", &Claims::new(WRITER, HOUR).unsecured()).unwrap();
    let secret = &secret("writable");
    let endpoint = endpoint(kafka, secret, WRITER, TokenResponse::Token(HOUR), false);
    let sections = [
        at(kafka, "tls", listener::SSL, "ssl").trusting(kafka),
        at(kafka, "plain", listener::SASL, "sasl_plaintext").user("PLAIN", WRITER),
        at(kafka, "scram256", listener::SASL, "sasl_plaintext").user("SCRAM-SHA-256", WRITER),
        at(kafka, "token", listener::UNSECURED, "sasl_plaintext").token_file(&token),
        at(kafka, "oidc", listener::OIDC, "sasl_ssl").oidc(&endpoint.url(), secret).trusting(kafka),
        at(kafka, "scram512", listener::SASL_SSL, "SASL_SSL").user("SCRAM-SHA-512", WRITER).trusting(kafka),
    ];
    let stack = with(&sections, &allowing(&sections)).await;
    for (offset, section) in (0..).zip(&sections) {
        assert_eq!(write(&stack, section.name, topic).await, Ok(offset), "{}", section.name);
    }
}

#[tokio::test]
async fn repeat_is_told_without_the_right_to_read() {
    let kafka = Secured::shared().await.unwrap();
    let sections = [at(kafka, "writer", listener::SASL, "sasl_plaintext").user("PLAIN", WRITER)];
    let stacks = [with(&sections, &allowing(&sections)).await, with(&sections, &allowing(&sections)).await];
    for (times, is_told) in [("CreateTime", true), ("LogAppendTime", false)] {
        let topic = &kafka.kafka.topic(WRITABLE, 1, &[("message.timestamp.type", times)]).await.unwrap();
        for (stack, age, duplicate) in [(0, 0, false), (1, 5, is_told)] {
            let record = ProduceRecord {
                topic: topic.clone(),
                partition: Some(0),
                value: Some("value".into()),
                ..ProduceRecord::default()
            };
            let producer = Producer { id: "p".to_owned(), epoch: 0, sequence: 0, age_ms: Some(age) };
            let command = CmdKafkaProduce { records: vec![record], producer: Some(producer), dry_run: false };
            let answer = open(&stacks[stack], "writer").await.ask(Req::CmdKafkaProduce(command)).await;
            let produced = results(answer).unwrap().remove(0);
            assert_eq!((produced.error, produced.offset), (None, 0), "{times}");
            assert_eq!(produced.duplicate, duplicate, "{times} {stack}");
        }
    }
}

#[tokio::test]
async fn refused_writes_name_the_missing_right() {
    let kafka = Secured::shared().await.unwrap();
    let topic = &kafka.kafka.topic("refused", 1, &[]).await.unwrap();
    let sections = [
        at(kafka, "reader", listener::SASL, "sasl_plaintext").user("PLAIN", READER),
        at(kafka, "writer", listener::SASL, "sasl_plaintext").user("PLAIN", WRITER),
        at(kafka, "certificate", listener::MTLS, "ssl")
            .trusting(kafka)
            .with("ssl.certificate.pem", &kafka.reader.certificate)
            .with("ssl.key.pem", &kafka.reader.key),
        at(kafka, "password", listener::SASL, "sasl_plaintext").user_with(
            "PLAIN",
            WRITER,
            "no-password-of-anyone",
        ),
    ];
    let stack = with(&sections, &allowing(&sections)).await;
    for (cluster, code, says) in [
        ("reader", 31, "may not write to any topic"),
        ("writer", 29, "TOPIC_AUTHORIZATION_FAILED"),
        ("certificate", 31, "may not write to any topic"),
        ("password", 8, "authent"),
    ] {
        let error = write(&stack, cluster, topic).await.unwrap_err();
        assert_eq!(
            (error.code, error.retriable, error.unknown_outcome),
            (code, false, false),
            "{cluster}: {error:?}"
        );
        let told = if code == 8 { cause(&stack, &error.message) } else { error.message };
        assert!(told.contains(says), "{cluster}: {told}");
    }
    assert_eq!(kafka.kafka.watermarks(topic, 0).unwrap(), (0, 0));
}

const HOUR: Duration = Duration::from_secs(3600);
