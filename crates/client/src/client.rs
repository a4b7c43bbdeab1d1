//! An open session and its commands.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaListOffset, CmdKafkaProduce, CmdPing, ProduceRecord};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::answer::{check_count, known, mismatch, partial_failure};
use crate::connection::Socket;
use crate::fetch::{NO_WAIT, Wait};
use crate::once::results;
use crate::session::{Session, name};
use crate::{Builder, ConnectError, Error, FetchOptions, Fetched, RecordError, Walk, Written};

/// An open session.
///
/// Commands run concurrently and are answered in any order; share a client by reference or in an `Arc`. Dropping it and
/// its [subscriptions](Self::subscribe) sends a Close without waiting for the answer; [`close`](Self::close) waits. A
/// task on the runtime that opened the session answers the server's WebSocket pings.
#[derive(Debug)]
pub struct Client {
    pub(crate) session: Arc<Session>,
    pub(crate) builder: Builder,
    task: JoinHandle<Result<(), Error>>,
}

/// The offset of a partition, or the sequence of a NATS stream, to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The oldest message's.
    Earliest,
    /// The next message's to be written.
    Latest,
    /// The first message's at or after this time, in milliseconds since 1970-01-01T00:00:00Z.
    Millis(i64),
    /// The message's with the latest timestamp; needs Kafka 3.0. In a stream, the last message's.
    MaxTimestamp,
}

impl At {
    /// The protocol's number for it.
    pub(crate) fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::Millis(millis) => millis,
        }
    }
}

impl Client {
    /// Opens a session with default settings.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    ///
    /// # Errors
    /// [`ConnectError`]
    pub async fn connect(url: impl Into<String>) -> Result<Self, ConnectError> {
        Self::builder(url).connect().await
    }

