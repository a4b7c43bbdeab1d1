//! Parses paths into resources, and queries into parameters.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use percent_encoding::percent_decode_str;
use sluicegate_backend::System;
use sluicegate_backend::number::whole_number;
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::HttpWords;
use sluicegate_dialect::http::body::escaped_name;
use sluicegate_dialect::http::resource::{Get, Resource};

use super::super::problem::{Problem, ProblemKind};

/// The resource of a request, and its topic and partition.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) resource: &'static Resource,
    /// A topic or stream; none for the list of all.
    pub(super) topic: Option<String>,
    pub(super) partition: Option<i32>,
    /// A key; empty for other resources.
    pub(super) key: Vec<u8>,
}

impl Target {
    /// Parses a path on a cluster of `system`. A trailing slash is ignored.
    ///
    /// # Errors
    /// The path is unknown or invalid, or of another system.
    pub(super) fn parse(path: &str, system: System) -> Result<Self, Problem> {
        let words = dialect::of(system).words();
        let found = words.resources.find(path).ok_or_else(|| unknown(path, system))?;
        let topic = found.topic.map(|topic| log_name(&topic, system)).transpose()?;
        let (mut partition, mut key) = (None, Vec::new());
        match found.part {
            None => {}
            Some(part) if found.resource.get == Some(Get::Key) => key = key_bytes(&part, system)?,
            Some(part) => partition = Some(partition_number(&part)?),
        }
        Ok(Self { resource: found.resource, topic, partition, key })
    }

    /// Parses the query of a read.
    ///
    /// # Errors
    /// See [`Query::parse`].
    pub(super) fn query(&self, query: &str, system: System) -> Result<Query, Problem> {
        Query::with_lists(query, self.resource.parameters, &dialect::of(system).words().lists())
    }
}

/// The words of the system that a path belongs to, on whatever cluster.
pub(super) fn words_of(path: &str) -> &'static HttpWords {
    let root = root(path);
    let [first, ..] = dialect::ALL;
    dialect::ALL.into_iter().find(|dialect| dialect.words().root == root).unwrap_or(first).words()
}

/// The first segment of a path.
fn root(path: &str) -> &str {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split_once('/').map_or(path, |(root, _)| root)
}

fn unknown(path: &str, system: System) -> Problem {
    let HttpWords { root: own, paths, .. } = dialect::of(system).words();
    let root = root(path);
    let is_of_other = root != *own && dialect::ALL.iter().any(|dialect| dialect.words().root == root);
    let detail = match is_of_other {
        true => format!("the cluster is of {}: expected {paths}", system.name),
        false => format!("unknown path: expected {paths}"),
    };
    Problem::new(ProblemKind::NoResource, detail)
}

fn log_name(segment: &str, system: System) -> Result<String, Problem> {
    percent_decoded(segment).filter(|name| !name.is_empty()).ok_or_else(|| {
        let detail = format!("expected a {} name in the path, in percent-encoded UTF-8", system.topic);
        Problem::new(ProblemKind::Malformed, detail)
    })
}

fn partition_number(segment: &str) -> Result<i32, Problem> {
    let number = percent_decoded(segment).and_then(|text| i32::try_from(whole_number(&text)?).ok());
    number.filter(|number| *number >= 0).ok_or_else(|| {
        let detail = format!("expected a partition number in the path, from 0 to {}", i32::MAX);
        Problem::new(ProblemKind::Malformed, detail)
    })
}

fn key_bytes(segment: &str, system: System) -> Result<Vec<u8>, Problem> {
    let key = is_percent_encoded(segment).then(|| percent_decode_str(segment).collect());
    key.ok_or_else(|| {
        let key = dialect::of(system).words().key;
        Problem::new(ProblemKind::Malformed, format!("expected a {key} in the path, percent-encoded"))
    })
}

/// Decodes RFC 3986, section 2.1. `None` if the encoding is invalid or not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok().filter(|_| is_percent_encoded(text));
    decoded.map(Cow::into_owned)
}

