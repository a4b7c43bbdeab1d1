//! Bounds a `CmdKafkaProduce` before it is decoded: the smallest record or header takes two bytes on the wire, and
//! dozens of times that in memory.

use sluicegate_protocol::wire::number::{HEADERS, RECORDS};
use sluicegate_protocol::wire::{Fields, Malformed, Value};

use crate::cluster::{MAX_COMMAND_HEADERS, MAX_HEADERS, MAX_RECORDS};

/// Counts over all commands of one request: a decoder merges them.
#[derive(Debug, Default)]
pub(super) struct ProduceCounts {
    records: usize,
    headers: usize,
    /// The most headers of one record.
    most_headers: usize,
}

impl ProduceCounts {
    /// Adds the records and headers of `command`.
    pub(super) fn add(&mut self, command: &[u8]) -> Result<(), Malformed> {
        for field in Fields::of(command) {
            if let (RECORDS, Value::Bytes(record)) = field? {
                let mut headers = 0_usize;
                for field in Fields::of(record) {
                    headers = headers.saturating_add((field?.0 == HEADERS).into());
                }
                self.records = self.records.saturating_add(1);
                self.headers = self.headers.saturating_add(headers);
                self.most_headers = self.most_headers.max(headers);
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
        ];
        let (count, of, max) = bounds.into_iter().find(|(count, _, max)| count > max)?;
        Some(format!("{count} {of}: expected at most {max}"))
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use sluicegate_protocol::{CmdKafkaProduce, Header, ProduceRecord};

    use super::*;

    fn command(records: usize, headers: usize) -> Vec<u8> {
        let record = ProduceRecord { headers: vec![Header::default(); headers], ..ProduceRecord::default() };
        CmdKafkaProduce { records: vec![record; records] }.encode_to_vec()
    }

    #[track_caller]
    fn check(commands: &[Vec<u8>], want: Option<&str>) {
        let mut counts = ProduceCounts::default();
        commands.iter().try_for_each(|command| counts.add(command)).unwrap();
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
        assert_eq!(ProduceCounts::default().add(&hidden), Err(Malformed));
        assert_eq!(ProduceCounts::default().add(&[&[0x0A, 0x02], &group[..]].concat()), Err(Malformed));
    }
}
