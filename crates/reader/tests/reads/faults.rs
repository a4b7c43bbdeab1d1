//! Brokers that fail in every way: what callers see, how soon, and that the reader recovers by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::RequestKind;
use sluicegate_reader::{Fetch, ReadError};

use crate::scripted::{self, Asked, Broker, Step, reader, usual};
use crate::support::{at, chain, messages};

fn is_fetch(asked: &Asked) -> bool {
    matches!(asked.kind, RequestKind::Fetch(_))
}

/// A broker whose first fetch is answered with `step`, the others as usual: the first call fails and says `want`, the
/// second succeeds.
async fn check_once(step: fn(&Asked) -> Step, want: &str) {
    let done = AtomicBool::new(false);
    let broker = Broker::start(move |asked, address| {
        if is_fetch(asked) && !done.swap(true, Ordering::SeqCst) {
            step(asked)
        } else {
            usual(asked, address)
        }
    })
    .await;
    let reader = reader(&[broker.address]);
    let error = reader.fetch(at("t", 0, 0)).await.expect_err("a failure");
    assert!(chain(&error).contains(want), "{}, expected: {want}", chain(&error));
    assert_eq!(error.code(), 13);
    assert!(error.is_unavailable());
    assert_eq!(reader.fetch(at("t", 0, 0)).await.expect("an empty answer").next_offset, 0);
}

#[tokio::test]
async fn garbage_in_place_of_an_answer_is_an_error_and_the_next_call_works() {
    check_once(|_| Step::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), "frame of 1213486160 bytes")
        .await;
    check_once(|_| Step::Raw(vec![0xFF; 64]), "frame of -1 bytes").await;
    check_once(
        |asked| Step::Raw([&[0, 0, 0, 5], &asked.id.to_be_bytes()[..], &[9]].concat()),
        "response ends",
    )
    .await;
}

#[tokio::test]
async fn an_answer_to_another_request_is_an_error_and_the_next_call_works() {
    check_once(
        |asked| Step::Raw([&[0, 0, 0, 8], &(asked.id + 5).to_be_bytes()[..], &[0; 4]].concat()),
        "response to request",
    )
    .await;
}

#[tokio::test]
async fn a_broker_that_never_answers_is_an_error_in_time_and_the_next_call_works() {
    let frozen = Arc::new(AtomicBool::new(true));
    let is_frozen = Arc::clone(&frozen);
    let broker = Broker::start(move |asked, address| {
        if is_fetch(asked) && is_frozen.load(Ordering::SeqCst) {
            Step::Silence
        } else {
            usual(asked, address)
        }
    })
    .await;
    let reader = reader(&[broker.address]);
    let started = Instant::now();
    let error = reader.fetch(at("t", 0, 0)).await.expect_err("no answer");
    let elapsed = started.elapsed();
    assert!(chain(&error).contains("no response from"), "{}", chain(&error));
    assert!(error.retriable() && error.is_unavailable());
    assert!((Duration::from_millis(1_000)..Duration::from_secs(3)).contains(&elapsed), "{elapsed:?}");
    frozen.store(false, Ordering::SeqCst);
    assert_eq!(reader.fetch(at("t", 0, 0)).await.expect("an empty answer").next_offset, 0);
}

#[tokio::test]
async fn a_connection_that_is_cut_inside_an_answer_is_replaced_unseen() {
    for len in [0, 2, 4, 9, 20] {
        let done = AtomicBool::new(false);
        let broker = Broker::start(move |asked, address| {
            if is_fetch(asked) && !done.swap(true, Ordering::SeqCst) {
                let answer = scripted::fetched(asked, 0, 1, &scripted::one_record(0, b'x'));
                Step::RawThenClose(answer[..len].to_vec())
            } else if is_fetch(asked) {
                Step::Answer(scripted::fetched(asked, 0, 1, &scripted::one_record(0, b'x')))
            } else {
                usual(asked, address)
            }
        })
        .await;
        let fetched = reader(&[broker.address]).fetch(at("t", 0, 0)).await.expect("a record");
        assert_eq!((fetched.count, broker.connections()), (1, 2), "cut at byte {len}");
    }
}

