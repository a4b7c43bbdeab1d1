//! Commands for a messaging system, and their answers.

use sluicegate_protocol::{CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaProduce, Header, ProduceRecord};

use super::answer::{Answer, MAX_ERROR_BYTES, MAX_RESULT_BYTES};
use crate::backend::AnswerReservation;
use crate::cluster::{WriteTicket, shown};
use crate::grant::Grant;

/// A command of a session.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Fetch(CmdKafkaFetch),
    ListOffset(CmdKafkaListOffset),
    Produce(CmdKafkaProduce),
}

impl Command {
    /// Runs the command within `grant`. A fetch uses the memory of `reservation`; records are written in the order of tickets.
    ///
    /// # Cancel safety
    /// A drop abandons a read. A command's records are written all or none.
    pub(super) async fn run(
        self,
        sequence: i64,
        grant: &Grant,
        ticket: WriteTicket,
        reservation: &mut dyn AnswerReservation,
    ) -> Answer {
        match self {
            Self::Fetch(fetch) => match grant.fetch(&fetch, reservation).await {
                Ok(fetched) => Answer::fetched(sequence, fetched),
                Err(error) => {
                    let ends = grant.missed_ends(&fetch, &error).await;
                    let (topic, partition) = (shown(&fetch.topic), fetch.partition);
                    let what = format_args!("fetch message, topic: {topic}, partition: {partition}");
                    Answer::failed(sequence, what, error).with_ends(ends)
                }
            },
            Self::ListOffset(list) => match grant.list_offset(&list).await {
                Ok(offset) => Answer::offset(sequence, offset),
                Err(error) => {
                    let (topic, partition) = (shown(&list.topic), list.partition);
                    let what = format_args!("list offset, topic: {topic}, partition: {partition}");
                    Answer::failed(sequence, what, error)
                }
            },
            Self::Produce(CmdKafkaProduce { records }) => match grant.produce(records, ticket).await {
                Ok(reports) => Answer::produced(sequence, reports),
                Err(error) => Answer::failed(sequence, format_args!("produce"), error),
            },
        }
    }

    /// The largest body of an answer. A fetch has at most `max_fetch_bytes`, unless a single record is larger.
    pub(super) fn max_answer_bytes(&self, max_fetch_bytes: usize) -> usize {
        match self {
            Self::Fetch(_) => max_fetch_bytes.max(MAX_ERROR_BYTES),
            Self::ListOffset(_) => MAX_ERROR_BYTES,
            Self::Produce(produce) => {
                produce.records.len().saturating_mul(MAX_RESULT_BYTES).max(MAX_ERROR_BYTES)
            }
        }
    }

    /// The memory of the decoded command besides the bytes of its message.
    pub(super) fn decoded_bytes(&self) -> usize {
        let Self::Produce(CmdKafkaProduce { records }) = self else { return 0 };
        let headers = records.iter().map(|record| record.headers.len()).fold(0, usize::saturating_add);
        let of_records = records.len().saturating_mul(size_of::<ProduceRecord>());
        headers.saturating_mul(size_of::<Header>()).saturating_add(of_records)
    }
}
