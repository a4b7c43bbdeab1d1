//! Server-sent events, which go on by the id of the last one when their identity is over.

use serde_json::Value;
use sluicegate_stack::http::client::{Client, Request, Streamed};
use tokio::time::timeout;

use super::Reader;
use super::session::TICK;
use crate::Failure;
use crate::everything::stacks::{KAFKA_REST, TOPIC};

pub(super) async fn read(reader: &mut Reader) -> Result<(), Failure> {
    let mut last: Option<String> = None;
    loop {
        let mut request = Request::get(format!("{KAFKA_REST}/topics/{TOPIC}/events?from=latest&format=text"))
            .with("accept", "text/event-stream");
        if let Some(authorization) = reader.authorization()? {
            request = request.with("authorization", authorization);
        }
        if let Some(last) = &last {
            request = request.with("last-event-id", last);
        }
        let mut body = Client::connect(reader.gateway.address).await?.stream(request).await?;
        if body.head.status != 200 {
            return Err(format!("events are answered by {:?}", body.head).into());
        }
        reader.probe.connected()?;
        let mut unread = String::new();
        while let Some(part) = part(reader, &mut body).await? {
            unread.push_str(&part);
            while let Some((event, rest)) = unread.split_once("\n\n") {
                if let Some(id) = take(reader, event)? {
                    last = Some(id);
                }
                unread = rest.to_owned();
            }
        }
    }
}

/// The next bytes; none at the end.
async fn part(reader: &Reader, body: &mut Streamed) -> Result<Option<String>, Failure> {
    loop {
        reader.check()?;
        match timeout(TICK, body.next()).await {
            Ok(Ok(Some(part))) => return Ok(Some(String::from_utf8(part.to_vec())?)),
            Ok(Ok(None)) => {
                reader.person.check_end()?;
                return Ok(None);
            }
            Ok(Err(error)) => return Err(format!("the stream broke: {error}").into()),
            Err(_) => {}
        }
    }
}

/// Takes an event, and gives its id.
fn take(reader: &mut Reader, event: &str) -> Result<Option<String>, Failure> {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    if let (None, Some(data)) = (field("event: "), field("data: ")) {
        let data: Value = serde_json::from_str(data)?;
        let partition = data.get("partition").map(Value::to_string).unwrap_or_default();
        let value = data.get("value").and_then(Value::as_str).unwrap_or_default();
        reader.probe.take(&partition, "", value.as_bytes())?;
    }
    Ok(field("id: ").map(str::to_owned))
}