#[tokio::test]
async fn a_broker_that_always_hangs_up_is_an_error_in_time() {
    let broker =
        Broker::start(
            |asked, address| {
                if is_fetch(asked) { Step::RawThenClose(Vec::new()) } else { usual(asked, address) }
            },
        )
        .await;
    let started = Instant::now();
    let error = reader(&[broker.address]).fetch(at("t", 0, 0)).await.expect_err("no answer");
    assert!(error.retriable() && error.is_unavailable(), "{}", chain(&error));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_cluster_that_is_down_is_an_error_soon_and_works_again_by_itself() {
    let broker = Broker::start(usual).await;
    let address = broker.address;
    let reader = reader(&[address]);
    reader.fetch(at("t", 0, 0)).await.expect("an empty answer");
    drop(broker);

    let started = Instant::now();
    for _ in 0..20 {
        for error in [
            reader.fetch(at("t", 0, 0)).await.expect_err("nobody is there"),
            reader.list_offset("other", 0, -1).await.expect_err("nobody is there"),
            reader.ready().await.expect_err("nobody is there"),
        ] {
            assert!(error.retriable() && error.is_unavailable(), "{}", chain(&error));
            assert_eq!(error.to_string(), format!("no broker of {address} could be reached"));
            assert!(
                chain(&error).contains(&format!("connect to {address}: Connection refused")),
                "{}",
                chain(&error)
            );
        }
    }
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());

    let _broker = Broker::start_at(address, usual).await;
    while reader.ready().await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }
    reader.fetch(at("t", 0, 0)).await.expect("an empty answer");
}

#[tokio::test]
async fn bootstrap_servers_that_are_down_or_silent_do_not_matter_while_one_answers() {
    let refusing = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address")
    };
    let silent = Broker::start(|_, _| Step::Silence).await;
    let broker = Broker::start(usual).await;
    for servers in [[refusing, silent.address, broker.address], [broker.address, silent.address, refusing]] {
        let reader = reader(&servers);
        reader.fetch(at("t", 0, 0)).await.expect("an empty answer");
        reader.ready().await.expect("a ready cluster");
    }
}

#[tokio::test]
async fn a_cluster_is_not_ready_when_its_advertised_address_is_not_reachable() {
    let nowhere = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address")
    };
    let broker = Broker::start(move |asked, address| match asked.kind {
        RequestKind::Metadata(_) => Step::Answer(scripted::metadata(asked, &[nowhere], 0)),
        _ => usual(asked, address),
    })
    .await;
    let error = reader(&[broker.address]).ready().await.expect_err("a broker that cannot be reached");
    assert!(chain(&error).contains(&format!("connect to {nowhere}")), "{}", chain(&error));
}

#[tokio::test]
async fn a_leader_that_has_moved_is_found_again() {
    for error in [3, 5, 6, 74, 75] {
        let second = Broker::start(usual).await;
        let second_address = second.address;
        let asked_for_metadata = AtomicUsize::new(0);
        let first = Broker::start(move |asked, address| match asked.kind {
            RequestKind::Metadata(_) => {
                let leader = usize::from(asked_for_metadata.fetch_add(1, Ordering::SeqCst) > 0);
                Step::Answer(scripted::metadata(asked, &[address, second_address], leader))
            }
            RequestKind::Fetch(_) => Step::Answer(scripted::fetched(asked, error, -1, b"")),
            _ => usual(asked, address),
        })
        .await;
        let reader = reader(&[first.address]);
        reader.fetch(at("t", 0, 0)).await.expect("an empty answer");
        assert_eq!((first.fetched().len(), second.fetched().len()), (1, 1), "error {error}");
        assert_eq!(first.metadata().len(), 2, "error {error}");
    }
}

