//! Writes a record to the demo's topic, and prints what is there. `docs/how-to/rust-python-shell.md` shows this
//! program.
#![expect(clippy::print_stdout, reason = "its output")]

use std::error::Error;

use sluicegate_client::{At, Client, ProduceRecord, Source, Subscribe, Update};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    follow("ws://127.0.0.1:8080/pubsub", 5).await
}

/// Writes one record, and prints `count` of them, the oldest first.
pub async fn follow(url: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(url).await?;
    let record = ProduceRecord {
        topic: "demo".into(),
        key: Some("rust".into()),
        value: Some(r#"{"gate": "mine"}"#.into()),
        ..ProduceRecord::default()
    };
    for outcome in client.produce(vec![record]).await? {
        let written = outcome?;
        println!("written: partition {}, offset {:?}", written.partition, written.offset);
    }

    let mut updates = client.subscribe(Subscribe::new([Source::new("demo").at(At::Earliest)]));
    let mut seen = 0;
    while seen < count {
        // Lost connections are not errors: the subscription continues where it was.
        match updates.next().await.ok_or("the subscription has ended")?? {
            Update::Delivery(delivery) => {
                for message in &delivery.messages {
                    println!("{} {}: {:?}", delivery.partition, message.offset, message.value);
                }
                seen += delivery.messages.len();
            }
            other => println!("{other:?}"),
        }
    }
    client.close().await?;
    Ok(())
}
