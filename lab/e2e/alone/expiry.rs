//! 5,000 people whose tokens expire within the same second: they come back one after the other, miss nothing, and a
//! bystander notices nothing. Real Envoy, bridge and Kafka, and a server of the issuer's keys.

#![cfg(test)] // so that helpers, too, may fail as tests do

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::{Value, json};
use sluicegate_client::{Client, LoginError, Source, Subscribe, Subscription, Update};
use sluicegate_protocol::CmdPing;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_stack::envoy::{Profile, instead};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::process::allow_many_files;
use sluicegate_stack::raw::{Raw, Upgrade, request};
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_stack::tokens::Signer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

const PEOPLE: usize = 5000;
/// From the first login to the second in which all tokens expire. Told that early, nobody gets another token.
const LIFETIME: Duration = Duration::from_secs(70);
/// `identity.leeway_ms`. Sessions end in the second half of it.
const LEEWAY: Duration = Duration::from_secs(20);
const ISSUER: &str = "https://issuer.example";

/// An issuer that signs with another key after the first tokens have expired.
struct Issuer {
    first: Signer,
    second: Signer,
    /// Since 1970, in whole seconds.
    expires: Duration,
    /// Requests for its keys.
    asked: AtomicU32,
}

impl Issuer {
    /// Whether it signs with the second key.
    fn is_second(&self) -> bool {
        since_1970() >= self.expires + LEEWAY / 2
    }

    /// The token of somebody who logs in. Nobody gets another one before sessions begin to end.
    fn token(&self, person: usize, has_one: &AtomicBool) -> Result<String, LoginError> {
        if self.is_second() {
            return Ok(sign(&self.second, "second", person, self.expires.as_secs() + 600));
        }
        match has_one.swap(true, Ordering::Relaxed) {
            false => Ok(sign(&self.first, "first", person, self.expires.as_secs())),
            true => Err(LoginError { detail: "not yet".into(), retriable: false }),
        }
    }

    /// Its keys.
    fn keys(&self) -> String {
        let key = |signer: &Signer, id: &str| {
            let mut set: Value = serde_json::from_str(&signer.key_set()).unwrap();
            set["keys"][0]["kid"] = id.into();
            set["keys"][0].take()
        };
        let second = self.is_second().then(|| key(&self.second, "second"));
        let keys: Vec<Value> = [key(&self.first, "first")].into_iter().chain(second).collect();
        json!({ "keys": keys }).to_string()
    }

