//! Writes records one by one as they arrive, and answers each in their order, while the body goes on.
//!
//! 1. [`objects`]: the body becomes objects
//! 2. here: each becomes a record, which is written while the next ones arrive, and then an object of the response

mod objects;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{BoxStream, FuturesOrdered};
use futures_util::{FutureExt, StreamExt};
use sluicegate_backend::{AnswerReservation, CommandError, Fault};
use sluicegate_delivery::cluster::WriteSequencer;
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect::http::body::BodyError;
use sluicegate_dialect::http::media_type::JSON;
use sluicegate_dialect::http::{Clusters, StreamedRecord};
use sluicegate_dialect::json;
use tokio::sync::mpsc::{self, Sender};
use tokio::time::{Instant, sleep_until};

use self::objects::{NoObject, Objects};
use super::super::Request;
use super::super::accept::Accept;
use super::super::problem::{Problem, ProblemKind};
use super::super::produce::no_report;
use super::super::producer;
use super::super::request_permits::RequestPermits;
use super::super::response::Response;
use super::path::Target;
use super::{clusters, produce};

/// The response to a stream of records. Its status is 200 as soon as the first bytes have arrived, whatever becomes of the
/// records: each has an object of its own, with an error if it was not written.
///
/// # Errors
/// The request fails as a whole. No record was written.
///
/// # Cancel safety
/// A drop writes nothing. Once there is a response, each record is written all or not.
pub(super) async fn post(
    request: &Request<'_>,
    target: Target,
    body: BoxStream<'static, Result<Bytes, Problem>>,
    running: &Arc<RequestPermits>,
) -> Result<Response, Problem> {
    let grant = request.grant;
    let words = clusters::words(grant)?;
    let (cluster, topic) = (target.cluster, target.topic.unwrap_or_default());
    grant.check_write(&topic).map_err(|error| Problem::failed(error, grant.system()))?;
    Accept::of(request.headers).json()?;
    request.headers.check_content_encoding()?;
    producer::refuse(request.headers)?;
    if request.headers.content_type()? != JSON {
        let detail = format!("expected Content-Type to be {JSON}");
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
    }
    clusters::check(grant, &cluster).await?;
    let mut input = Input::new(body, request.max_body_bytes);
    if !input.begins().await? {
        return Err(Problem::new(ProblemKind::Unprocessable, "the body is empty: expected records"));
    }
    let (frames, body) = mpsc::channel(1);
    let writer = Writer {
        grant: grant.clone(),
        words,
        place: Arc::new((cluster, topic)),
        running: Arc::clone(running),
        sequencer: WriteSequencer::default(),
        max_bytes: request.max_body_bytes,
    };
    tokio::spawn(writer.run(input, frames));
    Ok(Response::stream(JSON, body))
}

/// The records of the body.
struct Input {
    body: BoxStream<'static, Result<Bytes, Problem>>,
    objects: Objects,
    max_bytes: usize,
    /// When the rest of an object must have arrived, or else another one.
    due: Instant,
    has_ended: bool,
}

impl Input {
    fn new(body: BoxStream<'static, Result<Bytes, Problem>>, max_bytes: usize) -> Self {
        let due = Instant::now() + OBJECT_TIME;
        Self { body, objects: Objects::new(max_bytes), max_bytes, due, has_ended: false }
    }

