//! Servers that keep copies of streams for each other.

use std::fmt::Write as _;
use std::time::Duration;

use async_nats::ConnectOptions;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sluicegate_protocol::{Header, KafkaMessage};

use super::{Nats, Streams};
use crate::Error;
use crate::folder::Folder;
use crate::port::Port;
use crate::waiting::retry;

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
        retry(ELECTED_WITHIN, async || streams.call("INFO", &json!({})).await).await?;
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
        // So that a request to a server that was killed is soon repeated.
        let options = ConnectOptions::new().request_timeout(Some(Duration::from_secs(2)));
        Streams::connect_with(&addresses, options).await
    }

    /// Creates a stream with a copy on each server, and with `more` settings.
    pub async fn create(&self, streams: &Streams, name: &str, mut more: Value) -> Result<(), Error> {
        if let Some(settings) = more.as_object_mut() {
            settings.insert("num_replicas".to_owned(), NODES.into());
        }
        retry(ELECTED_WITHIN, async || streams.create(name, more.clone()).await).await
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
            let answer = retry(ELECTED_WITHIN, async || match self.call(&call, &request).await {
                Err(Error::JetStream { error, .. }) if error.contains("10037") => Ok(None),
                answer => answer.map(Some),
            });
            match answer.await? {
                Some(answer) => found.push(message(&answer)),
                None => return Ok(found),
            }
        }
    }
}

fn message(answer: &Value) -> KafkaMessage {
    let text = |name: &str| answer.get("message")?.get(name)?.as_str();
    let bytes = |name: &str| STANDARD.decode(text(name).unwrap_or_default()).unwrap_or_default();
    let headers = String::from_utf8_lossy(&bytes("hdrs")).into_owned();
    let headers = headers.lines().filter_map(|line| line.split_once(": "));
    KafkaMessage {
        offset: answer.pointer("/message/seq").and_then(Value::as_i64).unwrap_or_default(),
        key: text("subject").map(|subject| subject.to_owned().into()),
        value: Some(bytes("data").into()),
        headers: headers
            .map(|(key, value)| Header { key: key.to_owned(), value: Some(value.to_owned().into()) })
            .collect(),
        ..Default::default()
    }
}

const NODES: usize = 3;
/// While servers start or elect, they refuse.
const ELECTED_WITHIN: Duration = Duration::from_secs(60);
