//! `list-offsets`: where the log of each partition, or a stream, starts and ends, or its offset at a time.

use std::io::Write as _;

use sluicegate_client::{At, Client};

use crate::args::ListOffsets;
use crate::failure::Failure;
use crate::json::{self, NO_OFFSET, Offsets};
use crate::log::Log;
use crate::partitions;
use crate::stdout::Stdout;

pub(crate) async fn run(args: &ListOffsets, client: &Client, stdout: &mut Stdout) -> Result<(), Failure> {
    let logs = partitions::logs(client, args.target.name(), args.partition.as_slice()).await?;
    let ends = [At::Earliest, At::Latest];
    let at = args.at.as_ref().map_or(&ends[..], std::slice::from_ref);
    let listed = partitions::offsets(client, &logs, at, args.isolation.into()).await?;
    let mut listed = listed.into_iter().map(|offset| Ok::<_, Failure>(offset?.unwrap_or(NO_OFFSET)));
    for log in &logs {
        let mut next = || listed.next().unwrap_or(Ok(NO_OFFSET));
        let offsets = match args.at {
            Some(_) => Offsets::At(next()?),
            None => Offsets::Ends { earliest: next()?, latest: next()? },
        };
        show(args.json, log, &offsets, stdout).await?;
    }
    Ok(())
}

async fn show(json: bool, log: &Log, offsets: &Offsets, stdout: &mut Stdout) -> Result<(), Failure> {
    let mut line = Vec::new();
    // Writing to a `Vec` does not fail.
    let _ = match offsets {
        offsets if json => {
            json::offsets(None, log, offsets, &mut line);
            Ok(())
        }
        Offsets::At(offset) => writeln!(line, "{}", log.at(*offset)),
        Offsets::Ends { earliest, latest } => writeln!(line, "{log} earliest {earliest} latest {latest}"),
    };
    stdout.write(&line).await
}
