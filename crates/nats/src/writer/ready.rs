//! Checks that the messages of a command need before they can be sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_nats::Subject;
use futures_util::future::{join_all, ready};
use futures_util::{StreamExt, stream};
use sluicegate_backend::command::Record;
use sluicegate_backend::{CommandError, Log};

use super::Writer;
use crate::error::ReadError;
use crate::session::Session;
use crate::stream_name::StreamName;
use crate::streams::Stream;
use crate::subject;

/// A session and streams that are ready for messages.
pub(super) struct Ready<'a> {
    pub(super) session: Arc<Session>,
    /// The streams of a command, or why they cannot be written to.
    pub(super) streams: BTreeMap<Log<'a>, Result<Stream, CommandError>>,
    /// What the server's mappings make of subjects that are none of their stream's own.
    pub(super) mapped: BTreeMap<String, String>,
}

impl Writer {
    /// Waits for a connection and the streams of all records without an error.
    pub(super) async fn ready<'a>(
        &self,
        records: &'a [Record],
        errors: &[Option<CommandError>],
    ) -> Result<Ready<'a>, CommandError> {
        if self.state.lock().is_closed {
            return Err(CommandError::shutting_down());
        }
        let session = self.api.connection.session(self.api.deadline()).await;
        let session = session.map_err(|error| error.into_command_error(&self.incidents))?;
        let valid = records.iter().zip(errors).filter(|(_, error)| error.is_none());
        let logs: BTreeSet<Log<'_>> = valid.map(|(record, _)| log(record)).collect();
        let streams = logs.into_iter().map(|log| async move {
            let stream = async { self.stream(StreamName::of(log)?).await };
            (log, stream.await.map_err(|error| error.into_error_of(log.topic, &self.incidents)))
        });
        let streams: BTreeMap<_, _> = join_all(streams).await.into_iter().collect();
        let valid = records.iter().zip(errors).filter(|(_, error)| error.is_none());
        let foreign = valid.filter_map(|(record, _)| {
            let intake = &streams.get(&log(record))?.as_ref().ok()?.info.intake;
            let subject = subject::of(record, &self.api.connection.config().inbox).ok()?;
            (!intake.subjects.is_empty() && !intake.takes(&subject)).then_some(subject)
        });
        let mapped = self.mapped(foreign.collect()).await;
        // It can be another one by now.
        let session = self.api.connection.current().unwrap_or(session);
        Ok(Ready { session, streams, mapped })
    }

    /// The subjects that the server maps, and what it makes of them. It does not tell users that may not publish to the
    /// bridge's inbox.
    async fn mapped(&self, subjects: BTreeSet<Subject>) -> BTreeMap<String, String> {
        let deadline = self.api.deadline();
        let ask = |subject: Subject| async move {
            let mapped = self.api.mapped(&subject, deadline).await.ok()??;
            Some((subject.into_string(), mapped))
        };
        let asked = stream::iter(subjects).map(ask).buffer_unordered(MAX_TRACES);
        asked.filter_map(ready).collect().await
    }

    /// Succeeds if the stream exists.
    pub(crate) async fn check_stream(&self, name: StreamName<'_>) -> Result<(), ReadError> {
        self.stream(name).await.map(drop)
    }

    /// A stream, as its leader knows it or has known it a moment ago.
    async fn stream(&self, name: StreamName<'_>) -> Result<Stream, ReadError> {
        match self.streams.known(name) {
            Some((stream, age)) if age < self.fresh => Ok(stream),
            _ => self.streams.ask(name).await,
        }
    }
}

/// The stream of a record, which is its partition 0.
pub(super) fn log(record: &Record) -> Log<'_> {
    let partition = record.partition.filter(|partition| *partition != ANY_PARTITION).unwrap_or_default();
    Log { topic: &record.topic, partition }
}

/// Subjects that the server is asked about at the same time.
const MAX_TRACES: usize = 16;

/// The number of a partition that the client leaves to the messaging system.
const ANY_PARTITION: i32 = -1;
