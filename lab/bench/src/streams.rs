//! Measures Durable Streams beside the REST API and its events: the same records, with the same members, read by pages and by
//! events.

use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use futures_util::stream::{self, TryStreamExt as _};
use serde_json::json;
use sluicegate_stack::envoy::instead;
use sluicegate_stack::http::client::{Client, Request};
use sluicegate_stack::kafka::Record;
use sluicegate_stack::process::allow_many_files;
use sluicegate_stack::stack::Stack;

use crate::figures::Figures;
use crate::place::{MANY_SESSIONS, bridge_of, fill, quick_kafka, stack_with};
use crate::report::say;
use crate::turns::{ROUNDS, Subject, add_costs};
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!(
        "streams   one client reads {WALKED} records, and {CLIENTS} follow {RECORDS}, {ROUNDS} times in turns"
    ));
    allow_many_files()?;
    let kafka = quick_kafka().await?;
    let routes = [
        json!({"path": "/kafka", "type": "rest"}),
        json!({"path": "/records", "type": "streams", "elements": "envelope"}),
        json!({"path": "/values", "type": "streams"}),
    ]
    .map(|route| route.to_string());
    let routes = routes.each_ref().map(String::as_str);
    let bridge = bridge_of(&kafka, &format!("{MANY_SESSIONS}max_calls = 10000\n"));
    let stack = async || stack_with(plan, bridge.clone(), vec![instead("", &routes)]).await;
    let value = |number| Record::of(format!("{{\"number\":\"{number:08}\",\"text\":{:?}}}", "x".repeat(72)));
    let topic = kafka.topic("streams", 1, &[]).await?;
    fill(&kafka, &topic, WALKED, value).await?;
    let of_rest = format!("/kafka/topics/{topic}/partitions/0");
    let (records, values) = (format!("/records/{topic}/0"), format!("/values/{topic}/0"));
    let next = "sluicegate-next-offset";
    let mut subjects = Vec::new();
    for (name, path, header) in [
        ("pages of the REST API", format!("{of_rest}/records?timeout=0&offset="), next),
        ("pages of streams with the same members", format!("{records}?offset="), "stream-next-offset"),
        ("pages of streams with values alone", format!("{values}?offset="), "stream-next-offset"),
    ] {
        let stack = stack().await?;
        subjects.push(Subject { name: name.to_owned(), stack, units: WALKED, how: (path, header) });
    }
    add_costs(figures, ("ns", 1e9), &subjects, async |subject| {
        let (path, next) = &subject.how;
        walk(&subject.stack, path, next).await
    })
    .await?;
    drop(subjects);

    let topic = kafka.topic("followed", 1, &[]).await?;
    fill(&kafka, &topic, RECORDS, value).await?;
    let last = format!("{:08}", RECORDS - 1);
    let mut subjects = Vec::new();
    for (name, path) in [
        ("events of the REST API", format!("/kafka/topics/{topic}/partitions/0/events?from=earliest")),
        ("events of streams with the same members", format!("/records/{topic}/0?offset=-1&live=sse")),
        ("events of streams with values alone", format!("/values/{topic}/0?offset=-1&live=sse")),
    ] {
        let stack = stack().await?;
        let name = format!("{name}, {CLIENTS} clients");
        subjects.push(Subject { name, stack, units: CLIENTS * RECORDS, how: path });
    }
    add_costs(figures, ("ns", 1e9), &subjects, async |subject| {
        follow(&subject.stack, &subject.how, last.as_bytes()).await
    })
    .await
}

/// Reads all pages, one after the other. The first is at 0, or at the beginning.
async fn walk(stack: &Stack, path: &str, next: &str) -> Result<(), Failure> {
    let mut client = Client::connect(stack.gateway()).await?;
    let mut offset = if path.contains("timeout") { "0" } else { "-1" }.to_owned();
    let end = WALKED.to_string();
    loop {
        let page = Request::new("GET", format!("{path}{offset}")).with("accept", "application/json");
        let page = client.ask(page).await?;
        let header = page.headers.get(next).and_then(|next| next.to_str().ok());
        let Some(header) = header.filter(|_| page.status == 200) else {
            return Err(format!("a page is answered with {}: {}", page.status, page.text()).into());
        };
        offset = header.to_owned();
        let number = offset.rsplit('_').next().unwrap_or_default();
        if number.trim_start_matches('0') == end {
            return Ok(());
        }
    }
}

/// Lets all clients follow the records until they have this text of the last one.
async fn follow(stack: &Stack, path: &str, last: &[u8]) -> Result<(), Failure> {
    let connect = |_| Client::connect(stack.gateway());
    let clients: Vec<Client> =
        stream::iter(0..CLIENTS).map(connect).buffer_unordered(50).try_collect().await?;
    let read = async |client: Client| -> Result<(), Failure> {
        let request = Request::new("GET", path).with("accept", "text/event-stream");
        let mut events = client.stream(request).await?;
        let mut tail = Vec::new();
        while let Some(part) = events.next().await? {
            // The text can be cut.
            tail.extend_from_slice(&part);
            if tail.windows(last.len()).any(|text| text == last) {
                return Ok(());
            }
            tail.drain(..tail.len().saturating_sub(last.len()));
        }
        Err("the events have ended".into())
    };
    try_join_all(clients.into_iter().map(read)).await?;
    Ok(())
}

const CLIENTS: usize = 1000;
const RECORDS: usize = 1000;
const WALKED: usize = 1_000_000;
