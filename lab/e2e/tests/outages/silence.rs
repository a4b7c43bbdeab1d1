//! Clients that are frozen, idle, or send commands without reading.

use std::process::Command;
use std::time::Duration;

use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::process::Process;
use sluicegate_stack::raw::{Raw, request};
use sluicegate_stack::socket::{Socket, fetch};
use sluicegate_stack::tools;
use sluicegate_stack::waiting::becomes;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};

use crate::outages::stacks::{assert_unharmed, ended, ready, sessions, waiting};

in_every_profile! {
    frozen_client_is_closed_and_a_silent_one_stays
}

const INTERVAL: Duration = Duration::from_millis(500);

async fn frozen_client_is_closed_and_a_silent_one_stays(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("frozen", 1, &[]).await.unwrap();
    kafka.produce(&topic, 0, &[Record::of("seen by the client")], Write::default()).await.unwrap();
    let stack = ready(way, kafka, "[session]\nping_interval_ms = 500\n").await;
    let mut silent = Socket::open(&stack).await;
    let listening = tokio::spawn(async move {
        let end = timeout(INTERVAL * 10, silent.listen()).await;
        assert!(end.is_err(), "a client that answered every ping got {end:?}");
        silent
    });
    let mut command = Command::new(tools::cli().unwrap());
    command.args(["--url", &stack.url(), "fetch", &topic, "--partition", "0", "--follow"]);
    let log = stack.folder().path().join("client.log");
    let mut client = Process::spawn("the client", command, &log).unwrap();
    let reads = async || match std::fs::read_to_string(&log).unwrap().contains("seen by the client") {
        true => Ok(()),
        false => Err("it has printed no message".to_owned()),
    };
    client.until("read", Duration::from_secs(10), reads).await.unwrap();
    assert_eq!(sessions(&stack).await, 2.0);
    becomes("waiting fetches", 1.0, Duration::from_secs(10), || waiting(&stack)).await;

    client.freeze();
    let frozen = Instant::now();
    let within = INTERVAL * 3 + Duration::from_secs(2);
    becomes("sessions that ended in silence", 1.0, within, async || ended(&stack, "silent").await).await;
    let took = frozen.elapsed();
    // The silence before a ping, and the same again for each of two: no client is given up early.
    assert!(took > INTERVAL * 2, "it was given up after {took:?}");
    becomes("waiting fetches", 0.0, Duration::from_secs(1), || waiting(&stack)).await;
    becomes("open sessions", 1.0, Duration::from_secs(7), async || sessions(&stack).await).await;

    // Once it goes on it learns that it has lost its session, and continues in another.
    client.thaw();
    kafka.produce(&topic, 0, &[Record::of("written meanwhile")], Write::default()).await.unwrap();
    let reads = async || match std::fs::read_to_string(&log).unwrap() {
        read if read.matches("written meanwhile").count() == 1 => Ok(read.matches("seen").count()),
        read => Err(read),
    };
    assert_eq!(client.until("read on", Duration::from_secs(10), reads).await.unwrap(), 1);
    listening.await.unwrap().ping().await;
    assert_unharmed(&stack).await;
}

/// Pings queue behind the unread answers, so the session ends for another reason than a missing pong.
#[tokio::test]
async fn client_that_takes_no_answers_is_given_up() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("untaken", 1, &[]).await.unwrap();
    kafka.produce(&topic, 0, &[Record::of(vec![7; 200_000])], Write::default()).await.unwrap();
    let stack = ready(Profile::Tunnel, kafka, "[session]\nping_interval_ms = 500\n").await;
    let mut client = Raw::open(stack.gateway()).await;
    let fetches: Vec<u8> = (1..=200).flat_map(|sequence| request(sequence, fetch(&topic, 0, 0))).collect();
    client.write(&fetches).await;
    let within = INTERVAL * 3 + Duration::from_secs(10);
    becomes("sessions that stalled", 1.0, within, async || ended(&stack, "stalled").await).await;
    let open = async || {
        let stats = stack.envoy().stats("gateway.downstream_cx_upgrades_active|sessions_open").await.unwrap();
        assert_eq!(stats.len(), 2, "{stats:?}");
        stats.into_values().sum::<u64>()
    };
    becomes("Envoy's open sessions", 0, Duration::from_secs(5), open).await;
    // The kernel's buffers still hold answers.
    let end = timeout(Duration::from_secs(5), client.io.read_to_end(&mut Vec::new())).await;
    let _ = end.expect("the end of the connection within 5 s");
    assert_unharmed(&stack).await;
}
