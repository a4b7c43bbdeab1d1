//! Commands beyond the client's rights.

use sluicegate_backend::command::TopicNames;

use super::*;
use crate::cluster::DescribedTopic;
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
        cluster
            .set_bounds(Reads { max_bytes, wait: Duration::ZERO, table_away: Duration::from_secs(3600) }, 1);
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

fn alice(expires: Option<Instant>) -> Holding {
    let person = Person::new(Some("issuer".into()), Some("alice".into()), None, None);
    Holding { person: Arc::new(person), expires }
}

#[tokio::test(start_paused = true)]
async fn renewal_takes_topics_from_reads_that_wait() {
    let grant = grant("100,200", true);
    let bounds = ReadBounds::default();
    let waits = async {
        let places = [(log("100"), 0), (log("200"), 0)];
        let (mut one, mut many) = ((), ());
        tokio::join!(
            grant.fetch(log("100"), 0, bounds, &mut one),
            grant.multi_fetch(&places, bounds, &mut many)
        )
    };
    let renewal = async {
        let rights = Rights { read: Topics::parse(b"200"), write: None };
        grant.renew(rights, alice(None));
    };
    let ((fetched, many), ()) = tokio::join!(waits, renewal);
    assert_eq!(fetched.err().map(|error| error.fault), Some(Fault::Forbidden));
    let many: Vec<_> = many.unwrap().into_iter().map(|one| one.err().map(|error| error.fault)).collect();
    assert_eq!(many, [Some(Fault::Forbidden), None]);
}

#[tokio::test(start_paused = true)]
async fn grant_ends_at_the_first_of_expiry_and_age() {
    let after = |seconds| Instant::now() + Duration::from_secs(seconds);
    for (expires, aged, cause) in [(1, 2, TermCause::Identity), (2, 1, TermCause::Age)] {
        let began = Instant::now();
        let grant = grant("0", true).held(Some(alice(Some(after(expires)))), Some(after(aged)));
        assert_eq!(grant.ended().await, cause);
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        assert_eq!(grant.check_read("0").err().map(|error| error.fault), Some(Fault::Forbidden));
        // Its age is not renewed.
        grant.renew(Rights::all(), alice(Some(after(9))));
        assert_eq!(grant.check_read("0").is_ok(), cause == TermCause::Identity);
    }
}

#[tokio::test(start_paused = true)]
async fn revocation_ends_reads_that_wait() {
    let holding = alice(None);
    let grant = grant("60000", true).held(Some(holding.clone()), None);
    let began = Instant::now();
    let mut waiter = ();
    let waits = grant.fetch(log("60000"), 0, ReadBounds::default(), &mut waiter);
    let (fetched, cause, ()) = tokio::join!(waits, grant.ended(), async { holding.person.revoke() });
    assert_eq!((fetched.err().map(|error| error.fault), cause), (Some(Fault::Forbidden), TermCause::Revoked));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(grant.check_read("60000").is_err());
}

fn log(topic: &str) -> Log<'_> {
    Log { topic, partition: 0 }
}
