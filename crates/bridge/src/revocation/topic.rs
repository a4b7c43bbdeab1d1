//! Follows a compacted topic with revocations.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use sluicegate_backend::command::{Source, Start, SubscribeCommand};
use sluicegate_backend::{CommandError, LOG_START};
use sluicegate_delivery::Item;
use sluicegate_delivery::cluster::Cluster;
use sluicegate_delivery::grant::Grant;
use sluicegate_fair_share::ClientKey;
use sluicegate_identity::Revocation;
use sluicegate_protocol::KafkaFetchResp;
use sluicegate_rights::{Pattern, Rights};
use tokio::time::{Instant, sleep, timeout_at};

use super::Revoked;
use crate::clusters::Clusters;
use crate::config::RevocationTopic;

/// Reads the topic from its beginning, and goes on as it is written. While it cannot be read, what is known stays.
///
/// # Cancel safety
/// A drop ends it.
pub(crate) async fn follow(revoked: Arc<Revoked>, clusters: Arc<Clusters>, topic: RevocationTopic) {
    loop {
        let ended = match clusters.named(&topic.cluster) {
            Some(cluster) => read(&revoked, cluster, &topic.name).await.err().map(|error| error.message),
            None => Some("its cluster is not configured".to_owned()),
        };
        revoked.metrics.readable(false);
        let (name, error) = (&topic.name, ended.unwrap_or_default());
        tracing::warn!(
            topic = name,
            error,
            event = "revocations_unreadable",
            "revocations cannot be read, those that are known stay"
        );
        sleep(PAUSE).await;
    }
}

/// Reads until there is an error.
async fn read(revoked: &Revoked, cluster: Arc<Cluster>, topic: &str) -> Result<(), CommandError> {
    let topics = Some(std::iter::once(Pattern::Name(topic.into())).collect());
    let grant = Grant::new(
        cluster,
        ClientKey::default(),
        None,
        Rights { read: topics, write: None, ..Rights::default() },
    );
    let source = Source { topic: topic.to_owned(), from: Start::Timestamp(LOG_START), ..Source::default() };
    // Also of open transactions, behind which others' would wait. One that is aborted ends an identity too soon.
    let command = SubscribeCommand { sources: vec![source], committed: false, ..SubscribeCommand::default() };
    let mut subscription = grant.subscribe(command).await?;
    let mut reading = Reading { behind: BTreeSet::new(), publish_at: None };
    loop {
        // Records without a pause must not delay it.
        if reading.due() <= Instant::now()
            || timeout_at(reading.due(), subscription.ready(usize::MAX)).await.is_err()
        {
            reading.publish(revoked);
            continue;
        }
        match subscription.take() {
            Some(Item::Subscribed(topics)) => {
                let partitions = topics.iter().flat_map(|topic| &topic.partitions);
                reading.behind.extend(partitions.map(|(partition, _)| *partition));
            }
            Some(Item::Delivery { messages, next, .. }) => {
                take(revoked, next.partition, messages);
                // A burst of records, such as at the beginning, is looked through once.
                reading.publish_at.get_or_insert_with(|| Instant::now() + COALESCED);
            }
            Some(Item::CaughtUp { place, .. }) => {
                reading.behind.remove(&place.partition);
                reading.tell(revoked);
            }
            Some(Item::Retrying { place, .. }) => {
                reading.behind.insert(place.partition);
                revoked.metrics.readable(false);
            }
            Some(Item::Ended { error, .. }) => return Err(error),
            // Records that were deleted or compacted are known, or were taken back.
            Some(Item::Skipped { .. }) | None => {}
            // It is neither a table nor a member of a group.
            Some(
                Item::Snapshot(_)
                | Item::Building { .. }
                | Item::SnapshotEnd { .. }
                | Item::LogStart(_)
                | Item::Assigned { .. }
                | Item::Revoked,
            ) => {}
        }
    }
}

/// The state of one read from the beginning on.
struct Reading {
    /// Partitions that were not read to their end, or cannot be read.
    behind: BTreeSet<i32>,
    /// When records count that were taken up.
    publish_at: Option<Instant>,
}

impl Reading {
    fn due(&self) -> Instant {
        self.publish_at.unwrap_or_else(|| Instant::now() + QUIET)
    }

    /// A publication now, also if there were no records: entries lapse.
    fn publish(&mut self, revoked: &Revoked) {
        self.publish_at = None;
        revoked.publish();
    }

    /// Tells that all partitions are read to their ends, if they are.
    fn tell(&mut self, revoked: &Revoked) {
        if !self.behind.is_empty() {
            return;
        }
        revoked.metrics.readable(true);
        if !revoked.is_complete() {
            self.publish(revoked);
            revoked.is_complete.send_replace(true);
            tracing::info!(event = "revocations_read", "revocations read");
        }
    }
}

/// Takes up encoded records of a partition. One that is no revocation leaves what its key had.
fn take(revoked: &Revoked, partition: i32, messages: Bytes) {
    for record in KafkaFetchResp::decode(messages).unwrap_or_default().messages {
        let revocation = record.value.as_deref().map(Revocation::parse).transpose();
        let expected = match (revocation, record.key) {
            (Ok(revocation), Some(key)) if key.len() <= MAX_KEY => {
                revoked.put(&key, revocation);
                continue;
            }
            (Err(expected), _) => expected,
            (Ok(_), _) => "expected a key of at most 1024 bytes",
        };
        revoked.metrics.invalid();
        // One line for many: writers of the topic must not fill the log.
        if revoked.warnings.is_due("revocation_invalid") {
            let offset = record.offset;
            tracing::warn!(
                partition,
                offset,
                expected,
                event = "revocation_invalid",
                "record is no revocation, skipped"
            );
        }
    }
}

/// The time before another attempt to read.
const PAUSE: Duration = Duration::from_secs(1);
/// The time for which further records are waited for.
const COALESCED: Duration = Duration::from_secs(1);
/// The time after which entries that have lapsed are forgotten.
const QUIET: Duration = Duration::from_secs(60);
/// Bytes of a record's key.
const MAX_KEY: usize = 1024;

#[cfg(test)]
mod tests {
    use sluicegate_identity::RevocationList;
    use sluicegate_protocol::KafkaMessage;
    use sluicegate_telemetry::metrics::RevocationMetrics;

    use super::*;

    #[tokio::test]
    async fn records_that_are_no_revocations_spoil_no_others() {
        let revoked = Revoked::new(&RevocationList::default(), false, RevocationMetrics::default());
        let good = r#"{"jti":"t","until":9999999999}"#;
        let record = |key: &'static str, value: &'static str| KafkaMessage {
            key: Some(key.into()),
            value: Some(value.into()),
            ..KafkaMessage::default()
        };
        let keyless = KafkaMessage { key: None, ..record("", good) };
        let records =
            [record("a", good), record("a", &good[..9]), keyless, record("b", "\u{0}"), record("c", good)];
        let messages = KafkaFetchResp { messages: records.to_vec(), ..KafkaFetchResp::default() };
        take(&revoked, 0, messages.encode_to_vec().into());
        let mut known: Vec<Vec<u8>> = revoked.known.lock().in_topic.keys().cloned().collect();
        known.sort_unstable();
        assert_eq!(known, [b"a", b"c"]);
    }
}
