//! Compares what a subscriber has received, and was told that it would not, with logs that have discarded records.

use std::collections::{BTreeMap, BTreeSet};

use sluicegate_protocol::KafkaMessage;

use super::subscriber::Report;

/// Panics unless every record that was `written` to the subscriber's partitions was delivered once, or told as missing
/// and is not there any more.
pub(super) fn compare(
    report: &Report,
    logs: &BTreeMap<i32, Vec<KafkaMessage>>,
    written: &BTreeMap<i32, BTreeSet<i64>>,
) {
    for (partition, got) in &report.position.records {
        let Report { number, kind, connections, wish, position, .. } = report;
        let who = format!("subscriber {number} ({kind:?}, {connections} connections), partition {partition}");
        let left = logs.get(partition).map(Vec::as_slice).unwrap_or_default();
        let missed = position.missed.get(partition).map(Vec::as_slice).unwrap_or_default();
        let is_missed = |offset: &i64| missed.iter().any(|range| range.contains(offset));
        assert!(got.is_sorted_by(|one, next| one < next), "{who}: a record came twice or out of order");
        let got: BTreeSet<i64> = got.iter().copied().collect();
        if let Some(both) = got.iter().find(|offset| is_missed(offset)) {
            panic!("{who}: {both} was delivered and told as missing");
        }
        // A stream of events does not say where it begins.
        let first = got.first().into_iter().chain(missed.first().map(|range| &range.start)).min();
        let Some(begin) = position.begins.get(partition).or(first).copied() else { continue };
        if wish.keys.is_empty() {
            let written = written.get(partition).into_iter().flatten().filter(|offset| **offset >= begin);
            let silent: Vec<&i64> =
                written.filter(|offset| !got.contains(offset) && !is_missed(offset)).collect();
            assert!(
                silent.is_empty(),
                "{who}: {} records are missing in silence: {silent:?}; it began at {begin}, and missed {missed:?}",
                silent.len()
            );
        }
        for message in left.iter().filter(|message| message.offset >= begin) {
            let offset = message.offset;
            assert!(!is_missed(&offset), "{who}: {offset} was told as missing, and is there");
            assert!(!wish.wants(message) || got.contains(&offset), "{who}: {offset} is missing");
        }
    }
}

impl Report {
    /// The records that it was told it would not receive.
    pub(super) fn missed(&self) -> usize {
        let lengths =
            self.position.missed.values().flatten().map(|range| range.end.saturating_sub(range.start));
        lengths.filter_map(|length| usize::try_from(length).ok()).sum()
    }
}
