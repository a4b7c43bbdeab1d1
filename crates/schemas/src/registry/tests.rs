//! A registry in memory: late, down, wrong, and asked by many.

mod http;
mod references;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use sluicegate_fair_share::ClientKey;
use tokio::time::{advance, sleep};

use super::path::schema_path;
use super::question::{LATEST_AGE, MISSING_AGE, REFUSED_AGE, UNANSWERED_AGE};
use super::*;

/// Its answers by path, others being 404.
#[derive(Default)]
struct Fake {
    answers: Mutex<HashMap<String, (u16, String)>>,
    asked: Mutex<Vec<Request>>,
    /// None: it is down.
    latency: Mutex<Option<Duration>>,
    /// Requests hold it, too.
    in_flight: Arc<()>,
    max_in_flight: AtomicUsize,
    outcomes: Mutex<Vec<Outcome>>,
}

impl Fake {
    fn new() -> Arc<Self> {
        Arc::new(Self { latency: Mutex::new(Some(LATENCY)), ..Self::default() })
    }

    fn with(answers: &[(&str, &str)]) -> Arc<Self> {
        let fake = Self::new();
        answers.iter().for_each(|(path, body)| fake.set(path, 200, body));
        fake
    }

    fn set(&self, path: &str, status: u16, body: &str) {
        self.answers.lock().insert(path.to_owned(), (status, body.to_owned()));
    }

    fn registry(self: &Arc<Self>) -> Arc<Registry> {
        Arc::new(Registry::new(self.clone(), Arc::new(Count(self.clone()))))
    }

    fn asked(&self) -> usize {
        self.asked.lock().len()
    }

    async fn answer(&self, request: Request) -> Result<Response, Unanswered> {
        let Some(latency) = *self.latency.lock() else {
            return Err(Unanswered::Failed("connection refused".to_owned()));
        };
        sleep(latency).await;
        let answer = self.answers.lock().get(&request.path).cloned();
        let (status, body) = answer.unwrap_or((404, NOT_FOUND.to_owned()));
        match status {
            HANGS => {
                sleep(Duration::from_secs(3600)).await;
                Err(Unanswered::Failed("closed".to_owned()))
            }
            LARGE => Err(Unanswered::TooLarge(MAX_ANSWER)),
            status => Ok(Response { status, body: Bytes::from(body) }),
        }
    }
}

impl Transport for Fake {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, Unanswered>> {
        self.asked.lock().push(request.clone());
        let held = Arc::clone(&self.in_flight);
        self.max_in_flight.fetch_max(Arc::strong_count(&held) - 1, Ordering::Relaxed);
        async move {
            let answer = self.answer(request).await;
            drop(held);
            answer
        }
        .boxed()
    }

    fn shown(&self) -> &str {
        "registry.test"
    }
}

struct Count(Arc<Fake>);

impl fmt::Debug for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Count")
    }
}

impl Observer for Count {
    fn looked_up(&self, outcome: Outcome, _: Duration) {
        self.0.outcomes.lock().push(outcome);
    }
}

fn client(number: u8) -> Holder {
    ClientKey::parse(format!("192.0.2.{number}").as_bytes()).into()
}

const fn number(id: u32) -> SchemaId {
    SchemaId::Number(id)
}

