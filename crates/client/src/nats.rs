//! NATS JetStream, whose streams are read and written by sequence.
//!
//! 1. [`Client::nats`] is the door: [`Nats`] has the commands
//! 2. [`Nats::fetch`] and [`Nats::walk`] read a stream, [`Nats::list_sequences`] finds sequences in many
//! 3. [`Nats::subscribe`] reads streams as messages are published, and continues where it was after a lost connection
//! 4. [`Nats::publish`] writes messages and reports the outcome of each
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sluicegate_client::nats::{PublishMessage, Source, Update};
//! use sluicegate_client::{At, Client, Filter, Subscribe};
//!
//! let client = Client::connect("ws://127.0.0.1:8080/pubsub").await?;
//! let order = PublishMessage {
//!     stream: "ORDERS".into(),
//!     subject: "orders.eu".into(),
//!     data: "7".into(),
//!     message_id: "order-7".into(),
//!     ..Default::default()
//! };
//! for published in client.nats().publish(vec![order]).await? {
//!     println!("stored as message {}", published?.sequence);
//! }
//! let subscribe = Subscribe::new([Source::new("ORDERS").at(At::Earliest)]);
//! let mut updates = client.nats().subscribe(subscribe.filter(Filter::subject().starts_with("orders.eu")));
//! while let Some(update) = updates.next().await {
//!     if let Update::Delivery(delivery) = update? {
//!         for message in delivery.messages {
//!             println!("{} {}: {:?}", message.sequence, message.subject, message.data);
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod source;
mod update;
mod walk;

use std::time::Duration;

use sluicegate_protocol as protocol;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdNatsListSequences, CmdNatsPublish, NatsFetchResp, NatsListSequencesResp, NatsPublishResp, StreamTime,
};

use crate::answer::{check_count, known, mismatch};
use crate::fetch::NO_WAIT;
use crate::many::MAX_OFFSETS;
use crate::{At, Client, Error, FetchOptions, RecordError, Subscribe, Subscription, subscription};
pub use sluicegate_protocol::{NatsMessage, PublishMessage};
pub use source::Source;
use source::Streams;
pub use update::{Delivery, SubscribedStream, Update};
pub use walk::Walk;

/// The NATS streams of a client. Made by [`Client::nats`].
///
/// All commands fail with [`Error::CommandUnsupported`] if the server is too old for them, and with [`Error::Command`]
/// if the route's cluster is one of Kafka.
#[derive(Debug, Clone, Copy)]
pub struct Nats<'a> {
    client: &'a Client,
}

/// The answer to a fetch from a stream.
///
/// The ends of the stream are `None` if the server does not know them. They are as of NATS' last answer to the server:
/// newer than the fetch if there are no messages, otherwise up to the server's `read.cache_ms` old.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Fetched {
    /// From the requested sequence on, in order.
    ///
    /// Data and header values are views into the answer, not copies: keeping one keeps the whole answer in memory.
    pub messages: Vec<NatsMessage>,
    /// Where to continue: after the last message and the deleted sequences that follow it.
    pub next_sequence: i64,
    /// One after the stream's last sequence.
    pub end: Option<i64>,
    /// The sequence of the stream's first message.
    pub first_sequence: Option<i64>,
}

/// The sequence that [`Nats::list_sequences`] is to find in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceQuery {
    /// The stream's name.
    pub stream: String,
    /// The sequence to find.
    pub at: At,
}

/// A sequence that [`Nats::list_sequences`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedSequence {
    /// `None` if every message is older than the time.
    pub sequence: Option<i64>,
    /// The timestamp of the message at this sequence, in milliseconds since 1970-01-01T00:00:00Z. `None` at either end
    /// of the stream, or if no message matches.
    pub timestamp: Option<i64>,
}

/// Where JetStream stored an acknowledged message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Its sequence; that of the earlier message if it is a [`duplicate`](Self::duplicate).
    pub sequence: i64,
    /// The stream has a message with this [`message_id`](PublishMessage::message_id) already; nothing was written.
    pub duplicate: bool,
    /// For a message with a [`message_id`](PublishMessage::message_id), the stream's `duplicate_window`: how long
    /// repeating the message writes nothing.
    pub duplicate_window: Option<Duration>,
}

impl Client {
    /// The commands for streams of NATS JetStream.
    pub fn nats(&self) -> Nats<'_> {
        Nats { client: self }
    }
}

impl<'a> Nats<'a> {
    /// Messages of `stream` from `sequence` on, as many as fit in one answer; 0 for the first message. A deleted
    /// sequence stands for the next message. At the end of the stream the server waits a moment for new ones, then
    /// answers with none.
    ///
    /// # Cancel safety
    /// The command may or may not have been sent; its answer is dropped. The server keeps no position.
    ///
    /// # Errors
    /// [`Error`]; for a stream that does not exist, and for a sequence before its first message or after its end,
    /// [`Error::Command`].
    /// Temporary errors are returned once the [retries](crate::Builder::max_retries) are used up.
    pub async fn fetch(self, stream: &str, sequence: i64) -> Result<Fetched, Error> {
        self.fetch_with(stream, sequence, FetchOptions::new()).await
    }

