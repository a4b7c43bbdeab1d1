//! The live page in a browser, while a thousand records are written each second.

use std::time::Duration;

use sluicegate_stack::browser;
use sluicegate_stack::envoy::{LIVE_PAGE, Profile, page};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::port::Port;
use sluicegate_stack::stack::{Setup, Stack};
use tokio::time::{MissedTickBehavior, interval};

use crate::{Failure, say};

/// Fails if the page's memory grows, or if a record is missing or repeated.
#[tokio::main]
pub async fn soak(duration: Duration) -> Result<(), Failure> {
    let kafka = Kafka::start().await?;
    kafka.make_topic(TOPIC, 1, &[]).await?;
    let gateway = Port::pick()?;
    let envoy_edits = page(LIVE_PAGE, gateway.number())?.to_vec();
    let setup =
        Setup { envoy_edits, gateway: Some(gateway), ..Setup::new(Profile::Tunnel, kafka.bootstrap()) };
    let mut stack = Stack::start(setup).await?;
    stack.ready_within(Duration::from_secs(30)).await?;

    let within = duration + Duration::from_secs(60);
    let (gateway, duration) = (stack.gateway().to_string(), duration.as_secs().to_string());
    let args = [gateway.as_str(), duration.as_str()];
    let watched = browser::run("memory.ts", &args, within, async |line| {
        say(line);
        String::new()
    });
    tokio::select! {
        watched = watched => Ok(watched?),
        error = write(&kafka) => Err(error),
    }
}

async fn write(kafka: &Kafka) -> Failure {
    let records = vec![Record::of(VALUE); 100];
    let mut ticks = interval(Duration::from_millis(100));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        ticks.tick().await;
        if let Err(error) = kafka.produce(TOPIC, 0, &records, Write::default()).await {
            return error.into();
        }
    }
}

/// The page's own.
const TOPIC: &str = "demo";
const VALUE: &str = r#"{"gate":"north","reading":12345,"level_cm":210,"open_percent":50}"#;
