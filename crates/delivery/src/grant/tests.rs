//! Commands beyond the client's rights.

use super::*;
use crate::testing::script::Script;

/// The right to read these topics, or nothing.
fn grant(topics: &str, read: bool) -> Grant {
    let topics = Topics::parse(topics.as_bytes()).unwrap();
    let rights = Rights { read: read.then_some(topics), write: None };
    Grant::new(Script::cluster(1).0, ClientKey::default(), None, rights)
}

#[test]
fn reload_makes_answers_smaller_but_not_larger() {
    let (cluster, _) = Script::cluster(1_000);
    let grant = Grant::all(&cluster);
    for (max_bytes, want) in [(5_000, 1_000), (500, 500), (1_000, 1_000)] {
        cluster.set_bounds(Reads { max_bytes, wait: Duration::ZERO }, 1);
        assert_eq!(grant.max_bytes(ReadBounds::default()), want);
    }
}

#[tokio::test]
async fn commands_beyond_the_grant_are_denied() {
    let code = |error: CommandError| (error.fault, error.code);
    let denied = Some((Fault::Forbidden, 29));
    let limited = grant("0", true);
    let bounds = ReadBounds::default();
    assert_eq!(limited.fetch(log("0"), 0, bounds, &mut ()).await.err(), None);
    assert_eq!(limited.fetch(log("1"), 0, bounds, &mut ()).await.err().map(code), denied);
    assert_eq!(limited.list_offset(log("0"), 0, false).await.err(), None);
    assert_eq!(limited.list_offset(log("1"), 0, false).await.err().map(code), denied);
    // HTTP checks these before it parses a query, too.
    assert_eq!(limited.ends(log("1"), false).await.err().map(code), denied);
    assert_eq!(limited.describe("1").await.err().map(code), denied);
    let unread = grant("*", false);
    let many = [(log("0"), 0)];
    assert_eq!(unread.fetch(log("0"), 0, bounds, &mut ()).await.err().map(code), denied);
    assert_eq!(unread.multi_fetch(&many, bounds, &mut ()).await.err().map(code), denied);
    assert_eq!(unread.list_offsets(&many, false).await.err().map(code), denied);
    assert_eq!(unread.describe_page(TopicNames::default(), |_| 0).await.err().map(code), denied);
    let records = vec![Record { topic: "0".into(), ..Record::default() }];
    assert_eq!(limited.produce(records, WriteTicket::default(), || {}).await.err().map(code), denied);
}

#[tokio::test]
async fn results_of_topics_beyond_the_grant_are_errors_in_their_places() {
    let limited = grant("0,b.*,gone", true);
    let denied = |error: &CommandError| (error.fault, error.code) == (Fault::Forbidden, 29);
    let topics = ["1", "0", "2", "0"];
    let bounds = ReadBounds { wait: Some(Duration::from_secs(1)), ..ReadBounds::default() };
    let read = limited.multi_fetch(&topics.map(|topic| (log(topic), 0)), bounds, &mut ()).await.unwrap();
    assert_eq!(
        read.iter().map(|read| read.as_ref().is_err_and(denied)).collect::<Vec<_>>(),
        [true, false, true, false]
    );
    let asked: Vec<_> = topics.map(log).into_iter().zip(5..).collect();
    let listed = limited.list_offsets(&asked, false).await.unwrap();
    let listed: Vec<_> =
        listed.iter().map(|listed| listed.as_ref().map(|listed| listed.offset).ok()).collect();
    assert_eq!(listed, [None, Some(6), None, Some(8)]);

    let described = async |names: TopicNames| {
        let page = limited.describe_page(names, |_| 0).await.unwrap();
        let error = |topic: DescribedTopic| (topic.name, topic.description.err().map(|error| error.fault));
        page.topics.into_iter().map(error).collect::<Vec<_>>()
    };
    let found = |name: &str| (name.to_owned(), None);
    assert_eq!(described(TopicNames::default()).await, [found("b.1"), found("b.2")]);
    let topics = vec!["a".to_owned(), "b.1".to_owned()];
    let want = [("a".to_owned(), Some(Fault::Forbidden)), found("b.1")];
    assert_eq!(described(TopicNames { topics, ..TopicNames::default() }).await, want);
}

fn log(topic: &str) -> Log<'_> {
    Log { topic, partition: 0 }
}
