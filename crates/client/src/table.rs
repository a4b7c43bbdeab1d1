//! The newest message of each key, as a map that its owner keeps current.

mod entries;

use bytes::Bytes;
use sluicegate_protocol::is_removal_among;

use crate::{Client, Error, KafkaMessage, Subscribe, Subscription, Update, nats};
use entries::Entries;

/// The newest message of each key of a topic, made by [`Client::table`]; or of each subject of a stream, by
/// [`Nats::table`](nats::Nats::table). It changes with [`Table::next`], and never in between.
///
/// It is what a replay of the log would be once it was [complete](TableChange::Complete), whatever happens to the
/// connection or to the topic. If the same key is in two partitions, because the topic got more of them, the message
/// with the later timestamp is the newest.
///
/// Memory: all its messages. Their keys and values are views into what was received.
#[derive(Debug)]
pub struct Table<U: TableUpdate = Update> {
    subscription: Subscription<U>,
    entries: Entries<U::Row>,
    is_complete: bool,
}

/// Something that happened to a [`Table`].
#[derive(Debug, Clone, PartialEq)]
pub enum TableChange<U = Update> {
    /// The newest messages of these keys are others, or there are none any more.
    Keys(Vec<Bytes>),
    /// The table is complete: for the first time, or again after it had to begin anew.
    Complete,
    /// The subscription tells something else.
    Other(U),
}

/// The updates that a table is made of. Those of this crate are.
pub trait TableUpdate: sealed::Step + Send + 'static {}

pub(crate) mod sealed {
    use bytes::Bytes;

    /// A message as a row of a table.
    pub trait Row: std::fmt::Debug + Clone + Send {
        fn key(&self) -> Option<Bytes>;
        fn position(&self) -> i64;
        fn timestamp(&self) -> i64;
        /// Whether the key has no message from now on.
        fn removes(&self) -> bool;
    }

    /// A topic or stream, and a partition.
    pub(crate) type Log = (String, i32);

    /// The meaning of an update for a table.
    #[derive(Debug)]
    pub enum Meaning<M, U> {
        /// Rows that are not confirmed until [`Meaning::End`] are no part of the table.
        Snapshot,
        Rows(Log, Vec<M>),
        End,
        /// The log begins here.
        Start(Log, i64),
        Other(U),
    }

    pub trait Step: Sized {
        /// A message of a log.
        type Row: Row;
        fn meaning(self) -> Meaning<Self::Row, Self>;
    }
}

impl<U: TableUpdate> Table<U> {
    fn new(subscription: Subscription<U>) -> Self {
        Self { subscription, entries: Entries::default(), is_complete: false }
    }

    /// Waits for the next change, which the table has when this returns; none after an error.
    ///
    /// # Cancel safety
    /// No change is lost.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    pub async fn next(&mut self) -> Option<Result<TableChange<U>, Error>> {
        let update = match self.subscription.next().await? {
            Ok(update) => update,
            Err(error) => return Some(Err(error)),
        };
        use sealed::Meaning;
        Some(Ok(match update.meaning() {
            Meaning::Snapshot => {
                self.entries.begin();
                self.is_complete = false;
                TableChange::Keys(Vec::new())
            }
            Meaning::Rows(log, rows) => TableChange::Keys(self.entries.put(&log, rows)),
            Meaning::Start(log, offset) => TableChange::Keys(self.entries.remove_before(&log, offset)),
            Meaning::End => {
                self.entries.end();
                self.is_complete = true;
                TableChange::Complete
            }
            Meaning::Other(update) => TableChange::Other(update),
        }))
    }

    /// The newest message of a key.
    pub fn get(&self, key: &[u8]) -> Option<&U::Row> {
        self.entries.get(key)
    }

    /// All keys with their newest messages, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &U::Row)> {
        self.entries.iter()
    }

    /// Whether it has been complete since it began, anew if it had to. Until then, keys are missing, or are those from
    /// before.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }
}

impl Client {
    /// Keeps the newest message of each key of a topic: a topic's name, or a [`Subscribe`] with filters, or that
    /// [decodes](Subscribe::decode). The gateway's route has to list the topic under `tables`.
    ///
    /// If the connection is lost, the table goes on as a [subscription](Client::subscribe) does.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    ///
    /// ```no_run
    /// # async fn example(client: sluicegate_client::Client) -> Result<(), sluicegate_client::Error> {
    /// let mut prices = client.table("prices");
    /// while let Some(change) = prices.next().await {
    ///     change?;
    ///     for (key, message) in prices.iter() {
    ///         println!("{key:?}: {:?}", message.value);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn table(&self, subscribe: impl Into<Subscribe>) -> Table {
        Table::new(self.subscribe(subscribe.into().latest_per_key()))
    }
}

impl nats::Nats<'_> {
    /// Keeps the newest message of each subject of a stream, as [`Client::table`] does: a stream's name, or a
    /// [`Subscribe`] with filters. Messages that expire disappear without a change, unless they are the first of the
    /// stream.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    pub fn table(self, subscribe: impl Into<Subscribe<nats::Source>>) -> Table<nats::Update> {
        Table::new(self.subscribe(subscribe.into().latest_per_key()))
    }
}

impl TableUpdate for Update {}
impl TableUpdate for nats::Update {}

impl sealed::Step for Update {
    type Row = KafkaMessage;

    fn meaning(self) -> sealed::Meaning<KafkaMessage, Self> {
        use sealed::Meaning;
        match self {
            Self::Snapshot(_) => Meaning::Snapshot,
            Self::Delivery(delivery) => {
                Meaning::Rows((delivery.topic, delivery.partition), delivery.messages)
            }
            Self::SnapshotEnd { .. } => Meaning::End,
            Self::LogStart { topic, partition, offset } => Meaning::Start((topic, partition), offset),
            other => Meaning::Other(other),
        }
    }
}

impl sealed::Step for nats::Update {
    type Row = nats::NatsMessage;

    fn meaning(self) -> sealed::Meaning<nats::NatsMessage, Self> {
        use sealed::Meaning;
        match self {
            Self::Snapshot(_) => Meaning::Snapshot,
            Self::Delivery(delivery) => Meaning::Rows((delivery.stream, 0), delivery.messages),
            Self::SnapshotEnd => Meaning::End,
            Self::FirstSequence { stream, sequence } => Meaning::Start((stream, 0), sequence),
            other => Meaning::Other(other),
        }
    }
}

impl sealed::Row for KafkaMessage {
    fn key(&self) -> Option<Bytes> {
        self.key.clone()
    }

    fn position(&self) -> i64 {
        self.offset
    }

    fn timestamp(&self) -> i64 {
        self.timestamp
    }

    fn removes(&self) -> bool {
        self.value.is_none()
    }
}

impl sealed::Row for nats::NatsMessage {
    fn key(&self) -> Option<Bytes> {
        Some(self.subject.clone().into())
    }

    fn position(&self) -> i64 {
        self.sequence
    }

    fn timestamp(&self) -> i64 {
        self.timestamp
    }

    fn removes(&self) -> bool {
        is_removal_among(&self.headers)
    }
}
