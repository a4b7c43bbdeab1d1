//! `sluicegate list-offsets`.

use crate::kafka;
use crate::program::{check, run};

#[tokio::test]
async fn offsets_are_listed_for_one_partition_or_all() {
    for (args, stdout) in [
        ("orders -p 1", "orders [1] earliest 100 latest 102\n"),
        (
            "orders",
            "orders [0] earliest 0 latest 5\norders [1] earliest 100 latest 102\norders [2] earliest 0 latest 0\n",
        ),
        ("orders -p 0 --at latest", "orders [0] offset 5\n"),
        ("orders -p 1 --at earliest", "orders [1] offset 100\n"),
        ("orders -p 1 --at beginning", "orders [1] offset 100\n"),
        ("orders -p 1 --at -2", "orders [1] offset 100\n"),
        ("orders --at latest", "orders [0] offset 5\norders [1] offset 102\norders [2] offset 0\n"),
        ("orders -p 0 --at 1500", "orders [0] offset 2\n"),
        ("orders -p 0 --at 1970-01-01T00:00:02.5Z", "orders [0] offset 3\n"),
        ("orders -p 0 --at -5m", "orders [0] offset -1\n"),
        ("orders -p 0 --at -9000d", "orders [0] offset -1\n"),
        ("orders -p 0 --at max-timestamp", "orders [0] offset 4\n"),
        ("open --isolation read_committed", "open [0] earliest 0 latest 3\n"),
        ("orders --at 50000", "orders [0] offset -1\norders [1] offset 100\norders [2] offset -1\n"),
        ("orders -p 0 -J", "{\"topic\":\"orders\",\"partition\":0,\"earliest\":0,\"latest\":5}\n"),
        ("orders -p 0 -J --at latest", "{\"topic\":\"orders\",\"partition\":0,\"offset\":5}\n"),
    ] {
        check(&format!("list-offsets {args}"), 0, stdout, "").await;
    }
}

#[tokio::test]
async fn missing_topic_or_partition_has_the_servers_text() {
    for (args, what) in [
        ("orders -p 3", "list offset, topic: orders, partition: 3"),
        ("nothing", "describe topic nothing"),
        ("nothing -p 0", "list offset, topic: nothing, partition: 0"),
    ] {
        let stderr = format!("sluicegate: failed to {what}, err: UNKNOWN_TOPIC_OR_PARTITION\n");
        check(&format!("list-offsets {args}"), 1, "", &stderr).await;
    }
}

#[tokio::test]
async fn older_server_is_asked_for_each_offset() {
    for (args, want) in [
        (
            "orders",
            "orders [0] earliest 0 latest 5\norders [1] earliest 100 latest 102\norders [2] earliest 0 latest 0\n",
        ),
        ("orders -p 1 --at 50000", "orders [1] offset 100\n"),
    ] {
        let url = kafka::serve_older().await;
        let run = run(&url, &["list-offsets"].into_iter().chain(args.split(' ')).collect::<Vec<_>>()).await;
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(0), want, ""), "{args}");
    }
    for (args, stderr) in [
        (
            &["nothing"][..],
            "sluicegate: failed to list offset, topic: nothing, partition: 0, err: UNKNOWN_TOPIC_OR_PARTITION\n",
        ),
        (
            &["orders", "--isolation", "read_committed"],
            "sluicegate: failed to read only committed records: the server does not support isolation levels\n",
        ),
    ] {
        let run = run(&kafka::serve_older().await, &[&["list-offsets"], args].concat()).await;
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(1), "", stderr));
    }
}
