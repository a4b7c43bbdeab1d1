//! Selections that clients share, and their memory.

use sluicegate_backend::command::{RecordFilter, ValuePart};
use sluicegate_protocol::KafkaMessage;

use super::*;
use crate::testing::records::{fetched, keys};

/// Records of two tenants in turns, so many of each.
fn read(pairs: usize) -> Chunk {
    let message = |key: &'static str| KafkaMessage { key: Some(key.into()), ..Default::default() };
    let messages: Vec<_> = ["a:1", "b:1"].repeat(pairs).into_iter().map(message).collect();
    fetched(&messages, 7)
}

fn rows(prefix: &str) -> Rows {
    crate::testing::records::rows([keys(prefix)])
}

#[tokio::test(start_paused = true)]
async fn clients_with_the_same_rows_share_a_selection_and_others_do_not() {
    let (selections, read) = (Selections::default(), read(1000));
    // All records are neither copied nor kept.
    let (all, work) = selections.select(read.clone(), &Rows::default());
    assert_eq!((all.messages.as_ptr(), work), (read.messages.as_ptr(), 0));
    assert!(selections.0.lock().selected.is_empty());
    let (first, work) = selections.select(read.clone(), &rows("a:"));
    assert_eq!((first.count, first.next_offset, work), (1000, 7, read.messages.len() - first.messages.len()));
    // Each client has rows of its own.
    let (second, work) = selections.select(read.clone(), &rows("a:"));
    assert_eq!((&second, work), (&first, 0));
    assert_eq!(second.messages.as_ptr(), first.messages.as_ptr());
    for (prefix, count) in [("b:", 1000), ("x:", 0)] {
        let (other, work) = selections.select(read.clone(), &rows(prefix));
        assert!(other.count == count && work > 0, "{prefix}");
    }
    // The same bytes elsewhere can be of another log.
    let copy = Chunk { messages: Bytes::copy_from_slice(&read.messages), ..read.clone() };
    assert!(selections.select(copy, &rows("a:")).1 > 0);

    tokio::time::advance(MAX_AGE).await;
    selections.expire();
    assert!(selections.select(read, &rows("a:")).1 > 0);
}

#[test]
fn subscribers_with_the_same_filters_cost_one_evaluation() {
    let selections = Selections::default();
    let message = |status| {
        let value = Some(format!(r#"{{"order":{{"status":"{status}"}}}}"#).into());
        KafkaMessage { value, ..Default::default() }
    };
    let messages: Vec<_> = ["open", "closed"].repeat(10).into_iter().map(message).collect();
    let read = fetched(&messages, 20);
    let value = Some(ValuePart { pointer: "/order/status".to_owned(), ..Default::default() });
    let filters = |status: &'static str| {
        let filter = RecordFilter { value: value.clone(), equals: vec![status.into()], ..Default::default() };
        Filters::new(vec![filter]).unwrap()
    };
    for (status, count) in [("\"open\"", 10), ("\"ready\"", 0)] {
        // Each client has filters of its own.
        let evaluates = |_: &usize| {
            let (selected, work) = selections.filter(read.clone(), &filters(status));
            assert_eq!((selected.count, selected.next_offset), (count, 20));
            work > 0
        };
        assert_eq!((0..100).filter(evaluates).count(), 1, "evaluations");
    }
    // A value is gone through even if all match.
    let (all, work) = selections.filter(read.clone(), &filters("\"open\"").with_keys());
    assert!(all.count == 0 && work >= read.messages.len());
    let small = fetched(&[message("open")], 1);
    let twice = [(); 2].map(|()| selections.filter(small.clone(), &filters("\"open\"")));
    assert_eq!(twice.map(|(selected, work)| (selected.count, work)), [(1, small.messages.len()); 2]);
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_and_freed() {
    let selections = Selections::default();
    for _ in 0..40 {
        selections.select(read(30_000), &rows("a:"));
        let recent = selections.0.lock();
        let held: usize = recent.selected.values().map(Selected::bytes).sum();
        assert!(held == recent.bytes && held <= MAX_BYTES && recent.order.len() == recent.selected.len());
    }
    tokio::time::advance(MAX_AGE).await;
    selections.expire();
    let recent = selections.0.lock();
    assert_eq!((recent.bytes, recent.selected.len(), recent.order.len()), (0, 0, 0));
}
