//! Bounds the lists of a command before it is decoded: the smallest entry takes two bytes on the wire, and dozens of
//! times that in memory. Commands of NATS have the field numbers of Kafka's.

use sluicegate_protocol::wire::number::{
    EQUALS, FILTERS, HEADERS, NEXT, OFFSETS, PARTITIONS, PREFIXES, PREFIXES_OF_FILTER, RECORDS, SOURCES,
    TOPICS,
};
use sluicegate_protocol::wire::{Fields, Malformed, Value};
use sluicegate_ws_session::request::Command;

use sluicegate_delivery::cluster::{MAX_COMMAND_HEADERS, MAX_HEADERS, MAX_PARTITIONS, MAX_RECORDS};
use sluicegate_delivery::{MAX_FILTERS, MAX_PARTITIONS as MAX_SUBSCRIBED, MAX_VALUES};
use sluicegate_dialect::limits::{
    MAX_OFFSETS, MAX_PREFIXES, MAX_SOURCES, MAX_SUBSCRIPTION_BYTES, MAX_TOPICS,
};

/// Counts over all commands of one request: a decoder merges them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    records: usize,
    headers: usize,
    /// The most headers of one record.
    most_headers: usize,
    /// Of a multi-fetch.
    partitions: usize,
    /// Of a list-offsets.
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
            | Command::KafkaFetch
            | Command::NatsFetch
            | Command::KafkaListOffset
            | Command::Unsubscribe
            | Command::Credit => return Ok(()),
            Command::KafkaSubscribe | Command::NatsSubscribe => return self.add_subscription(content),
            Command::KafkaProduce | Command::NatsPublish => return self.add_records(content),
            Command::KafkaMultiFetch => (&mut self.partitions, PARTITIONS),
            Command::KafkaListOffsets | Command::NatsListSequences => (&mut self.offsets, OFFSETS),
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
            match field? {
                (SOURCES, Value::Bytes(source)) => {
                    self.sources = self.sources.saturating_add(1);
                    add_fields(&mut self.nexts, source, NEXT)?;
                }
                (FILTERS, Value::Bytes(filter)) => {
                    self.filters = self.filters.saturating_add(1);
                    add_fields(&mut self.values, filter, EQUALS)?;
                    add_fields(&mut self.values, filter, PREFIXES_OF_FILTER)?;
                }
                _ => {}
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
            (self.filters, "filters in one subscription", MAX_FILTERS),
            (self.values, "values in the filters of one subscription", MAX_VALUES),
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

#[cfg(test)]
mod tests {
    use prost::Message;
    use sluicegate_protocol::{
        CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaMetadata, CmdKafkaMultiFetch, CmdKafkaProduce,
        Header, PartitionOffset, ProduceRecord,
    };

    use super::*;

    fn command(records: usize, headers: usize) -> Vec<u8> {
        let record = ProduceRecord { headers: vec![Header::default(); headers], ..ProduceRecord::default() };
        CmdKafkaProduce { records: vec![record; records] }.encode_to_vec()
    }

    #[track_caller]
    fn check(commands: &[Vec<u8>], want: Option<&str>) {
        check_of(Command::KafkaProduce, commands, want);
    }

    #[track_caller]
    fn check_of(command: Command, contents: &[Vec<u8>], want: Option<&str>) {
        let mut counts = Counts::default();
        contents.iter().try_for_each(|content| counts.add(command, content)).unwrap();
        assert_eq!(counts.exceeded().as_deref(), want);
    }

    #[test]
    fn counts_above_the_bounds_are_refused() {
        check(&[command(MAX_RECORDS, 1)], None);
        check(&[command(MAX_RECORDS + 1, 0)], Some("1001 records in one command: expected at most 1000"));
        check(&[command(3, MAX_HEADERS)], None);
        check(&[command(1, MAX_HEADERS + 1)], Some("101 headers in one record: expected at most 100"));
        let most = MAX_COMMAND_HEADERS / MAX_HEADERS;
        check(&[command(most, MAX_HEADERS)], None);
        let exceeded = "10100 headers in one command: expected at most 10000";
        check(&[command(most + 1, MAX_HEADERS)], Some(exceeded));
    }

    #[test]
    fn merged_commands_count_together() {
        let half = command(MAX_RECORDS / 2 + 1, 0);
        check(std::slice::from_ref(&half), None);
        check(&[half.clone(), half], Some("1002 records in one command: expected at most 1000"));
    }

    #[test]
    fn group_hides_no_record() {
        let group = [0x7B, 0x7C];
        let hidden = [&group[..], &command(MAX_RECORDS + 1, 0)].concat();
        assert!(CmdKafkaProduce::decode(&hidden[..]).is_ok(), "decoding skips the group");
        let add = |content: &[u8]| Counts::default().add(Command::KafkaProduce, content);
        assert_eq!(add(&hidden), Err(Malformed));
        assert_eq!(add(&[&[0x0A, 0x02], &group[..]].concat()), Err(Malformed));
    }

    #[test]
    fn long_lists_are_refused() {
        let partitions = |count| {
            let partitions = vec![PartitionOffset::default(); count];
            vec![CmdKafkaMultiFetch { partitions, ..Default::default() }.encode_to_vec()]
        };
        let exceeded = "257 partitions in one command: expected at most 256";
        check_of(Command::KafkaMultiFetch, &partitions(256), None);
        check_of(Command::KafkaMultiFetch, &partitions(257), Some(exceeded));
        let offsets = |count| {
            let offsets = vec![CmdKafkaListOffset::default(); count];
            vec![CmdKafkaListOffsets { offsets, ..Default::default() }.encode_to_vec()]
        };
        let exceeded = "1001 partitions in one command: expected at most 1000";
        check_of(Command::KafkaListOffsets, &offsets(1000), None);
        check_of(Command::KafkaListOffsets, &offsets(1001), Some(exceeded));
        let names = |topics, prefixes| {
            let (topics, prefixes) = (vec![String::new(); topics], vec![String::new(); prefixes]);
            vec![CmdKafkaMetadata { topics, prefixes, ..Default::default() }.encode_to_vec()]
        };
        let exceeded = "1001 topics in one command: expected at most 1000";
        check_of(Command::KafkaMetadata, &names(1000, 100), None);
        check_of(Command::KafkaMetadata, &names(1001, 0), Some(exceeded));
        let exceeded = "101 prefixes in one command: expected at most 100";
        check_of(Command::KafkaMetadata, &names(0, 101), Some(exceeded));
    }
}
