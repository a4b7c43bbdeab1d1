//! Numbered records, written through a gateway: over a session, and over plain HTTP for NATS.

use std::time::Duration;

use serde_json::json;
use sluicegate_client::{Client, LoginError, ProduceRecord};
use sluicegate_stack::http::client::{Client as Http, Request};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::identity::Person;
use super::probe::{KEYS, STALL, now};
use super::stacks::{Gateway, NATS_REST, STREAM, TOPIC};
use crate::Failure;

/// Writes to the partition, and to the subject of the same number, until a write fails or stalls.
pub(super) async fn write(gateway: Gateway, partition: i32) -> Failure {
    let Err(failure) = write_on(&gateway, partition).await else { return "the writer has ended".into() };
    format!("the writer through {}: {failure}", gateway.name).into()
}

async fn write_on(gateway: &Gateway, partition: i32) -> Result<(), Failure> {
    let client = connect(gateway, "/pubsub", u64::from(partition.unsigned_abs())).await?;
    let mut person = Person::new("writer", 1_000 + u64::from(partition.unsigned_abs()));
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_u64.. {
        ticks.tick().await;
        let text = format!("{number} {} {}", now(), "x".repeat(VALUE));
        let value = json!(text).to_string();
        let record = ProduceRecord {
            topic: TOPIC.to_owned(),
            partition: Some(partition),
            key: Some(key(partition, number).into()),
            value: Some(value.clone().into()),
            ..ProduceRecord::default()
        };
        let written = timeout(STALL, client.produce(vec![record]))
            .await
            .map_err(|_| format!("a write takes {STALL:?}"))??;
        written.into_iter().next().ok_or("no outcome")??;
        if gateway.has_filter {
            let subject = format!("{STREAM}.{partition}");
            let body = json!({"messages": [{"subject": subject, "data": text}]}).to_string();
            let request = Request::post(format!("{NATS_REST}/streams/{STREAM}"), body)
                .with("content-type", "application/json")
                .with("authorization", format!("Bearer {}", person.token()?));
            let publish = async { Http::connect(gateway.address).await?.ask(request).await };
            let answer =
                timeout(STALL, publish).await.map_err(|_| format!("a publish takes {STALL:?}"))??;
            if answer.status != 200 {
                return Err(format!("a publish is answered by {answer:?}").into());
            }
        }
    }
    Ok(())
}

/// The key of a record.
fn key(partition: i32, number: u64) -> String {
    format!("{partition}-{}", number % KEYS)
}

/// A client whose identity is renewed before it is over.
pub(super) async fn connect(gateway: &Gateway, path: &str, seed: u64) -> Result<Client, Failure> {
    let mut builder = Client::builder(format!("ws://{}{path}", gateway.address));
    if gateway.has_filter {
        let person = std::sync::Mutex::new(Person::new("alice", seed));
        builder = builder.refresh(move || {
            let mut person = person.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let token =
                person.token().map_err(|why| LoginError { detail: why.to_string(), retriable: false });
            std::future::ready(token)
        });
    }
    Ok(builder.connect().await?)
}

/// Between two records of a partition.
const PACE: Duration = Duration::from_millis(200);
/// Bytes.
const VALUE: usize = 200;
