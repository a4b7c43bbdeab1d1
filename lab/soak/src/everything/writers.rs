//! Numbered records, written through a gateway: to Kafka over a session if it serves them, otherwise over plain HTTP, and to
//! NATS over plain HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_client::{Client, LoginError, ProduceRecord};
use sluicegate_protocol::metadata::WRITE;
use sluicegate_stack::http::client::{Client as Http, Request};
use sluicegate_stack::way::Way;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::identity::Person;
use super::probe::{KEYS, STALL, now};
use super::stacks::{Gateway, KAFKA_REST, NATS_REST, STREAM, TOPIC};
use crate::Failure;

/// Writes to the partition, and to the subject of the same number, until a write fails or stalls.
pub(super) async fn write(gateway: Gateway, partition: i32) -> Failure {
    let Err(failure) = write_on(&gateway, partition).await else { return "the writer has ended".into() };
    format!("the writer through {}: {failure}", gateway.way.name()).into()
}

async fn write_on(gateway: &Gateway, partition: i32) -> Result<(), Failure> {
    let number_of_way = u64::from(partition.unsigned_abs());
    let session = if gateway.has_sessions() { Some(connect(gateway, number_of_way).await?) } else { None };
    let mut person = Person::new("writer", 1_000 + number_of_way);
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_u64.. {
        ticks.tick().await;
        let text = format!("{number} {} {}", now(), "x".repeat(VALUE));
        let key = format!("{partition}-{}", number % KEYS);
        if let Some(client) = &session {
            let record = ProduceRecord {
                topic: TOPIC.to_owned(),
                partition: Some(partition),
                key: Some(key.into()),
                value: Some(json!(text).to_string().into()),
                ..ProduceRecord::default()
            };
            let written = timeout(STALL, client.produce(vec![record]))
                .await
                .map_err(|_| format!("a write takes {STALL:?}"))??;
            written.into_iter().next().ok_or("no outcome")??;
        } else {
            let path = format!("{KAFKA_REST}/topics/{TOPIC}/partitions/{partition}");
            post(gateway, &mut person, path, &json!({"records": [{"key": key, "value": text}]})).await?;
        }
        if gateway.has_filter() {
            let message = json!({"subject": format!("{STREAM}.{partition}"), "data": text});
            let path = format!("{NATS_REST}/streams/{STREAM}");
            post(gateway, &mut person, path, &json!({"messages": [message]})).await?;
        }
    }
    Ok(())
}

async fn post(gateway: &Gateway, person: &mut Person, path: String, body: &Value) -> Result<(), Failure> {
    let request = Request::post(path, body.to_string())
        .with("content-type", "application/json")
        .with("authorization", format!("Bearer {}", person.token()?));
    let answer = async { Http::connect(gateway.address).await?.ask(request).await };
    let answer = timeout(STALL, answer).await.map_err(|_| format!("a write takes {STALL:?}"))??;
    // The only record's error is the request's.
    if answer.status != 200 {
        return Err(format!("a write is answered by {answer:?}").into());
    }
    Ok(())
}

/// A client whose identity is renewed before it is over.
async fn connect(gateway: &Gateway, seed: u64) -> Result<Client, Failure> {
    let mut builder = Client::builder(format!("ws://{}/pubsub", gateway.address));
    if gateway.has_filter() {
        let person = std::sync::Mutex::new(Person::new("alice", seed));
        builder = builder.refresh(move || {
            let mut person = person.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let token =
                person.token().map_err(|why| LoginError { detail: why.to_string(), retriable: false });
            std::future::ready(token)
        });
    } else if gateway.way == Way::Direct {
        // A client without a gateway grants itself what it may do.
        builder = builder.header(WRITE, "true");
    }
    Ok(builder.connect().await?)
}

const PACE: Duration = Duration::from_millis(300);
/// Bytes.
const VALUE: usize = 200;
