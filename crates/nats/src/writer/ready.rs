//! Checks that the messages of a command need before they can be sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use sluicegate_backend::command::Record;
use sluicegate_backend::{CommandError, Log};

use super::Writer;
use crate::error::ReadError;
use crate::session::Session;
use crate::stream_name::StreamName;
use crate::streams::Stream;

/// A session and streams that are ready for messages.
pub(super) struct Ready<'a> {
    pub(super) session: Arc<Session>,
    /// The streams of a command, or why they cannot be written to.
    pub(super) streams: BTreeMap<Log<'a>, Result<Stream, CommandError>>,
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
        let streams = join_all(streams).await.into_iter().collect();
        // It can be another one by now.
        let session = self.api.connection.current().unwrap_or(session);
        Ok(Ready { session, streams })
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

/// The number of a partition that the client leaves to the messaging system.
const ANY_PARTITION: i32 = -1;
