//! Subscriptions of a client that sees the records with some keys.

use sluicegate_backend::Log;
use sluicegate_backend::command::ReadBounds;
use sluicegate_rights::Rights;

use super::*;
use crate::Tally;

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
async fn records_are_counted_as_delivered_or_hidden() {
    let logs = Logs::default();
    logs.set_keys(|offset| match offset % 3 {
        0 => "own:new",
        1 => "own:old",
        _ => "other:",
    });
    logs.append(0, 7);
    let grant = Grant::of(&logs.cluster(), reads("own:"));
    let filters = vec![RecordFilter { equals: vec!["own:new".into()], ..Default::default() }];
    let mut subscription = grant.subscribe(SubscribeCommand { filters, ..all() }).await.unwrap();
    assert_eq!(rest(&mut subscription).await, [0, 3, 6]);
    // Neither the records of others nor those that the filter leaves out. An offset other than 0 takes two bytes.
    assert_eq!(grant.route().counts(), [3, 23 + 25 + 25, 2 + 2]);
    let [listed] = &grant.subscriptions()[..] else { panic!("one subscription") };
    let Tally { delivered, hidden_by_rows, hidden_by_filters, last_delivery } = listed.tally;
    assert_eq!((&*listed.topic, listed.filters, listed.lag), (TOPIC, 1, Some(0)));
    assert_eq!((delivered, hidden_by_rows, hidden_by_filters), (3, 2, 2));
    assert!(last_delivery.is_some());
    let (log, bounds) = (Log { topic: TOPIC, partition: 0 }, ReadBounds::default());
    assert_eq!(grant.fetch(log, 0, bounds, vec![], &mut ()).await.unwrap().count, 5);
    let many = grant.multi_fetch(&[(log, 0)], bounds, vec![], &mut ()).await.unwrap();
    assert_eq!(many[0].as_ref().unwrap().count, 5);
    assert_eq!(grant.route().counts()[2], 2 + 2 + 2 + 2);
}

#[tokio::test(start_paused = true)]
async fn renewal_changes_the_records_that_are_delivered() {
    let logs = Logs::default();
    logs.set_keys(|offset| if offset % 2 == 0 { "even:" } else { "odd:" });
    logs.append(0, 6);
    let grant = Grant::of(&logs.cluster(), reads("even:"));
    let renew = |rights| grant.renew(rights, somebody());
    let filters = vec![RecordFilter { prefixes: vec!["e".into(), "odd".into()], ..Default::default() }];
    let mut subscription = grant.subscribe(SubscribeCommand { filters, ..all() }).await.unwrap();
    assert_eq!(rest(&mut subscription).await, [0, 2, 4]);
    renew(reads("odd:"));
    logs.append(0, 4);
    assert_eq!(rest(&mut subscription).await, [7, 9]);
    renew(Rights::all());
    logs.append(0, 2);
    assert_eq!(rest(&mut subscription).await, [10, 11]);
    renew(Rights { read: None, write: None, ..Rights::default() });
    logs.append(0, 2);
    assert_eq!(rest(&mut subscription).await, [0; 0], "until its session ends it");
}
