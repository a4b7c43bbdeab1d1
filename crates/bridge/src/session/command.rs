//! Commands for a messaging system, and their answers.

use std::fmt;

use sluicegate_fair_share::Source;
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaMetadata, CmdKafkaMultiFetch,
    CmdKafkaProduce, Header,
};

use super::answer::{Answer, ENVELOPE_BYTES, MAX_ERROR_BYTES, MAX_RESULT_BYTES};
use super::{json, metadata};
use crate::backend::{AnswerReservation, System};
use crate::cluster::{DescribedTopic, MAX_TOPIC_CHARS, WAITER_BYTES, WriteTicket, shown, shown_log};
use crate::grant::Grant;
use crate::json::format::Format;
use crate::traces::{self, RECEIVE, SEND};

/// A command of a session.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Fetch(CmdKafkaFetch),
    ListOffset(CmdKafkaListOffset),
    Produce(CmdKafkaProduce),
    MultiFetch(CmdKafkaMultiFetch),
    ListOffsets(CmdKafkaListOffsets),
    Metadata(CmdKafkaMetadata),
}

/// How the answer of a command is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    /// With keys and values in this format.
    Json(Format),
}

impl Encoding {
    /// The largest result of one record or partition, in bytes, without records.
    fn max_result_bytes(self) -> usize {
        match self {
            Self::Protobuf => MAX_RESULT_BYTES,
            Self::Json(_) => json::MAX_RESULT_BYTES,
        }
    }

    /// The largest delivery of so many records, which have so many bytes in protobuf.
    pub(super) fn max_delivery_bytes(self, bytes: usize, records: usize) -> usize {
        match self {
            Self::Protobuf => bytes.saturating_add(ENVELOPE_BYTES),
            Self::Json(_) => json::max_delivery_bytes(bytes, records),
        }
    }
}

