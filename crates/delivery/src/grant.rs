//! The only door to a cluster: each command has a method, which checks the client's rights.

mod audit;
mod consumers;
mod person;
mod producer;
mod reads;
mod schemas;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use sluicegate_backend::command::{ReadBounds, Record, Write};
use sluicegate_backend::{Chunk, CommandError, DeliveryReport, Fault, Log, System};
use sluicegate_fair_share::{ClientKey, Holder};
use sluicegate_protocol::Reason;
use sluicegate_protocol::error_code::{INVALID_REQUEST, TOPIC_AUTHORIZATION_FAILED};
use sluicegate_rights::{Rights, Rows, Topics};
use sluicegate_telemetry::audit::Event;
use sluicegate_telemetry::failure_log::FailedClient;
use sluicegate_telemetry::metrics::{ClusterMetrics, Kind, Outcome, RouteMetrics};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::cluster::{self, Cluster, Reads, WriteTicket, read_denied, unanswered, write_denied};
use crate::drain::Drain;
use crate::quota::Usage;
use crate::{Activity, ClientKind, Listed, ListedSubscription, OpenClients};

pub use self::audit::{IDENTITY_EXPIRED, IDENTITY_REVOKED};
pub use self::person::Person;
pub use self::schemas::SchemaRules;
pub(crate) use self::standing::{Held, Standing};
pub use self::standing::{Holding, Term, TermCause};

/// The rights of one client. Clones share them.
#[derive(Clone)]
pub struct Grant {
    cluster: Arc<Cluster>,
    client: ClientKey,
    standing: Arc<Standing>,
    /// The largest answer in bytes when the rights were made: what a session reserves for one does not grow with a
    /// reload.
    max_read_bytes: usize,
    route: Arc<RouteMetrics>,
    /// The person's use of the route's quota. None: nobody in particular.
    usage: Option<Arc<Usage>>,
    /// Whether reads beyond the quota wait. Otherwise they are refused.
    waits: bool,
    activity: Arc<Activity>,
    /// The gateway's name of the route.
    route_name: Option<Arc<str>>,
    /// The topics whose tables the client can read, among those that it can read.
    tables: Arc<Topics>,
    schemas: SchemaRules,
    /// Whether the client learns of the cluster's brokers, and of the configuration of its topics.
    describes: bool,
}

impl Grant {
    /// The grant of `rights` at `cluster` to a client of the route with this name. Nobody in particular has it, and it
    /// has no end.
    pub fn new(cluster: Arc<Cluster>, client: ClientKey, route: Option<&[u8]>, rights: Rights) -> Self {
        Self {
            route: cluster.metrics.route(route),
            max_read_bytes: cluster.reads().max_bytes,
            cluster,
            client,
            standing: Arc::new(Standing::new(rights, None, None)),
            usage: None,
            waits: false,
            activity: Arc::default(),
            route_name: route.map(|name| String::from_utf8_lossy(name).into()),
            tables: Arc::new(Topics::none()),
            schemas: SchemaRules::default(),
            describes: false,
        }
    }

    /// This grant, with the tables of these topics.
    #[must_use]
    pub fn with_tables(self, tables: Topics) -> Self {
        Self { tables: Arc::new(tables), ..self }
    }

    /// This grant, with these rules for schemas of records that are written. By default, none are encoded unless the
    /// client names a schema, and none are registered.
    #[must_use]
    pub fn with_schemas(self, schemas: SchemaRules) -> Self {
        Self { schemas, ..self }
    }

    /// This grant, whose client learns of the cluster's brokers and of the configuration of its topics if it
    /// `describes`. By default, it does not.
    #[must_use]
    pub fn with_describe(self, describes: bool) -> Self {
        Self { describes, ..self }
    }

    /// Whether values in JSON get the latest schema of their topic, unless the client names another one.
    pub fn encodes(&self) -> bool {
        self.schemas.encodes
    }

    /// This grant, whose use is counted to a person. Reads beyond the person's quota are refused.
    #[must_use]
    pub fn counted_to(self, usage: Option<Arc<Usage>>) -> Self {
        Self { usage, ..self }
    }

    /// This grant for a session: reads beyond the person's quota wait.
    ///
    /// # Errors
    /// The person has as many sessions as the quota allows: how many those are.
    pub fn into_session(self) -> Result<(Self, Option<OwnedSemaphorePermit>), u32> {
        let place = self.usage.as_ref().map(|usage| usage.open_session()).transpose()?;
        Ok((Self { waits: true, ..self }, place))
    }

