//! A schema registry that speaks Confluent's REST API, such as Confluent's, Karapace, Apicurio's `ccompat/v7` and
//! Redpanda's.
//!
//! Each schema is fetched and compiled once for all clients. A registry, and whoever writes records with ids of their
//! choice, cannot delay clients that need neither: schemas that are known cost no wait, and clients take turns for others.

mod answer;
mod cache;
mod flights;
mod http_transport;
mod path;
mod question;
mod references;
mod transport;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sluicegate_fair_share::{Holder, Ledger, Places};
use sluicegate_protocol::SchemaType;
use thiserror::Error;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use self::answer::{Fault, ask};
use self::cache::Cache;
use self::flights::Flights;
use self::question::{LATEST_AGE, Question};
use self::references::resolve;
use crate::Reference;
use crate::wire::SchemaId;

pub use self::answer::{SchemaText, Version, probe};
pub use self::http_transport::{Credentials, Http, InvalidHttp};
pub use self::transport::{MAX_ANSWER, Request, Response, Transport, Unanswered};
pub use crate::schema::Schema;

/// A registry, and the schemas that it gave.
///
/// Schemas are kept by id, and ids by subject and text. A subject's latest version is asked for again after 30 s, and it
/// stays the latest for 5 min while the registry does not answer. What a subject lacks is asked for again after 5 s. An id without a schema that can be used is asked for again after 30 s, and all that
/// the registry did not answer after 1 s.
///
/// Memory: texts of 64 MiB, by which compiled schemas are counted with 4 KiB each, and 17 MiB of other answers; of more,
/// those that were used least recently are dropped. For each of 16 look-ups in flight, an answer of 4 MiB.
pub struct Registry(Arc<Shared>);

struct Shared {
    transport: Arc<dyn Transport>,
    observer: Arc<dyn Observer>,
    known: Mutex<Cache<SchemaId, Arc<Known>>>,
    answers: Mutex<Cache<Question, Result<SchemaId, Missing>>>,
    /// The latest version of each subject as the registry told it last, for [`LATEST_STAYS`].
    latest: Mutex<Cache<Arc<str>, SchemaId>>,
    flights: Arc<Flights<Question, Found>>,
    /// When ids began to have no answer, at most [`MAX_FAILING`].
    failing: Mutex<HashMap<SchemaId, Instant>>,
    /// When the registry answered last.
    answered: Mutex<Option<Instant>>,
    /// The time of the last line in the log.
    logged: Mutex<Option<Instant>>,
}

/// A schema of a registry.
pub struct Known {
    /// Its id, by which it was found.
    pub id: SchemaId,
    /// The schema.
    pub schema: Schema,
    /// Bytes of its text and of those that it refers to.
    bytes: usize,
}

/// The reason why there is no schema. Its words are for clients.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Missing {
    /// The registry does not have it, or it cannot be used.
    #[error("{0}")]
    Unknown(String),
    /// The registry does not accept this text as a schema of the subject.
    #[error("{0}")]
    Refused(String),
    /// The registry does not tell at the moment: the log has the cause.
    #[error("{0}")]
    Unanswered(Silence),
}

/// The reason why a registry tells nothing at the moment, in words for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Silence {
    /// It does not answer, or its answers are invalid.
    #[error("the schema registry does not answer")]
    NoAnswer,
    /// Its operators may be replacing the credentials.
    #[error("the schema registry refuses the bridge's credentials")]
    Refused,
}

/// Watches look-ups, for metrics. Its method must return at once.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A look-up that was not cached has ended, and took this long after its turn came, with the compilation.
    fn looked_up(&self, outcome: Outcome, took: Duration);
}

/// Nobody watches.
impl Observer for () {
    fn looked_up(&self, _: Outcome, _: Duration) {}
}

/// The outcome of a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A schema.
    Found,
    /// None, or one that cannot be used.
    Unknown,
    /// A text that the registry does not accept.
    Refused,
    /// No answer.
    Unanswered,
}

/// A schema as the registry has it.
enum Fetched {
    Known(Arc<Known>),
    Text { id: SchemaId, kind: SchemaType, text: String, references: Vec<Reference> },
}

/// The answer to a question.
pub type Found = Result<Arc<Known>, Missing>;

impl Registry {
    /// The registry at the other end of `transport`.
    pub fn new(transport: Arc<dyn Transport>, observer: Arc<dyn Observer>) -> Self {
        Self::with_bytes(transport, observer, MAX_KEPT)
    }

    fn with_bytes(transport: Arc<dyn Transport>, observer: Arc<dyn Observer>, max_kept: usize) -> Self {
        let places = Places::with_shares(Ledger::of_one_cluster(MAX_IN_FLIGHT));
        Self(Arc::new(Shared {
            transport,
            observer,
            known: Mutex::new(Cache::new(max_kept)),
            answers: Mutex::new(Cache::new(MAX_ANSWERS)),
            latest: Mutex::new(Cache::new(MAX_LATEST)),
            flights: Flights::new(places),
            failing: Mutex::default(),
            answered: Mutex::default(),
            logged: Mutex::default(),
        }))
    }