    /// Serves its keys, and returns their URL.
    async fn serve(self: &Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let issuer = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                issuer.asked.fetch_add(1, Ordering::Relaxed);
                let _ = stream.read(&mut [0; 4096]).await;
                let body = issuer.keys();
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        url
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

fn sign(signer: &Signer, key: &str, person: usize, expires: u64) -> String {
    let head = json!({"alg": "ES256", "typ": "JWT", "kid": key});
    let claims = json!({"iss": ISSUER, "aud": "app", "sub": format!("p{person}"), "exp": expires});
    signer.sign_with(&head, &claims).unwrap()
}

async fn start(kafka: &Kafka, topic: &str, keys: &str) -> Stack {
    let (bootstrap, leeway) = (kafka.bootstrap(), LEEWAY.as_millis());
    let bridge = format!(
        "gateway_secret = \"between-gateway-and-bridge\"\n[limits]\nmax_sessions = 100000\n[identity]\nleeway_ms = {leeway}\n\
         [identity.main]\nissuer = {ISSUER:?}\naudience = [\"app\"]\njwks_url = {keys:?}\n\
         [clusters.default]\nbootstrap.servers = {bootstrap:?}\n"
    );
    let route = format!(
        r#"{{"path": "/pubsub", "identity": {{"from": "token", "name": "main"}}, "read": ["{topic}"]}}"#
    );
    let mut setup = Setup { bridge: BridgeConfig::Text(bridge), ..Setup::new(Profile::Tunnel, bootstrap) };
    setup.envoy_edits = vec![instead("\"gateway_secret\": \"between-gateway-and-bridge\",", &[&route])];
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    stack
}

async fn subscribe(url: &str, topic: &str, issuer: &Arc<Issuer>, person: usize) -> (Client, Subscription) {
    let (issuer, has_one) = (Arc::clone(issuer), AtomicBool::new(false));
    let client = Client::builder(url).connect_timeout(WITHIN).request_timeout(WITHIN);
    let client = client.refresh(move || std::future::ready(issuer.token(person, &has_one)));
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

/// A session of somebody at another address, whose share of limits is another one.
async fn bystander(stack: &Stack, token: &str) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let upgrade = Upgrade::default().with("authorization", format!("Bearer {token}"));
    Raw::over(socket.connect(stack.gateway()).await.unwrap()).upgraded(&upgrade).await
}

/// The times of pings until `is_over`, the longest first.
async fn pings(mut client: Raw, is_over: &AtomicBool) -> Vec<Duration> {
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
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("together", 1, &[]).await.unwrap();
    let write = async || kafka.produce(&topic, 0, &[Record::of("r")], Write::default()).await.unwrap();
    let over = Instant::now() + LIFETIME;
    let issuer = Arc::new(Issuer {
        first: Signer::new().unwrap(),
        second: Signer::new().unwrap(),
        expires: Duration::from_secs((since_1970() + LIFETIME).as_secs()),
        asked: AtomicU32::new(0),
    });
    let stack = start(kafka, &topic, &issuer.serve().await).await;
    let url = stack.url();

    write().await;
    let people: Mutex<Vec<(Client, Subscription)>> = Mutex::default();
    let open = async |person| {
        let person = subscribe(&url, &topic, &issuer, person).await;
        people.lock().unwrap().push(person);
    };
    stream::iter(0..PEOPLE).map(open).buffer_unordered(100).collect::<()>().await;
    println!("{PEOPLE} sessions, {:?} before their tokens expire", over - Instant::now());
    assert!(Instant::now() + LIFETIME / 4 < over, "logging in took too long");

    let token = sign(&issuer.first, "first", PEOPLE, issuer.expires.as_secs() + 600);
    let bystander = bystander(&stack, &token).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let watched = Arc::clone(&is_over);
    let bystander = tokio::spawn(async move { pings(bystander, &watched).await });
    let (clients, updates): (Vec<Client>, Vec<Subscription>) =
        people.into_inner().unwrap().into_iter().unzip();
    let mut following: JoinSet<Option<Instant>> =
        updates.into_iter().map(|updates| follow(updates, 2)).collect();
    write().await;
    // All sessions have ended by then: a busy bridge takes a moment for so many.
    sleep_until(over + LEEWAY + Duration::from_secs(1)).await;
    write().await;
    let mut back = Vec::new();
    while let Some(time) = timeout(WITHIN, following.join_next()).await.unwrap() {
        back.extend(time.unwrap());
    }
    is_over.store(true, Ordering::Relaxed);
    drop(clients);

    back.sort_unstable();
    let count = back.len();
    assert!(count > PEOPLE * 3 / 4, "only {count} sessions have ended");
    // As many as within half a second of each.
    let within = |(at, time): (usize, &Instant)| {
        let soon = *time + Duration::from_millis(500);
        back.partition_point(|other| *other < soon) - at
    };
    let most = back.iter().enumerate().map(within).max().unwrap();
    let pings = bystander.await.unwrap();
    let at = |percent: usize| pings[pings.len() * (100 - percent) / 100];
    println!(
        "{count} back within {:?}, at most {most} in 0.5 s; a bystander's {} pings: p50 {:?}, p99 {:?}, at most {:?}",
        back[count - 1] - back[0],
        pings.len(),
        at(50),
        at(99),
        pings[0]
    );
    assert!(most < count / 8, "{most} came back within half a second");
    assert!(
        at(50) < Duration::from_millis(50) && at(99) < Duration::from_millis(500),
        "{:?} {:?}",
        at(50),
        at(99)
    );
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 2, "once for each key");
}

/// A debug build of the bridge serves thousands.
const WITHIN: Duration = Duration::from_secs(60);