    /// This grant as long as `holding` lasts, and for no longer than until `aged`.
    #[must_use]
    pub fn held(self, holding: Option<Holding>, aged: Option<Instant>) -> Self {
        let rights = self.standing.held().rights.clone();
        Self { standing: Arc::new(Standing::new(rights, holding, aged)), ..self }
    }

    /// Gives the person other rights, for as long as `holding` lasts. Reads that wait are checked again when they end.
    pub fn renew(&self, rights: Rights, holding: Holding) {
        self.standing.renew(rights, holding);
        self.log(Event::Renewed);
    }

    /// When it ends; None: it has no end.
    pub fn term(&self) -> Option<Term> {
        self.standing.held().term()
    }

    /// The person who has it, and until when; None: nobody in particular.
    pub fn holding(&self) -> Option<Holding> {
        self.standing.held().holding.clone()
    }

    /// Lists the client among those who are here.
    pub fn list(&self, kind: ClientKind) -> Listed {
        OpenClients::list(&self.cluster, kind, None, self.clone())
    }

    /// The client's use of the cluster.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Whether the client subscribes to a topic.
    pub fn subscribes_to(&self, topic: &str) -> bool {
        self.activity.subscribes_to(topic)
    }

    /// Each of the client's subscriptions, at each of its topics.
    pub fn subscriptions(&self) -> Vec<ListedSubscription> {
        self.activity.subscriptions(&*self.cluster.backend())
    }

    /// The gateway's name of the client's route.
    pub fn route_name(&self) -> Option<&str> {
        self.route_name.as_deref()
    }

    /// Ends it by an operator's will.
    pub fn end(&self) {
        self.standing.end();
    }

    /// Whether an operator has ended it.
    pub(crate) fn is_ended(&self) -> bool {
        self.standing.is_ended()
    }

    /// Waits for its end.
    ///
    /// # Cancel safety
    /// A drop ends the wait.
    pub async fn ended(&self) -> TermCause {
        self.standing.ended().await
    }

    /// A grant of everything to the unknown client.
    #[cfg(any(test, feature = "testing"))]
    pub fn all(cluster: &Arc<Cluster>) -> Self {
        Self::of(cluster, Rights::all())
    }

    /// A grant of `rights` to the unknown client.
    #[cfg(any(test, feature = "testing"))]
    pub fn of(cluster: &Arc<Cluster>, rights: Rights) -> Self {
        Self::new(Arc::clone(cluster), ClientKey::default(), None, rights)
    }

    /// The client, which shared limits are divided by.
    pub fn client(&self) -> ClientKey {
        self.client
    }

    /// The counters of the client's route.
    pub fn route(&self) -> &RouteMetrics {
        &self.route
    }

    /// The client as shared limits count it.
    pub fn holder(&self) -> Holder {
        self.cluster.holder(self.client)
    }

    /// Whether the client can write at all.
    pub fn writes(&self) -> bool {
        self.standing.held().rights.write.is_some()
    }

    /// Whether the client can consume in groups at all.
    pub fn consumes(&self) -> bool {
        self.standing.held().rights.consume.is_some()
    }

    /// The system of the cluster.
    pub fn system(&self) -> System {
        self.cluster.system
    }

    /// The cluster's metrics.
    pub fn metrics(&self) -> &ClusterMetrics {
        &self.cluster.metrics
    }

    /// Begins when the bridge drains, or when the cluster is removed.
    pub fn drain(&self) -> &Drain {
        &self.cluster.drain
    }

    /// The time that reads wait unless the client says otherwise.
    pub(crate) fn default_wait(&self) -> Duration {
        self.reads().wait
    }

    /// Defaults and bounds of the client's reads.
    fn reads(&self) -> Reads {
        let reads = self.cluster.reads();
        Reads { max_bytes: reads.max_bytes.min(self.max_read_bytes), ..reads }
    }

    /// The largest answer in bytes of a read within these bounds.
    pub fn max_bytes(&self, bounds: ReadBounds) -> usize {
        self.reads().max_bytes(bounds)
    }

    /// Counts requests of a session, which took so many bytes. Gives when the client's next ones may be read, if it has
    /// had its share.
    pub fn count_requests(&self, requests: usize, bytes: usize) -> Option<Instant> {
        self.activity.received(bytes);
        self.cluster.requested(self.client, requests, bytes)
    }

