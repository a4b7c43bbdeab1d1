//! The rights of a client, from its gateway's headers.

use std::sync::Arc;

use http::HeaderMap;
use sluicegate_delivery::Topics;
use sluicegate_delivery::cluster::Cluster;
use sluicegate_delivery::grant::{Grant, Rights};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::metadata;

use super::refusal::Refusal;

/// The grant of the headers at `cluster`. Without headers it reads every topic and writes none.
///
/// # Errors
/// A header has an invalid value.
pub(crate) fn grant(cluster: Arc<Cluster>, client: ClientKey, headers: &HeaderMap) -> Result<Grant, Refusal> {
    let topics = match headers.get(metadata::TOPICS) {
        None => Topics::default(),
        Some(listed) => Topics::parse(listed.as_bytes()).ok_or(Refusal::InvalidHeader {
            header: metadata::TOPICS,
            expected: "comma-separated topics or prefixes followed by *, in at most 8192 bytes",
        })?,
    };
    let rights = Rights {
        read: flag(headers, metadata::READ)?.unwrap_or(true),
        write: flag(headers, metadata::WRITE)?.unwrap_or(false),
        topics,
    };
    let route = headers.get(metadata::ROUTE).map(|route| route.as_bytes());
    Ok(Grant::new(cluster, client, route, rights))
}

fn flag(headers: &HeaderMap, header: &'static str) -> Result<Option<bool>, Refusal> {
    match headers.get(header).map(|value| value.as_bytes()) {
        None => Ok(None),
        Some(b"true") => Ok(Some(true)),
        Some(b"false") => Ok(Some(false)),
        Some(_) => Err(Refusal::InvalidHeader { header, expected: "true or false" }),
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_delivery::testing::script::Script;

    use super::*;

    fn of(headers: &[(&'static str, &str)]) -> Result<Grant, Refusal> {
        let headers = headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
        grant(Script::cluster(1).0, ClientKey::default(), &headers.collect())
    }

    #[test]
    fn default_grant_reads_every_topic_and_writes_none() {
        let grant = of(&[]).ok().unwrap();
        assert!(!grant.writes() && grant.check_read("any").is_ok());
    }

    #[test]
    fn headers_limit_reading_writing_and_topics() {
        let grant = of(&[(metadata::READ, "false"), (metadata::WRITE, "true")]).ok().unwrap();
        assert!(grant.writes() && grant.check_read("any").is_err());
        let grant = of(&[(metadata::TOPICS, "orders,public.*")]).ok().unwrap();
        assert!(grant.check_read("public.x").is_ok() && grant.check_read("other").is_err());
    }

    #[test]
    fn invalid_headers_grant_nothing() {
        let check = |header, value| match of(&[(header, value)]).err() {
            Some(Refusal::InvalidHeader { header: found, .. }) => assert_eq!(found, header),
            other => panic!("{header}: {value}: {other:?}"),
        };
        check(metadata::TOPICS, "a b");
        for value in ["", "yes", "TRUE", "1", "true, false"] {
            check(metadata::READ, value);
            check(metadata::WRITE, value);
        }
    }
}
