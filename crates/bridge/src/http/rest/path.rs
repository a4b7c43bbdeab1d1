//! Parses paths into resources, and queries into parameters.

use std::ops::RangeInclusive;

use percent_encoding::percent_decode_str;
use sluicegate_backend::System;
use sluicegate_backend::number::whole_number;
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::HttpWords;
use sluicegate_dialect::http::body::escaped_name;
use sluicegate_dialect::http::resource::{Get, Resource, Unserved};

use super::super::problem::{Problem, ProblemKind};
use crate::percent::{decoded, is_encoded, parameters};

/// The resource of a request, and its topic and partition.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) resource: &'static Resource,
    /// A topic or stream; none for the list of all.
    pub(super) topic: Option<String>,
    pub(super) partition: Option<i32>,
    /// A key; empty for other resources.
    pub(super) key: Vec<u8>,
    /// The id of the cluster; empty for other resources.
    pub(super) cluster: String,
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
        let cluster = match &found.cluster {
            Some(id) => decoded(id).ok_or_else(|| {
                let detail = "expected the id of a cluster in the path, in percent-encoded UTF-8";
                Problem::new(ProblemKind::Malformed, detail)
            })?,
            None => String::new(),
        };
        Ok(Self { resource: found.resource, topic, partition, key, cluster })
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
    let [first, ..] = dialect::ALL;
    dialect::ALL.into_iter().find(|dialect| has(dialect.words(), path)).unwrap_or(first).words()
}

/// Whether paths of a system begin as this one.
fn has(words: &HttpWords, path: &str) -> bool {
    words.roots.contains(&words.resources.root(path))
}

/// Whether it is one of the paths that name the cluster.
pub(super) fn names_cluster(path: &str) -> bool {
    let words = words_of(path);
    words.clusters.is_some_and(|clusters| clusters.root == words.resources.root(path))
}

fn unknown(path: &str, system: System) -> Problem {
    let words @ HttpWords { paths, unserved, .. } = dialect::of(system).words();
    let is_of_other = !has(words, path) && dialect::ALL.iter().any(|dialect| has(dialect.words(), path));
    let (rest, _) = words.resources.without_prefix(path);
    let detail = match unserved.iter().find(|unserved| unserved.has(rest)) {
        Some(Unserved { are, instead, page, .. }) => format!("{are} not served: {instead}, see {page}"),
        None if is_of_other => format!("the cluster is of {}: expected {paths}", system.name),
        None => format!("unknown path: expected {paths}"),
    };
    Problem::new(ProblemKind::NoResource, detail)
}

pub(in super::super) fn log_name(segment: &str, system: System) -> Result<String, Problem> {
    decoded(segment).filter(|name| !name.is_empty()).ok_or_else(|| {
        let detail = format!("expected a {} name in the path, in percent-encoded UTF-8", system.topic);
        Problem::new(ProblemKind::Malformed, detail)
    })
}

pub(in super::super) fn partition_number(segment: &str) -> Result<i32, Problem> {
    let number = decoded(segment).and_then(|text| i32::try_from(whole_number(&text)?).ok());
    number.filter(|number| *number >= 0).ok_or_else(|| {
        let detail = format!("expected a partition number in the path, from 0 to {}", i32::MAX);
        Problem::new(ProblemKind::Malformed, detail)
    })
}

fn key_bytes(segment: &str, system: System) -> Result<Vec<u8>, Problem> {
    let key = is_encoded(segment).then(|| percent_decode_str(segment).collect());
    key.ok_or_else(|| {
        let key = dialect::of(system).words().key;
        Problem::new(ProblemKind::Malformed, format!("expected a {key} in the path, percent-encoded"))
    })
}

