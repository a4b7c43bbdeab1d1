//! Many people whose tokens expire within the same second: they come back one after the other, miss nothing, and a
//! bystander notices nothing. Real Envoy, bridge and Kafka.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::json;
use sluicegate_client::{Client, LoginError, Source, Subscribe, Subscription, Update};
use sluicegate_protocol::CmdPing;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_stack::envoy::{Profile, instead};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::process::allow_many_files;
use sluicegate_stack::raw::{Raw, Upgrade, request};
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_stack::tokens::Signer;
use sluicegate_stack::tools::scale;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

const ISSUER: &str = "https://issuer.example";
/// A debug build of the bridge serves thousands.
const WITHIN: Duration = Duration::from_secs(60);

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

/// An issuer whose tokens expire at the same time.
struct Issuer {
    signer: Signer,
    /// Since 1970, in whole seconds.
    expires: Duration,
    /// `identity.leeway_ms`. Sessions end in the second half of it.
    leeway: Duration,
}

impl Issuer {
    fn sign(&self, person: usize, seconds: u64) -> String {
        let expires = self.expires.as_secs() + seconds;
        let claims = json!({"iss": ISSUER, "aud": "app", "sub": format!("p{person}"), "exp": expires});
        self.signer.sign_json(&claims).unwrap()
    }

    /// The token of somebody who logs in. Nobody gets another one before sessions begin to end.
    fn log_in(&self, person: usize, has_one: &AtomicBool) -> Result<String, LoginError> {
        if since_1970() >= self.expires + self.leeway / 2 {
            return Ok(self.sign(person, 600));
        }
        match has_one.swap(true, Ordering::Relaxed) {
            false => Ok(self.sign(person, 0)),
            true => Err(LoginError { detail: "not yet".into(), retriable: false }),
        }
    }
}

async fn start(kafka: &Kafka, topic: &str, issuer: &Issuer, folder: &Folder) -> Stack {
    let (bootstrap, leeway) = (kafka.bootstrap(), issuer.leeway.as_millis());
    let keys = folder.write("keys.json", &issuer.signer.key_set()).unwrap();
    let bridge = format!(
        "gateway_secret = \"between-gateway-and-bridge\"\n[limits]\nmax_sessions = 100000\n[identity]\nleeway_ms = {leeway}\n\
         [identity.main]\nissuer = {ISSUER:?}\naudience = [\"app\"]\njwks_file = {keys:?}\n\
         [clusters.default]\nbootstrap.servers = {bootstrap:?}\n"
    );
    let route = json!({"path": "/pubsub", "identity": {"from": "token", "name": "main"}, "read": [topic]});
    let mut setup = Setup { bridge: BridgeConfig::Text(bridge), ..Setup::new(Profile::Tunnel, bootstrap) };
    let secret = "\"gateway_secret\": \"between-gateway-and-bridge\",";
    setup.envoy_edits = vec![instead(secret, &[&route.to_string()])];
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    stack
}

async fn subscribe(url: &str, topic: &str, issuer: &Arc<Issuer>, person: usize) -> (Client, Subscription) {
    let (issuer, has_one) = (Arc::clone(issuer), AtomicBool::new(false));
    let client = Client::builder(url).connect_timeout(WITHIN).request_timeout(WITHIN);
    let client = client.refresh(move || std::future::ready(issuer.log_in(person, &has_one)));
    let client = client.connect().await.unwrap();
    let mut updates = client.subscribe(Subscribe::new([Source::new(topic).offset(0)]));
    loop {
        if let Update::Subscribed(_) = updates.next().await.unwrap().unwrap() {
            return (client, updates);
        }
    }
}

/// Reads to the record `last`. Returns when it came back; none if it was told that late that it could renew its login.
async fn follow(mut updates: Subscription, last: i64) -> Option<Instant> {
    let (mut next, mut back) = (0, None);
    while next <= last {
        match updates.next().await.unwrap().unwrap() {
            Update::Subscribed(_) => back = back.or(Some(Instant::now())),
            Update::Delivery(delivery) => {
                for message in delivery.messages {
                    assert_eq!(message.offset, next, "a record is missing, or came twice");
                    next += 1;
                }
            }
            _ => {}
        }
    }
    back
}

