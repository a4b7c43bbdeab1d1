//! Bounds of reads, and of the lists of commands, in every codec.
//!
//! In protobuf, [`Counts`] checks lists before a command is decoded: the smallest entry takes two bytes on the wire, and
//! dozens of times that in memory. Commands of NATS have the field numbers of Kafka's.

use std::time::Duration;

use sluicegate_backend::command::ReadBounds;
use sluicegate_delivery::cluster::{MAX_COMMAND_HEADERS, MAX_HEADERS, MAX_PARTITIONS, MAX_RECORDS};
use sluicegate_delivery::{MAX_FILTERS, MAX_PARTITIONS as MAX_SUBSCRIBED, MAX_VALUES};
use sluicegate_protocol::wire::number::{
    COMMIT_OFFSETS, EQUALS, FETCH_FILTERS, FILTERS, HEADERS, MULTI_FETCH_FILTERS, NEXT, OFFSETS, PARTITIONS,
    PREFIXES, PREFIXES_OF_FILTER, RECORDS, SOURCES, TOPICS,
};
use sluicegate_protocol::wire::{Fields, Malformed, Value};
use sluicegate_ws_session::request::Command;

/// The bounds of a read; `max_bytes` 0: as many as the bridge allows.
pub(crate) fn read_bounds(max_wait_ms: Option<u32>, min_bytes: u32, max_bytes: u32) -> ReadBounds {
    ReadBounds {
        max_bytes: Some(size(max_bytes)).filter(|max_bytes| *max_bytes > 0),
        wait: max_wait_ms.map(|wait| Duration::from_millis(wait.into())),
        min_bytes: size(min_bytes),
        ..ReadBounds::default()
    }
}

/// A number of bytes or records on the wire.
pub(crate) fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Counts over all commands of one request: a decoder merges them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    records: usize,
    headers: usize,
    /// The most headers of one record.
    most_headers: usize,
    /// Of a multi-fetch.
    partitions: usize,
    /// Of a list-offsets or a commit.
    offsets: usize,
    topics: usize,
    prefixes: usize,
    subscription_bytes: usize,
    sources: usize,
    /// Where partitions of a subscription continue.
    nexts: usize,
    filters: usize,
    /// Of all filters.
    values: usize,
}

impl Counts {
    /// Adds the entries of a command.
    pub(super) fn add(&mut self, command: Command, content: &[u8]) -> Result<(), Malformed> {
        let (count, number) = match command {
            Command::Ping
            | Command::Session
            | Command::Auth
            | Command::KafkaListOffset
            | Command::Unsubscribe
            | Command::Credit => return Ok(()),
            Command::KafkaFetch | Command::NatsFetch => return self.add_filters(content, FETCH_FILTERS),
            Command::KafkaSubscribe | Command::NatsSubscribe => return self.add_subscription(content),
            Command::KafkaProduce | Command::NatsPublish => return self.add_records(content),
            Command::KafkaMultiFetch => {
                self.add_filters(content, MULTI_FETCH_FILTERS)?;
                (&mut self.partitions, PARTITIONS)
            }
            Command::KafkaListOffsets | Command::NatsListSequences => (&mut self.offsets, OFFSETS),
            Command::KafkaCommit => (&mut self.offsets, COMMIT_OFFSETS),
            Command::KafkaMetadata => {
                add_fields(&mut self.prefixes, content, PREFIXES)?;
                (&mut self.topics, TOPICS)
            }
        };
        add_fields(count, content, number)
    }

    fn add_records(&mut self, command: &[u8]) -> Result<(), Malformed> {
        for field in Fields::of(command) {
            if let (RECORDS, Value::Bytes(record)) = field? {
                let mut headers = 0_usize;
                add_fields(&mut headers, record, HEADERS)?;
                self.records = self.records.saturating_add(1);
                self.headers = self.headers.saturating_add(headers);
                self.most_headers = self.most_headers.max(headers);
            }
        }
        Ok(())
    }

    fn add_subscription(&mut self, command: &[u8]) -> Result<(), Malformed> {
        self.subscription_bytes = self.subscription_bytes.saturating_add(command.len());
        for field in Fields::of(command) {
            if let (SOURCES, Value::Bytes(source)) = field? {
                self.sources = self.sources.saturating_add(1);
                add_fields(&mut self.nexts, source, NEXT)?;
            }
        }
        self.add_filters(command, FILTERS)
    }

    /// Adds the filters of a command, which are fields with this number.
    fn add_filters(&mut self, command: &[u8], number: u32) -> Result<(), Malformed> {
        for field in Fields::of(command) {
            let (found, value) = field?;
            if let Value::Bytes(filter) = value
                && found == number
            {
                self.filters = self.filters.saturating_add(1);
                add_fields(&mut self.values, filter, EQUALS)?;
                add_fields(&mut self.values, filter, PREFIXES_OF_FILTER)?;
            }
        }
        Ok(())
    }

    /// The bound that is exceeded, as a message.
    pub(super) fn exceeded(&self) -> Option<String> {
        let bounds = [
            (self.records, "records in one command", MAX_RECORDS),
            (self.most_headers, "headers in one record", MAX_HEADERS),
            (self.headers, "headers in one command", MAX_COMMAND_HEADERS),
            (self.partitions, "partitions in one command", MAX_PARTITIONS),
            (self.offsets, "partitions in one command", MAX_OFFSETS),
            (self.topics, "topics in one command", MAX_TOPICS),
            (self.prefixes, "prefixes in one command", MAX_PREFIXES),
            (self.subscription_bytes, "bytes in one subscription", MAX_SUBSCRIPTION_BYTES),
            (self.sources, "sources in one subscription", MAX_SOURCES),
            (self.nexts, "offsets in one subscription", MAX_SUBSCRIBED),
            (self.filters, "filters in one command", MAX_FILTERS),
            (self.values, "values in the filters of one command", MAX_VALUES),
        ];
        let (count, of, max) = bounds.into_iter().find(|(count, _, max)| count > max)?;
        Some(format!("{count} {of}: expected at most {max}"))
    }
}

