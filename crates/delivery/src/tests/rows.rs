//! Subscriptions of a client that sees the records with some keys.

use sluicegate_rights::Rights;

use super::*;
use crate::grant::{Grant, Holding, Person};

/// The right to read the records whose keys begin so.
fn rights(prefix: &str) -> Rights {
    Rights { read: Some(topic([keys(prefix)])), write: None }
}

/// The offsets of all records until the subscription has nothing more to tell.
async fn rest(subscription: &mut Subscription) -> Vec<i64> {
    let mut read = Vec::new();
    while let Some(item) = soon(subscription).await {
        if let Item::Delivery { messages, .. } = item {
            read.extend(offsets(&messages));
        }
    }
    read
}

#[tokio::test(start_paused = true)]
async fn renewal_changes_the_records_that_are_delivered() {
    let logs = Logs::default();
    logs.set_keys(|offset| if offset % 2 == 0 { "even:" } else { "odd:" });
    logs.append(0, 6);
    let grant = Grant::of(&logs.cluster(), rights("even:"));
    let renew = |rights| {
        let person = Arc::new(Person::new(None, None, None, None));
        grant.renew(rights, Holding { person, expires: None });
    };
    let source = Source { topic: TOPIC.to_owned(), from: Start::Offset(0), ..Default::default() };
    let filters = vec![RecordFilter { prefixes: vec!["e".into(), "odd".into()], ..Default::default() }];
    let command = SubscribeCommand { sources: vec![source], filters, ..Default::default() };
    let mut subscription = grant.subscribe(command).await.unwrap();
    assert_eq!(rest(&mut subscription).await, [0, 2, 4]);
    renew(rights("odd:"));
    logs.append(0, 4);
    assert_eq!(rest(&mut subscription).await, [7, 9]);
    renew(Rights::all());
    logs.append(0, 2);
    assert_eq!(rest(&mut subscription).await, [10, 11]);
    renew(Rights { read: None, write: None });
    logs.append(0, 2);
    assert_eq!(rest(&mut subscription).await, [0; 0], "until its session ends it");
}
