//! A hostile person with producers, while others go on, and brokers remember no more of it than the limit says.

use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_stack::json_socket::JsonSocket;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::way::Way;

use crate::identity::stacks::{NEW_PRODUCERS, command, of_gateway, open, token};

/// A person's session that writes single records as producers.
struct Writer<'a> {
    person: &'static str,
    topic: &'a str,
    socket: JsonSocket,
    commands: i64,
}

impl Writer<'_> {
    /// The result of a record with its producer's name, epoch, sequence and age in milliseconds.
    async fn write(&mut self, (id, epoch, sequence): (&str, u32, u32), age: u64) -> Value {
        self.commands += 1;
        let value = format!("{} {id} {epoch} {sequence}", self.person);
        let record = json!({"topic": self.topic, "partition": 0, "value": value});
        let producer = json!({"id": id, "epoch": epoch, "sequence": sequence, "age_ms": age});
        let produce = json!({"records": [record], "format": "text", "producer": producer});
        let answer = command(&mut self.socket, self.commands, "produce", produce).await;
        answer["results"][0].clone()
    }

    /// Writes a record that nobody has written.
    async fn writes(&mut self, producer: (&str, u32, u32)) {
        let result = self.write(producer, 0).await;
        assert_eq!(result["duplicate"], false, "{} {producer:?}: {result}", self.person);
    }

    /// Repeats a record, which is there.
    async fn repeats(&mut self, producer: (&str, u32, u32), last: u32) {
        let result = self.write(producer, 5).await;
        let told = (&result["duplicate"], &result["last_sequence"]);
        assert_eq!(told, (&json!(true), &json!(last)), "{} {producer:?}: {result}", self.person);
    }

    async fn is_refused(&mut self, producer: (&str, u32, u32), reason: &str) {
        let result = self.write(producer, 0).await;
        assert_eq!(result["error"]["reason"], reason, "{} {producer:?}: {result}", self.person);
    }
}

#[tokio::test]
async fn hostile_producers_touch_nobody_else_and_stay_within_the_limit() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("open-hostile", 1, &[]).await.unwrap();
    let stack = of_gateway(Way::Tunnel).await;
    let writer = async |person| {
        let socket = open(&stack, &token(person, &json!({}), 600)).await;
        Writer { person, topic, socket, commands: 0 }
    };
    let (mut bob, mut eve) = (writer("bob").await, writer("eve").await);
    for sequence in 0..3 {
        bob.writes(("p", 0, sequence)).await;
    }
    // The same name, epochs up, and sequences back.
    eve.writes(("p", 0, 0)).await;
    eve.writes(("p", 9, 0)).await;
    eve.repeats(("p", 9, 0), 0).await;
    eve.is_refused(("p", 3, 0), "FENCED").await;
    eve.is_refused(("p", 9, 7), "OUT_OF_ORDER").await;
    bob.repeats(("p", 0, 1), 2).await;
    bob.writes(("p", 0, 3)).await;
    // As many producers as it can begin.
    let mut begun = 1;
    for number in 0..3 * NEW_PRODUCERS {
        let result = eve.write((&format!("new {number}"), 0, 0), 0).await;
        if result["duplicate"] == false {
            begun += 1;
            continue;
        }
        assert_eq!(result["error"]["reason"], "QUOTA_EXCEEDED", "{number}: {result}");
        let wait = Duration::from_millis(result["error"]["retry_after_ms"].as_u64().unwrap());
        assert!(wait > Duration::from_mins(30) && wait <= Duration::from_hours(1), "{result}");
    }
    // More than a half, beside one person.
    assert!(begun > NEW_PRODUCERS / 2 && begun < NEW_PRODUCERS, "{begun}");
    // Producers that go on or repeat count no more, and others can begin.
    eve.writes(("new 0", 0, 1)).await;
    eve.repeats(("new 0", 0, 0), 1).await;
    bob.writes(("p", 0, 4)).await;
    bob.writes(("q", 0, 0)).await;
    bob.repeats(("p", 0, 4), 4).await;
    assert_eq!(kafka.producers(topic, 0).await.unwrap(), begun + 2);
    let values = kafka.read(topic, 0).into_iter().map(|record| record.value.unwrap());
    let own: Vec<_> = values.filter(|value| value.starts_with(b"bob p")).collect();
    assert_eq!(own, ["bob p 0 0", "bob p 0 1", "bob p 0 2", "bob p 0 3", "bob p 0 4"]);
}
