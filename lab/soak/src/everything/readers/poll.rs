//! Plain HTTP requests that wait at the end of a log, each with a token of its own.

use serde_json::Value;
use sluicegate_stack::http::client::{Client, Request};
use tokio::time::timeout;

use super::Reader;
use crate::Failure;
use crate::everything::probe::STALL;
use crate::everything::stacks::{KAFKA_REST, TOPIC, WAYS};

pub(super) async fn read(reader: &mut Reader) -> Result<(), Failure> {
    let partition = partition(reader.number);
    let mut client = Client::connect(reader.gateway.address).await?;
    reader.probe.connected()?;
    let mut place = "latest".to_owned();
    loop {
        reader.probe.check()?;
        let path =
            format!("{KAFKA_REST}/topics/{TOPIC}/partitions/{partition}/records?offset={place}&timeout=2000");
        let mut request = Request::get(path).with("accept", "application/json");
        if let Some(authorization) = reader.authorization()? {
            request = request.with("authorization", authorization);
        }
        let answer =
            timeout(STALL, client.ask(request)).await.map_err(|_| format!("a poll takes {STALL:?}"))??;
        if answer.status != 200 {
            return Err(format!("a poll is answered by {answer:?}").into());
        }
        answer.header("sluicegate-next-offset").unwrap_or_default().clone_into(&mut place);
        for record in answer.json().as_array().into_iter().flatten() {
            let value = record.get("value").map(Value::to_string).unwrap_or_default();
            reader.probe.take(&partition.to_string(), "", value.as_bytes())?;
        }
    }
}

/// The partition of a client.
pub(super) fn partition(number: usize) -> usize {
    number % WAYS.len()
}
