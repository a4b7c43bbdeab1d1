//! Checks a subscription's command, and bounds it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_backend::command::{self, RecordFilter, Start, SubscribeCommand, TableCommand};
use sluicegate_backend::{CommandError, Fault, LOG_END, System};
use sluicegate_fair_share as fair_share;
use sluicegate_protocol::error_code::INVALID_REQUEST;

use super::filter::Filters;
use super::subscribe::{MAX_PARTITIONS, NOT_BEGUN, Source, Subscribe, Table};
use crate::cluster::{Reads, escape_for_message};

impl Subscribe {
    /// The subscription that `command` asks for, with `bounds` for the size of a delivery.
    ///
    /// # Errors
    /// The command contradicts itself, or exceeds a bound.
    pub(crate) fn of(system: System, command: SubscribeCommand, bounds: Reads) -> Result<Self, CommandError> {
        let SubscribeCommand {
            sources,
            committed,
            decode,
            filters,
            max_bytes,
            max_records,
            linger,
            skips,
            table,
            group,
        } = command;
        if sources.is_empty() {
            return Err(invalid("0 sources in one command: expected at least 1"));
        }
        let mut topics = BTreeSet::new();
        if let Some(twice) = sources.iter().find(|source| !topics.insert(&source.topic)) {
            let (word, topic) = (system.topic, escape_for_message(&twice.topic));
            return Err(invalid(format!(
                "{word} {topic} is in two sources: expected one source for each {word}"
            )));
        }
        let filters = Filters::of_command(filters)?;
        if linger > MAX_LINGER {
            let [linger, max] = [linger, MAX_LINGER].map(|time| time.as_millis());
            return Err(invalid(format!("linger_ms is {linger}: expected at most {max}")));
        }
        if table.is_some() {
            check_table(system, &sources, skips)?;
        }
        if group.is_some() {
            check_group(&sources, skips, table.is_some())?;
        }
        let max_bytes = if max_bytes == 0 { DEFAULT_BATCH_BYTES } else { max_bytes };
        Ok(Self {
            client: fair_share::ClientKey::default(),
            sources: sources.into_iter().map(|of| source(system, of)).collect::<Result<_, _>>()?,
            committed: committed || table.is_some(),
            decode,
            filters: if table.is_some() { filters.with_keys() } else { filters },
            max_bytes: max_bytes.min(bounds.max_bytes),
            max_records,
            linger,
            skips,
            table: table.map(|TableCommand { away }| Table { away, max_away: bounds.table_away }),
            waits: false,
        })
    }
}

/// Checks what a table cannot have.
fn check_table(system: System, sources: &[command::Source], skips: bool) -> Result<(), CommandError> {
    if skips {
        return Err(invalid("on_lag with snapshot: expected WAIT, because a table skips no record"));
    }
    // A stream has one partition, and goes on with its sequence.
    let begins = |source: &&command::Source| match source.from {
        Start::Offset(_) => system.has_partitions,
        Start::Timestamp(timestamp) => timestamp != LOG_END,
        Start::BeforeEnd(_) => true,
    };
    match sources.iter().find(begins) {
        None => Ok(()),
        Some(source) => Err(invalid(format!(
            "from with snapshot: expected none, because a table begins with the newest record of each key, {}: {}",
            system.topic,
            escape_for_message(&source.topic)
        ))),
    }
}