    /// The cached answer to [`Self::schema`].
    pub fn cached(&self, id: SchemaId) -> Option<Found> {
        self.0.recall(&Question::Id(id))
    }

    /// The schema with this id. One that is cached costs no wait.
    ///
    /// # Errors
    /// There is none, or none at the moment.
    ///
    /// # Cancel safety
    /// A drop ends the wait. A request that was sent goes on.
    pub async fn schema(&self, holder: Holder, id: SchemaId) -> Found {
        self.ask(holder, Question::Id(id)).await
    }

    /// The latest schema of a subject.
    ///
    /// # Errors
    /// As [`Self::schema`].
    ///
    /// # Cancel safety
    /// As [`Self::schema`].
    pub async fn latest(&self, holder: Holder, subject: &str) -> Found {
        self.ask(holder, Question::Latest(subject.into())).await
    }

    /// The schema of a subject with this text, if the registry has it.
    ///
    /// # Errors
    /// As [`Self::schema`].
    ///
    /// # Cancel safety
    /// As [`Self::schema`].
    pub async fn find(&self, holder: Holder, subject: &str, text: SchemaText) -> Found {
        self.ask(holder, Question::Find(Arc::new((subject.to_owned(), text)))).await
    }

    /// The schema of a subject with this text, which becomes its latest version if it has none like it.
    ///
    /// # Errors
    /// As [`Self::schema`].
    ///
    /// # Cancel safety
    /// As [`Self::schema`].
    pub async fn register(&self, holder: Holder, subject: &str, text: SchemaText) -> Found {
        self.ask(holder, Question::Register(Arc::new((subject.to_owned(), text)))).await
    }

    async fn ask(&self, holder: Holder, question: Question) -> Found {
        let known = || self.0.recall(&question);
        if let Some(found) = known() {
            return found;
        }
        let request = || Arc::clone(&self.0).look_up(question.clone());
        let found = self.0.flights.run(holder, &question, known, request).await;
        found.unwrap_or(Err(Missing::Unanswered(Silence::NoAnswer)))
    }
}

impl Shared {
    /// The cached answer.
    fn recall(&self, question: &Question) -> Option<Found> {
        if let Question::Id(id @ SchemaId::Number(number)) = question
            && i32::try_from(*number).is_err()
        {
            // Registries count with integers of Java.
            return Some(Err(Missing::Unknown(format!("schema {id} is not in the registry"))));
        }
        if let Question::Id(id) = question
            && let Some(known) = self.known.lock().get(id)
        {
            return Some(Ok(known));
        }
        let answer = self.answers.lock().get(question);
        match answer? {
            Ok(id) => self.known.lock().get(&id).map(Ok),
            Err(missing) => Some(Err(missing)),
        }
    }

    /// Asks the registry, and caches the answer.
    async fn look_up(self: Arc<Self>, question: Question) -> Found {
        let began = Instant::now();
        let late = |_| Err(Fault::Unanswered(format!("no schema within {LOOKUP_WITHIN:?}"), None));
        let fetched = timeout(LOOKUP_WITHIN, self.fetch(&question)).await.unwrap_or_else(late);
        let found = match fetched {
            Ok(Fetched::Known(known)) => Ok(known),
            Ok(Fetched::Text { id, kind, text, references }) => compile(id, kind, text, references).await,
            Err(fault) => Err(fault),
        };
        let found = found.map_err(|fault| {
            let missing = question.missing(&fault);
            if let (Missing::Unanswered(_), Fault::Unanswered(cause, _)) = (&missing, fault) {
                self.log(&cause);
            }
            missing
        });
        let found = self.judged(&question, found).await;
        self.observer.looked_up(Outcome::of(&found), began.elapsed());
        self.keep(question, found)
    }

    /// What was found; for an id that has had no answer for [`PERSISTS`] while the registry answers otherwise, that it has
    /// none: its records must not be waited for.
    async fn judged(&self, question: &Question, found: Found) -> Found {
        let now = Instant::now();
        if !matches!(found, Err(Missing::Unanswered(_))) {
            *self.answered.lock() = Some(now);
        }
        let Question::Id(id) = question else { return found };
        let since = match found {
            Err(Missing::Unanswered(_)) => {
                let mut failing = self.failing.lock();
                if failing.len() >= MAX_FAILING {
                    failing.clear();
                }
                *failing.entry(*id).or_insert(now)
            }
            found => {
                self.failing.lock().remove(id);
                return found;
            }
        };
        if now.duration_since(since) < PERSISTS {
            return found;
        }
        let has_answered = self.answered.lock().is_some_and(|answered| answered > since);
        if !has_answered {
            match timeout(PERSISTS, probe(&*self.transport)).await {
                Ok(Ok(_)) => *self.answered.lock() = Some(Instant::now()),
                Ok(Err(_)) | Err(_) => return found,
            }
        }
        Err(Missing::Unknown(format!("schema {id} has no answer of the registry, which answers otherwise")))
    }

