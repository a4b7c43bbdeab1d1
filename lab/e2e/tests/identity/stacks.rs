//! Gateways with people who have tokens: [`of_gateway`] and [`of_bridge`] are those of all tests that break nothing.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::SystemTime;

use serde_json::{Value, json};
use sluicegate_client::{Client, ConnectError};
use sluicegate_stack::envoy::verifying;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http::client::{Request, Response, ask};
use sluicegate_stack::json_socket::{JsonSocket, upgrade};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::{Lent, Stack};
use sluicegate_stack::tokens::Signer;
use sluicegate_stack::way::Way;

use crate::pool::Config;

/// The issuer of all tokens.
pub(crate) static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new().unwrap());

/// The name of the issuer.
pub(crate) const ISSUER: &str = "https://issuer.example";

/// Tables of the bridge's configuration that believe the gateway.
pub(crate) const BELIEVED: &str = "[identity]\nfrom_gateway = true\nleeway_ms = 0";

/// The files of bridges that several tests use.
static FILES: LazyLock<Folder> = LazyLock::new(|| {
    let folder = Folder::new("identities").unwrap();
    folder.write("keys.json", &SIGNER.key_set()).unwrap();
    folder.write("revoked.jsonl", "").unwrap();
    folder
});

/// The gateway whose Envoy verifies tokens, and whose bridge verifies renewals. Everybody can read and write topics
/// `open-…`; a person, those of `people-WAY` that are theirs.
pub(crate) async fn of_gateway(way: Way) -> Lent<&'static Stack> {
    let mut identity = by_gateway();
    identity["name"] = "main".into();
    let of = |end: &str| format!("people-{}{end}", way.name());
    let keys = json!({"identity": identity, "claims": {"teams": ["realm", "teams"]},
        "read": ["open-*", of(""), of(".${sub}"), of(".team.${teams}")], "write": ["open-*", of(".${sub}")]});
    let tables = verifier().replace("[identity]\n", "[identity]\nfrom_gateway = true\n");
    let limits = format!("admin_token = {ADMIN_TOKEN:?}\nlimits.new_producers = {NEW_PRODUCERS}\n");
    config(way, &keys, &(limits + &tables)).await.shared().await
}

pub(crate) const ADMIN_TOKEN: &str = "of-operators-only";
/// Of [`of_gateway`], in an hour.
pub(crate) const NEW_PRODUCERS: usize = 100;

/// The gateway whose bridge verifies tokens, has a list of revocations, and writes an audit log. Everybody can read and
/// write topics `open-…`; members of a team, its topic `team.NAME`.
pub(crate) async fn of_bridge(way: Way) -> Lent<&'static Stack> {
    let keys = json!({"identity": by_bridge(), "claims": {"teams": ["teams"]},
        "read": ["open-*", "team.${teams}"], "write": ["open-*"]});
    let audit = format!("[audit]\nfile = {:?}\nclaims = [\"email\", \"absent\"]", audit_log(way));
    let tables = format!("{}[revocation]\nlist_file = {:?}\n{audit}", verifier(), revoked());
    config(way, &keys, &tables).await.shared().await
}

pub(crate) fn audit_log(way: Way) -> PathBuf {
    FILES.path().join(format!("audit-{}.jsonl", way.name()))
}

/// The list of revocations.
pub(crate) fn revoked() -> PathBuf {
    FILES.path().join("revoked.jsonl")
}

/// Tables with the issuer, for tokens that the bridge verifies.
pub(crate) fn verifier() -> String {
    let keys = FILES.path().join("keys.json");
    format!(
        "[identity]\nleeway_ms = 0\n[identity.main]\nissuer = {ISSUER:?}\naudience = [\"app\"]\njwks_file = {keys:?}\n"
    )
}

/// The `identity` of routes whose tokens Envoy verifies.
pub(crate) fn by_gateway() -> Value {
    json!({"from": "jwt_authn", "payload": "claims"})
}

/// The `identity` of routes whose tokens the bridge verifies.
pub(crate) fn by_bridge() -> Value {
    json!({"from": "token", "name": "main"})
}

