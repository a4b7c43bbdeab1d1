//! A bridge works with an older filter, and refuses a newer one only with a reason.
//!
//! By default both are this version, and everything works. `./dev compatibility` runs the same with an older filter,
//! and with an older bridge.

use sluicegate_client::{At, Client, Error, Source, Subscribe, Update};
use sluicegate_protocol::ProduceRecord;
use sluicegate_stack::envoy::{instead, routes};
use sluicegate_stack::http::client::{Request, Response, ask};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::raw::{Raw, Upgrade};
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_stack::tools;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

in_ways! {
    [tunnel full relay]
    each_use_works_or_is_refused_with_a_reason
    each_use_with_identity_is_known_or_refused_with_a_reason
}

/// The refusals, as the client reads them: of a header, of the same in plain HTTP, and of a command.
const REASONS: [&str; 3] = [
    "upgrade the bridge to the version of the gateway's filter",
    "gateway and bridge are misconfigured, see their logs",
    "the server does not support it",
];
/// Both may refuse their configuration.
const KEYS: [&str; 2] = ["invalid configuration: ", "is not a key of this configuration"];
const SECRET: &str = "between-gateway-and-bridge";

#[expect(clippy::print_stderr, reason = "the result of `./dev compatibility`")]
async fn each_use_works_or_is_refused_with_a_reason(way: Way) {
    let same = tools::filter_is_of_this_version() && tools::bridge_is_of_this_version();
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("versions", 1, &[]).await.unwrap();
    let stack = match Stack::start(setup(way, kafka.bootstrap())).await {
        Ok(stack) => stack,
        // An older filter has no such profile.
        Err(error) if !same && way == Way::Relay && is_of_a_key(&error.to_string()) => {
            return eprintln!("{}: refused at start: {error}", way.name());
        }
        Err(error) => panic!("{error}"),
    };
    for (what, result) in uses(&stack, topic).await {
        match result {
            Ok(()) => eprintln!("{}: {what} works", way.name()),
            Err(reason) => {
                let is_clear = REASONS.iter().any(|clear| reason.contains(clear));
                let may_refuse = !tools::bridge_is_of_this_version();
                assert!(may_refuse && is_clear, "{}: {what}: {reason}", way.name());
                eprintln!("{}: {what} is refused: {reason}", way.name());
            }
        }
    }
}

/// Nobody comes in unknown because one of both does not know identities, and other routes work.
#[expect(clippy::print_stderr, reason = "the result of `./dev compatibility`")]
async fn each_use_with_identity_is_known_or_refused_with_a_reason(way: Way) {
    let knows = tools::bridge_is_of_this_version();
    let mut setup = setup(way, "127.0.0.1:9".to_owned());
    let route = r#"{"path": "/mine", "identity": {"from": "token", "name": "main"}},"#;
    for (_, routes) in &mut setup.envoy_edits {
        *routes = routes.replace(r#"{"path": "/pubsub""#, &format!(r#"{route} {{"path": "/pubsub""#));
    }
    if way != Way::Relay {
        setup.envoy_edits.push(routes(&["/mine"]));
    }
    if let BridgeConfig::Cluster { settings, .. } = &mut setup.bridge
        && knows
    {
        *settings += "[identity.main]\nissuer = \"https://issuer.example\"\naudience = [\"app\"]\njwks_url = \"https://127.0.0.1:9/keys\"\n";
    }
    let stack = match Stack::start(setup).await {
        Ok(stack) => stack,
        Err(error) if !tools::filter_is_of_this_version() && is_of_a_key(&error.to_string()) => {
            return eprintln!("{}: identities are refused at start: {error}", way.name());
        }
        Err(error) => panic!("{error}"),
    };
    let status = async |path| {
        let refused = Raw::connect(stack.gateway()).await.ask(&Upgrade::to(path).bytes()).await;
        (refused.status, refused.text().trim().to_owned())
    };
    assert_eq!(status("/pubsub").await.0, 101, "{}", way.name());
    let (mine, reason) = status("/mine").await;
    match knows {
        true => assert_eq!(mine, 401, "{}: {reason}", way.name()),
        false => assert!(mine == 400 && reason.contains(REASONS[0]), "{}: {mine} {reason}", way.name()),
    }
    eprintln!("{}: an unknown client is refused: {mine} {reason}", way.name());
}

fn is_of_a_key(error: &str) -> bool {
    KEYS.iter().any(|key| error.contains(key))
}

/// Every use of a gateway, and why it was refused if it was.
async fn uses(stack: &Stack, topic: &str) -> Vec<(&'static str, Result<(), String>)> {
    let gateway = stack.gateway();
    let rest = format!("/kafka/topics/{topic}");
    let records = format!("{rest}/partitions/0/records?offset=0");
    let list = || {
        let post = Request::post(&rest, r#"{"records":[{"value":1}]}"#);
        post.with("content-type", "application/vnd.kafka.json.v2+json")
    };
    let produce = Request::post("/produce", "2").with("x-topic", topic);
    let http = vec![
        ("writing over a rest route", answered(&ask(gateway, list()).await)),
        ("writing over a produce route", answered(&ask(gateway, produce).await)),
        ("reading over a rest route", answered(&ask(gateway, Request::get(records)).await)),
    ];
    let refused = Raw::connect(gateway).await.ask(&Upgrade::default().bytes()).await;
    if refused.status != 101 {
        return http.into_iter().chain([("a session", Err(refused.text().to_owned()))]).collect();
    }
    let session = Client::connect(stack.url()).await.unwrap();
    let record = ProduceRecord { topic: topic.to_owned(), value: Some("3".into()), ..Default::default() };
    let commands = vec![
        ("a ping", told(session.ping("x").await)),
        ("a write", told(session.produce(vec![record]).await)),
        ("a fetch", told(session.fetch(topic, 0, 0).await)),
        ("the end of a log", told(session.list_offset(topic, 0, At::Latest).await)),
        ("a subscription", told(first_delivery(&session, topic).await)),
    ];
    http.into_iter().chain(commands).collect()
}

async fn first_delivery(session: &Client, topic: &str) -> Result<(), Error> {
    let mut updates = session.subscribe(Subscribe::new([Source::new(topic).at(At::Earliest)]));
    loop {
        match updates.next().await.expect("an update")? {
            Update::Delivery(_) => return Ok(()),
            Update::Reconnecting { error, .. } => return Err(error),
            _ => {}
        }
    }
}

fn answered(response: &Response) -> Result<(), String> {
    if response.status == 200 { Ok(()) } else { Err(response.text().to_owned()) }
}

fn told<T>(result: Result<T, Error>) -> Result<(), String> {
    result.map(drop).map_err(|error| error.to_string())
}

/// A stack whose clients can do everything, in the words of the first version.
fn setup(way: Way, bootstrap: String) -> Setup {
    let routes = [
        r#"{"path": "/pubsub", "write": true}"#,
        r#"{"path": "/kafka", "type": "rest", "write": true}"#,
        r#"{"path": "/produce", "type": "produce", "headerprefix": "x-", "overrides": ["topic"]}"#,
    ];
    let envoy_edits = vec![instead(&format!("\"gateway_secret\": \"{SECRET}\","), &routes)];
    let settings = format!("gateway_secret = \"{SECRET}\"\n[write]\nclusters = [\"default\"]\n");
    let bridge = BridgeConfig::Cluster { bootstrap: bootstrap.clone(), settings };
    Setup { bridge, envoy_edits, ..Setup::new(way, bootstrap) }
}