/// The times of pings until `is_over`, the longest first. Of somebody at another address, whose share of limits is another
/// one.
async fn pings(stack: &Stack, token: &str, is_over: &AtomicBool) -> Vec<Duration> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let upgrade = Upgrade::default().with("authorization", format!("Bearer {token}"));
    let mut client = Raw::over(socket.connect(stack.gateway()).await.unwrap()).upgraded(&upgrade).await;
    let mut times = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let start = Instant::now();
        client.write(request(1, Req::CmdPing(CmdPing::default()))).await;
        client.answer().await;
        times.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    times.sort_unstable_by(|a, b| b.cmp(a));
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "a measurement, for `--nocapture`")]
async fn people_whose_logins_expire_together_disturb_nobody() {
    allow_many_files().unwrap();
    // Told an eighth of their time before the end, at the latest, nobody gets another token.
    let (people, lifetime, leeway) = scale((500, 44, 12), (5_000, 70, 20));
    let [lifetime, leeway] = [lifetime, leeway].map(Duration::from_secs);
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("together", 1, &[]).await.unwrap();
    let write = async || kafka.produce(&topic, 0, &[Record::of("r")], Write::default()).await.unwrap();
    let over = Instant::now() + lifetime;
    let expires = Duration::from_secs((since_1970() + lifetime).as_secs());
    let issuer = Arc::new(Issuer { signer: Signer::new().unwrap(), expires, leeway });
    let folder = Folder::new("issuer").unwrap();
    let stack = start(kafka, &topic, &issuer, &folder).await;
    let url = stack.url();

    write().await;
    let opened: Mutex<Vec<(Client, Subscription)>> = Mutex::default();
    let open = async |person| {
        let person = subscribe(&url, &topic, &issuer, person).await;
        opened.lock().unwrap().push(person);
    };
    stream::iter(0..people).map(open).buffer_unordered(100).collect::<()>().await;
    assert!(Instant::now() + lifetime / 4 < over, "logging in took too long");
    let (clients, updates): (Vec<Client>, Vec<Subscription>) =
        opened.into_inner().unwrap().into_iter().unzip();
    let mut following: JoinSet<Option<Instant>> =
        updates.into_iter().map(|updates| follow(updates, 2)).collect();
    let is_over = AtomicBool::new(false);
    let come_back = async {
        write().await;
        // All sessions have ended by then: a busy bridge takes a moment for so many.
        sleep_until(over + leeway + Duration::from_secs(1)).await;
        write().await;
        let mut back = Vec::new();
        while let Some(time) = timeout(WITHIN, following.join_next()).await.unwrap() {
            back.extend(time.unwrap());
        }
        is_over.store(true, Ordering::Relaxed);
        back.sort_unstable();
        back
    };
    let token = issuer.sign(people, 600);
    let (back, pings) = tokio::join!(come_back, pings(&stack, &token, &is_over));
    drop(clients);

    let count = back.len();
    assert!(count > people * 3 / 4, "only {count} sessions have ended");
    // As many as within half a second of each.
    let within = |(at, time): (usize, &Instant)| {
        let soon = *time + Duration::from_millis(500);
        back.partition_point(|other| *other < soon) - at
    };
    let most = back.iter().enumerate().map(within).max().unwrap();
    let [p50, p99] = [50, 99].map(|percent: usize| pings[pings.len() * (100 - percent) / 100]);
    println!(
        "{count} back within {:?}, at most {most} in 0.5 s; a bystander's pings: p50 {p50:?}, p99 {p99:?}",
        back[count - 1] - back[0]
    );
    // A machine that pauses for a moment gathers a larger share of fewer people. All of them at once would be `count`.
    assert!(most < count / scale(4, 8), "{most} came back within half a second");
    assert!(p50 < Duration::from_millis(50) && p99 < Duration::from_millis(500), "{p50:?} {p99:?}");
}