    /// The settings of a client of `url`: `ws://`, or `wss://` with the feature `tls`.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url.into())
    }

    pub(crate) fn new(socket: Socket, builder: Builder) -> Self {
        let (session, task) = Session::new(socket, builder.max_in_flight);
        let session = Arc::new(session);
        if let Some(login) = &builder.login {
            tokio::spawn(login.clone().renew(Arc::downgrade(&session), builder.request_timeout));
        }
        Self { session, builder, task }
    }

    /// Sends `state` to the bridge and back.
    ///
    /// # Cancel safety
    /// The ping may or may not have been sent; its answer is dropped.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn ping(&self, state: impl Into<Bytes>) -> Result<Bytes, Error> {
        match self
            .session
            .command(Req::CmdPing(CmdPing { state: state.into() }), self.builder.request_timeout)
            .await?
        {
            Resp::PongResp(pong) => Ok(pong.state),
            other => Err(mismatch("a pong", &other)),
        }
    }

    /// The offset of `partition` at `at`; `None` if every message is older than the time.
    ///
    /// # Cancel safety
    /// The command may or may not have been sent; its answer is dropped.
    ///
    /// # Errors
    /// [`Error`]; for a topic or partition that does not exist [`Error::Command`].
    /// Temporary errors are returned once the [retries](Builder::max_retries) are used up.
    pub async fn list_offset(&self, topic: &str, partition: i32, at: At) -> Result<Option<i64>, Error> {
        let command = CmdKafkaListOffset { topic: topic.into(), partition, timestamp: at.timestamp() };
        match self.read(Req::CmdKafkaListOffset(command), NO_WAIT).await? {
            Resp::KafkaListOffsetResp(answer) => Ok(known(answer.offset)),
            other => Err(mismatch("an offset", &other)),
        }
    }

    /// Messages of `partition` from `offset` on, as many as fit in one answer. At the log end the server waits a moment
    /// for new ones, then answers with none.
    ///
    /// # Cancel safety
    /// The command may or may not have been sent; its answer is dropped. The server keeps no position.
    ///
    /// # Errors
    /// [`Error`]; for an offset before the log start or after the log end [`Error::Command`].
    /// Temporary errors are returned once the [retries](Builder::max_retries) are used up.
    pub async fn fetch(&self, topic: &str, partition: i32, offset: i64) -> Result<Fetched, Error> {
        self.fetch_with(topic, partition, offset, FetchOptions::new()).await
    }

    /// Like [`fetch`](Self::fetch), with other options than the server's defaults.
    ///
    /// # Cancel safety
    /// The same as for [`fetch`](Self::fetch).
    ///
    /// # Errors
    /// The same as for [`fetch`](Self::fetch), and [`Error::IsolationUnsupported`].
    pub async fn fetch_with(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        options: FetchOptions,
    ) -> Result<Fetched, Error> {
        let command = options.command(topic, partition, offset);
        match self.read(Req::CmdKafkaFetch(command), options.wait()).await? {
            Resp::KafkaFetchResp(answer) => options.accept(offset, answer),
            other => Err(mismatch("messages", &other)),
        }
    }

    /// Writes `records`, and returns for each where Kafka stored it, or why not. If the command fails as a whole, each
    /// of them has its error. The client repeats no write, not even one that certainly failed: that would change the
    /// order of the records.
    ///
    /// Calls that are in flight at the same time keep the order in which they were first polled, in every partition.
    ///
    /// On clusters with schemas, the server encodes a value or key, which is JSON then, with the record's `value_schema` or
    /// `key_schema`: a subject, for its latest schema, or an id.
    ///
    /// # Cancel safety
    /// The records may or may not have been sent; their answer is dropped.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: nothing was written. Otherwise [`Error`], but not [`Error::Command`]: the records may or
    /// may not have been written, and sending them again may write them twice.
    ///
    /// ```no_run
    /// # use sluicegate_client::{Client, ProduceRecord};
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let record = ProduceRecord {
    ///     topic: "orders".into(),
    ///     value: Some(r#"{"id": 42}"#.into()),
    ///     value_schema: Some("orders-value".into()),
    ///     ..ProduceRecord::default()
    /// };
    /// for outcome in client.produce(vec![record]).await? {
    ///     println!("{:?}", outcome?.offset);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn produce(
        &self,
        records: Vec<ProduceRecord>,
    ) -> Result<Vec<Result<Written, RecordError>>, Error> {
        let count = records.len();
        let command = Req::CmdKafkaProduce(CmdKafkaProduce { records, ..CmdKafkaProduce::default() });
        self.write(command, count, results).await
    }

    /// Reads `partition` in order, beginning with offset `from`.
    pub fn walk(&self, topic: impl Into<String>, partition: i32, from: i64) -> Walk<'_> {
        Walk::new(self, topic.into(), partition, from)
    }

    /// Sends a Close and waits up to 5 s for the server's. Ends the subscriptions of this connection, too.
    ///
    /// # Cancel safety
    /// The session ends all the same, in the background.
    ///
    /// # Errors
    /// Why the session had ended before, or [`Error::Timeout`] if the server did not answer.
    pub async fn close(self) -> Result<(), Error> {
        self.session.close();
        self.task.await.unwrap_or_else(|why| Err(Error::Lost { detail: why.to_string() }))
    }

    /// The results of a command that writes `count` records, which is never repeated. `read` reads its answer.
    pub(crate) async fn write<T: Clone>(
        &self,
        command: Req,
        count: usize,
        read: impl FnOnce(Resp) -> Result<Vec<Result<T, RecordError>>, Error>,
    ) -> Result<Vec<Result<T, RecordError>>, Error> {
        match self.session.answer(command, self.builder.request_timeout).await? {
            Resp::ErrorResp(error) => Ok(vec![Err(error.into()); count]),
            answer => {
                let results = read(answer)?;
                check_count(results.len(), count)?;
                Ok(results)
            }
        }
    }

    /// The answer to a command that changes nothing: it is repeated if that can help.
    pub(crate) async fn read(&self, command: Req, wait: Wait) -> Result<Resp, Error> {
        let limit = self.builder.request_timeout.saturating_add(wait.longest);
        let mut retries: u32 = 0;
        // Since the first failure, without the waits.
        let mut elapsed = Duration::ZERO;
        loop {
            let start = Instant::now();
            let answer = self.session.command(command.clone(), limit).await;
            if retries > 0 {
                elapsed = elapsed.saturating_add(start.elapsed().saturating_sub(wait.wanted));
            }
            let failure = match &answer {
                Ok(answer) => partial_failure(answer),
                Err(error) => Some(error.clone()),
            };
            let pause = failure.and_then(|error| self.builder.retries.pause(&error, retries, elapsed));
            let Some(pause) = pause else { return answer };
            retries = retries.saturating_add(1);
            elapsed = elapsed.saturating_add(pause);
            debug!("{} failed, retry {retries} in {pause:?}", name(&command));
            sleep(pause).await;
        }
    }
}
