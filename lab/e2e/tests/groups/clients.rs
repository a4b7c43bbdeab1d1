//! The clients that come with the bridge in one group, through Envoy: the command line, and a page in Chromium.

use std::cell::RefCell;
use std::fs;
use std::process::Command;
use std::time::Duration;

use sluicegate_stack::browser;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::{Record, Write};
use sluicegate_stack::process::Process;
use sluicegate_stack::tools;
use sluicegate_stack::waiting::becomes;
use sluicegate_stack::way::Way;

use crate::pool::standard;

const PARTITIONS: i32 = 2;

#[tokio::test]
async fn page_and_command_line_share_a_topic_and_lose_nothing() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("shared-work", PARTITIONS, &[]).await.unwrap();
    let folder = Folder::new("command-line").unwrap();
    let log = folder.path().join("log");
    let cli = RefCell::new(None);
    browser::run(
        "groups.ts",
        &[&stack.gateway().to_string(), topic],
        Duration::from_secs(120),
        async |request| {
            match request {
                "write" => {
                    for partition in 0..PARTITIONS {
                        let records = vec![Record::of("1"); 10];
                        kafka.produce(topic, partition, &records, Write::default()).await.unwrap();
                    }
                }
                "join" => {
                    let mut command = Command::new(tools::cli().unwrap());
                    command.args(["--url", &stack.url(), "-q", "subscribe", topic, "--group", topic]);
                    command.args(["--from", "earliest", "--format", r"%p %o\n"]);
                    cli.replace(Some(Process::spawn("the command line", command, &log).unwrap()));
                }
                "leave" => {
                    let printed = async || fs::read_to_string(&log).unwrap().lines().count();
                    becomes("lines of the command line", 10, Duration::from_secs(30), printed).await;
                    let mut cli = cli.take().unwrap();
                    cli.terminate();
                    let status = cli.wait(Duration::from_secs(10)).await.unwrap();
                    assert_eq!(status.code(), Some(143), "{}", cli.log_tail());
                    return fs::read_to_string(&log).unwrap().trim().replace('\n', ",");
                }
                _ => panic!("unknown request {request:?}"),
            }
            "done".to_owned()
        },
    )
    .await
    .unwrap();
}
