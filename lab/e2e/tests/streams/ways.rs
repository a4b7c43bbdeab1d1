//! A stream through each gateway that forwards plain HTTP: appended to, read to its end, and followed; on NATS, too.

use serde_json::json;
use sluicegate_stack::http::client::{Client, Request, Response};
use sluicegate_stack::nats::Streams;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::http::openapi::ask;
use crate::pool::standard;

in_ways! {
    [tunnel relay apisix]
    stream_is_appended_to_and_followed
}

async fn stream_is_appended_to_and_followed(way: Way) {
    let (kafka, stack) = standard(way).await;
    let topic = kafka.topic("followed", 1, &[]).await.unwrap();
    follow(&stack, &format!("/durable/of/{topic}/0")).await;
    let gap = Request::post(format!("/durable/of/{topic}/0"), "4").with("content-type", JSON);
    let gap = gap.with("producer-id", "ways").with("producer-epoch", "0").with("producer-seq", "1");
    let gap = ask(stack.gateway(), gap).await;
    assert_eq!((gap.status, gap.header("producer-expected-seq")), (409, Some("0")), "{gap:?}");
    let name = format!("followed-{}", topic.replace('.', "-"));
    Streams::shared().await.unwrap().create(&name, json!({})).await.unwrap();
    let messages = format!("/durable-nats/of/{name}");
    follow(&stack, &format!("{messages}/{name}.a")).await;
    let other = Request::post(format!("{messages}/{name}.b"), "7").with("content-type", JSON);
    let other = other.with("stream-seq", "a");
    assert_eq!(ask(stack.gateway(), other.clone()).await.status, 204);
    let again = ask(stack.gateway(), other).await;
    assert_eq!(again.status, 409, "{again:?}");
    let nobodys = Request::new("PUT", format!("{messages}/elsewhere")).with("content-type", JSON);
    let nobodys = ask(stack.gateway(), nobodys).await;
    assert_eq!(nobodys.status, 422, "{nobodys:?}");
    let read = async |path: &str| ask(stack.gateway(), Request::get(path)).await.json();
    assert_eq!(read(&messages).await, json!([1, [2], 3, 7]));
    assert_eq!(read(&format!("{messages}/{name}.a")).await, json!([1, [2], 3]));
}

/// Writes, reads and follows an empty stream.
async fn follow(stack: &Stack, path: &str) {
    let gateway = stack.gateway();
    let post = |body: &str| Request::post(path, body.to_owned()).with("content-type", JSON);
    let written = ask(gateway, post("[1, [2]]")).await;
    assert_eq!(written.status, 204, "{written:?}");
    let read = ask(gateway, Request::get(path)).await;
    assert_eq!((read.status, read.json()), (200, json!([1, [2]])));
    assert_eq!(read.header("stream-up-to-date"), Some("true"));
    let next = next(&read);
    assert_eq!(next, self::next(&written));
    let waits = Request::get(format!("{path}?offset={next}&live=long-poll"));
    let events = Request::get(format!("{path}?offset={next}&live=sse"));
    let mut events = Client::connect(gateway).await.unwrap().stream(events).await.unwrap();
    assert_eq!(events.head.status, 200);
    let first = events.next().await.unwrap().unwrap();
    assert!(
        first.starts_with(b"event: control\ndata:{") && first.ends_with(b"\"upToDate\":true}\n\n"),
        "{first:?}"
    );
    let (waited, more) = tokio::join!(ask(gateway, waits), async {
        let more = ask(gateway, post("3")).await;
        assert_eq!(more.status, 204, "{more:?}");
        events.next().await.unwrap().unwrap()
    });
    assert_eq!((waited.status, waited.json()), (200, json!([3])));
    let more = String::from_utf8(more.to_vec()).unwrap();
    assert!(more.starts_with("event: data\ndata:[3]\n\nevent: control\n"), "{more}");
    assert!(more.contains(&self::next(&waited)), "{more}");
}

fn next(response: &Response) -> String {
    response.header("stream-next-offset").unwrap().to_owned()
}

const JSON: &str = "application/json";
