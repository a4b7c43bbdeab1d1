//! Writing to a secured Kafka, with and without the right.

use std::path::Path;

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdKafkaProduce, ErrorResp, ProduceRecord, Producer};
use sluicegate_stack::kafka::secured::{READER, Secured, WRITABLE, WRITER, listener};
use sluicegate_stack::socket::results;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tokens::Endpoint;

use crate::secured::gateway::{cause, open};
use crate::secured::section::Section;

/// The offset of a record that is written through this cluster, or why it is not.
async fn write(stack: &Stack, cluster: &str, topic: &str) -> Result<i64, ErrorResp> {
    let topic = topic.to_owned();
    let record = ProduceRecord { topic, value: Some("value".into()), ..ProduceRecord::default() };
    let mut produced = open(stack, cluster).await.produce(vec![record]).await?;
    let produced = produced.pop().expect("a result");
    produced.error.map_or(Ok(produced.offset), Err)
}

/// Of users that can write.
const WRITERS: [&str; 6] = ["wtls", "wplain", "wscram256", "wtoken", "woidc", "wscram512"];

/// Clusters that [`check`] writes to, with a token in a file and one of an endpoint, which knows the secret.
pub(super) fn sections(kafka: &Secured, token: &Path, endpoint: &Endpoint, secret: &str) -> [Section; 9] {
    let at = |name, listener: &str, protocol| {
        Section::new(name, &kafka.kafka.bootstrap_of(listener).unwrap(), protocol)
    };
    let sasl = |name| at(name, listener::SASL, "sasl_plaintext");
    [
        at("wtls", listener::SSL, "ssl").trusting(kafka),
        sasl("wplain").user("PLAIN", WRITER),
        sasl("wscram256").user("SCRAM-SHA-256", WRITER),
        at("wtoken", listener::UNSECURED, "sasl_plaintext").token_file(token),
        at("woidc", listener::OIDC, "sasl_ssl").oidc(&endpoint.url(), secret).trusting(kafka),
        at("wscram512", listener::SASL_SSL, "SASL_SSL").user("SCRAM-SHA-512", WRITER).trusting(kafka),
        sasl("reader").user("PLAIN", READER),
        at("certificate", listener::MTLS, "ssl")
            .trusting(kafka)
            .with("ssl.certificate.pem", &kafka.reader.certificate)
            .with("ssl.key.pem", &kafka.reader.key),
        sasl("password").user_with("PLAIN", WRITER, "no-password-of-anyone"),
    ]
}

pub(super) async fn check(kafka: &Secured, stack: &Stack) {
    let topic = &kafka.kafka.topic(WRITABLE, 1, &[]).await.unwrap();
    for (offset, name) in (0..).zip(WRITERS) {
        assert_eq!(write(stack, name, topic).await, Ok(offset), "{name}");
    }
    let topic = &kafka.kafka.topic("refused", 1, &[]).await.unwrap();
    for (cluster, code, says) in [
        ("reader", 31, "may not write to any topic"),
        ("wplain", 29, "TOPIC_AUTHORIZATION_FAILED"),
        ("certificate", 31, "may not write to any topic"),
        ("password", 8, "authent"),
    ] {
        let error = write(stack, cluster, topic).await.unwrap_err();
        assert_eq!(
            (error.code, error.retriable, error.unknown_outcome),
            (code, false, false),
            "{cluster}: {error:?}"
        );
        let told = if code == 8 { cause(stack, &error.message) } else { error.message };
        assert!(told.contains(says), "{cluster}: {told}");
    }
    assert_eq!(kafka.kafka.watermarks(topic, 0).unwrap(), (0, 0));
}

/// Without the right to read, a repeat is told by another bridge, too.
pub(super) async fn check_repeats(kafka: &Secured, stacks: [&Stack; 2]) {
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
            let answer = open(stacks[stack], "wplain").await.ask(Req::CmdKafkaProduce(command)).await;
            let produced = results(answer).unwrap().remove(0);
            assert_eq!((produced.error, produced.offset), (None, 0), "{times}");
            assert_eq!(produced.duplicate, duplicate, "{times} {stack}");
        }
    }
}
