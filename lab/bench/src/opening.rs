//! Measures what it costs to open a session, with an identity and without.

use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::{self, StreamExt};
use http::HeaderValue;
use serde_json::json;
use sluicegate_stack::envoy::{instead, verifying};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::json_socket::{JsonSocket, upgrade};
use sluicegate_stack::kafka::{Kafka, Setup as KafkaSetup};
use sluicegate_stack::process::allow_many_files;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_stack::tokens::Signer;

use crate::figures::{Better, Figures};
use crate::report::opening::{Row, table};
use crate::report::say;
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!(
        "opening   {SESSIONS} sessions with a ping each, {AT_ONCE} at a time, {ROUNDS} times in turns"
    ));
    allow_many_files()?;
    let kafka = Kafka::start_with(KafkaSetup::default()).await?;
    let issuer = Issuer::new()?;
    let mut stacks = Vec::new();
    for identity in Identity::ALL {
        stacks.push((identity, issuer.start(plan, &kafka, identity).await?, Vec::new()));
    }
    for (_, stack, _) in &stacks {
        open(stack, &issuer.token).await?;
    }
    for _ in 0..ROUNDS {
        for (_, stack, costs) in &mut stacks {
            costs.push(measure(stack, &issuer.token).await?);
        }
    }
    for (identity, _, costs) in &stacks {
        let name = format!("opening, identity {}: CPU of Envoy and bridge", identity.name());
        figures.add(&name, "µs", Better::Less, costs.iter().map(|cost| cost.envoy + cost.bridge));
    }
    let row = |(identity, _, costs): (Identity, Stack, Vec<Row>)| (identity.name(), Row::median(costs));
    table(&stacks.into_iter().map(row).collect::<Vec<_>>());
    Ok(())
}

/// How the route knows its clients. All of them send a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    /// Nobody looks at it.
    None,
    /// Envoy verifies it, and the route has no identity.
    Verified,
    /// Envoy verifies it, and the route grants topics by its claims.
    Gateway,
    /// The bridge verifies it, and the route grants topics by its claims.
    Bridge,
}

impl Identity {
    const ALL: [Self; 4] = [Self::None, Self::Verified, Self::Gateway, Self::Bridge];

    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Verified => "none, Envoy verifies tokens",
            Self::Gateway => "jwt_authn",
            Self::Bridge => "token",
        }
    }

    fn route(self) -> String {
        let identity = match self {
            Self::None | Self::Verified => {
                return r#"{"path": "/pubsub", "topics": ["orders.*"]}"#.to_owned();
            }
            Self::Gateway => r#"{"from": "jwt_authn", "payload": "claims"}"#,
            Self::Bridge => r#"{"from": "token", "name": "main"}"#,
        };
        format!(
            r#"{{"path": "/pubsub", "identity": {identity}, "claims": {{"teams": ["teams"]}}, "topics": ["orders.${{sub}}", "teams.${{teams}}.*"]}}"#
        )
    }
}

struct Issuer {
    signer: Signer,
    /// A file with its keys.
    keys: Folder,
    token: String,
}

impl Issuer {
    fn new() -> Result<Self, Failure> {
        let (signer, keys) = (Signer::new()?, Folder::new("keys")?);
        std::fs::write(keys.path().join("keys.json"), signer.key_set())?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let token = signer.sign_json(&json!({
            "iss": ISSUER, "aud": "app", "sub": "alice", "iat": now, "exp": now + 36_000, "teams": ["red", "blue"],
        }))?;
        Ok(Self { signer, keys, token })
    }

    async fn start(&self, plan: &Plan, kafka: &Kafka, identity: Identity) -> Result<Stack, Failure> {
        let (bootstrap, keys) = (kafka.bootstrap(), self.keys.path().join("keys.json"));
        let bridge = format!(
            "gateway_secret = \"between-gateway-and-bridge\"\n[identity]\nfrom_gateway = true\n[identity.main]\nissuer = {ISSUER:?}\n\
             audience = [\"app\"]\njwks_file = {keys:?}\n[clusters.default]\nbootstrap.servers = {bootstrap:?}\n"
        );
        let mut edits =
            vec![instead("\"gateway_secret\": \"between-gateway-and-bridge\",", &[&identity.route()])];
        if matches!(identity, Identity::Verified | Identity::Gateway) {
            edits.push(verifying(ISSUER, &self.signer.key_set(), &["/pubsub"]));
        }
        let setup = Setup::new(plan.profile, bootstrap);
        let setup = Setup { bridge: BridgeConfig::Text(bridge), envoy_edits: edits, ..setup };
        let mut stack = Stack::start(Setup { concurrency: plan.concurrency, ..setup }).await?;
        stack.ready_within(Duration::from_secs(30)).await?;
        Ok(stack)
    }
}

async fn measure(stack: &Stack, token: &str) -> Result<Row, Failure> {
    let cpu = || -> Result<[Duration; 2], Failure> {
        Ok([stack.envoy().process.usage()?.cpu, stack.bridge.process.usage()?.cpu])
    };
    let ([envoy, bridge], start) = (cpu()?, Instant::now());
    open(stack, token).await?;
    let ([envoy_after, bridge_after], took) = (cpu()?, start.elapsed());
    let each = |time: Duration| time.as_secs_f64() * 1e6 / SESSIONS as f64;
    Ok(Row {
        took: each(took),
        envoy: each(envoy_after.saturating_sub(envoy)),
        bridge: each(bridge_after.saturating_sub(bridge)),
    })
}

async fn open(stack: &Stack, token: &str) -> Result<(), Failure> {
    let header = HeaderValue::from_str(&format!("Bearer {token}"))?;
    let open = async |_| {
        let mut request = upgrade(&stack.url());
        request.headers_mut().insert("authorization", header.clone());
        let mut socket = JsonSocket::open_with(request).await;
        socket.send(r#"{"id": 1, "ping": {}}"#).await;
        socket.receive().await;
    };
    stream::iter(0..SESSIONS).map(open).buffer_unordered(AT_ONCE).collect::<()>().await;
    Ok(())
}

const ISSUER: &str = "https://issuer.example";
const SESSIONS: usize = 4000;
/// Sessions that are opened concurrently.
const AT_ONCE: usize = 16;
const ROUNDS: usize = 5;