fn text() -> SchemaText {
    SchemaText { kind: SchemaType::Avro, schema: r#""long""#.to_owned(), references: Vec::new() }
}

/// The id, or the words for the client.
fn told(found: Found) -> Result<SchemaId, String> {
    found.map(|known| known.id).map_err(|missing| missing.to_string())
}

#[tokio::test(start_paused = true)]
async fn callers_share_one_request_that_goes_on_without_them() {
    let fake = Fake::with(&[("/schemas/ids/7", LONG), ("/schemas/ids/8", LONG)]);
    let registry = fake.registry();
    let ask = |client: u8, id| {
        let registry = Arc::clone(&registry);
        tokio::spawn(async move { told(registry.schema(self::client(client), number(id)).await) })
    };
    let calls = join_all((0..1000_u32).map(|caller| ask((caller % 200) as u8, 7))).await;
    assert!(calls.into_iter().all(|told| told.unwrap() == Ok(number(7))));
    assert_eq!((fake.asked(), &*fake.outcomes.lock()), (1, &vec![Outcome::Found]));
    for _ in 0..100 {
        let call = ask(1, 8);
        sleep(LATENCY / 1000).await;
        call.abort();
    }
    sleep(LATENCY).await;
    assert!(registry.schema(client(1), number(8)).now_or_never().unwrap().is_ok());
    assert_eq!(fake.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_asked_for_again_in_time() {
    let down = "the schema registry does not answer";
    let refused = "the schema registry refuses the bridge's credentials";
    let broken = r#"{"schema": "\"recor\""}"#;
    let (id, subject) = ("/schemas/ids/7", "/subjects/s/versions/latest");
    for (path, status, body, words, age) in [
        (id, 404, NOT_FOUND, "schema 7 is not in the registry", MISSING_AGE),
        (id, 200, broken, "schema 7 cannot be read: ", MISSING_AGE),
        (id, 503, "", down, UNANSWERED_AGE),
        (id, 401, "", refused, UNANSWERED_AGE),
        (subject, 404, NOT_FOUND, r#"the latest schema of subject "s" is not in the registry"#, REFUSED_AGE),
    ] {
        let fake = Fake::new();
        let registry = fake.registry();
        let ask = || async {
            match path == id {
                true => told(registry.schema(client(1), number(7)).await),
                false => told(registry.latest(client(1), "s").await),
            }
        };
        fake.set(path, status, body);
        let error = ask().await.unwrap_err();
        assert!(error.starts_with(words), "{error}");
        fake.set(path, 200, LONG_7);
        advance(age - Duration::from_millis(1)).await;
        assert_eq!((ask().await, fake.asked()), (Err(error), 1), "{words}");
        advance(Duration::from_millis(1)).await;
        assert_eq!((ask().await, fake.asked()), (Ok(number(7)), 2), "{words}");
        advance(Duration::from_secs(1_000_000)).await;
        assert_eq!(registry.schema(client(1), number(7)).await.is_ok(), fake.asked() == 2, "{words}");
    }
}

#[tokio::test(start_paused = true)]
async fn known_schemas_stay_while_the_registry_is_down() {
    let latest = "/subjects/s/versions/latest";
    let fake = Fake::with(&[("/schemas/ids/7", LONG), ("/schemas/ids/8", LONG), (latest, LONG_7)]);
    let registry = fake.registry();
    let ask = |id| {
        let registry = Arc::clone(&registry);
        async move { registry.schema(client(1), number(id)).await.map(|known| known.id) }
    };
    assert_eq!(ask(7).await, Ok(number(7)));
    *fake.latency.lock() = None;
    for _ in 0..100 {
        assert_eq!(
            (ask(7).await, ask(8).await),
            (Ok(number(7)), Err(Missing::Unanswered(Silence::NoAnswer)))
        );
        advance(UNANSWERED_AGE / 10).await;
    }
    assert_eq!(fake.asked(), 1 + 10, "at most once a second");
    *fake.latency.lock() = Some(LATENCY);
    advance(UNANSWERED_AGE).await;
    assert_eq!(ask(8).await, Ok(number(8)));
    // So does the latest one of a subject, for a time, unless the registry says that there is none.
    let latest_now = || async { registry.latest(client(1), "s").await.map(|known| known.id) };
    assert_eq!(latest_now().await, Ok(number(7)));
    *fake.latency.lock() = None;
    let asked = fake.asked();
    for _ in 1..LATEST_STAYS.as_secs() / LATEST_AGE.as_secs() {
        advance(LATEST_AGE).await;
        assert_eq!((latest_now().await, latest_now().await), (Ok(number(7)), Ok(number(7))));
    }
    assert_eq!(fake.asked() - asked, 9, "as often as otherwise");
    advance(LATEST_AGE).await;
    assert_eq!(latest_now().await, Err(Missing::Unanswered(Silence::NoAnswer)));
    *fake.latency.lock() = Some(LATENCY);
    fake.set(latest, 404, NOT_FOUND);
    advance(UNANSWERED_AGE).await;
    assert!(matches!(latest_now().await, Err(Missing::Unknown(_))));
}

#[tokio::test(start_paused = true)]
async fn id_that_is_never_answered_is_not_waited_for() {
    let fake = Fake::with(&[("/schemas/ids/7", LONG), ("/subjects?limit=1", "[]")]);
    fake.set("/schemas/ids/8", 500, "");
    let registry = fake.registry();
    let ask = async |id| registry.schema(client(1), number(id)).await.map(|known| known.id);
    // No integer of Java, by which registries count.
    assert!(matches!(ask(1 << 31).await, Err(Missing::Unknown(_))));
    assert_eq!((ask(8).await, fake.asked()), (Err(Missing::Unanswered(Silence::NoAnswer)), 1));
    advance(PERSISTS).await;
    let given_up = "schema 8 has no answer of the registry, which answers otherwise";
    assert_eq!(ask(8).await, Err(Missing::Unknown(given_up.to_owned())));
    // It is asked for again, and so is all of a registry that is down.
    fake.set("/schemas/ids/8", 200, LONG);
    advance(MISSING_AGE).await;
    assert_eq!(ask(8).await, Ok(number(8)));
    *fake.latency.lock() = None;
    for _ in 0..3 {
        assert_eq!(ask(9).await, Err(Missing::Unanswered(Silence::NoAnswer)));
        advance(PERSISTS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_no_schema_are_refused() {
    const GUID: SchemaId = SchemaId::Guid([0xAB; 16]);
    let down = Outcome::Unanswered;
    for (id, status, body, outcome, words) in [
        (number(7), 200, r#"{"id": 7, "schema": "\"long\""}"#, Outcome::Found, ""),
        (number(7), 200, r#"{"schema": "\"long\"", "schemaType": "AVRO"}"#, Outcome::Found, ""),
        (number(7), 200, r#"{"id": 8, "schema": "\"long\""}"#, Outcome::Unknown, "another schema"),
        (
            GUID,
            200,
            r#"{"guid": "ABABABAB-ABAB-ABAB-ABAB-ABABABABABAB", "schema": "\"long\""}"#,
            Outcome::Found,
            "",
        ),
        (
            GUID,
            200,
            r#"{"guid": "00000000-0000-0000-0000-000000000000", "schema": ""}"#,
            Outcome::Unknown,
            "another schema",
        ),
        (number(7), 200, r#"{"schema": "x", "schemaType": "XML"}"#, Outcome::Unknown, r#"its type is "XML""#),
        (number(7), LARGE, "", Outcome::Unknown, "the answer has more than 4194304 bytes"),
        (number(7), 403, r#"{"error_code": 40301}"#, Outcome::Unknown, "denied"),
        (number(7), 422, r#"{"error_code": 42202}"#, Outcome::Unknown, "not in the registry"),
        (
            GUID,
            404,
            r#"{"error_code": 404}"#,
            Outcome::Unknown,
            "schema abababab-abab-abab-abab-abababababab is not",
        ),
        // A proxy, or another server, has said so.
        (number(7), 404, r#"{"error_code": 404}"#, down, ""),
        (number(7), 404, "<html>", down, ""),
        (number(7), 403, "<html>", down, ""),
        (number(7), 200, "<html>", down, ""),
        (number(7), 200, "{}", down, ""),
        (number(7), 301, "", down, ""),
        (number(7), 401, r#"{"error_code": 40101}"#, down, ""),
        (number(7), 500, r#"{"error_code": 50001}"#, down, ""),
    ] {
        let fake = Fake::new();
        fake.set(&schema_path(id), status, body);
        let found = fake.registry().schema(client(1), id).await;
        assert_eq!(*fake.outcomes.lock(), [outcome], "{status} {body}");
        let error = told(found).err().unwrap_or_default();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn probe_tells_whether_a_registry_answers() {
    for (status, body, words) in [
        (200, r#"["orders-value"]"#, Ok("connected to registry.test")),
        (200, "[]", Ok("connected to registry.test")),
        (LARGE, "", Ok("connected to registry.test")),
        (403, r#"{"error_code": 40301}"#, Ok("lets this user list no subjects")),
        (200, "<html>", Err("is not a schema registry")),
        (401, "", Err("status 401: expected credentials that the registry accepts")),
        (404, NOT_FOUND, Err("status 404")),
        (500, "", Err("status 500")),
    ] {
        let fake = Fake::new();
        fake.set("/subjects?limit=1", status, body);
        let told = probe(&*fake).await;
        match (&told, words) {
            (Ok(told), Ok(words)) | (Err(told), Err(words)) if told.contains(words) => {}
            _ => panic!("{status} {body}: {told:?}"),
        }
    }
    let down = Fake::new();
    *down.latency.lock() = None;
    assert_eq!(probe(&*down).await.unwrap_err(), "registry.test does not answer: connection refused");
}

#[tokio::test(start_paused = true)]
async fn registry_that_hangs_is_not_waited_for() {
    let fake = Fake::new();
    fake.set("/schemas/ids/7", HANGS, "");
    let began = Instant::now();
    let error = fake.registry().schema(client(1), number(7)).await.err();
    assert_eq!(error, Some(Missing::Unanswered(Silence::NoAnswer)));
    assert_eq!((began.elapsed(), Arc::strong_count(&fake.in_flight)), (Duration::from_secs(10), 1));
}

#[tokio::test(start_paused = true)]
async fn client_with_random_ids_delays_no_other() {
    let fake = Fake::with(&[("/schemas/ids/1", LONG), ("/schemas/ids/2", LONG), ("/schemas/ids/9999", LONG)]);
    (100..9999).for_each(|id| fake.set(&format!("/schemas/ids/{id}"), HANGS, ""));
    let registry = fake.registry();
    assert!(registry.schema(client(2), number(1)).await.is_ok());
    for id in 100..10_000 {
        let registry = Arc::clone(&registry);
        tokio::spawn(async move { registry.schema(client(1), number(id)).await.is_ok() });
    }
    sleep(LATENCY).await;
    assert!(registry.cached(number(1)).is_some_and(|found| found.is_ok()));
    // One that nobody has asked for, and one for which the other waits.
    for id in [2, 9999] {
        let began = Instant::now();
        assert_eq!(told(registry.schema(client(2), number(id)).await), Ok(number(id)));
        assert_eq!(began.elapsed(), LATENCY, "{id}");
    }
    assert!(fake.max_in_flight.load(Ordering::Relaxed) <= MAX_IN_FLIGHT);
}

#[tokio::test(start_paused = true)]
async fn schemas_that_are_not_used_are_dropped() {
    let fake = Fake::new();
    (1..=4).for_each(|id| fake.set(&format!("/schemas/ids/{id}"), 200, LONG));
    let room = 3 * (COMPILED_BYTES + text().schema.len());
    let registry = Registry::with_bytes(fake.clone(), Arc::new(Count(fake.clone())), room);
    for (id, asked) in [(1, 1), (2, 2), (3, 3), (1, 3), (4, 4), (1, 4), (3, 4), (4, 4), (2, 5), (1, 6)] {
        assert!(registry.schema(client(1), number(id)).await.is_ok());
        assert_eq!(fake.asked(), asked, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn subjects_and_texts_lead_to_schemas() {
    let latest = "/subjects/a%2Fb-value/versions/latest";
    let (find, register) = ("/subjects/a%2Fb-value", "/subjects/a%2Fb-value/versions");
    let fake = Fake::with(&[(latest, LONG_7)]);
    let (registry, subject) = (fake.registry(), "a/b-value");
    let latest_now = || async { told(registry.latest(client(1), subject).await) };
    let find_now = || async { told(registry.find(client(1), subject, text()).await) };
    assert_eq!(
        (latest_now().await, registry.schema(client(1), number(7)).await.is_ok()),
        (Ok(number(7)), true)
    );
    assert_eq!(find_now().await.unwrap_err(), r#"the schema of subject "a/b-value" is not in the registry"#);
    assert_eq!(fake.asked(), 2);
    for (status, words) in
        [(409, "is incompatible with an earlier version"), (422, "is not valid for the registry")]
    {
        fake.set(register, status, "{}");
        let refused = registry.register(client(1), subject, text()).await.err().unwrap();
        assert_eq!(refused, Missing::Refused(format!(r#"the schema of subject "a/b-value" {words}"#)));
        advance(REFUSED_AGE).await;
    }
    fake.set(register, 200, r#"{"id": 8}"#);
    fake.set(latest, 200, r#"{"id": 8, "schema": "\"long\""}"#);
    assert_eq!(told(registry.register(client(1), subject, text()).await), Ok(number(8)));
    assert_eq!((fake.asked(), find_now().await), (5, Ok(number(8))));
    assert_eq!((latest_now().await, fake.asked()), (Ok(number(8)), 6));
    let body = fake.asked.lock()[4].body.clone();
    assert_eq!(body.unwrap(), r#"{"schema":"\"long\""}"#);
    advance(LATEST_AGE).await;
    assert_eq!((latest_now().await, fake.asked()), (Ok(number(8)), 7));
    fake.set(find, 200, r#"{"id": 9}"#);
    let other = SchemaText { kind: SchemaType::JsonSchema, schema: "true".to_owned(), ..text() };
    assert_eq!(told(registry.find(client(1), subject, other).await), Ok(number(9)));
    let body = fake.asked.lock()[7].body.clone();
    assert_eq!(body.unwrap(), r#"{"schema":"true","schemaType":"JSON"}"#);
    for subject in ["", ".", "..", &"x".repeat(1025)] {
        let missing = registry.latest(client(1), subject).await.err().unwrap().to_string();
        assert!(missing.ends_with("is not in the registry"), "{missing}");
    }
    let large = SchemaText { schema: "x".repeat(crate::MAX_SCHEMA_BYTES + 1), ..text() };
    assert!(registry.register(client(1), subject, large).await.is_err());
    assert_eq!(fake.asked(), 8);
}

const LATENCY: Duration = Duration::from_millis(50);
const LONG: &str = r#"{"schema": "\"long\""}"#;
const LONG_7: &str = r#"{"id": 7, "schema": "\"long\""}"#;
const NOT_FOUND: &str = r#"{"error_code": 40403, "message": "Schema not found"}"#;
/// Statuses that no server has: no answer, and a large one.
const HANGS: u16 = 0;
const LARGE: u16 = 1;