#[tokio::test]
async fn an_error_that_does_not_pass_is_told_in_the_end() {
    let broker = Broker::start(|asked, address| match asked.kind {
        RequestKind::ListOffsets(_) => Step::Answer(scripted::listed(asked, 6, -1)),
        RequestKind::Fetch(_) => Step::Answer(scripted::fetched(asked, 29, -1, b"")),
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let error = reader.list_offset("t", 0, -1).await.expect_err("a refusal");
    assert_eq!(error.to_string(), "NOT_LEADER_OR_FOLLOWER: partition 0 of topic t");
    assert!(error.retriable() && !error.is_unavailable());
    let error = reader.fetch(at("t", 0, 0)).await.expect_err("a refusal");
    assert_eq!(error.to_string(), "TOPIC_AUTHORIZATION_FAILED: partition 0 of topic t");
    assert!(!error.retriable());
    assert_eq!(broker.fetched().len(), 1);
}

#[tokio::test]
async fn what_no_cluster_could_answer_is_refused_before_any_is_asked() {
    let broker = Broker::start(usual).await;
    let reader = reader(&[broker.address]);
    for (topic, partition, code) in [("", 0, 17), ("..", 0, 17), ("a b", 0, 17), ("t", -1, 3)] {
        assert_eq!(reader.fetch(at(topic, partition, 0)).await.expect_err("a refusal").code(), code);
        assert_eq!(reader.list_offset(topic, partition, -1).await.expect_err("a refusal").code(), code);
    }
    let error = reader.fetch(at("t", 0, -1)).await.expect_err("a refusal");
    assert_eq!(
        (error.code(), error.to_string()),
        (1, "OFFSET_OUT_OF_RANGE: offset -1: expected 0 or more".to_owned())
    );
    let error = reader.list_offset("t", 0, -3).await.expect_err("a refusal");
    assert_eq!(
        (error.code(), error.to_string()),
        (
            42,
            "INVALID_REQUEST: timestamp -3: expected milliseconds, -1 (log end) or -2 (log start)".to_owned()
        )
    );
    assert_eq!(broker.connections(), 0);
}

#[tokio::test]
async fn a_broker_without_a_common_version_is_named_with_both_ranges() {
    let broker = Broker::start(|asked, address| match asked.kind {
        RequestKind::ApiVersions(_) => Step::Answer(scripted::versions(asked, 19, 20)),
        _ => usual(asked, address),
    })
    .await;
    let error = reader(&[broker.address]).fetch(at("t", 0, 0)).await.expect_err("no common version");
    assert!(
        chain(&error).contains("speaks Fetch in versions 19..=20, expected one of 4..=18"),
        "{}",
        chain(&error)
    );
    assert!(!error.retriable());
}

#[tokio::test]
async fn many_made_up_topics_cost_few_questions_and_create_nothing() {
    let broker = Broker::start(|asked, address| match asked.kind {
        RequestKind::Metadata(_) => Step::Answer(scripted::missing(asked, address)),
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let started = Instant::now();
    let callers: Vec<_> = (0..2_000)
        .map(|at| {
            let reader = reader.clone();
            tokio::spawn(async move { reader.list_offset(&format!("made-up-{at}"), 0, -1).await })
        })
        .collect();
    for caller in callers {
        let error = caller.await.expect("no panic").expect_err("no such topic");
        assert_eq!((error.code(), error.retriable()), (3, false));
    }
    for _ in 0..50 {
        reader.list_offset("made-up-1999", 0, -1).await.expect_err("no such topic");
    }
    let questions = broker.metadata();
    let paced = started.elapsed().as_millis() / 20 + 1;
    assert!(questions.len() as u128 <= paced, "{} questions in {:?}", questions.len(), started.elapsed());
    assert!(questions.iter().all(|question| !question.allow_auto_topic_creation));
    assert!(
        questions.iter().all(|question| question.topics.as_ref().is_some_and(|topics| topics.len() <= 501))
    );
}

#[tokio::test]
async fn a_dropped_call_neither_breaks_nor_confuses_the_connection() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::ListOffsets(request) => {
            let offset = request.topics[0].partitions[0].timestamp;
            Step::Later(Duration::from_millis(100), scripted::listed(asked, 0, offset))
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    reader.fetch(at("t", 0, 0)).await.expect("an empty answer");
    for timestamp in 0..5 {
        let dropped =
            tokio::time::timeout(Duration::from_millis(20), reader.list_offset("t", 0, 1_000 + timestamp));
        dropped.await.expect_err("it takes longer");
        assert_eq!(reader.list_offset("t", 0, timestamp).await.expect("its own answer"), timestamp);
    }
    assert!(broker.connections() <= 4, "{} connections", broker.connections());
}

#[tokio::test]
async fn a_fetch_that_waits_has_a_connection_to_itself_and_ends_with_the_first_record() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::Fetch(request) if request.max_wait_ms > 0 => {
            let record = scripted::fetched(asked, 0, 1, &scripted::one_record(0, b'x'));
            Step::Later(Duration::from_millis(500), record)
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let started = Instant::now();
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let reader = reader.clone();
            let max_wait = Duration::from_secs(30);
            tokio::spawn(async move { reader.fetch(Fetch { max_wait, ..at("t", 0, 0) }).await })
        })
        .collect();
    for caller in waiting {
        let fetched = caller.await.expect("no panic").expect("a record");
        assert_eq!(messages(&fetched)[0].value.as_deref(), Some(&b"x"[..]));
    }
    // One after the other on one connection they would have taken 5 s.
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(broker.connections() <= 14, "{} connections", broker.connections());
    let before = broker.connections();
    reader.fetch(Fetch { max_wait: Duration::from_secs(30), ..at("t", 0, 0) }).await.expect("a record");
    assert_eq!(broker.connections(), before, "the connection is used again");
}

#[tokio::test]
async fn fetches_that_wait_do_not_queue_for_connections_that_are_slow_to_stand() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::ApiVersions(_) => {
            Step::Later(Duration::from_millis(500), scripted::versions(asked, 4, 18))
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let started = Instant::now();
    let waiting: Vec<_> = (0..16)
        .map(|_| {
            let (reader, max_wait) = (reader.clone(), Duration::from_millis(100));
            tokio::spawn(async move { reader.fetch(Fetch { max_wait, at_end: true, ..at("t", 0, 0) }).await })
        })
        .collect();
    for caller in waiting {
        assert_eq!(caller.await.expect("no panic").expect("an empty answer").count, 0);
    }
    // One for metadata, one to wait on, and what time the rest takes.
    assert!(started.elapsed() < Duration::from_millis(1_900), "{:?}", started.elapsed());
}

/// What two calls are told by a broker that fails on the first connection and is silent on the next.
async fn told_twice(first: fn() -> Step) -> [ReadError; 2] {
    let asked_before = AtomicBool::new(false);
    let broker = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::ApiVersions(_) if !asked_before.swap(true, Ordering::SeqCst) => first(),
        RequestKind::ApiVersions(_) => Step::Silence,
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let told = reader.fetch(at("t", 0, 0)).await.expect_err("no Kafka");
    // Longer than it is left alone.
    tokio::time::sleep(Duration::from_millis(60)).await;
    [told, reader.fetch(at("t", 0, 0)).await.expect_err("a silent broker")]
}

#[tokio::test]
async fn what_needed_a_person_is_not_told_of_a_later_call() {
    let [told, later] = told_twice(|| Step::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())).await;
    assert!(!told.retriable(), "{}", chain(&told));
    assert!(chain(&later).ends_with(" within 500.0ms"), "{}", chain(&later));
    assert!(later.retriable());
}

#[tokio::test]
async fn what_may_have_passed_is_told_until_more_is_known() {
    let [told, later] = told_twice(|| Step::RawThenClose(vec![0])).await;
    assert!(told.retriable(), "{}", chain(&told));
    assert!(later.retriable() && chain(&later).contains("lost the connection to"), "{}", chain(&later));
}

#[tokio::test]
async fn a_fetch_whose_waiting_connection_is_cut_waits_on() {
    let cuts = AtomicUsize::new(0);
    let broker = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Fetch(request) if request.max_wait_ms > 0 => {
            if cuts.fetch_add(1, Ordering::SeqCst) < 3 {
                Step::RawThenClose(vec![0, 0])
            } else {
                Step::Answer(scripted::fetched(asked, 0, 1, &scripted::one_record(0, b'x')))
            }
        }
        _ => usual(asked, address),
    })
    .await;
    let max_wait = Duration::from_secs(30);
    let fetched = reader(&[broker.address]).fetch(Fetch { max_wait, ..at("t", 0, 0) }).await;
    assert_eq!(fetched.expect("a record").count, 1);
}