/// Checks what a member of a group cannot have.
fn check_group(sources: &[command::Source], skips: bool, is_table: bool) -> Result<(), CommandError> {
    if is_table {
        return Err(invalid("snapshot with group: expected none, because members share the logs of a topic"));
    }
    if skips {
        return Err(invalid(
            "on_lag with group: expected WAIT, because others would not get what is skipped",
        ));
    }
    for command::Source { topic, partitions, next, topic_id, .. } in sources {
        let given = [
            ("partitions", !partitions.is_empty()),
            ("next", !next.is_empty()),
            ("topic_id", topic_id.is_some()),
        ];
        if let Some((name, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
            return Err(invalid(format!(
                "{name} with group: expected none, because the group gives partitions and where they begin, topic: {}",
                escape_for_message(topic)
            )));
        }
    }
    Ok(())
}

fn source(system: System, source: command::Source) -> Result<Source, CommandError> {
    let command::Source { topic, mut partitions, from, next, topic_id } = source;
    let of_topic =
        |what: String| invalid(format!("{what}, {}: {}", system.topic, escape_for_message(&topic)));
    if partitions.len() > MAX_PARTITIONS {
        return Err(of_topic(format!("{} partitions: expected at most {MAX_PARTITIONS}", partitions.len())));
    }
    let mut numbers = BTreeSet::new();
    if let Some(twice) = partitions.iter().find(|partition| !numbers.insert(**partition)) {
        return Err(of_topic(format!("partition {twice} is listed twice: expected it once")));
    }
    if let Some((_, negative)) = next.iter().find(|(_, offset)| *offset < NOT_BEGUN) {
        return Err(of_topic(format!("{} {negative}: expected 0 or more, or -1", system.offset)));
    }
    partitions.sort_unstable();
    Ok(Source { topic: Arc::from(topic), partitions, from, next: next.into_iter().collect(), topic_id })
}

impl Filters {
    /// The filters of a command.
    ///
    /// # Errors
    /// One is invalid, or they exceed a bound.
    pub(crate) fn of_command(filters: Vec<RecordFilter>) -> Result<Self, CommandError> {
        Self::new(filters).map_err(invalid)
    }
}

fn invalid(message: impl Into<String>) -> CommandError {
    CommandError::new(Fault::Invalid, INVALID_REQUEST, message)
}

/// The size of a delivery unless the client chooses. Large enough to make its fixed cost small, and small enough for
/// others to have their turn.
pub const DEFAULT_BATCH_BYTES: usize = 64 * 1024;

/// The longest linger.
const MAX_LINGER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use sluicegate_backend::command::ValuePart;

    use super::*;

    const BOUNDS: Reads =
        Reads { max_bytes: 100_000, wait: Duration::ZERO, table_away: Duration::from_secs(3600) };

    fn of_topic(topic: &str) -> command::Source {
        command::Source { topic: topic.to_owned(), ..Default::default() }
    }

    fn command(sources: Vec<command::Source>) -> SubscribeCommand {
        SubscribeCommand { sources, ..Default::default() }
    }

    #[track_caller]
    fn refused(command: SubscribeCommand, want: &str) {
        let error = Subscribe::of(System::Kafka, command, BOUNDS).unwrap_err();
        assert_eq!((error.fault, error.message.as_str()), (Fault::Invalid, want));
    }

    #[test]
    fn request_without_choices_is_all_partitions_from_the_end() {
        let request = Subscribe::of(System::Kafka, command(vec![of_topic("t")]), BOUNDS).unwrap();
        assert_eq!((request.max_bytes, request.max_records, request.linger), (65_536, 0, Duration::ZERO));
        assert!(!request.committed && !request.skips);
        let source = &request.sources[0];
        assert!(source.is_whole() && source.next.is_empty());
        assert_eq!((source.from, source.topic_id), (Start::Timestamp(LOG_END), None));
        let large = SubscribeCommand { max_bytes: usize::MAX, ..command(vec![of_topic("t")]) };
        assert_eq!(Subscribe::of(System::Kafka, large, BOUNDS).unwrap().max_bytes, BOUNDS.max_bytes);
    }

    #[test]
    fn contradictions_and_excesses_are_refused() {
        refused(command(vec![]), "0 sources in one command: expected at least 1");
        let twice = command(vec![of_topic("a"), of_topic("b"), of_topic("a")]);
        refused(twice, "topic a is in two sources: expected one source for each topic");
        let partitions = command::Source { partitions: vec![1, 0, 1], ..of_topic("t") };
        refused(command(vec![partitions]), "partition 1 is listed twice: expected it once, topic: t");
        let next = vec![(0, -5)];
        let negative = command(vec![command::Source { next, ..of_topic("t") }]);
        refused(negative, "offset -5: expected 0 or more, or -1, topic: t");
        let table = |sources| SubscribeCommand { table: Some(TableCommand::default()), ..command(sources) };
        let skips = SubscribeCommand { skips: true, ..table(vec![of_topic("t")]) };
        refused(skips, "on_lag with snapshot: expected WAIT, because a table skips no record");
        let newest = "a table begins with the newest record of each key, topic: t";
        for from in [0, -1].map(Start::at) {
            let table = table(vec![command::Source { from, ..of_topic("t") }]);
            refused(table, &format!("from with snapshot: expected none, because {newest}"));
        }
        let member = |sources| SubscribeCommand { group: Some("g".to_owned()), ..command(sources) };
        let table = SubscribeCommand { group: Some("g".to_owned()), ..table(vec![of_topic("t")]) };
        refused(table, "snapshot with group: expected none, because members share the logs of a topic");
        let skips = SubscribeCommand { skips: true, ..member(vec![of_topic("t")]) };
        refused(skips, "on_lag with group: expected WAIT, because others would not get what is skipped");
        for (name, source) in [
            ("partitions", command::Source { partitions: vec![0], ..of_topic("t") }),
            ("next", command::Source { next: vec![(0, 5)], ..of_topic("t") }),
            ("topic_id", command::Source { topic_id: Some(1), ..of_topic("t") }),
        ] {
            let why = "expected none, because the group gives partitions and where they begin, topic: t";
            refused(member(vec![of_topic("u"), source]), &format!("{name} with group: {why}"));
        }
        let linger = Duration::from_millis(10_001);
        let lingering = SubscribeCommand { linger, ..command(vec![of_topic("t")]) };
        refused(lingering, "linger_ms is 10001: expected at most 10000");
        let values = RecordFilter { equals: vec![vec![0; 10_000].into(); 2], ..Default::default() };
        let value = Some(ValuePart { pointer: "status".to_owned(), ..Default::default() });
        let pointer = RecordFilter { value, ..Default::default() };
        let filtered = |filters| SubscribeCommand { filters, ..command(vec![of_topic("t")]) };
        refused(filtered(vec![values]), "20000 bytes in filters: expected at most 16384");
        let want = r#"filters[1]: pointer "status": expected a JSON Pointer such as "/order/status""#;
        refused(filtered(vec![RecordFilter::default(), pointer]), want);
    }
}
