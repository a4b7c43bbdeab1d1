//! Writes each record once, over lost connections and restarts of the program: counts records, repeats those without an
//! outcome, and has what a repeat needs saved before a record is sent.

mod account;

use std::io;
use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_protocol::ProduceRecord;
use tokio::time::{Instant, sleep};
use tracing::debug;

pub use self::account::Account;
use self::account::{Step, is_final};
use crate::{Builder, Client, Error, Reason, RecordError, Written, retry};

/// Writes records of one topic, each once, in their order in each partition. Made by [`Client::writer`].
///
/// Every bridge recognizes repeats, for as long as Kafka keeps the producer's account, by default 18 h after a write. One
/// program at a time can use an [`Account`]: records of others would be taken for repeats.
#[derive(Debug)]
pub struct Writer<S> {
    builder: Builder,
    /// None after a failure that requires a new connection.
    client: Option<Client>,
    /// Whether the server of this connection knows producers.
    is_checked: bool,
    topic: String,
    account: Account,
    is_saved: bool,
    store: S,
    patience: Duration,
    /// Failures since the last outcome, and when they began.
    failures: u32,
    since: Option<Instant>,
}

/// Where a writer's account outlives the program.
pub trait Store {
    /// Saves the account, for a program that starts again with it. Records are sent once this has returned.
    ///
    /// # Errors
    /// Nothing is sent.
    fn save(&mut self, account: &Account) -> io::Result<()>;

    /// Takes note of a failure, after which the writer tries again.
    fn retrying(&mut self, _failure: &str, _pause: Duration) {}
}

impl<F: FnMut(&Account) -> io::Result<()>> Store for F {
    fn save(&mut self, account: &Account) -> io::Result<()> {
        self(account)
    }
}

/// Why a write did not return an outcome for each record. Repeated with the same records, it continues.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The account could not be saved; nothing was sent after that.
    #[error("save the producer's account: {0}")]
    Save(io::Error),
    /// The server cannot be reached, refuses all commands, or has given no outcome for [too long](Writer::give_up_after).
    #[error("{0}")]
    Failed(Error),
    /// Nobody can tell whether these records are written ([`Reason::Expired`], [`Reason::OutOfOrder`]), or another program
    /// uses a later state of the account ([`Reason::Fenced`]). A repeat does not help.
    #[error("write as producer in partition {partition}: {}", .error.message)]
    Account {
        /// Their partition.
        partition: i32,
        /// Their numbers in the write, from 0.
        records: Vec<usize>,
        /// The server's answer.
        error: RecordError,
    },
    /// An earlier write is unfinished, and has to be repeated first. Nothing was sent.
    #[error("write {given} records: an unfinished write of {unfinished} records has to be repeated first")]
    Unfinished {
        /// The number of its records.
        unfinished: usize,
        /// The number of records of this one.
        given: usize,
    },
    /// The producer has counted to the end of its last epoch: use another account. Nothing was sent.
    #[error("count records of the producer: it has no further epoch")]
    Exhausted,
}

impl Client {
    /// Writes records of `topic` once, over lost connections, and over restarts of a program that saves the account.
    ///
    /// ```no_run
    /// use std::fs;
    ///
    /// use sluicegate_client::{Account, Client, ProduceRecord};
    ///
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let account = match fs::read("account.json") {
    ///     Ok(saved) => serde_json::from_slice(&saved)?,
    ///     Err(_) => Account::new()?,
    /// };
    /// // On a disk that may lose power, `File::sync_all` comes before the name.
    /// let mut writer = client.writer("orders", account, |account: &Account| {
    ///     fs::write("account.tmp", serde_json::to_vec(account)?)?;
    ///     fs::rename("account.tmp", "account.json")
    /// });
    /// // Killed at any point, the program begins with the same records again.
    /// let record = ProduceRecord { key: Some("42".into()), value: Some("paid".into()), ..Default::default() };
    /// for outcome in writer.write(&[record]).await? {
    ///     println!("{:?}", outcome?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn writer<S: Store>(self, topic: impl Into<String>, account: Account, store: S) -> Writer<S> {
        Writer {
            builder: self.builder.clone(),
            client: Some(self),
            is_checked: false,
            topic: topic.into(),
            account,
            is_saved: true,
            store,
            patience: Duration::MAX,
            failures: 0,
            since: None,
        }
    }
}