#[tokio::test]
async fn control_batches_are_read_over() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::Fetch(request) => match request.topics[0].partitions[0].fetch_offset {
            0 => Step::Answer(scripted::fetched(
                asked,
                0,
                9,
                &scripted::batch(0, 3, scripted::CONTROL, 1, b"marker"),
            )),
            4 => Step::Answer(scripted::fetched(asked, 0, 9, &scripted::batch(4, 3, 0, 0, b""))),
            8 => Step::Answer(scripted::fetched(asked, 0, 9, &scripted::one_record(8, b'x'))),
            _ => Step::Answer(scripted::fetched(asked, 0, 9, b"")),
        },
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let fetched = reader.fetch(at("t", 0, 0)).await.expect("a record");
    assert_eq!((fetched.count, fetched.next_offset, messages(&fetched)[0].offset), (1, 9, 8));
    assert_eq!(broker.fetched(), [0, 4, 8]);
    let end = reader.fetch(at("t", 0, 9)).await.expect("an empty answer");
    assert_eq!((end.count, end.next_offset), (0, 9));
}

#[tokio::test]
async fn a_repeated_call_goes_on_where_the_last_one_gave_up() {
    let marker = Arc::new(vec![0; 17 << 20]);
    let broker = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Fetch(request) => match request.topics[0].partitions[0].fetch_offset {
            0 => Step::Answer(scripted::fetched(
                asked,
                0,
                9,
                &scripted::batch(0, 3, scripted::CONTROL, 1, &marker),
            )),
            4 => Step::Answer(scripted::fetched(asked, 0, 9, &scripted::one_record(4, b'x'))),
            _ => usual(asked, address),
        },
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let nothing = reader.fetch(at("t", 0, 0)).await.expect("an empty answer");
    assert_eq!((nothing.count, nothing.next_offset), (0, 4));
    let record = reader.fetch(at("t", 0, 0)).await.expect("a record");
    assert_eq!((record.count, record.next_offset), (1, 5));
    assert_eq!(broker.fetched(), [0, 4]);
}