/// Adds the number of fields with this number.
fn add_fields(count: &mut usize, message: &[u8], number: u32) -> Result<(), Malformed> {
    for field in Fields::of(message) {
        *count = count.saturating_add((field?.0 == number).into());
    }
    Ok(())
}

/// Partitions of a list-offsets.
pub(crate) const MAX_OFFSETS: usize = 1000;
/// Topics of a metadata command.
pub(crate) const MAX_TOPICS: usize = 1000;
/// Prefixes of a metadata command.
pub(crate) const MAX_PREFIXES: usize = 100;
/// The size of a subscription's command, which also bounds its list of partitions.
pub(crate) const MAX_SUBSCRIPTION_BYTES: usize = 128 * 1024;
/// The most topics of a subscription.
pub(crate) const MAX_SOURCES: usize = 100;

#[cfg(test)]
mod tests {
    use prost::Message;
    use sluicegate_protocol::{
        CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaMetadata, CmdKafkaMultiFetch,
        CmdKafkaProduce, Header, PartitionOffset, ProduceRecord, RecordFilter,
    };

    use super::Command::{KafkaFetch, KafkaListOffsets, KafkaMetadata, KafkaMultiFetch, KafkaProduce};
    use super::*;

    fn produce(records: usize, headers: usize) -> Vec<u8> {
        let record = ProduceRecord { headers: vec![Header::default(); headers], ..ProduceRecord::default() };
        CmdKafkaProduce { records: vec![record; records], ..CmdKafkaProduce::default() }.encode_to_vec()
    }

    #[test]
    fn long_lists_are_refused() {
        let fetch = |count| {
            let partitions = vec![PartitionOffset::default(); count];
            CmdKafkaMultiFetch { partitions, ..Default::default() }.encode_to_vec()
        };
        let list = |count| {
            let offsets = vec![CmdKafkaListOffset::default(); count];
            CmdKafkaListOffsets { offsets, ..Default::default() }.encode_to_vec()
        };
        let names = |topics, prefixes| {
            let (topics, prefixes) = (vec![String::new(); topics], vec![String::new(); prefixes]);
            CmdKafkaMetadata { topics, prefixes, ..Default::default() }.encode_to_vec()
        };
        let filtered = |filters, values| {
            let filter = RecordFilter { equals: vec!["a".into(); values], ..Default::default() };
            CmdKafkaFetch { filters: vec![filter; filters], ..Default::default() }.encode_to_vec()
        };
        let of_many = |filters| {
            let filters = vec![RecordFilter::default(); filters];
            CmdKafkaMultiFetch { filters, ..Default::default() }.encode_to_vec()
        };
        let headers = "10100 headers in one command";
        let values = "102 values in the filters of one command";
        let most = MAX_COMMAND_HEADERS / MAX_HEADERS;
        for (command, within, beyond, of, max) in [
            (KafkaProduce, produce(1000, 1), produce(1001, 0), "1001 records in one command", MAX_RECORDS),
            (KafkaProduce, produce(3, 100), produce(1, 101), "101 headers in one record", MAX_HEADERS),
            (KafkaProduce, produce(most, 100), produce(most + 1, 100), headers, MAX_COMMAND_HEADERS),
            (KafkaMultiFetch, fetch(256), fetch(257), "257 partitions in one command", MAX_PARTITIONS),
            (KafkaFetch, filtered(16, 6), filtered(17, 5), "17 filters in one command", MAX_FILTERS),
            (KafkaFetch, filtered(2, 50), filtered(2, 51), values, MAX_VALUES),
            (KafkaMultiFetch, of_many(16), of_many(17), "17 filters in one command", MAX_FILTERS),
            (KafkaListOffsets, list(1000), list(1001), "1001 partitions in one command", MAX_OFFSETS),
            (KafkaMetadata, names(1000, 100), names(1001, 0), "1001 topics in one command", MAX_TOPICS),
            (KafkaMetadata, names(0, 100), names(0, 101), "101 prefixes in one command", MAX_PREFIXES),
        ] {
            let exceeded = |content: &[u8]| {
                let mut counts = Counts::default();
                counts.add(command, content).unwrap();
                counts.exceeded()
            };
            assert_eq!(exceeded(&within), None, "{of}");
            assert_eq!(exceeded(&beyond), Some(format!("{of}: expected at most {max}")));
        }
    }

    #[test]
    fn merged_commands_count_together() {
        let (half, mut counts) = (produce(MAX_RECORDS / 2 + 1, 0), Counts::default());
        let mut exceeded = || {
            counts.add(KafkaProduce, &half).unwrap();
            counts.exceeded()
        };
        let want = "1002 records in one command: expected at most 1000";
        assert_eq!([exceeded(), exceeded()], [None, Some(want.to_owned())]);
    }

    #[test]
    fn group_hides_no_record() {
        let group = [0x7B, 0x7C];
        let hidden = [&group[..], &produce(MAX_RECORDS + 1, 0)].concat();
        assert!(CmdKafkaProduce::decode(&hidden[..]).is_ok(), "decoding skips the group");
        let add = |content: &[u8]| Counts::default().add(Command::KafkaProduce, content);
        assert_eq!(add(&hidden), Err(Malformed));
        assert_eq!(add(&[&[0x0A, 0x02], &group[..]].concat()), Err(Malformed));
    }
}
