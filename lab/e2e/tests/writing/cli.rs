//! The command line writes what it has read.

use std::fs::File;
use std::process::{Output, Stdio};

use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::{Record, Write};
use sluicegate_stack::tools;
use sluicegate_stack::way::Way;
use tokio::process::Command;

use crate::pool::standard;

#[tokio::test]
async fn produce_writes_what_fetch_prints() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let [source, copy] =
        [kafka.topic("source", 1, &[]).await.unwrap(), kafka.topic("copy", 1, &[]).await.unwrap()];
    let value = |at: usize| match at % 4 {
        0 => Some(format!("value {at} é \"quoted\" \\ \t").into_bytes()),
        1 => Some(b"two\nlines".to_vec()),
        2 => Some([0xFF, 0x00, 0xFE].repeat(at)),
        _ => None,
    };
    let record = |at: usize| Record {
        key: (!at.is_multiple_of(3)).then(|| format!("key {at}").into_bytes()),
        value: value(at),
        timestamp: Some(1_700_000_000_000 + i64::try_from(at).unwrap()),
        ..Record::default()
    };
    let empty = Record { key: Some(Vec::new()), timestamp: Some(1_700_000_001_001), ..Record::of("") };
    let records: Vec<Record> = (0..500).map(record).chain([empty]).collect();
    kafka.produce(&source, 0, &records, Write::default()).await.unwrap();
    let folder = Folder::new("piped").unwrap();
    let run = async |args: &[&str], input: &[u8]| -> Output {
        let path = folder.path().join("input");
        std::fs::write(&path, input).unwrap();
        let input = File::open(path).unwrap();
        let mut command = Command::new(tools::cli().unwrap());
        command.args(args).env("SLUICEGATE_URL", stack.url()).stdin(Stdio::from(input));
        let output = command.kill_on_drop(true).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    };
    let lines = run(&["fetch", &source, "-p", "0", "--json"], b"").await.stdout;
    let piped = run(&["produce", &copy, "--json"], &lines).await;
    let summary = "% 501 sent, 501 acknowledged, 0 failed, 0 unknown in ";
    let told = String::from_utf8(piped.stderr).unwrap();
    assert!(piped.stdout.is_empty() && told.contains(summary), "{told}");
    let copied: Vec<KafkaMessage> = kafka.read(&copy, 0);
    assert_eq!(copied, kafka.read(&source, 0));
}
