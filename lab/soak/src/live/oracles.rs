//! What a subscriber must have received, by the logs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sluicegate_protocol::{KafkaMessage, is_removal_among};

use super::subscriber::Report;
use crate::clients::table::{Entries, Table};

/// Panics unless the subscriber has received the records that it wanted, in order.
pub(super) fn each_came_once(report: &Report, logs: &BTreeMap<i32, Vec<KafkaMessage>>) {
    for (partition, got) in &report.position.records {
        let Report { number, kind, connections, wish, .. } = report;
        let want = logs.get(partition).into_iter().flatten();
        let want = want.filter(|message| wish.wants(message));
        let want: Vec<i64> = want.map(|message| message.offset).collect();
        if *got != want {
            let at = got
                .iter()
                .zip(&want)
                .position(|(got, want)| got != want)
                .unwrap_or(got.len().min(want.len()));
            panic!(
                "subscriber {number} ({kind:?}, {connections} connections), partition {partition}: record {at} has \
                 offset {:?} instead of {:?}, {} records instead of {}",
                got.get(at),
                want.get(at),
                got.len(),
                want.len(),
            );
        }
    }
}

/// Panics unless every record that was `written` to the subscriber's partitions was delivered once, or told as missing
/// and is not there any more.
pub(super) fn each_came_or_was_told(
    report: &Report,
    logs: &BTreeMap<i32, Vec<KafkaMessage>>,
    written: &BTreeSet<(i32, i64)>,
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
            let written =
                written.range((*partition, begin)..=(*partition, i64::MAX)).map(|(_, offset)| offset);
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

/// Panics unless the subscriber holds exactly what a replay of these committed records gives, and has never received a
/// record that is `aborted` or that it does not want.
pub(super) fn table_is_replay(
    report: &Report,
    logs: &BTreeMap<i32, Vec<KafkaMessage>>,
    aborted: &BTreeSet<(i32, i64)>,
) {
    let Report { number, kind, connections, wish, position, .. } = report;
    let Table { entries, received, snapshots, .. } = position.table.as_ref().unwrap();
    let who = format!(
        "subscriber {number} ({kind:?}, {connections} connections, {snapshots} snapshots, table of {wish:?})"
    );
    let mut newest = BTreeMap::new();
    for (partition, log) in logs.iter().filter(|(partition, _)| wish.reads(**partition)) {
        for message in log {
            newest.insert((*partition, message.key.clone().unwrap()), message);
            assert!(
                is_removal(message)
                    || wish.wants(message)
                    || !received.contains(&(*partition, message.offset)),
                "{who} has received {} of partition {partition}, which it does not want",
                message.offset
            );
        }
    }
    if let Some((partition, offset)) = received.intersection(aborted).next() {
        panic!("{who} has received {offset} of partition {partition}, which was aborted");
    }
    newest.retain(|_, message| !is_removal(message) && wish.wants(message));
    let want: Entries = newest.into_iter().map(|(key, message)| (key, message.offset)).collect();
    let keys: BTreeSet<_> = entries.keys().chain(want.keys()).collect();
    let differs = |key: &&(i32, Bytes)| entries.get(key) != want.get(key);
    let differences: Vec<String> = keys
        .into_iter()
        .filter(differs)
        .map(|key| format!("{key:?} has offset {:?} instead of {:?}", entries.get(key), want.get(key)))
        .collect();
    assert!(
        differences.is_empty(),
        "{who}, at {:?}, differs from the replay in {} of {} keys: {}",
        position.next,
        differences.len(),
        want.len(),
        differences.join("; ")
    );
}

/// Whether a record, or a stream's message in the form of one, removes its key.
fn is_removal(message: &KafkaMessage) -> bool {
    message.value.is_none() || is_removal_among(&message.headers)
}