/// Whether every `%` begins an encoded byte. The crate keeps others as they are.
fn is_percent_encoded(text: &str) -> bool {
    let is_encoded = |after: &str| {
        after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    text.split('%').skip(1).all(is_encoded)
}

/// The parameters of a query, all known. Only lists can be repeated.
#[derive(Debug)]
pub(super) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Parses a query that can have these parameters, each once.
    ///
    /// # Errors
    /// A parameter is unknown, repeated or wrongly encoded.
    pub(super) fn parse(query: &str, known: &[&'static str]) -> Result<Self, Problem> {
        Self::with_lists(query, known, &[])
    }

    /// Parses a query in which `lists`, of those that are `known`, can be repeated.
    ///
    /// # Errors
    /// See [`Query::parse`].
    fn with_lists(query: &str, known: &[&'static str], lists: &[&str]) -> Result<Self, Problem> {
        let malformed = |detail: String| Err(Problem::new(ProblemKind::Malformed, detail));
        let mut parameters: Vec<(&'static str, String)> = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let (Some(name), Some(value)) = (percent_decoded(name), percent_decoded(value)) else {
                return malformed("expected NAME=VALUE in the query, in percent-encoded UTF-8".to_owned());
            };
            let Some(name) = known.iter().find(|known| **known == name) else {
                let name = escaped_name(&name);
                return malformed(match known {
                    [] => format!("unknown query parameter {name}: expected none"),
                    _ => format!("unknown query parameter {name}: expected {}", known.join(", ")),
                });
            };
            if !lists.contains(name) && parameters.iter().any(|(given, _)| given == name) {
                return malformed(format!("query parameter {name} is repeated: expected it once"));
            }
            parameters.push((*name, value));
        }
        Ok(Self(parameters))
    }

    /// Parses the query of a read at a path.
    #[cfg(test)]
    pub(super) fn at(path: &str, query: &str, system: System) -> Result<Self, Problem> {
        Target::parse(path, system)?.query(query, system)
    }

    /// Checks that there are no parameters.
    ///
    /// # Errors
    /// See [`Query::parse`].
    pub(super) fn none(query: &str) -> Result<(), Problem> {
        Self::parse(query, &[]).map(drop)
    }

    /// The whole number of a parameter, if it is present.
    ///
    /// # Errors
    /// The value is not a whole number within `range`.
    pub(super) fn number(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Problem> {
        let Some((_, value)) = self.0.iter().find(|(given, _)| *given == name) else { return Ok(None) };
        whole_number(value).filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
            let (least, most) = range.into_inner();
            let detail = format!("query parameter {name}: expected a whole number from {least} to {most}");
            Problem::new(ProblemKind::Malformed, detail)
        })
    }

    /// Whether the parameter `isolation` asks for committed records only.
    ///
    /// # Errors
    /// The value is not one of Kafka's levels.
    pub(super) fn committed(&self) -> Result<bool, Problem> {
        match self.text("isolation") {
            None | Some("read_uncommitted") => Ok(false),
            Some("read_committed") => Ok(true),
            Some(_) => {
                let detail = "query parameter isolation: expected read_committed or read_uncommitted";
                Err(Problem::new(ProblemKind::Malformed, detail))
            }
        }
    }

    /// All values of a parameter that can be repeated.
    pub(super) fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(given, _)| *given == name).map(|(_, value)| value.as_ref())
    }

    /// A parameter's text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(problem: Problem) -> (u16, String) {
        let response = problem.plain();
        (response.status.as_u16(), String::from_utf8(response.body.to_vec()).unwrap())
    }

    /// Checks the resource, its topic and its partition.
    #[track_caller]
    fn check_target(system: System, path: &str, resource: &str, topic: Option<&str>, partition: Option<i32>) {
        let target = Target::parse(path, system).unwrap();
        let found = (target.resource.path, target.topic.as_deref(), target.partition);
        assert_eq!(found, (resource, topic, partition), "{path}");
    }

    #[test]
    fn paths_parse_into_resources() {
        let of_topic = Some("a b");
        for (path, resource, topic, partition) in [
            ("/topics", "", None, None),
            ("/topics/", "", None, None),
            ("topics", "", None, None),
            ("/topics/a%20b", "/{topic}", of_topic, None),
            ("/topics/a%20b/", "/{topic}", of_topic, None),
            ("/topics/a%20b/records", "/{topic}/records", of_topic, None),
            ("/topics/a b/partitions/7", "/{topic}/partitions/{partition}", of_topic, Some(7)),
            (
                "/topics/a%20b/partitions/%30/records",
                "/{topic}/partitions/{partition}/records",
                of_topic,
                Some(0),
            ),
            (
                "/topics/a%20b/partitions/2147483647/offsets",
                "/{topic}/partitions/{partition}/offsets",
                of_topic,
                Some(i32::MAX),
            ),
            ("/topics/a%20b/events", "/{topic}/events", of_topic, None),
            (
                "/topics/a%20b/partitions/7/events",
                "/{topic}/partitions/{partition}/events",
                of_topic,
                Some(7),
            ),
            ("/topics/topics", "/{topic}", Some("topics"), None),
            (
                "/topics/partitions/partitions/1",
                "/{topic}/partitions/{partition}",
                Some("partitions"),
                Some(1),
            ),
            ("/topics/%e2%82%ac", "/{topic}", Some("€"), None),
            ("/topics/€", "/{topic}", Some("€"), None),
            ("/topics/a+b", "/{topic}", Some("a+b"), None),
            ("/topics/{topic}", "/{topic}", Some("{topic}"), None),
            ("/topics/a%2Fb", "/{topic}", Some("a/b"), None),
        ] {
            check_target(System::Kafka, path, &format!("/topics{resource}"), topic, partition);
        }
    }

    #[test]
    fn paths_parse_into_streams() {
        let stream = Some("a b");
        for (path, resource, stream) in [
            ("/streams", "/streams", None),
            ("/streams/", "/streams", None),
            ("/streams/a%20b", "/streams/{stream}", stream),
            ("/streams/a%20b/", "/streams/{stream}", stream),
            ("/streams/a b/messages", "/streams/{stream}/messages", stream),
            ("/streams/a%20b/sequences", "/streams/{stream}/sequences", stream),
            ("/streams/a%20b/events/", "/streams/{stream}/events", stream),
            ("/streams/messages", "/streams/{stream}", Some("messages")),
            ("/streams/a%2Fb", "/streams/{stream}", Some("a/b")),
        ] {
            check_target(System::Nats, path, resource, stream, None);
        }
    }

    #[track_caller]
    fn check(path: &str, status: u16, want: &str) {
        check_of(System::Kafka, path, status, want);
    }

    #[track_caller]
    fn check_of(system: System, path: &str, status: u16, want: &str) {
        let (found, body) = text(Target::parse(path, system).unwrap_err());
        assert_eq!(found, status, "{path}");
        assert!(body.contains(want), "{path}: {body}");
    }

    #[test]
    fn unknown_and_invalid_paths_are_refused() {
        for path in
            ["", "/", "//", "/topic", "/Topics", "/topics/t/partitions", "/topics/t/record", "//topics"]
        {
            check(path, 404, "unknown path");
        }
        check("/topics/t/partitions/0/records/x", 404, "unknown path");
        check("/topics/t/partitions/0/records//", 404, "unknown path");
        for path in ["/topics".repeat(10_000), "/topics/t".repeat(10_000), "/".repeat(10_000)] {
            check(&path, 404, "unknown path");
        }
        for path in ["/topics/t//", "/topics/t//records", "/topics/t/partitions/0//records", "///topics"] {
            check(path, 404, "unknown path");
        }
        check("/topics//", 400, "expected a topic name");
        check("/topics/t/partitions//", 400, "expected a partition number");
        for path in
            ["/topics//partitions/0", "/topics/%", "/topics/%2", "/topics/%zz", "/topics/%ff", "/topics/%+1"]
        {
            check(path, 400, "expected a topic name");
        }
        for number in ["-1", "+1", "2147483648", "x", "", "1.0", "0x1", "%2d1", "99999999999999999999", "٣"]
        {
            check(&format!("/topics/t/partitions/{number}/records"), 400, "expected a partition number");
        }
    }

    #[test]
    fn unknown_and_invalid_streams_are_refused() {
        for path in
            ["", "/", "/stream", "/Streams", "/streams/s/message", "/streams/s/messages/0", "//streams"]
        {
            check_of(System::Nats, path, 404, "unknown path: expected /streams, ");
        }
        for path in ["/streams//messages", "/streams/%", "/streams/%ff/events"] {
            check_of(System::Nats, path, 400, "expected a stream name");
        }
    }

    #[test]
    fn paths_of_another_system_name_the_right_ones() {
        for path in ["topics", "/topics/", "/topics/%", "/topics/t/partitions/0/records", "/topics/t/x"] {
            check_of(System::Nats, path, 404, "the cluster is of NATS: expected /streams, /streams/STREAM");
        }
        for path in ["streams", "/streams/%", "/streams/s/messages"] {
            check(path, 404, "the cluster is of Kafka: expected /topics, /topics/TOPIC");
        }
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused() {
        let known = ["offset", "timeout"];
        let query = Query::parse("offset=%31&&timeout=0", &known).unwrap();
        assert_eq!(query.number("offset", 0..=i64::MAX).unwrap(), Some(1));
        assert_eq!(query.number("timeout", 0..=10).unwrap(), Some(0));
        assert_eq!(query.number("max_bytes", 0..=10).unwrap(), None);
        for (query, want) in [
            ("ofset=1", "unknown query parameter ofset: expected offset, timeout"),
            ("offset=1&offset=1", "query parameter offset is repeated"),
            ("offset=%", "percent-encoded"),
            ("%ff=1", "percent-encoded"),
            ("a%0ab=1", "unknown query parameter a\\\\nb"),
        ] {
            let (status, body) = text(Query::parse(query, &known).unwrap_err());
            assert_eq!(status, 400, "{query}");
            assert!(body.contains(want), "{query}: {body}");
        }
        assert!(text(Query::none("x=1").unwrap_err()).1.contains("expected none"));
        assert!(Query::none("").is_ok());
        let long = text(Query::none(&"x".repeat(1 << 20)).unwrap_err()).1;
        assert!(long.len() < 1000);
    }

    #[test]
    fn numbers_must_be_whole_and_in_range() {
        for value in ["", "x", "1.0", "+1", "--1", "-", "11", "-2", "9223372036854775808", "1 "] {
            let query = Query::parse(&format!("n={value}"), &["n"]).unwrap();
            let (status, body) = text(query.number("n", -1..=10).unwrap_err());
            assert_eq!(status, 400, "{value}");
            assert!(body.contains("query parameter n: expected a whole number from -1 to 10"), "{body}");
        }
        let query = Query::parse("n=-1", &["n"]).unwrap();
        assert_eq!(query.number("n", -1..=10).unwrap(), Some(-1));
    }
}
