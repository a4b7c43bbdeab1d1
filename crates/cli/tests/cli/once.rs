//! `sluicegate produce --producer`, killed at any point and run again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use sluicegate_protocol::{CmdKafkaProduce, Producer};
use tokio::process::Command;
use tokio::sync::{Mutex, Notify};

use super::*;

/// A topic, and when the program is to be killed.
#[derive(Default)]
struct Topic {
    logs: Mutex<BTreeMap<usize, Vec<String>>>,
    /// The commands until then.
    left: Mutex<usize>,
    is_written: bool,
    now: Notify,
}

impl Topic {
    /// Serves it at a URL.
    async fn serve(self: &Arc<Self>) -> String {
        let (listener, url) = server::listener().await;
        let topic = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let session = server::accept(&listener).await;
                tokio::spawn(Arc::clone(&topic).play(session));
            }
        });
        url
    }

    async fn play(self: Arc<Self>, mut session: Session) {
        while let Some((sequence, request)) = session.request().await {
            let Req::CmdKafkaProduce(CmdKafkaProduce { records, producer, .. }) = request else {
                panic!("{request:?}")
            };
            let mut left = self.left.lock().await;
            *left = left.wrapping_sub(1);
            let is_last = *left == 0;
            if is_last && !self.is_written {
                self.now.notify_one();
                continue;
            }
            let results = match producer {
                Some(Producer { id, .. }) if id.is_empty() => {
                    let (message, reason) = ("producer.id: expected …".into(), Reason::InvalidCommand.into());
                    let refused = ErrorResp { message, reason, ..Default::default() };
                    session.answer(sequence, Resp::ErrorResp(refused)).await;
                    continue;
                }
                Some(producer) => self.write(&records, producer.sequence.try_into().unwrap()).await,
                None => records.iter().map(place).collect(),
            };
            if is_last {
                self.now.notify_one();
                continue;
            }
            session.answer(sequence, Resp::KafkaProduceResp(KafkaProduceResp { results })).await;
        }
    }

    async fn write(&self, records: &[ProduceRecord], sequence: usize) -> Vec<Produced> {
        let mut logs = self.logs.lock().await;
        let partition = records[0].partition.unwrap();
        let log = logs.entry(partition.try_into().unwrap()).or_default();
        assert!(sequence <= log.len(), "a gap");
        let there = log.len() - sequence;
        let value = |record: &ProduceRecord| String::from_utf8(record.value.clone().unwrap().into()).unwrap();
        log.extend(records.iter().map(value).skip(there));
        let result = |number| Produced {
            partition,
            duplicate: number < there,
            duplicate_window_ms: 1_000_000,
            ..Produced::default()
        };
        (0..records.len()).map(result).collect()
    }
}

/// The partition of a key: its last digit.
fn place(record: &ProduceRecord) -> Produced {
    let digit = record.key.as_ref().unwrap().last().unwrap() - b'0';
    Produced { partition: (digit % 3).into(), offset: -1, ..Produced::default() }
}

fn once(url: &str, folder: &Path, topic: &str) -> Command {
    let [input, state] = ["input", "state"].map(|name| folder.join(name).display().to_string());
    let args = ["produce", topic, "-K", ":", "-l", &input, "--producer", &state];
    command(url, &args)
}

async fn run(url: &str, folder: &Path, topic: &str) -> Run {
    finish(&mut once(url, folder, topic)).await
}

const LINES: usize = 4_300;

#[tokio::test]
async fn lines_are_written_once_however_often_the_command_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let lines =
        |from, to| (from..to).map(|number| format!("k{}:{number}\n", number % 10)).collect::<String>();
    for left in 1.. {
        let topic = Arc::new(Topic { left: left.into(), is_written: left % 2 == 0, ..Topic::default() });
        let url = topic.serve().await;
        let folder = folder.path().join(left.to_string());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("input"), lines(0, LINES)).unwrap();
        // As a kill leaves it, before the name is changed.
        fs::write(folder.join("state.tmp"), "{\"vers").unwrap();
        let mut killed = once(&url, &folder, "orders").spawn().unwrap();
        let is_killed = tokio::select! {
            () = topic.now.notified() => true,
            _ = killed.wait() => false,
        };
        killed.kill().await.unwrap();
        let again = run(&url, &folder, "orders").await;
        assert_eq!(again.code, Some(0), "{again:?}");
        // Appended lines are written, too.
        fs::write(folder.join("input"), lines(0, LINES + 1)).unwrap();
        let appended = run(&url, &folder, "orders").await;
        let parts = ["% 1 sent, 1 acknowledged, 0 failed, 0 unknown in ", "; 4300 done by earlier runs"];
        appended.tells(0, "", &parts);
        let logs = topic.logs.lock().await;
        for (partition, log) in &*logs {
            let is_there = |number: &usize| number % 10 % 3 == *partition;
            let want = (0..=LINES).filter(is_there).map(|number| number.to_string());
            assert!(log.iter().cloned().eq(want), "killed at {left}, partition {partition}: {log:?}");
        }
        assert_eq!(logs.len(), 3);
        if !is_killed {
            assert!(left > 12, "{left} commands");
            break;
        }
    }
}

#[tokio::test]
async fn file_is_for_one_command_and_input_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("input"), "k1:a\nk2:b\n").unwrap();
    let topic = Arc::new(Topic { left: 2.into(), ..Topic::default() });
    let url = topic.serve().await;
    let first = once(&url, folder, "orders").spawn().unwrap();
    topic.now.notified().await;
    run(&url, folder, "orders").await.tells(2, "", &["is in use by another command"]);
    drop(first);
    tokio::time::sleep(Duration::from_millis(50)).await;
    run(&url, folder, "orders").await.tells(0, "", &["% 2 sent, 2 acknowledged"]);
    let is_for = "state is for topic orders; for another topic or input";
    run(&url, folder, "others").await.tells(2, "", &[is_for]);
    fs::write(folder.join("input"), "k1:a\nk2:c\nk3:d\n").unwrap();
    run(&url, folder, "orders").await.tells(2, "", &["the input or the options differ"]);
    fs::write(folder.join("input"), "k1:a\n").unwrap();
    run(&url, folder, "orders").await.tells(2, "", &["the input or the options differ"]);
    let other = Arc::new(Topic::default()).serve().await;
    run(&other, folder, "orders").await.tells(2, "", &[&format!("state is for {url}")]);
    fs::write(folder.join("state"), "{\"version\":1,\"url").unwrap();
    run(&url, folder, "orders").await.tells(2, "", &["state is not one, or damaged"]);
    let stream = crate::program::run(&url, "produce --stream S --subject s --producer state").await;
    stream.tells(2, "", &["--producer is for topics"]);
    let mut logs: Vec<String> = topic.logs.lock().await.values().flatten().cloned().collect();
    logs.sort();
    assert_eq!(logs, ["a", "b"]);
}
