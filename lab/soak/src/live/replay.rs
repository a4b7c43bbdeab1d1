//! Compares the table that a client keeps with a replay of its logs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sluicegate_protocol::{KafkaMessage, is_removal_among};

use super::subscriber::Report;
use super::table::{Entries, Table};

/// Panics unless the subscriber holds exactly what a replay of these committed records gives, and has never received a
/// record that is `aborted` or that it does not want.
pub(super) fn compare(
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
