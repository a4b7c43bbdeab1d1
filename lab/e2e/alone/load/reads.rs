//! Clients of one address read what costs the bridge much for what they get; a client of another address is answered as
//! fast as before.

use std::thread::available_parallelism;
use std::time::Duration;

use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaSubscribe, KafkaSource, KafkaSubscriptionEvent, RecordFilter, kafka_source,
};
use sluicegate_stack::kafka::{Codec, Kafka, Record, Write};
use sluicegate_stack::raw::{Raw, request};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;
use tokio::time::Instant;

use crate::load::bench::{ATTACKER, Bench};
use crate::load::questions::{AT_ONCE, LATE, WITHIN, ask_without_pause, ping};

// The gateway has no part in it.
in_ways! {
    [direct]
    random_reads_of_large_batches_delay_nobody
    filters_that_match_nothing_delay_nobody
}

#[expect(clippy::print_stdout, reason = "a measurement, for `--nocapture`")]
async fn random_reads_of_large_batches_delay_nobody(way: Way) {
    let bench = Bench::new(way).await;
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("tiny", 1, &[]).await.unwrap();
    let how = Write { codec: Codec::Zstd, batch: Some(TINY as usize), fills: true, ..Write::default() };
    kafka.produce(&topic, 0, &vec![Record::of("x"); TINY as usize], how).await.unwrap();
    let asked = bench.commands().await;
    let read = move |client, command| {
        let (topic, offset) = (topic.clone(), (client as i64 * 15_485_863 + command * 104_729) % TINY);
        Req::CmdKafkaFetch(CmdKafkaFetch { topic, offset, max_records: 1, ..Default::default() })
    };
    let mut attack = ask_without_pause(&bench, 16, read).await;
    let disturbed = ping(&bench).await;
    let asked = bench.commands().await - asked;
    let text = format!("{asked} commands, pings {disturbed:?}");
    println!("{text}");
    // Once memory has the whole batch, a ping can be behind 256 commands, for which a debug build takes 50 ms.
    assert!(disturbed.p90 < LATE, "{text}");
    assert!(attack.try_join_next().is_none(), "an attacker was closed");
}

#[expect(clippy::print_stdout, reason = "a measurement, for `--nocapture`")]
async fn filters_that_match_nothing_delay_nobody(way: Way) {
    let bench = Bench::new(way).await;
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("unwanted", 1, &[]).await.unwrap();
    let record = Record { key: Some("other".into()), ..Record::of(vec![b'x'; UNWANTED_BYTES]) };
    kafka.produce(&topic, 0, &vec![record; unwanted()], Write::default()).await.unwrap();
    let from = Some(kafka_source::From::Offset(0));
    // Subscriptions with the same filters would share their evaluation.
    let subscribe = |sequence| {
        let filter = RecordFilter { equals: vec![format!("mine {sequence}").into()], ..Default::default() };
        CmdKafkaSubscribe {
            sources: vec![KafkaSource { topic: topic.clone(), from, ..Default::default() }],
            filters: vec![filter; FILTERS],
            ..Default::default()
        }
    };
    let mut attacker = Raw::open_from(bench.stack.gateway(), ATTACKER).await;
    let started = Instant::now();
    for sequence in 1..=AT_ONCE {
        attacker.write(request(sequence, Req::CmdKafkaSubscribe(subscribe(sequence)))).await;
    }
    let attack = tokio::spawn(async move {
        let mut left = AT_ONCE;
        while left > 0 {
            match attacker.answer().await.resp {
                Some(Resp::KafkaSubscriptionEvent(KafkaSubscriptionEvent {
                    event: Some(Event::CaughtUp(_)),
                    ..
                })) => left -= 1,
                Some(Resp::KafkaSubscribedResp(_) | Resp::KafkaDeliveryResp(_)) => {}
                other => panic!("{other:?} instead of the end of the log"),
            }
        }
        started.elapsed()
    });
    let disturbed = ping(&bench).await;
    let took = attack.await.unwrap();
    let scanned = AT_ONCE as usize * FILTERS * unwanted() * UNWANTED_BYTES;
    let seconds = scanned / (SCANNED_A_SECOND * available_parallelism().unwrap().get());
    let text = format!("{scanned} bytes took {took:?}, pings {disturbed:?}");
    println!("{text}");
    assert!(disturbed.p90 < WITHIN, "{text}");
    // The first second can end as soon as it is used up.
    assert!(took >= Duration::from_secs(seconds as u64 - 1), "{text}");
}

/// The records of a batch.
const TINY: i64 = 300_000;

/// Enough for two seconds of all cores.
fn unwanted() -> usize {
    300 * available_parallelism().unwrap().get()
}

const UNWANTED_BYTES: usize = 2_500;
/// The most that a subscription can have: each of them looks at all bytes.
const FILTERS: usize = 16;
/// On each core, for all clients.
const SCANNED_A_SECOND: usize = 64 << 20;
