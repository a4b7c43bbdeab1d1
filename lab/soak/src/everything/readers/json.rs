//! Sessions in JSON, which are opened again where they were when their identity is over.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluicegate_stack::json_socket::{JsonSocket, upgrade};
use tokio::time::timeout;

use super::Reader;
use super::session::TICK;
use crate::Failure;
use crate::everything::stacks::TOPIC;

pub(super) async fn read(reader: &mut Reader) -> Result<(), Failure> {
    let mut next: BTreeMap<String, i64> = BTreeMap::new();
    loop {
        let mut request = upgrade(&format!("ws://{}/pubsub", reader.gateway.address));
        if let Some(authorization) = reader.authorization()? {
            request.headers_mut().insert("authorization", authorization.parse()?);
        }
        let mut socket = JsonSocket::open_with(request).await;
        reader.probe.connected()?;
        let subscribe = json!({"topic": TOPIC, "from": "latest", "next": next, "format": "text"});
        socket.send(json!({"id": 1, "subscribe": subscribe}).to_string()).await;
        while let Some(answer) = answer(reader, &mut socket).await? {
            take(reader, &mut next, &answer)?;
        }
    }
}

/// The next message; none when the session ends.
async fn answer(reader: &Reader, socket: &mut JsonSocket) -> Result<Option<Value>, Failure> {
    loop {
        reader.check()?;
        match timeout(TICK, socket.receive_or_close()).await {
            Ok(Ok(answer)) => return Ok(Some(answer)),
            // The end of an identity.
            Ok(Err((IDENTITY_IS_OVER, _))) if reader.gateway.has_filter() => {
                reader.person.check_end()?;
                return Ok(None);
            }
            Ok(Err((code, reason))) => return Err(format!("the session ended with {code}: {reason}").into()),
            Err(_) => {}
        }
    }
}

fn take(reader: &mut Reader, next: &mut BTreeMap<String, i64>, answer: &Value) -> Result<(), Failure> {
    if let Some(error) = answer.get("error") {
        return Err(format!("an error: {error}").into());
    }
    let mut go_on = |offsets: &Value| {
        for (partition, offset) in offsets.as_object().into_iter().flatten() {
            next.insert(partition.clone(), offset.as_i64().unwrap_or_default());
        }
    };
    for subscribed in answer.get("subscribed").and_then(Value::as_array).into_iter().flatten() {
        go_on(subscribed.get("partitions").unwrap_or(&Value::Null));
    }
    let Some(offsets) = answer.get("next") else { return Ok(()) };
    go_on(offsets);
    let partition =
        offsets.as_object().and_then(|offsets| offsets.keys().next()).cloned().unwrap_or_default();
    for message in answer.get("messages").and_then(Value::as_array).into_iter().flatten() {
        let value = message.get("value").and_then(Value::as_str).unwrap_or_default();
        reader.probe.take(&partition, "", value.as_bytes())?;
    }
    Ok(())
}

/// The code that closes a session whose identity has expired.
const IDENTITY_IS_OVER: u16 = 3000;
