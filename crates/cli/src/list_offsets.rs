//! `list-offsets`: where the log of each partition starts or ends, or stands at a time.

use std::io::Write as _;

use sluicegate_client::{Client, Error};

use crate::args::ListOffsets;
use crate::failure::Failure;
use crate::json;
use crate::stdout::Stdout;

pub(crate) async fn run(args: &ListOffsets, client: &Client, stdout: &mut Stdout) -> Result<(), Failure> {
    if let Some(partition) = args.partition {
        return show(args, partition, client, stdout).await;
    }
    for partition in 0..=i32::MAX {
        match show(args, partition, client, stdout).await {
            // Without partition 0 there is no topic, which is the user's mistake and not the end of the list.
            Err(Failure::Command(Error::Command { code: UNKNOWN_TOPIC_OR_PARTITION, .. }))
                if partition > 0 =>
            {
                break;
            }
            shown => shown?,
        }
    }
    Ok(())
}

async fn show(
    args: &ListOffsets,
    partition: i32,
    client: &Client,
    stdout: &mut Stdout,
) -> Result<(), Failure> {
    let offset = client.list_offset(&args.topic, partition, args.at).await?.unwrap_or(-1);
    let mut line = Vec::new();
    if args.json {
        json::offset(&args.topic, partition, offset, &mut line);
    } else {
        // Writing to a `Vec` does not fail.
        let _ = writeln!(line, "{} [{partition}] offset {offset}", args.topic);
    }
    stdout.write(&line).await
}

/// Kafka's error code for a partition that does not exist.
const UNKNOWN_TOPIC_OR_PARTITION: i32 = 3;
