//! Commands for a messaging system, and their answers.

use std::fmt;

use sluicegate_backend::command::{Command, LogName};
use sluicegate_backend::{AnswerReservation, System};
use sluicegate_delivery::cluster::{
    DescribedTopic, MAX_TOPIC_CHARS, Place, WAITER_BYTES, WriteTicket, escape_for_message, escaped_log,
};
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect::error::MAX_ERROR_BYTES;
use sluicegate_fair_share::ClientKey;
use sluicegate_telemetry::traces::{self, RECEIVE, SEND};

use super::answer::Answer;
use super::encoding::Encoding;
use super::{json, metadata};

/// The context to run a command in, and its span if it is sampled.
pub(super) fn trace(
    command: &Command,
    system: System,
    client: ClientKey,
) -> (traces::Context, Option<traces::Span>) {
    let mut context = traces::current().command();
    let operation = match command {
        Command::Fetch { .. } | Command::MultiFetch { .. } => Some(RECEIVE),
        Command::Produce(_) => Some(SEND),
        Command::ListOffset { .. } | Command::ListOffsets { .. } | Command::Describe(_) => None,
    };
    let mut span = context.sample(command.name(), client);
    if let Some(span) = &mut span {
        span.command(system, command.name(), operation);
        match command {
            Command::Fetch { log, .. } | Command::ListOffset { log, .. } => {
                span.log(&escape_for_message(&log.topic), Some(log.partition));
            }
            Command::Produce(records) => span.batch(records.len()),
            Command::MultiFetch { .. } | Command::ListOffsets { .. } | Command::Describe(_) => {}
        }
    }
    (context, span)
}

/// Runs a command within `grant`. A fetch uses the memory of `reservation`; records are written in the order of
/// tickets.
///
/// # Cancel safety
/// A drop abandons a read. A command's records are written all or none.
pub(super) async fn run(
    command: Command,
    sequence: i64,
    encoding: Encoding,
    grant: &Grant,
    ticket: WriteTicket,
    reservation: &mut dyn AnswerReservation,
) -> Answer {
    let system = grant.system();
    let failed = |what: fmt::Arguments<'_>, error| Answer::failed(sequence, system, what, error);
    match command {
        Command::Fetch { log, offset, bounds } => {
            match grant.fetch(log.as_log(), offset, bounds, reservation).await {
                Ok(fetched) => match encoding {
                    Encoding::Protobuf => {
                        grant.route().delivered(fetched.count, fetched.messages.len());
                        Answer::fetched(sequence, system, fetched)
                    }
                    Encoding::Json(format) => Answer::Text(json::fetched(
                        sequence,
                        system,
                        log.partition,
                        fetched,
                        format,
                        grant.max_bytes(bounds),
                        grant.route(),
                    )),
                },
                Err(error) => {
                    let log = escaped_log(system, &log.topic, log.partition);
                    failed(format_args!("fetch message, {log}"), error)
                }
            }
        }
        Command::ListOffset { log, timestamp } => {
            match grant.list_offset(log.as_log(), timestamp, false).await {
                Ok(offset) => Answer::offset(sequence, offset),
                Err(error) => {
                    let log = escaped_log(system, &log.topic, log.partition);
                    failed(format_args!("list offset, {log}"), error)
                }
            }
        }
        Command::Produce(records) => match grant.produce(records, ticket, || {}).await {
            Ok(reports) => {
                grant.log_reports(&reports);
                Answer::produced(sequence, system, reports, encoding)
            }
            Err(error) => failed(format_args!("produce"), error),
        },
        Command::MultiFetch { places, bounds } => {
            match grant.multi_fetch(&each(&places), bounds, reservation).await {
                Ok(results) => match encoding {
                    Encoding::Protobuf => {
                        for fetched in results.iter().flatten() {
                            grant.route().delivered(fetched.count, fetched.messages.len());
                        }
                        Answer::multi_fetched(sequence, system, results)
                    }
                    Encoding::Json(format) => Answer::Text(json::multi_fetched(
                        sequence,
                        system,
                        places.iter().map(|(log, _)| log.partition),
                        results,
                        format,
                        grant.max_bytes(bounds),
                        grant.route(),
                    )),
                },
                Err(error) => failed(format_args!("fetch messages"), error),
            }
        }
        Command::ListOffsets { asked, committed } => {
            match grant.list_offsets(&each(&asked), committed).await {
                Ok(results) => Answer::offsets(sequence, system, results, encoding),
                Err(error) => failed(format_args!("list offsets"), error),
            }
        }
        Command::Describe(names) => {
            let size = |topic: &DescribedTopic| metadata::size(topic, encoding);
            match grant.describe_page(names, size).await {
                Ok(page) => metadata::answer(sequence, &page, encoding),
                Err(error) => failed(format_args!("describe topics"), error),
            }
        }
    }
}

fn each(logs: &[(LogName, i64)]) -> Vec<Place<'_>> {
    logs.iter().map(|(log, number)| (log.as_log(), *number)).collect()
}

/// The largest body of a command's answer, with the memory that a wait for it takes. A fetch has at most
/// `max_fetch_bytes`, unless a single record is larger; so has a description of topics, unless a single topic is.
pub(super) fn max_answer_bytes(command: &Command, max_fetch_bytes: usize, encoding: Encoding) -> usize {
    let of_result = encoding.max_result_bytes();
    let bytes = match command {
        Command::Fetch { .. } => match encoding {
            Encoding::Protobuf => max_fetch_bytes,
            // The offsets take more than the envelope has room for.
            Encoding::Json(_) => max_fetch_bytes.saturating_add(of_result),
        },
        Command::ListOffset { .. } => 0,
        Command::Produce(records) => records.len().saturating_mul(of_result),
        Command::MultiFetch { places, .. } => {
            let of_partition = of_result.saturating_add(WAITER_BYTES);
            places.len().saturating_mul(of_partition).saturating_add(max_fetch_bytes)
        }
        Command::ListOffsets { asked, .. } => asked.len().saturating_mul(of_result),
        Command::Describe(names) => {
            let of_denied = of_result.saturating_add(MAX_TOPIC_CHARS);
            names.topics.len().saturating_mul(of_denied).saturating_add(max_fetch_bytes)
        }
    };
    bytes.max(MAX_ERROR_BYTES)
}