    async fn fetch(&self, question: &Question) -> Result<Fetched, Fault> {
        let answer = ask(&*self.transport, question.request()?).await?;
        let id = question.id(&answer)?;
        let known = self.known.lock().get(&id);
        if let Some(known) = known {
            return Ok(Fetched::Known(known));
        }
        let text = match question {
            Question::Id(_) | Question::Latest(_) => answer.text()?,
            Question::Find(asked) | Question::Register(asked) => asked.1.clone(),
        };
        let kind = text.kind;
        let (text, references) = resolve(&*self.transport, text).await?;
        Ok(Fetched::Text { id, kind, text, references })
    }

    /// Caches what was found. Gives it, or in place of no answer the latest version that is known.
    fn keep(&self, question: Question, found: Found) -> Found {
        let bytes = question.bytes();
        if let Question::Latest(subject) = &question {
            let mut latest = self.latest.lock();
            match &found {
                Ok(known) => {
                    let until = Instant::now().checked_add(LATEST_STAYS);
                    latest.insert(Arc::clone(subject), known.id, bytes, until);
                }
                Err(Missing::Unanswered(_)) => {
                    let known = latest.get(subject).and_then(|id| self.known.lock().get(&id));
                    if let Some(known) = known {
                        let until = Instant::now().checked_add(LATEST_AGE);
                        self.answers.lock().insert(question, Ok(known.id), bytes, until);
                        return Ok(known);
                    }
                }
                Err(Missing::Unknown(_) | Missing::Refused(_)) => latest.remove(subject),
            }
        }
        let (answer, age) = match &found {
            Ok(known) => {
                let bytes = known.bytes.saturating_add(COMPILED_BYTES);
                self.known.lock().insert(known.id, Arc::clone(known), bytes, None);
                (Ok(known.id), question.age())
            }
            Err(missing) => (Err(missing.clone()), Some(question.age_without(missing))),
        };
        let until = age.and_then(|age| Instant::now().checked_add(age));
        let mut answers = self.answers.lock();
        match (question, &answer) {
            (Question::Id(_), Ok(_)) => {}
            // It can be found from now on, and may be the latest.
            (Question::Register(text), Ok(_)) => {
                let subject = Arc::from(text.0.as_str());
                self.latest.lock().remove(&subject);
                answers.remove(&Question::Latest(subject));
                answers.insert(Question::Find(Arc::clone(&text)), answer.clone(), bytes, until);
                answers.insert(Question::Register(text), answer, bytes, until);
            }
            (question, _) => answers.insert(question, answer, bytes, until),
        }
        found
    }

    /// Logs why the registry does not answer, once in [`LOGGED_EVERY`]: an outage fails every look-up.
    fn log(&self, cause: &str) {
        let mut logged = self.logged.lock();
        if logged.is_none_or(|logged| logged.elapsed() >= LOGGED_EVERY) {
            *logged = Some(Instant::now());
            let registry = self.transport.shown();
            tracing::warn!(
                registry,
                cause,
                event = "registry_unanswered",
                "no answer from a schema registry"
            );
        }
    }
}

/// Compiles a schema on a thread for such work: a large one takes long.
async fn compile(
    id: SchemaId,
    kind: SchemaType,
    text: String,
    references: Vec<Reference>,
) -> Result<Arc<Known>, Fault> {
    let bytes = references.iter().fold(text.len(), |sum, other| sum.saturating_add(other.schema.len()));
    let compiled = spawn_blocking(move || Schema::parse(kind, &text, &references)).await;
    match compiled {
        Ok(Ok(schema)) => Ok(Arc::new(Known { id, schema, bytes })),
        Ok(Err(error)) => Err(Fault::Unusable(error.to_string())),
        // Of a library: the schema alone is lost.
        Err(error) if error.is_panic() => Err(Fault::Unusable("it cannot be compiled".to_owned())),
        Err(_) => Err(Fault::Unanswered("the bridge ends".to_owned(), None)),
    }
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Found, Self::Unknown, Self::Refused, Self::Unanswered];

    /// A name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }

    fn of(found: &Found) -> Self {
        match found {
            Ok(_) => Self::Found,
            Err(Missing::Unknown(_)) => Self::Unknown,
            Err(Missing::Refused(_)) => Self::Refused,
            Err(Missing::Unanswered(_)) => Self::Unanswered,
        }
    }
}

/// Bytes of texts of compiled schemas.
const MAX_KEPT: usize = 64 * 1024 * 1024;
/// A compiled schema counts as so many bytes more than its text.
const COMPILED_BYTES: usize = 4096;
/// Bytes of other answers.
const MAX_ANSWERS: usize = 16 * 1024 * 1024;
/// Bytes of latest versions that stay.
const MAX_LATEST: usize = 1024 * 1024;
/// A latest version stays for so long while the registry does not answer.
const LATEST_STAYS: Duration = Duration::from_secs(300);
/// Look-ups in flight.
const MAX_IN_FLIGHT: usize = 16;
/// All requests of one look-up take so long at most.
const LOOKUP_WITHIN: Duration = Duration::from_secs(10);
/// An id has no answer for so long before that is the answer.
const PERSISTS: Duration = Duration::from_secs(10);
/// Ids without an answer that are remembered.
const MAX_FAILING: usize = 1000;
/// The time between two lines in the log.
const LOGGED_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