/// A gateway with `/pubsub`, `/kafka` and `/streams`, whose routes have these keys, and the same below `/unverified`, where Envoy
/// verifies no token.
pub(crate) async fn config(way: Way, keys: &Value, tables: &str) -> Config {
    let route = |(path, kind): (&str, &str)| {
        let mut route = json!({"path": path, "type": kind});
        route.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        route
    };
    let all = [
        ("/pubsub", "pubsub"),
        ("/kafka", "rest"),
        ("/streams", "streams"),
        ("/unverified", "pubsub"),
        ("/unverified-kafka", "rest"),
    ];
    let config =
        Config::new(way).await.with_secret().settings(tables).settings("[write]\nclusters = [\"default\"]");
    let config = config.routes(all.map(route));
    match way.is_envoy() && keys["identity"]["from"] == "jwt_authn" {
        true => config.edit(verifying(ISSUER, &SIGNER.key_set(), &["/pubsub", "/kafka", "/streams"])),
        false => config,
    }
}

/// A topic, and one of its name with `.alice` or `.bob` behind it for each of them.
pub(crate) async fn topics_of_people(kafka: &Kafka, name: &str) -> String {
    let shared = kafka.topic(name, 1, &[]).await.unwrap();
    for person in ["alice", "bob"] {
        kafka.make_topic(&format!("{shared}.{person}"), 1, &[]).await.unwrap();
    }
    shared
}

/// In seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

/// A token of `subject` with more claims, for so many seconds.
pub(crate) fn token(subject: &str, more: &Value, seconds: i64) -> String {
    let now = now();
    let mut claims = json!({"iss": ISSUER, "sub": subject, "iat": now, "exp": now + seconds});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    SIGNER.sign_json(&claims).unwrap()
}

/// A token of `subject` for ten minutes that the bridge accepts.
pub(crate) fn good(subject: &str) -> String {
    token(subject, &json!({"aud": "app"}), 600)
}

/// The answer to a request of the person with `token`.
pub(crate) async fn http(stack: &Stack, token: Option<&str>, request: Request) -> Response {
    let request = match token {
        Some(token) => request.with("authorization", format!("Bearer {token}")),
        None => request,
    };
    ask(stack.gateway(), request).await
}

/// A session of the person with `token`.
pub(crate) async fn session(stack: &Stack, token: Option<&str>) -> Result<Client, ConnectError> {
    let mut builder = Client::builder(stack.url());
    if let Some(token) = token {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    builder.connect().await
}

/// The status with which a session is refused, or 101.
pub(crate) fn status(opened: Result<Client, ConnectError>) -> u16 {
    match opened {
        Ok(_) => 101,
        Err(ConnectError::Refused { status, .. }) => status,
        Err(other) => panic!("{other:?}"),
    }
}

/// A JSON session of the person with `token`.
pub(crate) async fn open(stack: &Stack, token: &str) -> JsonSocket {
    let mut request = upgrade(&stack.url());
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    JsonSocket::open_with(request).await
}

/// Sends a command, and returns the next message with its id; those of others are left out.
pub(crate) async fn command(socket: &mut JsonSocket, id: i64, name: &str, command: Value) -> Value {
    socket.send(json!({"id": id, name: command}).to_string()).await;
    answer(socket, id).await
}

/// The next message with this id; those of others are left out.
pub(crate) async fn answer(socket: &mut JsonSocket, id: i64) -> Value {
    loop {
        let message = socket.receive().await;
        if message["id"] == id {
            return message;
        }
    }
}

/// The close of a session, behind messages of any kind.
pub(crate) async fn close(socket: &mut JsonSocket) -> (u16, String) {
    loop {
        if let Err(close) = socket.receive_or_close().await {
            return close;
        }
    }
}

/// A request that writes a record.
pub(crate) fn post(topic: &str) -> Request {
    let body = r#"{"records":[{"value":1}]}"#;
    Request::post(format!("/kafka/topics/{topic}"), body)
        .with("content-type", "application/vnd.kafka.json.v2+json")
}

/// A request for the ends of a topic.
pub(crate) fn offsets(topic: &str) -> Request {
    Request::get(format!("/kafka/topics/{topic}/partitions/0/offsets"))
}
