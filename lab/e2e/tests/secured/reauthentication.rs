//! Sessions that the broker ends unless they are renewed (KIP-368): clients notice nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::secured::{READER, SESSION, Secured, listener};
use sluicegate_stack::kafka::{Record, Write};
use sluicegate_stack::socket::{fetch, messages};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tokens::Claims;
use tokio::time::{Instant, interval};

use crate::secured::gateway::{open, own};
use crate::secured::records::log;
use crate::secured::section::Section;
use crate::secured::stubborn;

#[tokio::test]
async fn reads_outlast_their_kafka_sessions() {
    let kafka = Secured::shared().await.unwrap();
    let at = kafka.kafka.bootstrap_of(listener::SHORT).unwrap();
    let section = |name| Section::new(name, &at, "sasl_plaintext");
    let sections = [section("plain").user("PLAIN", READER), section("scram").user("SCRAM-SHA-512", READER)];
    // Longer than the walk.
    let stack = own(Profile::Tunnel, &sections, "[read]\nwait_ms = 30000\n").await;
    let before = killed(kafka, listener::SHORT);
    let both = sections.iter().map(async |section| {
        let topic = kafka.kafka.topic("wait", 1, &[]).await.unwrap();
        let mut waiting = open(&stack, section.name).await;
        let asked = waiting.send(fetch(&topic, 0, 0)).await;
        walk(kafka, &stack, section.name).await;
        kafka.kafka.produce(&topic, 0, &[Record::of("late")], Write::default()).await.unwrap();
        let (sequence, resp) = waiting.receive().await;
        assert_eq!(sequence, asked);
        assert_eq!(messages(resp).unwrap().len(), 1, "{}", section.name);
    });
    join_all(both).await;
    assert_eq!(killed(kafka, listener::SHORT), before, "connections that the broker ended");

    // One that is not renewed is ended, and the log tells.
    stubborn::ask_until_disconnected(kafka).await;
    assert_eq!(killed(kafka, listener::SHORT), before + 1, "connections that the broker ended");
}

#[tokio::test]
async fn replaced_token_file_is_read_again() {
    let kafka = Secured::shared().await.unwrap();
    let folder = Folder::new("tokens").unwrap();
    let path = folder.path().join("token");
    replace(&path);
    let at = kafka.kafka.bootstrap_of(listener::UNSECURED).unwrap();
    let section = Section::new("token", &at, "sasl_plaintext").token_file(&path);
    let stack = own(Profile::Tunnel, &[section], "").await;
    let before = killed(kafka, listener::UNSECURED);
    let replaced = async {
        let mut every_second = interval(Duration::from_secs(1));
        loop {
            every_second.tick().await;
            replace(&path);
        }
    };
    tokio::select! {
        () = walk(kafka, &stack, "token") => {}
        () = replaced => {}
    }
    assert_eq!(killed(kafka, listener::UNSECURED), before, "connections that the broker ended");
}

/// Clients walk until several sessions are over, and miss nothing.
async fn walk(kafka: &Secured, stack: &Stack, cluster: &str) {
    let log = log(&kafka.kafka).await;
    let begun = Instant::now();
    let walks = (0..CLIENTS).map(async |_| {
        let mut socket = open(stack, cluster).await;
        while begun.elapsed() < WALK {
            log.check_walk(&mut socket, cluster).await;
        }
    });
    join_all(walks).await;
}

/// Puts a new token where the old one was.
fn replace(path: &Path) {
    let new = path.with_extension("new");
    fs::write(&new, Claims::new(READER, LIFETIME).unsecured()).unwrap();
    fs::rename(new, path).unwrap();
}

/// Connections to a listener that the broker has ended because they were not renewed.
fn killed(kafka: &Secured, listener: &str) -> usize {
    let log = fs::read_to_string(kafka.kafka.nodes[0].process.log()).unwrap();
    let thread = format!("-{listener}-SASL_");
    log.lines()
        .filter(|line| line.contains(&thread) && line.contains("Disconnecting expired channel"))
        .count()
}

/// Of a token.
const LIFETIME: Duration = SESSION;
/// Three sessions and the beginning of a fourth.
const WALK: Duration = SESSION.saturating_mul(13).checked_div(4).unwrap();
const CLIENTS: usize = 2;
