//! Sessions in protobuf, by the client of this repository.

use std::time::Duration;

use sluicegate_client::nats::Update as NatsUpdate;
use sluicegate_client::{At, Source, Subscribe, TableChange, Update, nats};
use tokio::time::timeout;

use super::Reader;
use crate::Failure;
use crate::everything::stacks::{NATS, STREAM, TOPIC};
use crate::everything::writers::connect;

pub(super) async fn topic(reader: &mut Reader) -> Result<(), Failure> {
    let client = connect(&reader.gateway, "/pubsub", seed(reader)).await?;
    reader.probe.connected()?;
    let mut subscription = client.subscribe(Subscribe::new([Source::new(TOPIC).at(At::Latest)]));
    loop {
        reader.probe.check()?;
        let Ok(next) = timeout(TICK, subscription.next()).await else { continue };
        match next.ok_or("the subscription has ended")?? {
            Update::Delivery(delivery) => {
                let partition = delivery.partition.to_string();
                for message in &delivery.messages {
                    reader.probe.take(&partition, "", message.value.as_deref().unwrap_or_default())?;
                }
            }
            Update::Reconnecting { error, .. } => return Err(format!("the session ended: {error}").into()),
            Update::Skipped { .. } => return Err("records are skipped".into()),
            _ => {}
        }
    }
}

pub(super) async fn table(reader: &mut Reader) -> Result<(), Failure> {
    let client = connect(&reader.gateway, "/pubsub", seed(reader)).await?;
    reader.probe.connected()?;
    let mut table = client.table(Subscribe::new([Source::new(TOPIC)]));
    loop {
        reader.probe.check()?;
        let Ok(next) = timeout(TICK, table.next()).await else { continue };
        let keys = match next.ok_or("the table has ended")?? {
            TableChange::Keys(keys) => keys,
            TableChange::Other(Update::Reconnecting { error, .. }) => {
                return Err(format!("the session ended: {error}").into());
            }
            _ => continue,
        };
        for key in keys {
            let row = table.get(&key).ok_or("a key without a record")?;
            // JSON if it was written over plain HTTP.
            let key = std::str::from_utf8(&key)?.trim_matches('"');
            let (partition, _) = key.split_once('-').ok_or("a key of another form")?;
            reader.probe.take(partition, key, row.value.as_deref().unwrap_or_default())?;
        }
    }
}

pub(super) async fn stream(reader: &mut Reader) -> Result<(), Failure> {
    let client = connect(&reader.gateway, NATS, seed(reader)).await?;
    reader.probe.connected()?;
    let mut subscription =
        client.nats().subscribe(Subscribe::new([nats::Source::new(STREAM).at(At::Latest)]));
    loop {
        reader.probe.check()?;
        let Ok(next) = timeout(TICK, subscription.next()).await else { continue };
        match next.ok_or("the subscription has ended")?? {
            NatsUpdate::Delivery(delivery) => {
                for message in &delivery.messages {
                    reader.probe.take(&message.subject, "", &message.data)?;
                }
            }
            NatsUpdate::Reconnecting { error, .. } => {
                return Err(format!("the session ended: {error}").into());
            }
            NatsUpdate::Skipped { .. } => return Err("messages are skipped".into()),
            _ => {}
        }
    }
}

fn seed(reader: &Reader) -> u64 {
    u64::try_from(reader.number).unwrap_or_default().saturating_add(10_000)
}

/// Between two looks at the clock.
pub(super) const TICK: Duration = Duration::from_secs(1);