impl<S: Store> Writer<S> {
    /// Limits the time without an outcome of any record, after which a write fails; not limited by default. Pauses that the
    /// server asks for do not count.
    #[must_use]
    pub fn give_up_after(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The account as it is. A write that returns outcomes is no longer unfinished here, but where it was saved: saved from
    /// here, it is not repeated after a restart.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Where it is saved.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Writes records, whose topic is the writer's, until each is written or refused for good. Those behind a refused one are
    /// written. If an earlier write is [unfinished](Account::unfinished), the records must be the same.
    ///
    /// A refused record with [`unknown_outcome`](RecordError::unknown_outcome) may have been written before it was refused.
    ///
    /// # Cancel safety
    /// The write is unfinished: call it again with the same records.
    ///
    /// # Errors
    /// [`WriteError`]: the write is unfinished.
    pub async fn write(
        &mut self,
        records: &[ProduceRecord],
    ) -> Result<Vec<Result<Written, RecordError>>, WriteError> {
        let mut outcomes: Vec<_> = records.iter().map(|_| None).collect();
        match (self.account.unfinished(), records.len()) {
            (0, _) => self.place(records, &mut outcomes).await?,
            (unfinished, given) if unfinished == given => self.account.resume(),
            (unfinished, given) => return Err(WriteError::Unfinished { unfinished, given }),
        }
        loop {
            let heads = self.account.heads();
            if heads.is_empty() {
                break;
            }
            if !std::mem::replace(&mut self.is_saved, true)
                && let Err(why) = self.store.save(&self.account)
            {
                self.is_saved = false;
                return Err(WriteError::Save(why));
            }
            match self.send(records, &heads).await {
                Err(failure) => self.pause(failure).await?,
                Ok(answers) => self.settle(heads.into_iter().zip(answers).collect(), &mut outcomes).await?,
            }
        }
        let refused = |number: usize| RecordError::before(self.account.refusal(number));
        let outcomes = (0..).zip(outcomes).map(|(at, outcome)| outcome.unwrap_or_else(|| Err(refused(at))));
        let outcomes = outcomes.collect();
        self.account.finish();
        Ok(outcomes)
    }

    /// Ends the session; see [`Client::close`].
    ///
    /// # Cancel safety
    /// The session ends all the same, in the background.
    ///
    /// # Errors
    /// As [`Client::close`].
    pub async fn close(self) -> Result<(), Error> {
        match self.client {
            Some(client) => client.close().await,
            None => Ok(()),
        }
    }

    /// Gives records their places.
    async fn place(&mut self, records: &[ProduceRecord], outcomes: &mut [Outcome]) -> Result<(), WriteError> {
        // Of a write that was dropped before its records had places.
        self.account.finish();
        let named = |record: &ProduceRecord| record.partition.filter(|partition| *partition >= 0);
        let mut partitions: Vec<Option<i32>> = records.iter().map(named).collect();
        let mut unplaced: Vec<usize> =
            (0..).zip(&partitions).filter(|(_, place)| place.is_none()).map(|(number, _)| number).collect();
        let mut most = MAX_PLACED;
        while !unplaced.is_empty() {
            // The key is enough, and what decides about rights.
            let ask = |number: &usize| {
                let record = self.record(records.get(*number)?);
                Some(ProduceRecord { value: None, value_schema: None, timestamp: None, ..record })
            };
            let some: Vec<usize> = unplaced.iter().copied().take(most).collect();
            let asked: Vec<_> = some.iter().filter_map(ask).collect();
            let placed = match self.client().await {
                Ok(client) => client.place(asked).await,
                Err(failure) => Err(failure),
            };
            match placed {
                Err(Error::TooLarge { .. }) if some.len() > 1 => most = some.len().div_ceil(2),
                Err(why @ Error::TooLarge { .. }) => {
                    refuse(&mut self.account, outcomes, &some, &[too_large(&why)]);
                    unplaced.drain(..1);
                }
                Err(failure) => self.pause(failure).await?,
                Ok(placed) => {
                    let mut errors = placed.iter().filter_map(|place| place.as_ref().err());
                    if let Some(error) = errors.find(|error| !is_final(error)) {
                        self.pause(RecordError { retriable: true, ..error.clone() }.into()).await?;
                        continue;
                    }
                    unplaced.drain(..some.len());
                    for (number, place) in some.into_iter().zip(placed) {
                        match place {
                            Ok(place) => {
                                if let Some(partition) = partitions.get_mut(number) {
                                    *partition = Some(place);
                                }
                            }
                            Err(error) => refuse(&mut self.account, outcomes, &[number], &[error]),
                        }
                    }
                }
            }
        }
        let placed = (0..).zip(records).zip(partitions);
        let placed = placed.filter_map(|((number, record), at)| Some((number, at?, size(record))));
        self.account.begin(records.len());
        self.is_saved = false;
        if self.account.number(placed).is_none() {
            self.account.finish();
            return Err(WriteError::Exhausted);
        }
        Ok(())
    }

    /// Sends batches, and returns the answer to each.
    async fn send(&mut self, records: &[ProduceRecord], heads: &[usize]) -> Result<Vec<Answer>, Error> {
        self.client().await?;
        let Some(client) = &self.client else { return Ok(Vec::new()) };
        let sent = heads.iter().filter_map(|at| {
            let (batch, producer) = self.account.batch(*at)?;
            let of_batch = batch.records.iter().filter_map(|number| records.get(*number));
            let place = |record| ProduceRecord { partition: Some(batch.partition), ..self.record(record) };
            let records: Vec<_> = of_batch.map(place).collect();
            Some(async move { client.produce_once(records, &producer).await })
        });
        Ok(join_all(sent).await)
    }

    /// Notes answers to batches, and waits where some have to be sent again.
    async fn settle(
        &mut self,
        answers: Vec<(usize, Answer)>,
        outcomes: &mut [Outcome],
    ) -> Result<(), WriteError> {
        let (mut failure, mut stuck, mut has_progress) = (None, None, false);
        // Batches move up behind one that is split.
        for (at, answer) in answers.into_iter().rev() {
            let Some((batch, _)) = self.account.batch(at) else { continue };
            let (partition, numbers) = (batch.partition, batch.records.clone());
            let answer = match answer {
                Err(why @ Error::TooLarge { .. }) => vec![Err(too_large(&why)); numbers.len()],
                Err(why) => {
                    self.account.unanswered(at);
                    failure = Some(why);
                    continue;
                }
                Ok(answer) => answer,
            };
            match self.account.settle(at, &answer) {
                Step::Done => {
                    has_progress = true;
                    for (number, outcome) in numbers.into_iter().zip(answer) {
                        if let Some(place) = outcomes.get_mut(number) {
                            *place = Some(outcome);
                        }
                    }
                }
                Step::Changed => self.is_saved = false,
                Step::Refused(refused) => {
                    (self.is_saved, has_progress) = (false, true);
                    for (number, error) in refused {
                        if let Some(place) = outcomes.get_mut(number) {
                            *place = Some(Err(error));
                        }
                    }
                }
                Step::Again(error) => failure = Some(RecordError { retriable: true, ..error }.into()),
                Step::Stuck(error) => {
                    stuck = Some(WriteError::Account { partition, records: numbers, error });
                }
            }
        }
        if has_progress {
            (self.failures, self.since) = (0, None);
        }
        match (stuck, failure) {
            (Some(stuck), _) => Err(stuck),
            (None, Some(failure)) => self.pause(failure).await,
            (None, None) => Ok(()),
        }
    }

    /// A client of a server that knows producers.
    async fn client(&mut self) -> Result<&Client, Error> {
        let client = match self.client.take() {
            Some(client) => client,
            None => {
                self.is_checked = false;
                let connected = self.builder.clone().connect().await;
                connected.map_err(|why| Error::reconnect(&why, self.builder.login.is_some()))?
            }
        };
        let client = self.client.insert(client);
        if !self.is_checked {
            client.check_producers().await?;
            self.is_checked = true;
        }
        Ok(client)
    }

    /// Waits before the next try.
    async fn pause(&mut self, failure: Error) -> Result<(), WriteError> {
        self.failures = self.failures.saturating_add(1);
        let asked = match &failure {
            Error::Command { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => {
                self.client = None;
                Duration::ZERO
            }
        };
        let pause = retry::resume_pause(&failure, self.failures, self.builder.login.is_some());
        let Some(pause) = pause else { return Err(WriteError::Failed(failure)) };
        let since = self.since.unwrap_or_else(Instant::now).checked_add(asked).unwrap_or_else(Instant::now);
        self.since = Some(since);
        let is_over = Instant::now().saturating_duration_since(since).saturating_add(pause);
        if is_over.saturating_sub(asked) > self.patience {
            return Err(WriteError::Failed(failure));
        }
        let why = match &failure {
            Error::Command { message, .. } => message.clone(),
            failure => format!("failed to {failure}"),
        };
        debug!("{why}, {} in a row, writing again in {pause:?}", self.failures);
        self.store.retrying(&why, pause);
        sleep(pause).await;
        Ok(())
    }

    fn record(&self, record: &ProduceRecord) -> ProduceRecord {
        ProduceRecord { topic: self.topic.clone(), ..record.clone() }
    }
}

/// The outcome of a record, once it has one.
type Outcome = Option<Result<Written, RecordError>>;

/// The outcomes of a batch.
type Answer = Result<Vec<Result<Written, RecordError>>, Error>;

/// Notes records that have no place, and the errors of each.
fn refuse(account: &mut Account, outcomes: &mut [Outcome], numbers: &[usize], errors: &[RecordError]) {
    for (number, error) in numbers.iter().zip(errors) {
        account.refuse(*number, &error.message);
        if let Some(outcome) = outcomes.get_mut(*number) {
            *outcome = Some(Err(error.clone()));
        }
    }
}

impl RecordError {
    /// The error of a record that was refused before the program was started again.
    fn before(message: Option<&str>) -> Self {
        let message = message.unwrap_or("refused before").to_owned();
        Self { message, ..Self::of(Reason::Unspecified) }
    }

    fn of(reason: Reason) -> Self {
        let (message, trace_id) = (String::new(), String::new());
        Self {
            code: 0,
            message,
            retriable: false,
            retry_after: None,
            unknown_outcome: false,
            reason,
            trace_id,
            producer: None,
        }
    }
}

/// The error of records that the client does not send.
fn too_large(why: &Error) -> RecordError {
    RecordError { message: format!("failed to {why}"), ..RecordError::of(Reason::TooLarge) }
}

/// About the size of a record in a command.
fn size(record: &ProduceRecord) -> usize {
    let len = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers = record.headers.iter().map(|header| header.key.len().saturating_add(len(&header.value)));
    headers.fold(len(&record.key).saturating_add(len(&record.value)), usize::saturating_add)
}

/// Records whose partitions are asked for at once: the protocol's limit.
const MAX_PLACED: usize = 1_000;
