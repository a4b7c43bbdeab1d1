//! `sluicegate list-offsets`.

use crate::program::check;

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
        ("orders --at 50000", "orders [0] offset -1\norders [1] offset 100\norders [2] offset -1\n"),
        ("orders -p 0 -J", "{\"topic\":\"orders\",\"partition\":0,\"earliest\":0,\"latest\":5}\n"),
        ("orders -p 0 -J --at latest", "{\"topic\":\"orders\",\"partition\":0,\"offset\":5}\n"),
    ] {
        check(&format!("list-offsets {args}"), 0, stdout, "").await;
    }
}

#[tokio::test]
async fn missing_topic_or_partition_has_the_servers_text() {
    for (args, partition) in [("orders -p 3", 3), ("nothing", 0), ("nothing -p 0", 0)] {
        let topic = args.split(' ').next().unwrap();
        let stderr = format!(
            "sluicegate: failed to list offset, topic: {topic}, partition: {partition}, err: UNKNOWN_TOPIC_OR_PARTITION\n"
        );
        check(&format!("list-offsets {args}"), 1, "", &stderr).await;
    }
}
