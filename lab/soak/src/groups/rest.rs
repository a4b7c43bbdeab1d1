//! A member over plain HTTP, as clients of REST proxies have it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use sluicegate_stack::http::client::{Client, Request, Response};

use super::ledger::Log;
use super::member::{Consume, Trouble};

pub(super) struct Rest {
    pub(super) gateway: SocketAddr,
    pub(super) connection: Option<Client>,
    pub(super) group: String,
    pub(super) name: String,
    pub(super) topics: Vec<Arc<str>>,
    /// Whether its client commits.
    pub(super) commits: bool,
}

impl Rest {
    /// Sends a request for the member. 404 is [`Trouble::Gone`].
    async fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Response, Trouble> {
        let about = path.split_once('?').map_or(path, |(path, _)| path);
        let passing = |why: &str| Trouble::Passing(format!("{method} {about}: {why}"));
        let instance = format!("/instances/{}{path}", self.name);
        let below = if about == CREATE { "" } else { &instance };
        let mut request = Request::new(method, format!("{PATH}/consumers/{}{below}", self.group));
        if let Some(body) = body {
            request = request.body(body.to_string()).with("content-type", V2);
        }
        let request = request.with("accept", if about == "/records" { JSON } else { V2 });
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Client::connect(self.gateway).await.map_err(|_| passing("no connection"))?,
        };
        let response = connection.ask(request).await.map_err(|_| passing("no answer"))?;
        self.connection = Some(connection);
        let code = || response.json().get("error_code").and_then(Value::as_i64).unwrap_or_default();
        match response.status {
            200 | 204 => Ok(response),
            404 if code() == 40403 => Err(Trouble::Gone),
            // A poll without a subscription.
            409 if code() == 40903 && about == "/records" => Err(Trouble::Unsubscribed),
            409 if code() == 40902 => Ok(response),
            // The log is another member's, or the member is at another bridge.
            500 if about == "/offsets" && code() == 50002 => {
                Err(passing(&format!("500 {}", brief(response.text()))))
            }
            409 => Err(passing(&format!("409 {}", code()))),
            // The gateway's own are plain text.
            502..=504 => Err(passing(&format!("{} {}", response.status, brief(response.text())))),
            status => Err(Trouble::Wrong(format!("{method} {about}: {status} {}", response.text()))),
        }
    }
}

impl Consume for Rest {
    async fn join(&mut self) -> Result<(), Trouble> {
        let settings = json!({
            "name": self.name, "format": "json", "auto.offset.reset": "earliest",
            "auto.commit.enable": (!self.commits).to_string(), "auto.commit.interval.ms": 1000,
        });
        self.ask("POST", CREATE, Some(&settings)).await?;
        let topics: Vec<&str> = self.topics.iter().map(|topic| &**topic).collect();
        let topics = json!({ "topics": topics });
        self.ask("POST", "/subscription", Some(&topics)).await.map(drop)
    }

    async fn poll(&mut self) -> Result<Vec<(Log, i64)>, Trouble> {
        let response = self.ask("GET", "/records?timeout=1000", None).await?;
        let record = |record: &Value| {
            let topic = record.get("topic")?.as_str()?;
            let topic = self.topics.iter().find(|known| ***known == *topic)?;
            let partition = i32::try_from(record.get("partition")?.as_i64()?).ok()?;
            Some(((Arc::clone(topic), partition), record.get("offset")?.as_i64()?))
        };
        let body = response.json();
        let records: Option<Vec<_>> = body.as_array().and_then(|all| all.iter().map(record).collect());
        records.ok_or_else(|| Trouble::Wrong(format!("records are told as {body}")))
    }

    async fn commit(&mut self, commits: &BTreeMap<Log, i64>) -> Result<(), Trouble> {
        let offset = |((topic, partition), offset): (&Log, &i64)| json!({"topic": **topic, "partition": partition, "offset": offset});
        let offsets: Vec<Value> = commits.iter().map(offset).collect();
        self.ask("POST", "/offsets", Some(&json!({ "offsets": offsets }))).await.map(drop)
    }

    async fn leave(&mut self) -> Result<(), Trouble> {
        self.ask("DELETE", "", None).await.map(drop)
    }
}

/// The beginning of an error's text.
fn brief(text: &str) -> String {
    let text = serde_json::from_str(text).ok().and_then(|problem: Value| {
        problem.get("message").or(problem.get("detail")).and_then(Value::as_str).map(str::to_owned)
    });
    text.unwrap_or_default().chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).take(90).collect()
}

pub(super) const PATH: &str = "/kafka";
const CREATE: &str = "create";
const V2: &str = "application/vnd.kafka.v2+json";
const JSON: &str = "application/vnd.kafka.json.v2+json";
