//! `list-offsets`: where the log of each partition starts and ends, or its offset at a time.

use std::io::Write as _;

use sluicegate_client::{At, Client};

use crate::args::ListOffsets;
use crate::failure::Failure;
use crate::json::{self, Offsets};
use crate::partitions;
use crate::stdout::Stdout;

pub(crate) async fn run(args: &ListOffsets, client: &Client, stdout: &mut Stdout) -> Result<(), Failure> {
    let found = match args.partition {
        Some(partition) => vec![partition],
        None => partitions::find(client, &args.topic).await?,
    };
    let ends = [At::Earliest, At::Latest];
    let at = args.at.as_ref().map_or(&ends[..], std::slice::from_ref);
    let queries = found.iter().flat_map(|partition| at.iter().map(|at| (*partition, *at)));
    let listed = partitions::offsets(client, &args.topic, queries, args.isolation.into()).await?;
    let mut listed = listed.into_iter().map(|offset| Ok::<_, Failure>(offset?.unwrap_or(NONE)));
    for partition in found {
        let mut next = || listed.next().unwrap_or(Ok(NONE));
        let offsets = match args.at {
            Some(_) => Offsets::At(next()?),
            None => Offsets::Ends { earliest: next()?, latest: next()? },
        };
        show(args, partition, &offsets, stdout).await?;
    }
    Ok(())
}

async fn show(
    args: &ListOffsets,
    partition: i32,
    offsets: &Offsets,
    stdout: &mut Stdout,
) -> Result<(), Failure> {
    let topic = &args.topic;
    let mut line = Vec::new();
    // Writing to a `Vec` does not fail.
    let _ = match offsets {
        offsets if args.json => {
            json::offsets(topic, partition, offsets, &mut line);
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
