//! `list-offsets`: where the log of each partition starts and ends, or its offset at a time.

use std::io::Write as _;
use std::pin::pin;

use futures_util::TryStreamExt as _;
use sluicegate_client::{At, Client, Error};

use crate::args::ListOffsets;
use crate::failure::Failure;
use crate::json::{self, Offsets};
use crate::partitions;
use crate::stdout::Stdout;

pub(crate) async fn run(args: &ListOffsets, client: &Client, stdout: &mut Stdout) -> Result<(), Failure> {
    let ask = |partition| offsets(args, partition, client);
    if let Some(partition) = args.partition {
        return show(args, partition, ask(partition).await?, stdout).await;
    }
    let mut all = pin!(partitions::each(ask));
    while let Some((partition, offsets)) = all.try_next().await? {
        show(args, partition, offsets, stdout).await?;
    }
    Ok(())
}

async fn offsets(args: &ListOffsets, partition: i32, client: &Client) -> Result<Offsets, Error> {
    let offset = async |at| Ok(client.list_offset(&args.topic, partition, at).await?.unwrap_or(NONE));
    match args.at {
        Some(at) => offset(at).await.map(Offsets::At),
        None => {
            let (earliest, latest) = tokio::try_join!(offset(At::Earliest), offset(At::Latest))?;
            Ok(Offsets::Ends { earliest, latest })
        }
    }
}

async fn show(
    args: &ListOffsets,
    partition: i32,
    offsets: Offsets,
    stdout: &mut Stdout,
) -> Result<(), Failure> {
    let topic = &args.topic;
    let mut line = Vec::new();
    // Writing to a `Vec` does not fail.
    let _ = match offsets {
        offsets if args.json => {
            json::offsets(topic, partition, &offsets, &mut line);
            Ok(())
        }
        Offsets::At(offset) => writeln!(line, "{topic} [{partition}] offset {offset}"),
        Offsets::Ends { earliest, latest } => {
            writeln!(line, "{topic} [{partition}] earliest {earliest} latest {latest}")
        }
    };
    stdout.write(&line).await
}

/// Stands for the offset at a time after the last message, as in Kafka.
const NONE: i64 = -1;
