//! `topics`: the topics of a route with their partitions, in kcat's formats.

use std::io::Write as _;

use sluicegate_client::{Builder, Client, Partition, Replica, Rest, RestError};
use sluicegate_protocol::error_code::UNKNOWN_TOPIC_OR_PARTITION;

use crate::args::Topics;
use crate::failure::Failure;
use crate::json::{self, NO_LEADER, Topic};
use crate::partitions::failed_to;
use crate::stdout::Stdout;

/// Shows the topics of a WebSocket route.
pub(crate) async fn of_session(args: &Topics, client: &Client, stdout: &mut Stdout) -> Result<(), Failure> {
    let names: Vec<&str> = args.topics.iter().map(String::as_str).collect();
    let mut topics: Vec<Topic> = Vec::new();
    for topic in client.metadata(&names, &[]).await? {
        let failed = |error| failed_to(format_args!("describe topic {}", topic.name), error);
        topics.push((topic.name.clone(), topic.partitions.map_err(failed)?));
    }
    show(args, &topics, stdout).await
}

/// Shows the topics of a `rest` route.
pub(crate) async fn of_rest(args: &Topics, mut rest: Rest, stdout: &mut Stdout) -> Result<(), Failure> {
    let all = args.topics.is_empty();
    let names = if all { rest.topics().await? } else { args.topics.clone() };
    let mut topics: Vec<Topic> = Vec::new();
    for name in names {
        match rest.partitions(&name).await {
            Ok(partitions) => topics.push((name, partitions)),
            // Deleted since the list was made.
            Err(RestError::Problem { code: UNKNOWN_TOPIC_OR_PARTITION, .. }) if all => {}
            Err(why) => return Err(why.into()),
        }
    }
    show(args, &topics, stdout).await
}

/// The names of the topics of either kind of route.
pub(crate) async fn names(builder: Builder, is_rest: bool) -> Result<Vec<String>, Failure> {
    if is_rest {
        return Ok(builder.rest().map_err(Failure::Connect)?.topics().await?);
    }
    let client = builder.connect().await.map_err(Failure::Connect)?;
    Ok(client.metadata(&[], &[]).await?.into_iter().map(|topic| topic.name).collect())
}

async fn show(args: &Topics, topics: &[Topic], stdout: &mut Stdout) -> Result<(), Failure> {
    let mut out = Vec::new();
    if args.json {
        json::topics(topics, &mut out);
    } else {
        // Writing to a `Vec` does not fail.
        let _ = print(topics, &mut out);
    }
    stdout.write(&out).await
}

fn print(topics: &[Topic], out: &mut Vec<u8>) -> std::io::Result<()> {
    writeln!(out, " {} topics:", topics.len())?;
    for (name, partitions) in topics {
        writeln!(out, "  topic \"{name}\" with {} partitions:", partitions.len())?;
        for Partition { partition, leader, replicas, .. } in partitions {
            let leader = leader.unwrap_or(NO_LEADER);
            let isrs = ids(replicas.iter().filter(|replica| replica.in_sync));
            let replicas = ids(replicas.iter());
            writeln!(out, "    partition {partition}, leader {leader}, replicas: {replicas}, isrs: {isrs}")?;
        }
    }
    Ok(())
}

fn ids<'a>(replicas: impl Iterator<Item = &'a Replica>) -> String {
    replicas.map(|replica| replica.broker.to_string()).collect::<Vec<_>>().join(",")
}
