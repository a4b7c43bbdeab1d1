//! Measures what it costs to open a session, with an identity and without.

use std::time::SystemTime;

use futures_util::stream::{self, StreamExt};
use http::HeaderValue;
use serde_json::json;
use sluicegate_stack::envoy::{instead, verifying};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::json_socket::{JsonSocket, upgrade};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::process::allow_many_files;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tokens::Signer;

use crate::figures::Figures;
use crate::place::{bridge_of, stack_with};
use crate::report::say;
use crate::turns::{ROUNDS, Subject, add_costs};
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!(
        "opening   {SESSIONS} sessions with a ping each, {AT_ONCE} at a time, {ROUNDS} times in turns"
    ));
    allow_many_files()?;
    let kafka = Kafka::start().await?;
    let (signer, folder) = (Signer::new()?, Folder::new("keys")?);
    let keys = folder.write("keys.json", &signer.key_set())?;
    let settings = format!(
        "gateway_secret = \"between-gateway-and-bridge\"\n[identity]\nfrom_gateway = true\n[identity.main]\nissuer = {ISSUER:?}\n\
         audience = [\"app\"]\njwks_file = {keys:?}\n"
    );
    let mut subjects = Vec::new();
    for (name, is_verified, identity) in IDENTITIES {
        let route = route(identity);
        let mut edits = vec![instead("\"gateway_secret\": \"between-gateway-and-bridge\",", &[&route])];
        if is_verified {
            edits.push(verifying(ISSUER, &signer.key_set(), &["/pubsub"]));
        }
        let stack = stack_with(plan, bridge_of(&kafka, &settings), edits).await?;
        subjects.push(Subject { name: format!("opening, identity {name}"), stack, units: SESSIONS, how: () });
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let token = signer.sign_json(&json!({
        "iss": ISSUER, "aud": "app", "sub": "alice", "iat": now, "exp": now + 36_000, "teams": ["red", "blue"],
    }))?;
    let bearer = HeaderValue::from_str(&format!("Bearer {token}"))?;
    add_costs(figures, ("µs", 1e6), &subjects, async |subject| {
        open(&subject.stack, &bearer).await;
        Ok(())
    })
    .await
}

fn route(identity: &str) -> String {
    if identity.is_empty() {
        return r#"{"path": "/pubsub", "topics": ["orders.*"]}"#.to_owned();
    }
    format!(
        r#"{{"path": "/pubsub", "identity": {identity}, "claims": {{"teams": ["teams"]}}, "topics": ["orders.${{sub}}", "teams.${{teams}}.*"]}}"#
    )
}

async fn open(stack: &Stack, bearer: &HeaderValue) {
    let open = async |_| {
        let mut request = upgrade(&stack.url());
        request.headers_mut().insert("authorization", bearer.clone());
        let mut socket = JsonSocket::open_with(request).await;
        socket.send(r#"{"id": 1, "ping": {}}"#).await;
        socket.receive().await;
    };
    stream::iter(0..SESSIONS).map(open).buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// How a route knows its clients, all of whom send a token: its name, whether Envoy verifies tokens, and the route's
/// `identity`.
const IDENTITIES: [(&str, bool, &str); 4] = [
    ("none", false, ""),
    ("none, Envoy verifies tokens", true, ""),
    ("jwt_authn", true, r#"{"from": "jwt_authn", "payload": "claims"}"#),
    ("token", false, r#"{"from": "token", "name": "main"}"#),
];
const ISSUER: &str = "https://issuer.example";
const SESSIONS: usize = 4000;
/// Sessions that are opened concurrently.
const AT_ONCE: usize = 16;