    /// Waits for the first bytes besides whitespace. False: there are none.
    async fn begins(&mut self) -> Result<bool, Problem> {
        while self.objects.len() == 0 {
            let arrived = tokio::select! {
                arrived = self.body.next() => arrived,
                () = sleep_until(self.due) => return Err(too_slow()),
            };
            match arrived {
                Some(bytes) => self.objects.push(bytes?.trim_ascii_start()),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Whether it waits for an object of which nothing has arrived.
    fn is_idle(&self) -> bool {
        self.objects.len() == 0
    }

    /// The next object, or nothing when its first bytes have arrived; None: the body has ended.
    ///
    /// # Cancel safety
    /// A drop loses nothing.
    async fn next(&mut self) -> Option<Result<Option<Bytes>, Problem>> {
        loop {
            match self.objects.next() {
                Ok(Some(object)) => {
                    self.due = Instant::now() + if self.is_idle() { IDLE_TIME } else { OBJECT_TIME };
                    return Some(Ok(Some(object)));
                }
                Ok(None) => {}
                Err(NoObject::Other) => {
                    let detail = "expected an object, or several after one another, as the body";
                    return Some(Err(Problem::new(ProblemKind::Malformed, detail)));
                }
                Err(NoObject::TooLarge) => {
                    let detail = format!("record too large (limits.max_request_bytes = {})", self.max_bytes);
                    return Some(Err(Problem::new(ProblemKind::TooLarge, detail)));
                }
            }
            if self.has_ended {
                let ended = || Err(Problem::new(ProblemKind::Malformed, "the body ended within a record"));
                return (!self.is_idle()).then(ended);
            }
            let arrived = tokio::select! {
                arrived = self.body.next() => arrived,
                () = sleep_until(self.due) => return Some(Err(too_slow())),
            };
            match arrived {
                Some(Ok(bytes)) if self.is_idle() => {
                    self.objects.push(bytes.trim_ascii_start());
                    if !self.is_idle() {
                        self.due = Instant::now() + OBJECT_TIME;
                        return Some(Ok(None));
                    }
                    self.due = Instant::now() + IDLE_TIME;
                }
                Some(Ok(bytes)) => self.objects.push(&bytes),
                Some(Err(problem)) => return Some(Err(problem)),
                None => self.has_ended = true,
            }
        }
    }
}

/// Writes the records of one request.
struct Writer {
    grant: Grant,
    words: &'static Clusters,
    /// The cluster as the path has it, and the topic.
    place: Arc<(String, String)>,
    running: Arc<RequestPermits>,
    sequencer: WriteSequencer,
    /// Bytes of records that are written at the same time, unless a single one has more.
    max_bytes: usize,
}

/// The answer to a record.
struct Answer {
    text: Vec<u8>,
    /// Bytes of the request that it was made of.
    bytes: usize,
    /// Whether the client can write nothing after it.
    is_last: bool,
}

impl Writer {
    /// Writes records until the body ends, the client leaves, its grant ends or the bridge drains, and answers those that
    /// it has taken. A client that does not read its answers is counted as an open stream, and cannot hold the drain.
    async fn run(mut self, mut input: Input, frames: Sender<Bytes>) {
        let mut answers = FuturesOrdered::<BoxFuture<'static, Answer>>::new();
        let (mut bytes, mut is_over, mut waits) = (0_usize, false, false);
        let (mut unsent, mut last) = (None::<Bytes>, None::<Instant>);
        let drain = self.running.drain().clone();
        let mut turn = std::pin::pin!(drain.turn());
        let grant = self.grant.clone();
        while !is_over || !answers.is_empty() || unsent.is_some() {
            let taken = bytes.saturating_add(input.objects.len());
            let has_room = answers.is_empty() || answers.len() < MAX_IN_FLIGHT && taken < self.max_bytes;
            let is_idle = answers.is_empty() && input.is_idle() && !is_over;
            let is_blocked = unsent.is_some();
            tokio::select! {
                biased;
                () = frames.closed() => return,
                Ok(room) = frames.reserve(), if is_blocked => {
                    let text = unsent.take().unwrap_or_default();
                    self.grant.activity().sent(text.len());
                    room.send(text);
                }
                Some(answer) = answers.next(), if !is_blocked && !answers.is_empty() => {
                    bytes = bytes.saturating_sub(answer.bytes);
                    is_over |= answer.is_last;
                    unsent = Some(answer.text.into());
                }
                _ = grant.ended(), if !is_over => {
                    is_over = true;
                    if let Err(error) = self.grant.can_write(&self.place.1) {
                        answers.push_back(ready(self.failed(Problem::failed(error, self.grant.system()), 0)).boxed());
                    }
                }
                () = &mut turn, if last.is_none() => {
                    is_over = true;
                    last = Some(Instant::now() + LAST_ANSWERS);
                }
                () = sleep_until(last.unwrap_or_else(Instant::now)), if is_blocked && last.is_some() => return,
                next = input.next(), if !is_over && !is_blocked && has_room => match next {
                    // As a request begins.
                    Some(Ok(_)) if waits && !self.goes_on(&mut waits).await => {
                        is_over = true;
                        answers.push_back(ready(self.failed(busy("limits.max_calls"), 0)).boxed());
                    }
                    Some(Ok(None)) => {}
                    Some(Ok(Some(object))) => {
                        bytes = bytes.saturating_add(object.len());
                        let answer = self.write(&object).unwrap_or_else(|invalid| {
                            // Where the next record begins is not certain.
                            is_over = true;
                            ready(self.failed(invalid, object.len())).boxed()
                        });
                        answers.push_back(answer);
                    }
                    Some(Err(problem)) => {
                        is_over = true;
                        answers.push_back(ready(self.failed(problem, 0)).boxed());
                    }
                    None => is_over = true,
                },
                () = tokio::time::sleep(STAY_AFTER), if (is_idle || is_blocked) && !waits => {
                    waits = self.running.stay();
                    if !waits && is_blocked {
                        return;
                    }
                    if !waits {
                        is_over = true;
                        answers.push_back(ready(self.failed(busy("limits.max_sessions"), 0)).boxed());
                    }
                }
            }
        }
    }

    /// Whether there is a call permit again for a request that has waited.
    async fn goes_on(&self, waits: &mut bool) -> bool {
        *waits = false;
        (&mut &*self.running).refill().await
    }

    /// Begins to write a record.
    ///
    /// # Errors
    /// It is not valid JSON.
    fn write(&mut self, object: &Bytes) -> Result<BoxFuture<'static, Answer>, Problem> {
        let bytes = object.len();
        let invalid = |invalid| Problem::new(ProblemKind::Malformed, format!("the record is {invalid}"));
        let StreamedRecord { record, parts } =
            match (self.words.record)(json::parse(object).map_err(invalid)?, &self.place.1) {
                Ok(parsed) => parsed,
                Err(error) => return Ok(ready(self.failed(unfit(error), bytes)).boxed()),
            };
        let (grant, words, place) = (self.grant.clone(), self.words, Arc::clone(&self.place));
        let ticket = self.sequencer.issue();
        let partition = record.partition;
        let answer = async move {
            let (cluster, topic) = &*place;
            let reports = grant.produce(vec![record], ticket, || {}).await;
            let report = reports.and_then(|mut reports| reports.pop().unwrap_or_else(|| Err(no_report())));
            let error = match report {
                Ok(written) => {
                    let text = line((words.written)(cluster, topic, &parts, written));
                    return Answer { text, bytes, is_last: false };
                }
                Err(error) => error,
            };
            grant.log_reports(&[Err(error.clone())]);
            let is_last = error.fault == Fault::Unauthenticated;
            let problem = failure(&grant, error, parts.have_schema(), topic, partition).await;
            Answer { is_last, ..answer_of(words, problem, bytes) }
        };
        Ok(answer.boxed())
    }

    fn failed(&self, problem: Problem, bytes: usize) -> Answer {
        answer_of(self.words, problem, bytes)
    }
}

async fn failure(
    grant: &Grant,
    error: CommandError,
    has_schema: bool,
    topic: &str,
    partition: Option<i32>,
) -> Problem {
    let kind = produce::of_schemas(&error).filter(|_| has_schema);
    let problem = Problem::failed(error, grant.system());
    match kind {
        Some(kind) => problem.of_kind(kind),
        None => problem.with_missing_log(grant, topic, partition).await,
    }
}

fn answer_of(words: &Clusters, problem: Problem, bytes: usize) -> Answer {
    let (code, message, unknown_outcome) = problem.streamed();
    Answer { text: line((words.failed)(code, &message, unknown_outcome)), bytes, is_last: false }
}

/// The REST proxies end each object so, and their clients read lines.
fn line(mut document: Vec<u8>) -> Vec<u8> {
    document.extend_from_slice(b"\r\n");
    document
}

/// An invalid record. The REST proxies tell of it as of invalid JSON.
fn unfit(error: BodyError) -> Problem {
    match error {
        BodyError::Unfit(detail) => Problem::new(ProblemKind::Malformed, detail),
        BodyError::TooLarge(_) => error.into(),
    }
}

fn too_slow() -> Problem {
    Problem::new(ProblemKind::TooSlow, "the next record did not arrive in time")
}

fn busy(limit: &str) -> Problem {
    let detail = format!("bridge at capacity for this client ({limit}), try again");
    Problem::new(ProblemKind::Unavailable, detail)
}

/// Records of one request that are written at the same time.
const MAX_IN_FLIGHT: usize = 100;
/// The time in which the rest of an object arrives.
const OBJECT_TIME: Duration = Duration::from_secs(60);
/// The time until another one begins: the gateways in `envoy/` end idle streams after it.
const IDLE_TIME: Duration = Duration::from_secs(300);
/// A request without records for so long, or whose client has not read for so long, is not counted as a call but as an open
/// stream.
const STAY_AFTER: Duration = Duration::from_secs(1);
/// The time in which the client can take what is left when the bridge drains.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