    /// Like [`fetch`](Self::fetch), with other options than the server's defaults.
    ///
    /// # Cancel safety
    /// The same as for [`fetch`](Self::fetch).
    ///
    /// # Errors
    /// The same as for [`fetch`](Self::fetch).
    pub async fn fetch_with(
        self,
        stream: &str,
        sequence: i64,
        options: FetchOptions,
    ) -> Result<Fetched, Error> {
        let command = Req::CmdNatsFetch(options.nats_command(stream, sequence));
        match self.client.read(command, options.wait()).await? {
            Resp::NatsFetchResp(NatsFetchResp { messages, next_sequence, end, first_sequence }) => {
                Ok(Fetched {
                    messages,
                    next_sequence: next_sequence.max(sequence),
                    end: end.and_then(known),
                    first_sequence: first_sequence.and_then(known),
                })
            }
            other => Err(mismatch("messages", &other)),
        }
    }

    /// Reads `stream` in order, beginning with sequence `from`; 0 for the first message.
    pub fn walk(self, stream: impl Into<String>, from: i64) -> Walk<'a> {
        Walk::new(self, stream.into(), from)
    }

    /// Sequences of any number of streams, 1,000 to a command. The results are in the order of `queries`.
    ///
    /// [`At::Latest`] is one after the stream's last sequence.
    ///
    /// # Cancel safety
    /// The commands may or may not have been sent; their answers are dropped.
    ///
    /// # Errors
    /// [`Error`] if a command fails as a whole. A stream that does not exist has an [`Error::Command`] of its own.
    /// Temporary errors of either are [retried](crate::Builder::max_retries).
    pub async fn list_sequences(
        self,
        queries: &[SequenceQuery],
    ) -> Result<Vec<Result<ListedSequence, Error>>, Error> {
        let mut listed = Vec::with_capacity(queries.len());
        for queries in queries.chunks(MAX_OFFSETS) {
            let time = |SequenceQuery { stream, at }: &SequenceQuery| StreamTime {
                stream: stream.clone(),
                timestamp: at.timestamp(),
            };
            let command = CmdNatsListSequences { times: queries.iter().map(time).collect() };
            let NatsListSequencesResp { results } =
                match self.client.read(Req::CmdNatsListSequences(command), NO_WAIT).await? {
                    Resp::NatsListSequencesResp(answer) => answer,
                    other => return Err(mismatch("sequences", &other)),
                };
            check_count(results.len(), queries.len())?;
            listed.extend(results.into_iter().map(|result| match result {
                protocol::ListedSequence { error: Some(error), .. } => Err(Error::command(error)),
                protocol::ListedSequence { sequence, timestamp, error: None } => {
                    Ok(ListedSequence { sequence: known(sequence), timestamp: known(timestamp) })
                }
            }));
        }
        Ok(listed)
    }

    /// Reads streams, and delivers messages as they are published: each stream's in order, none twice, and none lost
    /// but those that an [`Update::Skipped`] names.
    ///
    /// It continues after failures as [`Client::subscribe`] does, and fails if a stream was deleted and created again
    /// meanwhile.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    pub fn subscribe(self, subscribe: Subscribe<Source>) -> Subscription<Update> {
        let window = subscribe.window;
        subscription::open(self.client, Streams::new(subscribe.into_command()), window)
    }

    /// Writes `messages`, at most 1,000, and returns for each where JetStream stored it, or why not. If the command
    /// fails as a whole, each of them has its error. A message that is rejected does not stop those behind it.
    ///
    /// The client repeats no write. A message with a [`message_id`](PublishMessage::message_id) can be sent again after
    /// any failure, on a new connection too: within the stream's `duplicate_window`, counted from the first attempt, it
    /// is written once. Without one, sending it again can write it twice.
    ///
    /// Calls that are in flight at the same time keep the order in which they were first polled, in every stream.
    ///
    /// # Cancel safety
    /// The messages may or may not have been sent; their answer is dropped.
    ///
    /// # Errors
    /// [`Error`], but not [`Error::Command`]. The messages may or may not have been written, except after
    /// [`Error::CommandUnsupported`].
    pub async fn publish(
        self,
        messages: Vec<PublishMessage>,
    ) -> Result<Vec<Result<Published, RecordError>>, Error> {
        let count = messages.len();
        let command = Req::CmdNatsPublish(CmdNatsPublish { messages, ..CmdNatsPublish::default() });
        let read = |answer| match answer {
            Resp::NatsPublishResp(NatsPublishResp { results }) => {
                Ok(results.into_iter().map(outcome).collect())
            }
            other => Err(mismatch("results", &other)),
        };
        self.client.write(command, count, read).await
    }
}

fn outcome(published: protocol::Published) -> Result<Published, RecordError> {
    match published {
        protocol::Published { error: Some(error), .. } => Err(error.into()),
        protocol::Published { sequence, duplicate, duplicate_window_ms, error: None, .. } => Ok(Published {
            sequence,
            duplicate,
            duplicate_window: (duplicate_window_ms > 0).then(|| Duration::from_millis(duplicate_window_ms)),
        }),
    }
}