    /// Logs why a command or a request has failed, once in a while for each reason.
    pub fn log_failure(&self, name: &'static str, reason: Reason, message: &str) {
        let id = self.activity.client_id().map(|(id, _)| id);
        let client = FailedClient { cluster: self.cluster.metrics.name(), route: self.route_name(), id };
        self.cluster.failures.log(client, name, reason, message);
    }

    /// Logs why single records of a command were not written, once for each reason.
    pub fn log_reports(&self, reports: &[DeliveryReport]) {
        let mut logged = Vec::new();
        for error in reports.iter().filter_map(|report| report.as_ref().err()) {
            let reason = error.fault.reason();
            if !logged.contains(&reason) {
                self.log_failure(Kind::Produce.label(), reason, &error.message);
                logged.push(reason);
            }
        }
    }

    /// Checks that the client can read a topic.
    ///
    /// # Errors
    /// It cannot.
    pub fn check_read(&self, topic: &str) -> Result<(), CommandError> {
        match self.standing.held().readable(Some(topic))?.contains(topic) {
            true => Ok(()),
            false => Err(read_denied(self.system(), topic)),
        }
    }

    /// Checks that the client can write to a topic, and the bridge to the cluster. A refusal counts as a denied write.
    ///
    /// # Errors
    /// One of them cannot.
    pub fn check_write(&self, topic: &str) -> Result<(), CommandError> {
        self.can_write(topic).inspect_err(|error| self.count_denied(Kind::Produce, error))
    }

    /// The same without counting anything.
    ///
    /// # Errors
    /// The client cannot write to the topic, or the bridge to the cluster.
    pub fn can_write(&self, topic: &str) -> Result<(), CommandError> {
        let held = self.standing.held();
        held.writable(Some(topic)).and_then(|topics| match self.cluster.is_writable() {
            false => Err(self.cluster.read_only(Some(topic))),
            true if topics.contains(topic) => Ok(()),
            true => Err(write_denied(self.system(), topic)),
        })
    }

    /// Writes records in the order of tickets. Those of a producer are written all or none, and none a second time. Calls
    /// `queued` once all records are queued, and not at all if one was refused.
    ///
    /// # Cancel safety
    /// The records are written all or none.
    pub async fn produce(
        &self,
        write: impl Into<Write>,
        mut ticket: WriteTicket,
        queued: impl FnOnce(),
    ) -> Result<Vec<DeliveryReport>, CommandError> {
        let Write { mut records, producer, ascends, dry_run } = write.into();
        self.activity.commanded();
        self.schemas.apply(&mut records);
        let held = self.standing.held();
        let bytes = records.iter().map(Record::bytes).fold(0, usize::saturating_add);
        let counted = self.usage.as_ref().map_or(Ok(()), |usage| match dry_run {
            true => usage.read(),
            false => usage.write(records.len(), bytes),
        });
        let topic = records.first().map(|record| record.topic.as_str());
        let topics = match self.counted(Kind::Produce, counted.and_then(|()| held.writable(topic))) {
            Ok(topics) => topics,
            Err(refused) => {
                // The next command must not overtake the one before.
                ticket.wait().await;
                return Err(refused);
            }
        };
        let account = producer.map(|producer| self.account(&producer, &records));
        let write = cluster::Write { records, account, ascends, dry_run };
        let produced = self.cluster.produce(self.client, write, topics, ticket, queued).await;
        let reports = produced.iter().flatten().flat_map(|report| report.as_ref().err());
        self.count_any_denied(Kind::Produce, reports.chain(produced.as_ref().err()));
        produced
    }

    /// Counts a command that reads to the person who asks, before it is done.
    async fn count_read(&self, kind: Kind) -> Result<(), CommandError> {
        self.activity.commanded();
        match &self.usage {
            None => Ok(()),
            Some(usage) if self.waits => {
                usage.read_in_time().await;
                Ok(())
            }
            Some(usage) => self.counted(kind, usage.read()),
        }
    }

    /// Counts a request that ran no command to the person who asks.
    ///
    /// # Errors
    /// There were too many, or too much was read.
    pub fn count_request(&self) -> Result<(), CommandError> {
        let counted = self.usage.as_ref().map_or(Ok(()), |usage| usage.read());
        counted.inspect_err(|_| self.log_refused(QUOTA))
    }