impl Command {
    /// The name in metrics, traces and the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Fetch(_) => "fetch",
            Self::MultiFetch(_) => "multi_fetch",
            Self::Produce(_) => "produce",
            Self::ListOffset(_) => "list_offset",
            Self::ListOffsets(_) => "list_offsets",
            Self::Metadata(_) => "topics",
        }
    }

    /// The context to run in, and the span if the command is sampled.
    pub(super) fn trace(&self, system: System, client: Source) -> (traces::Context, Option<traces::Span>) {
        let mut context = traces::current().command();
        let operation = match self {
            Self::Fetch(_) | Self::MultiFetch(_) => Some(RECEIVE),
            Self::Produce(_) => Some(SEND),
            Self::ListOffset(_) | Self::ListOffsets(_) | Self::Metadata(_) => None,
        };
        let mut span = context.sample(self.name(), client);
        if let Some(span) = &mut span {
            span.command(system, self.name(), operation);
            match self {
                Self::Fetch(fetch) => span.log(&shown(&fetch.topic), Some(fetch.partition)),
                Self::ListOffset(list) => span.log(&shown(&list.topic), Some(list.partition)),
                Self::Produce(CmdKafkaProduce { records }) => span.batch(records.len()),
                Self::MultiFetch(_) | Self::ListOffsets(_) | Self::Metadata(_) => {}
            }
        }
        (context, span)
    }

    /// Runs the command within `grant`. A fetch uses the memory of `reservation`; records are written in the order of tickets.
    ///
    /// # Cancel safety
    /// A drop abandons a read. A command's records are written all or none.
    pub(super) async fn run(
        self,
        sequence: i64,
        encoding: Encoding,
        grant: &Grant,
        ticket: WriteTicket,
        reservation: &mut dyn AnswerReservation,
    ) -> Answer {
        let system = grant.cluster.system;
        let failed = |what: fmt::Arguments<'_>, error| Answer::failed(sequence, system, what, error);
        match self {
            Self::Fetch(fetch) => match grant.fetch(&fetch, reservation).await {
                Ok(fetched) => match encoding {
                    Encoding::Protobuf => {
                        grant.metrics.delivered(fetched.count, fetched.messages.len());
                        Answer::fetched(sequence, system, fetched)
                    }
                    Encoding::Json(format) => {
                        let max_bytes = grant.max_fetch_bytes(fetch.max_bytes);
                        Answer::Text(json::fetched(
                            sequence,
                            system,
                            fetch.partition,
                            fetched,
                            format,
                            max_bytes,
                            &grant.metrics,
                        ))
                    }
                },
                Err(error) => {
                    let log = shown_log(system, &fetch.topic, fetch.partition);
                    failed(format_args!("fetch message, {log}"), error)
                }
            },
            Self::ListOffset(list) => match grant.list_offset(&list).await {
                Ok(offset) => Answer::offset(sequence, offset),
                Err(error) => {
                    let log = shown_log(system, &list.topic, list.partition);
                    failed(format_args!("list offset, {log}"), error)
                }
            },
            Self::Produce(CmdKafkaProduce { records }) => match grant.produce(records, ticket).await {
                Ok(reports) => Answer::produced(sequence, system, reports),
                Err(error) => failed(format_args!("produce"), error),
            },
            Self::MultiFetch(fetch) => match grant.multi_fetch(&fetch, reservation).await {
                Ok(results) => match encoding {
                    Encoding::Protobuf => {
                        for fetched in results.iter().flatten() {
                            grant.metrics.delivered(fetched.count, fetched.messages.len());
                        }
                        Answer::multi_fetched(sequence, results)
                    }
                    Encoding::Json(format) => {
                        let max_bytes = grant.max_fetch_bytes(fetch.max_bytes);
                        let partitions = fetch.partitions.iter().map(|asked| asked.partition);
                        Answer::Text(json::multi_fetched(
                            sequence,
                            partitions,
                            results,
                            format,
                            max_bytes,
                            &grant.metrics,
                        ))
                    }
                },
                Err(error) => failed(format_args!("fetch messages"), error),
            },
            Self::ListOffsets(list) => match grant.list_offsets(&list).await {
                Ok(results) => Answer::offsets(sequence, system, results),
                Err(error) => failed(format_args!("list offsets"), error),
            },
            Self::Metadata(selection) => {
                let size = |topic: &DescribedTopic| metadata::size(topic, encoding);
                match grant.metadata(selection, size).await {
                    Ok(page) => metadata::answer(sequence, &page, encoding),
                    Err(error) => failed(format_args!("describe topics"), error),
                }
            }
        }
    }

    /// The largest body of an answer, with the memory that a wait for it takes. A fetch has at most `max_fetch_bytes`, unless a
    /// single record is larger; so has metadata, unless a single topic is.
    pub(super) fn max_answer_bytes(&self, max_fetch_bytes: usize, encoding: Encoding) -> usize {
        let of_result = encoding.max_result_bytes();
        let bytes = match self {
            Self::Fetch(_) => match encoding {
                Encoding::Protobuf => max_fetch_bytes,
                // The offsets take more than the envelope has room for.
                Encoding::Json(_) => max_fetch_bytes.saturating_add(of_result),
            },
            Self::ListOffset(_) => 0,
            Self::Produce(produce) => produce.records.len().saturating_mul(of_result),
            Self::MultiFetch(fetch) => {
                let of_partition = of_result.saturating_add(WAITER_BYTES);
                fetch.partitions.len().saturating_mul(of_partition).saturating_add(max_fetch_bytes)
            }
            Self::ListOffsets(list) => list.offsets.len().saturating_mul(of_result),
            Self::Metadata(selection) => {
                let of_denied = of_result.saturating_add(MAX_TOPIC_CHARS);
                selection.topics.len().saturating_mul(of_denied).saturating_add(max_fetch_bytes)
            }
        };
        bytes.max(MAX_ERROR_BYTES)
    }

    /// The memory of the decoded command besides the bytes of its message.
    pub(super) fn decoded_bytes(&self) -> usize {
        match self {
            Self::Fetch(_) | Self::ListOffset(_) => 0,
            Self::Produce(CmdKafkaProduce { records }) => {
                let headers =
                    records.iter().map(|record| record.headers.len()).fold(0, usize::saturating_add);
                headers.saturating_mul(size_of::<Header>()).saturating_add(size_of_val(&records[..]))
            }
            Self::MultiFetch(CmdKafkaMultiFetch { partitions, .. }) => size_of_val(&partitions[..]),
            Self::ListOffsets(CmdKafkaListOffsets { offsets, .. }) => size_of_val(&offsets[..]),
            Self::Metadata(CmdKafkaMetadata { topics, prefixes, .. }) => {
                size_of_val(&topics[..]).saturating_add(size_of_val(&prefixes[..]))
            }
        }
    }
}