/// The parameters of a query, all known. Only lists can be repeated.
#[derive(Debug)]
pub(in super::super) struct Query(Vec<(&'static str, String)>);

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
        let unknown = |name: &str| {
            let name = escaped_name(name);
            Err(Problem::new(
                ProblemKind::Malformed,
                match known {
                    [] => format!("unknown query parameter {name}: expected none"),
                    _ => format!("unknown query parameter {name}: expected {}", known.join(", ")),
                },
            ))
        };
        Self::with(query, known, lists, unknown)
    }

    /// Parses a query in which parameters that are not `known` are ignored.
    ///
    /// # Errors
    /// A parameter is repeated or wrongly encoded.
    pub(in super::super) fn with_unknown(
        query: &str,
        known: &[&'static str],
        lists: &[&str],
    ) -> Result<Self, Problem> {
        Self::with(query, known, lists, |_| Ok(()))
    }

    fn with(
        query: &str,
        known: &[&'static str],
        lists: &[&str],
        unknown: impl Fn(&str) -> Result<(), Problem>,
    ) -> Result<Self, Problem> {
        let malformed = |detail: String| Err(Problem::new(ProblemKind::Malformed, detail));
        let mut given: Vec<(&'static str, String)> = Vec::new();
        for parameter in parameters(query) {
            let Some((name, value)) = parameter else {
                return malformed("expected NAME=VALUE in the query, in percent-encoded UTF-8".to_owned());
            };
            let Some(name) = known.iter().find(|known| **known == name) else {
                unknown(&name)?;
                continue;
            };
            if !lists.contains(name) && given.iter().any(|(given, _)| given == name) {
                return malformed(format!("query parameter {name} is repeated: expected it once"));
            }
            given.push((*name, value));
        }
        Ok(Self(given))
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
    pub(in super::super) fn number(
        &self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, Problem> {
        let Some((_, value)) = self.0.iter().find(|(given, _)| *given == name) else { return Ok(None) };
        whole_number(value).filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
            let (least, most) = range.into_inner();
            let detail = format!("query parameter {name}: expected a whole number from {least} to {most}");
            Problem::new(ProblemKind::Malformed, detail)
        })
    }

    /// The parameter `timestamp` in milliseconds since 1970, or a number from `least` on.
    ///
    /// # Errors
    /// The value is no time.
    pub(super) fn timestamp(&self, least: i64) -> Result<Option<i64>, Problem> {
        let Some(text) = self.time("timestamp") else { return Ok(None) };
        let number = whole_number(&text).filter(|number| *number >= least);
        number.or_else(|| dialect::position::time(&text, dialect::position::now())).map(Some).ok_or_else(
            || {
                let detail = "query parameter timestamp: expected milliseconds since 1970, a time such as \
                          2026-01-31T12:00:00Z, or -5m";
                Problem::new(ProblemKind::Malformed, detail)
            },
        )
    }

    /// Whether the parameter `isolation` asks for committed records only.
    ///
    /// # Errors
    /// The value is not one of Kafka's levels.
    pub(in super::super) fn committed(&self) -> Result<bool, Problem> {
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
    pub(in super::super) fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(given, _)| *given == name).map(|(_, value)| value.as_ref())
    }

    /// The text of a parameter that can be a time, or a list with times. A space before the offset of a time was a plus
    /// that is not encoded, as in `2026-01-31T12:00:00+01:00`.
    pub(super) fn time(&self, name: &str) -> Option<String> {
        let is_offset = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
        let with_plus = |text: &str| match text.rsplit_once(' ') {
            Some((time, offset)) if is_offset(offset) && !offset.is_empty() => format!("{time}+{offset}"),
            _ => text.to_owned(),
        };
        let texts: Vec<String> = self.text(name)?.split(',').map(with_plus).collect();
        Some(texts.join(","))
    }

    /// A parameter's text.
    pub(in super::super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_ref())
    }
}

/// The problem of a parameter of a query.
pub(in super::super) fn invalid(name: &str, expected: &str) -> Problem {
    Problem::new(ProblemKind::Malformed, format!("query parameter {name}: {expected}"))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{check_problem, told};
    use super::*;

    #[track_caller]
    fn check_target(system: System, path: &str, resource: &str, topic: Option<&str>, partition: Option<i32>) {
        let target = Target::parse(path, system).unwrap();
        let found = (target.resource.path, target.topic.as_deref(), target.partition);
        assert_eq!(found, (resource, topic, partition), "{path}");
    }

    #[test]
    fn paths_parse_into_resources() {
        let check = |path: &str, resource: &str, topic, partition| {
            check_target(System::Kafka, path, resource, topic, partition);
        };
        for path in ["/topics", "/topics/", "topics"] {
            check(path, "/topics", None, None);
        }
        for resource in ["", "/records", "/events"] {
            let want = format!("/topics/{{topic}}{resource}");
            for slash in ["", "/"] {
                let path = format!("/topics/a%20b{resource}{slash}");
                check(&path, &want, Some("a b"), None);
            }
        }
        for resource in ["", "/records", "/offsets", "/events"] {
            let want = format!("/topics/{{topic}}/partitions/{{partition}}{resource}");
            for (number, partition) in [("7", 7), ("%30", 0), ("2147483647", i32::MAX)] {
                let path = format!("/topics/a b/partitions/{number}{resource}");
                check(&path, &want, Some("a b"), Some(partition));
            }
        }
        for prefix in ["", "/kafka", "kafka"] {
            for slash in ["", "/"] {
                let clusters = format!("{prefix}/v3/clusters");
                check(&format!("{clusters}{slash}"), "/v3/clusters", None, None);
                let one = "/v3/clusters/{cluster}";
                check(&format!("{clusters}/a%20b{slash}"), one, None, None);
                let path = format!("{clusters}/c/topics/t{slash}");
                assert!(Target::parse(&path, System::Kafka).is_err());
                let path = format!("{clusters}/a%20b/topics/t/records{slash}");
                check(&path, &format!("{one}/topics/{{topic}}/records"), Some("t"), None);
                assert_eq!(Target::parse(&path, System::Kafka).unwrap().cluster, "a b");
            }
        }
        check("/brokers/", "/brokers", None, None);
        check("/topics/kafka/partitions/", "/topics/{topic}/partitions", Some("kafka"), None);
        for (name, topic) in [
            ("topics", "topics"),
            ("%e2%82%ac", "€"),
            ("€", "€"),
            ("a+b", "a+b"),
            ("{topic}", "{topic}"),
            ("a%2Fb", "a/b"),
        ] {
            check(&format!("/topics/{name}"), "/topics/{topic}", Some(topic), None);
        }
        check_target(System::Nats, "/streams/", "/streams", None, None);
        for resource in ["", "/messages", "/sequences", "/events"] {
            let (path, want) =
                (format!("/streams/a%2Fb{resource}/"), format!("/streams/{{stream}}{resource}"));
            check_target(System::Nats, &path, &want, Some("a/b"), None);
        }
        check_target(System::Nats, "/streams/messages", "/streams/{stream}", Some("messages"), None);
    }

    #[test]
    fn unknown_and_invalid_paths_are_refused() {
        let check = |system, paths: &[&str], status: u16, want: &str| {
            for path in paths {
                check_problem(Target::parse(path, system).unwrap_err(), status, want);
            }
        };
        let long = ["/topics", "/topics/t", "/"].map(|part| part.repeat(10_000));
        check(System::Kafka, &long.each_ref().map(String::as_str), 404, "unknown path");
        let unknown = "/ // /kafka /kafka/topics /kafka/kafka/v3/clusters /V3/clusters /v3/clusters//x /topic /Topics /topics/t/record //topics ///topics /topics/t// \
                       /topics/t/partitions/0/records/x /topics/t/partitions/0/records// /topics/t//records \
                       /topics/t/partitions/0//records";
        check(System::Kafka, &unknown.split(' ').chain([""]).collect::<Vec<_>>(), 404, "unknown path");
        let no_name =
            "/topics// /topics//partitions/0 /topics/% /topics/%2 /topics/%zz /topics/%ff /topics/%+1";
        check(System::Kafka, &no_name.split(' ').collect::<Vec<_>>(), 400, "expected a topic name");
        for number in ["-1", "+1", "2147483648", "x", "", "1.0", "0x1", "%2d1", "99999999999999999999", "٣"]
        {
            let path = format!("/topics/t/partitions/{number}/records");
            check(System::Kafka, &[&path], 400, "expected a partition number");
        }
        let unknown =
            ["", "/", "/stream", "/Streams", "/streams/s/message", "/streams/s/messages/0", "//streams"];
        check(System::Nats, &unknown, 404, "unknown path: expected /streams, ");
        let no_name = ["/streams//messages", "/streams/%", "/streams/%ff/events"];
        check(System::Nats, &no_name, 400, "expected a stream name");
        // Paths of another system name the right ones.
        let of_kafka = ["topics", "/topics/", "/topics/%", "/topics/t/partitions/0/records", "/topics/t/x"];
        check(System::Nats, &of_kafka, 404, "the cluster is of NATS: expected /streams, /streams/STREAM");
        let of_nats = ["streams", "/streams/%", "/streams/s/messages"];
        check(System::Kafka, &of_nats, 404, "the cluster is of Kafka: expected /topics, /topics/TOPIC");
    }

    #[test]
    fn paths_of_rest_proxies_are_named_as_not_served() {
        let moved = "see docs/how-to/move-from-rest-proxy.md";
        for (paths, what, page) in [
            ("/consumers/g/instances/i/topics/t /consumers/", "lists of groups and version 1", moved),
            ("/v3 /v3/clusters/c/topics /kafka/v3/clusters/c/topics/t /clusters", "version 3", moved),
            ("/kafka/v3/clusters/c/topics/t/records:batch /v3/clusters/c/brokers/1/", "version 3", moved),
            ("/admin/topics", "changes of topics", moved),
            ("/subjects/s/versions /schemas/ids/1 /config", "schemas", moved),
            ("/healthy /ready /status/ready /openapi/v3", "health", "see docs/how-to/monitor.md"),
        ] {
            for path in paths.split(' ') {
                let problem = Target::parse(path, System::Kafka).unwrap_err();
                let (status, text) = told(problem.plain());
                let named = [what, "not served: ", page].iter().all(|part| text.contains(part));
                assert!(status == 404 && named, "{path}: {status} {text}");
                check_problem(Target::parse(path, System::Nats).unwrap_err(), 404, "expected /streams, ");
            }
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
            check_problem(Query::parse(query, &known).unwrap_err(), 400, want);
        }
        check_problem(Query::none("x=1").unwrap_err(), 400, "expected none");
        assert!(Query::none("").is_ok());
        let long = Query::none(&"x".repeat(1 << 20)).unwrap_err().plain();
        assert!(told(long).1.len() < 1000);
    }

    #[test]
    fn numbers_must_be_whole_and_in_range() {
        for value in ["", "x", "1.0", "+1", "--1", "-", "11", "-2", "9223372036854775808", "1 "] {
            let query = Query::parse(&format!("n={value}"), &["n"]).unwrap();
            let problem = query.number("n", -1..=10).unwrap_err();
            check_problem(problem, 400, "query parameter n: expected a whole number from -1 to 10");
        }
        let query = Query::parse("n=-1", &["n"]).unwrap();
        assert_eq!(query.number("n", -1..=10).unwrap(), Some(-1));
    }
}