    fn count_delivered<'a>(&self, read: impl Iterator<Item = &'a Chunk>) {
        if let Some(usage) = &self.usage {
            usage.delivered(read.map(|fetched| fetched.messages.len()).fold(0, usize::saturating_add));
        }
    }

    /// The part of a wait that ends with the grant.
    pub(crate) fn within_term(&self, wait: Duration) -> Duration {
        self.term().map_or(wait, |term| wait.min(term.at.saturating_duration_since(Instant::now())))
    }

    /// The result of a read, which ends if the person's identity is revoked meanwhile.
    async fn unless_revoked<T>(&self, read: impl Future<Output = T>) -> Result<T, CommandError> {
        let Some(Holding { person, .. }) = self.holding() else { return Ok(read.await) };
        tokio::select! {
            biased;
            () = person.revoked() => Err(unauthenticated(REVOKED)),
            read = read => Ok(read),
        }
    }

    /// The records of a topic that the client can read now: a renewal can have changed them while it waited.
    fn rows(&self, topic: &str) -> Result<Rows, CommandError> {
        let held = self.standing.held();
        let rows = held.rights.read.as_ref().and_then(|topics| topics.rows(topic));
        rows.ok_or_else(|| read_denied(self.system(), topic))
    }

    /// The granted ones of the logs that a command reads.
    fn granted<'a>(
        &self,
        kind: Kind,
        readable: Result<&Topics, CommandError>,
        logs: &[(Log<'a>, i64)],
    ) -> Result<Vec<(Log<'a>, i64)>, CommandError> {
        let some = match logs {
            [] => {
                let message = "0 partitions in one command: expected at least 1";
                Err(CommandError::new(Fault::Invalid, INVALID_REQUEST, message))
            }
            _ => Ok(()),
        };
        let readable = self.counted(kind, readable.and_then(|readable| some.map(|()| readable)))?;
        Ok(logs.iter().copied().filter(|(log, _)| readable.contains(log.topic)).collect())
    }

    /// The results for `logs`: `read` has those that `rights` granted. A renewal can have taken some away.
    fn with_denied<T>(
        &self,
        kind: Kind,
        rights: &Rights,
        logs: &[(Log<'_>, i64)],
        read: Vec<Result<T, CommandError>>,
    ) -> Vec<Result<T, CommandError>> {
        let mut read = read.into_iter();
        let result = |(log, _): &(Log<'_>, i64)| match rights.reads(log.topic) {
            true => {
                let read = read.next().unwrap_or_else(|| Err(unanswered()));
                self.rows(log.topic).and(read)
            }
            false => Err(read_denied(self.system(), log.topic)),
        };
        let results: Vec<Result<T, CommandError>> = logs.iter().map(result).collect();
        self.count_any_denied(kind, results.iter().filter_map(|result| result.as_ref().err()));
        results
    }

    /// Counts a command that is refused.
    fn counted<T>(&self, kind: Kind, checked: Result<T, CommandError>) -> Result<T, CommandError> {
        checked.inspect_err(|error| {
            self.cluster.metrics.answered(kind, Outcome::Refused);
            match error.fault {
                Fault::QuotaExceeded => self.log_refused(QUOTA),
                _ => self.count_denied(kind, error),
            }
        })
    }
}

fn denied(message: impl Into<String>) -> CommandError {
    CommandError::forbidden(TOPIC_AUTHORIZATION_FAILED, message)
}

fn unauthenticated(message: &str) -> CommandError {
    CommandError::new(Fault::Unauthenticated, TOPIC_AUTHORIZATION_FAILED, message)
}

/// The reason of a refusal beyond a person's quota.
const QUOTA: &str = "quota";
/// The error of a command of a consumer if the route grants no group.
pub(crate) const NOT_CONSUMABLE: &str = "this route does not let clients consume in groups";
/// The error of a read if the route grants none.
pub(crate) const NOT_READABLE: &str = "this route does not let clients read";
/// The error of a command of a client that is not served for longer.
const AGED: &str = "the session is over, open another one";
/// The error of a command after the identity has expired.
pub const EXPIRED: &str = "the identity has expired, log in again";
/// The error of a command after the identity was revoked.
pub const REVOKED: &str = "the identity was revoked, log in again";
/// The error of a write if the route grants none.
pub(crate) const NOT_WRITABLE: &str = "this route does not let clients write";

#[cfg(test)]
mod tests;