#[tokio::test]
async fn what_was_passed_over_is_looked_at_again_when_the_log_is_shorter() {
    let marker = Arc::new(vec![0; 17 << 20]);
    let cut = Arc::new(AtomicBool::new(false));
    let is_cut = Arc::clone(&cut);
    let broker = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Fetch(request) => {
            let offset = request.topics[0].partitions[0].fetch_offset;
            match (offset, is_cut.load(Ordering::SeqCst)) {
                (0, false) => Step::Answer(scripted::fetched(
                    asked,
                    0,
                    9,
                    &scripted::batch(0, 3, scripted::CONTROL, 1, &marker),
                )),
                (0, true) => Step::Answer(scripted::fetched(asked, 0, 1, &scripted::one_record(0, b'x'))),
                _ => Step::Answer(scripted::fetched(asked, 1, -1, b"")),
            }
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    assert_eq!(reader.fetch(at("t", 0, 0)).await.expect("an empty answer").next_offset, 4);
    cut.store(true, Ordering::SeqCst);
    assert_eq!(reader.fetch(at("t", 0, 0)).await.expect("a record").next_offset, 1);
}

#[tokio::test]
async fn a_first_batch_that_is_cut_off_is_asked_for_again_with_room_for_it() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::Fetch(request) => {
            let partition = &request.topics[0].partitions[0];
            let mut batch = match partition.fetch_offset {
                0 => scripted::batch(0, 0, scripted::CONTROL, 1, &[0; 100_000]),
                _ => scripted::one_record(1, b'x'),
            };
            let room = usize::try_from(partition.partition_max_bytes).expect("room");
            batch.truncate(room);
            Step::Answer(scripted::fetched(asked, 0, 2, &batch))
        }
        _ => usual(asked, address),
    })
    .await;
    let fetched =
        reader(&[broker.address]).fetch(Fetch { max_bytes: 10, ..at("t", 0, 0) }).await.expect("a record");
    assert_eq!((fetched.count, fetched.next_offset), (1, 2));
}

#[tokio::test]
async fn batches_from_before_the_offset_are_an_error_and_no_reason_to_ask_for_ever() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::Fetch(_) => Step::Answer(scripted::fetched(asked, 0, 9, &scripted::one_record(0, b'x'))),
        _ => usual(asked, address),
    })
    .await;
    let fetch = Fetch { max_wait: Duration::from_secs(30), ..at("t", 0, 5) };
    let error = reader(&[broker.address]).fetch(fetch).await.expect_err("nothing to deliver");
    assert!(error.to_string().ends_with("bytes of batches, all before offset 5"), "{error}");
    assert_eq!(broker.fetched(), [5]);
}

#[tokio::test]
async fn a_damaged_batch_is_an_error_that_says_where_and_how() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::Fetch(_) => {
            let mut batch = scripted::one_record(5, b'x');
            *batch.last_mut().expect("a byte") ^= 1;
            Step::Answer(scripted::fetched(asked, 0, 9, &batch))
        }
        _ => usual(asked, address),
    })
    .await;
    let error = reader(&[broker.address]).fetch(at("t", 0, 5)).await.expect_err("a damaged batch");
    assert_eq!((error.code(), error.retriable(), error.is_unavailable()), (2, false, false));
    assert!(
        chain(&error).starts_with("CORRUPT_MESSAGE: batch at offset 5 is corrupt: checksum is"),
        "{}",
        chain(&error)
    );
}
