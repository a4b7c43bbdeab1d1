//! Servers that keep copies of streams for each other.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_protocol::{Header, KafkaMessage};
use tokio::time::{Instant, sleep};

use super::{Nats, Streams};
use crate::Error;
use crate::folder::Folder;
use crate::port::Port;

/// A running cluster of three servers with JetStream.
pub struct Cluster {
    pub nodes: Vec<Nats>,
    _routes: Vec<Port>,
    _folder: Folder,
}

impl Cluster {
    /// Starts the servers, and waits until they have elected a leader.
    pub async fn start() -> Result<Self, Error> {
        let folder = Folder::new("nats-cluster")?;
        let routes = (0..NODES).map(|_| Port::pick()).collect::<Result<Vec<_>, _>>()?;
        let urls: Vec<String> = routes.iter().map(|port| format!("\"nats://{}\"", port.address())).collect();
        let mut nodes = Vec::new();
        for (number, port) in routes.iter().enumerate() {
            let path = folder.path().join(format!("node-{number}"));
            std::fs::create_dir(&path).map_err(Error::failed(format!("create {}", path.display())))?;
            let mut more = format!("server_name: n{number}\n");
            // Writing to a string cannot fail.
            let _ = writeln!(more, "jetstream {{ store_dir: \"{}\" }}", path.join("jetstream").display());
            let (listen, urls) = (port.address(), urls.join(", "));
            let _ = writeln!(more, "cluster {{ name: c, listen: \"{listen}\", routes: [{urls}] }}");
            nodes.push(Nats::start_with(&path, &more, None).await?);
        }
        let cluster = Self { nodes, _routes: routes, _folder: folder };
        let streams = cluster.streams().await?;
        until_done(async || streams.call("INFO", &json!({})).await.map(drop)).await?;
        Ok(cluster)
    }

    /// The addresses of all servers, for `servers`.
    pub fn servers(&self) -> String {
        let urls = self.nodes.iter().map(|node| format!("nats://{}", node.client()));
        urls.collect::<Vec<_>>().join(",")
    }

    /// A client of the first server that runs.
    pub async fn streams(&self) -> Result<Streams, Error> {
        let addresses: Vec<_> = self.nodes.iter().map(Nats::client).collect();
        Streams::connect_to_any(&addresses).await
    }

    /// Creates a stream with a copy on each server, and with `more` settings.
    pub async fn create(&self, streams: &Streams, name: &str, mut more: Value) -> Result<(), Error> {
        if let Some(settings) = more.as_object_mut() {
            settings.insert("num_replicas".to_owned(), NODES.into());
        }
        until_done(async || streams.create(name, more.clone()).await).await
    }
}

impl Streams {
    /// All messages of a stream, read one by one by its leader: not as the bridge reads them. Each is in the form of
    /// its twin.
    pub async fn read(&self, stream: &str) -> Result<Vec<KafkaMessage>, Error> {
        let mut found: Vec<KafkaMessage> = Vec::new();
        let call = format!("STREAM.MSG.GET.{stream}");
        loop {
            let next = found.last().map_or(1, |last| last.offset.saturating_add(1));
            let request = json!({ "seq": next, "next_by_subj": ">" });
            let mut answer = None;
            until_done(async || {
                answer = match self.call(&call, &request).await {
                    Err(Error::JetStream { error, .. }) if error.contains("10037") => None,
                    answer => Some(answer?),
                };
                Ok(())
            })
            .await?;
            let Some(answer) = answer else { return Ok(found) };
            found.push(message(&answer));
        }
    }
}

fn message(answer: &Value) -> KafkaMessage {
    use base64::Engine;
    let message = answer.get("message");
    let text = |name: &str| message.and_then(|message| message.get(name)).and_then(Value::as_str);
    let bytes = |name: &str| {
        let decoded = text(name).map(|text| base64::engine::general_purpose::STANDARD.decode(text));
        decoded.transpose().ok().flatten().unwrap_or_default()
    };
    let number = message.and_then(|message| message.get("seq")).and_then(Value::as_i64);
    let headers = String::from_utf8_lossy(&bytes("hdrs")).into_owned();
    let headers = headers.lines().filter_map(|line| line.split_once(": "));
    KafkaMessage {
        offset: number.unwrap_or_default(),
        key: text("subject").map(|subject| subject.to_owned().into()),
        value: Some(bytes("data").into()),
        headers: headers
            .map(|(key, value)| Header { key: key.to_owned(), value: Some(value.to_owned().into()) })
            .collect(),
        ..Default::default()
    }
}

/// Tries until it is done: while servers start or elect, they refuse.
async fn until_done(mut attempt: impl AsyncFnMut() -> Result<(), Error>) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        match attempt().await {
            Err(_) if start.elapsed() < ELECTED_WITHIN => sleep(PAUSE).await,
            done => return done,
        }
    }
}

const NODES: usize = 3;
const ELECTED_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
