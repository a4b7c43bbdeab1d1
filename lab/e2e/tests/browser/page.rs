//! The live page.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_soak::live::writers;
use sluicegate_stack::browser;
use sluicegate_stack::kafka::{Record, Write};

use crate::browser::parts::{PARTITIONS, Parts, TOPIC};

#[tokio::test]
async fn page_shows_every_record_once_while_everything_fails_in_turn() {
    let mut parts = Parts::start().await;
    let gateway = parts.stack.gateway().to_string();
    let screenshots = browser::screenshots().unwrap();
    let mut writers = Some(writers::start(&parts.kafka, &Arc::from(TOPIC), PARTITIONS, |gate, reading| {
        format!(r#"{{"gate":{gate},"reading":{reading}}}"#)
    }));
    let args = [gateway.as_str(), screenshots.to_str().unwrap()];
    browser::run("page.ts", &args, Duration::from_secs(240), async |request| match request {
        "write 100" => {
            let records = vec![Record::of("{}"); 100];
            parts.kafka.produce(TOPIC, 0, &records, Write::default()).await.unwrap();
            "done".to_owned()
        }
        "stop writing" => {
            writers.take().unwrap().stop().await;
            let ends = (0..PARTITIONS).map(|partition| parts.kafka.watermarks(TOPIC, partition).unwrap().1);
            ends.sum::<i64>().to_string()
        }
        request => parts.act(request).await,
    })
    .await
    .unwrap();
}
