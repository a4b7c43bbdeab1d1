//! Commands for a messaging system, and their answers.

use std::fmt;

use sluicegate_backend::command::{Command, LogName};
use sluicegate_backend::{AnswerReservation, CommandError, Fault, System};
use sluicegate_delivery::GroupMember;
use sluicegate_delivery::cluster::{DescribedTopic, Place, WriteTicket, escape_for_message, escaped_log};
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect as dialect;
use sluicegate_dialect::session::{Answer, Encoding, MessageBound};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::error_code::INVALID_REQUEST;
use sluicegate_telemetry::traces::{self, RECEIVE, SEND};

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
        Command::ListOffset { .. }
        | Command::ListOffsets { .. }
        | Command::Describe(_)
        | Command::Commit { .. } => None,
    };
    let mut span = context.sample(command.name(), client);
    if let Some(span) = &mut span {
        span.command(system, command.name(), operation);
        match command {
            Command::Fetch { log, .. } | Command::ListOffset { log, .. } => {
                span.log(&escape_for_message(&log.topic), Some(log.partition));
            }
            Command::Produce(write) => span.batch(write.records.len()),
            Command::MultiFetch { .. }
            | Command::ListOffsets { .. }
            | Command::Describe(_)
            | Command::Commit { .. } => {}
        }
    }
    (context, span)
}

/// Runs a command within `grant`, whose answer is within `bound`. A fetch uses the memory of `reservation`; records are
/// written in the order of tickets; `member` commits.
///
/// # Cancel safety
/// A drop abandons a read. A command's records are written all or none.
pub(super) async fn run(
    command: Command,
    sequence: i64,
    (encoding, bound): (Encoding, MessageBound),
    grant: &Grant,
    (ticket, member): (WriteTicket, Option<GroupMember>),
    reservation: &mut dyn AnswerReservation,
) -> Answer {
    let system = grant.system();
    let failed = |what: fmt::Arguments<'_>, error| Answer::failed(sequence, system, what, error);
    let answer = match command {
        Command::Fetch { log, offset, bounds, filters } => {
            match grant.fetch(log.as_log(), offset, bounds, filters, reservation).await {
                Ok(mut fetched) => {
                    let max_bytes = grant.max_bytes(bounds);
                    let partition = log.partition;
                    fetched.messages = bound.fit(fetched.messages, system, partition, encoding);
                    Answer::fetched(sequence, system, partition, fetched, encoding, max_bytes, grant.route())
                }
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
        Command::Produce(write) => match grant.produce(write, ticket, || {}).await {
            Ok(reports) => {
                grant.log_reports(&reports);
                dialect::of(system).produced(sequence, reports, encoding)
            }
            Err(error) => failed(format_args!("produce"), error),
        },
        Command::MultiFetch { places, bounds, filters } => {
            match grant.multi_fetch(&each(&places), bounds, filters, reservation).await {
                Ok(mut results) => {
                    let partitions = places.iter().map(|(log, _)| log.partition);
                    bound.fit_all(partitions.clone().zip(&mut results), system, encoding);
                    let max_bytes = grant.max_bytes(bounds);
                    Answer::multi_fetched(sequence, partitions, results, encoding, max_bytes, grant.route())
                }
                Err(error) => failed(format_args!("fetch messages"), error),
            }
        }
        Command::ListOffsets { asked, committed } => {
            match grant.list_offsets(&each(&asked), committed).await {
                Ok(results) => dialect::of(system).listed(sequence, results, encoding),
                Err(error) => failed(format_args!("list offsets"), error),
            }
        }
        Command::Commit { subscription, assignment, commits } => {
            let committed = match (member, &commits[..]) {
                (_, []) => Err(invalid("0 offsets in one command: expected at least 1")),
                (Some(member), commits) => grant.commit_of(&member, assignment, commits).await,
                (None, _) => Err(invalid(format!(
                    "subscription {subscription} is not open, or not a member of a group: subscribe with group"
                ))),
            };
            match committed {
                Ok(results) => {
                    let logs = commits.into_iter().map(|commit| commit.log);
                    Answer::committed(sequence, logs, results, encoding)
                }
                Err(error) => failed(format_args!("commit offsets"), error),
            }
        }
        Command::Describe(names) => {
            let size = |topic: &DescribedTopic| Answer::topic_bytes(topic, encoding);
            match grant.describe_page(names, size).await {
                Ok(page) => Answer::described(sequence, &page, encoding),
                Err(error) => failed(format_args!("describe topics"), error),
            }
        }
    };
    match bound.exceeded(&answer, encoding.codec()) {
        Some(error) => failed(format_args!("answer"), error),
        None => answer,
    }
}

fn invalid(message: impl Into<String>) -> CommandError {
    CommandError::new(Fault::Invalid, INVALID_REQUEST, message)
}

fn each(logs: &[(LogName, i64)]) -> Vec<Place<'_>> {
    logs.iter().map(|(log, number)| (log.as_log(), *number)).collect()
}
