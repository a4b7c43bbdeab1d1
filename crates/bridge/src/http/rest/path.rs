//! Parses paths into resources, and queries into parameters.

use std::ops::RangeInclusive;

use sluicegate_backend::System;
use sluicegate_backend::number::whole_number;

use super::super::problem::{Problem, ProblemKind};

/// The resource at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// `/topics`
    Topics,
    /// `/topics/{topic}`
    Topic { topic: String },
    /// `/topics/{topic}/records`
    TopicRecords { topic: String },
    /// `/topics/{topic}/events`
    TopicEvents { topic: String },
    /// `/topics/{topic}/partitions/{partition}`
    Partition { topic: String, partition: i32 },
    /// `/topics/{topic}/partitions/{partition}/records`
    Records { topic: String, partition: i32 },
    /// `/topics/{topic}/partitions/{partition}/offsets`
    Offsets { topic: String, partition: i32 },
    /// `/topics/{topic}/partitions/{partition}/events`
    Events { topic: String, partition: i32 },
    /// `/streams`
    Streams,
    /// `/streams/{stream}`
    Stream { stream: String },
    /// `/streams/{stream}/messages`
    Messages { stream: String },
    /// `/streams/{stream}/sequences`
    Sequences { stream: String },
    /// `/streams/{stream}/events`
    StreamEvents { stream: String },
}

impl Resource {
    /// Parses a path on a cluster of `system`. A trailing slash is ignored.
    ///
    /// # Errors
    /// The path is unknown or invalid, or of another system.
    pub(super) fn parse(path: &str, system: System) -> Result<Self, Problem> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> =
            path.strip_prefix('/').unwrap_or(path).split('/').take(MAX_SEGMENTS).collect();
        let name = |segment| log_name(segment, system);
        let found = match (system, &segments[..]) {
            (System::Kafka, [TOPICS]) => Self::Topics,
            (System::Kafka, [TOPICS, topic]) => Self::Topic { topic: name(topic)? },
            (System::Kafka, [TOPICS, topic, "records"]) => Self::TopicRecords { topic: name(topic)? },
            (System::Kafka, [TOPICS, topic, "events"]) => Self::TopicEvents { topic: name(topic)? },
            (System::Kafka, [TOPICS, topic, "partitions", partition]) => {
                Self::Partition { topic: name(topic)?, partition: partition_number(partition)? }
            }
            (System::Kafka, [TOPICS, topic, "partitions", partition, "records"]) => {
                Self::Records { topic: name(topic)?, partition: partition_number(partition)? }
            }
            (System::Kafka, [TOPICS, topic, "partitions", partition, "offsets"]) => {
                Self::Offsets { topic: name(topic)?, partition: partition_number(partition)? }
            }
            (System::Kafka, [TOPICS, topic, "partitions", partition, "events"]) => {
                Self::Events { topic: name(topic)?, partition: partition_number(partition)? }
            }
            (System::Nats, [STREAMS]) => Self::Streams,
            (System::Nats, [STREAMS, stream]) => Self::Stream { stream: name(stream)? },
            (System::Nats, [STREAMS, stream, "messages"]) => Self::Messages { stream: name(stream)? },
            (System::Nats, [STREAMS, stream, "sequences"]) => Self::Sequences { stream: name(stream)? },
            (System::Nats, [STREAMS, stream, "events"]) => Self::StreamEvents { stream: name(stream)? },
            _ => return Err(unknown(system, &segments)),
        };
        Ok(found)
    }

    /// The allowed methods, in the form of the header `Allow`.
    pub(super) fn allow(&self, write: bool) -> &'static str {
        match (self, write) {
            (Self::Topic { .. } | Self::Stream { .. }, true) => "GET, HEAD, POST, OPTIONS",
            (Self::Partition { .. }, true) => "POST, OPTIONS",
            (Self::Partition { .. }, false) => "OPTIONS",
            (Self::Topics | Self::Topic { .. } | Self::TopicRecords { .. }, _)
            | (Self::Records { .. } | Self::Offsets { .. }, _)
            | (Self::TopicEvents { .. } | Self::Events { .. }, _)
            | (Self::Streams | Self::Stream { .. } | Self::Messages { .. }, _)
            | (Self::Sequences { .. } | Self::StreamEvents { .. }, _) => "GET, HEAD, OPTIONS",
        }
    }

    /// The pattern of its path.
    pub(super) fn route(&self) -> &'static str {
        match self {
            Self::Topics => "/topics",
            Self::Topic { .. } => "/topics/{topic}",
            Self::TopicRecords { .. } => "/topics/{topic}/records",
            Self::TopicEvents { .. } => "/topics/{topic}/events",
            Self::Partition { .. } => "/topics/{topic}/partitions/{partition}",
            Self::Records { .. } => "/topics/{topic}/partitions/{partition}/records",
            Self::Offsets { .. } => "/topics/{topic}/partitions/{partition}/offsets",
            Self::Events { .. } => "/topics/{topic}/partitions/{partition}/events",
            Self::Streams => "/streams",
            Self::Stream { .. } => "/streams/{stream}",
            Self::Messages { .. } => "/streams/{stream}/messages",
            Self::Sequences { .. } => "/streams/{stream}/sequences",
            Self::StreamEvents { .. } => "/streams/{stream}/events",
        }
    }

    /// The name for messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Topics => "the list of topics",
            Self::Topic { .. } => "a topic",
            Self::Partition { .. } => "a partition",
            Self::TopicRecords { .. } | Self::Records { .. } => "records",
            Self::Offsets { .. } => "offsets",
            Self::TopicEvents { .. } | Self::Events { .. } | Self::StreamEvents { .. } => "events",
            Self::Streams => "the list of streams",
            Self::Stream { .. } => "a stream",
            Self::Messages { .. } => "messages",
            Self::Sequences { .. } => "sequences",
        }
    }
}

/// Whether a path is one of streams, on whatever cluster.
pub(super) fn is_of_streams(path: &str) -> bool {
    path.strip_prefix('/').unwrap_or(path).split('/').next() == Some(STREAMS)
}

fn unknown(system: System, segments: &[&str]) -> Problem {
    let (of_system, of_other) = match system {
        System::Kafka => (RESOURCES, STREAMS),
        System::Nats => (STREAM_RESOURCES, TOPICS),
    };
    let detail = if segments.first() == Some(&of_other) {
        format!("the cluster is of {}: expected {of_system}", system.name)
    } else {
        format!("unknown path: expected {of_system}")
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

/// Decodes RFC 3986, section 2.1. `None` if the encoding is invalid or not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, behind @ ..] = rest else { return None };
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        bytes.push(u8::try_from(digit(high)? << 4 | digit(low)?).ok()?);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
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
    pub(super) fn with_lists(query: &str, known: &[&'static str], lists: &[&str]) -> Result<Self, Problem> {
        let malformed = |detail: String| Err(Problem::new(ProblemKind::Malformed, detail));
        let mut parameters: Vec<(&'static str, String)> = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let (Some(name), Some(value)) = (percent_decoded(name), percent_decoded(value)) else {
                return malformed("expected NAME=VALUE in the query, in percent-encoded UTF-8".to_owned());
            };
            let Some(name) = known.iter().find(|known| **known == name) else {
                let name: String = name.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
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

const TOPICS: &str = "topics";
const STREAMS: &str = "streams";
/// The paths of Kafka.
const RESOURCES: &str = "/topics, /topics/TOPIC, /topics/TOPIC/records, /topics/TOPIC/events, \
                         /topics/TOPIC/partitions/N, or /topics/TOPIC/partitions/N with /records, /offsets or /events, after the route's path";
/// The paths of NATS.
const STREAM_RESOURCES: &str = "/streams, /streams/STREAM, or /streams/STREAM with /messages, /sequences or /events, after the route's path";
/// One more than any resource has.
const MAX_SEGMENTS: usize = 6;
/// Characters of a name that a message repeats.
const MAX_SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(problem: Problem) -> (u16, String) {
        let response = problem.plain();
        (response.status.as_u16(), String::from_utf8(response.body.to_vec()).unwrap())
    }

    #[test]
    fn paths_parse_into_resources() {
        let topic = || "a b".to_owned();
        for (path, want) in [
            ("/topics", Resource::Topics),
            ("/topics/", Resource::Topics),
            ("topics", Resource::Topics),
            ("/topics/a%20b", Resource::Topic { topic: topic() }),
            ("/topics/a%20b/", Resource::Topic { topic: topic() }),
            ("/topics/a%20b/records", Resource::TopicRecords { topic: topic() }),
            ("/topics/a b/partitions/7", Resource::Partition { topic: topic(), partition: 7 }),
            ("/topics/a%20b/partitions/%30/records", Resource::Records { topic: topic(), partition: 0 }),
            (
                "/topics/a%20b/partitions/2147483647/offsets",
                Resource::Offsets { topic: topic(), partition: i32::MAX },
            ),
            ("/topics/a%20b/events", Resource::TopicEvents { topic: topic() }),
            ("/topics/a%20b/partitions/7/events", Resource::Events { topic: topic(), partition: 7 }),
            ("/topics/topics", Resource::Topic { topic: "topics".into() }),
            ("/topics/%e2%82%ac", Resource::Topic { topic: "€".into() }),
            ("/topics/a%2Fb", Resource::Topic { topic: "a/b".into() }),
        ] {
            assert_eq!(Resource::parse(path, System::Kafka).unwrap(), want, "{path}");
        }
    }

    #[test]
    fn paths_parse_into_streams() {
        let stream = || "a b".to_owned();
        for (path, want) in [
            ("/streams", Resource::Streams),
            ("/streams/", Resource::Streams),
            ("/streams/a%20b", Resource::Stream { stream: stream() }),
            ("/streams/a%20b/", Resource::Stream { stream: stream() }),
            ("/streams/a b/messages", Resource::Messages { stream: stream() }),
            ("/streams/a%20b/sequences", Resource::Sequences { stream: stream() }),
            ("/streams/a%20b/events/", Resource::StreamEvents { stream: stream() }),
            ("/streams/messages", Resource::Stream { stream: "messages".into() }),
            ("/streams/a%2Fb", Resource::Stream { stream: "a/b".into() }),
        ] {
            assert_eq!(Resource::parse(path, System::Nats).unwrap(), want, "{path}");
        }
    }

    #[track_caller]
    fn check(path: &str, status: u16, want: &str) {
        check_of(System::Kafka, path, status, want);
    }

    #[track_caller]
    fn check_of(system: System, path: &str, status: u16, want: &str) {
        let (found, body) = text(Resource::parse(path, system).unwrap_err());
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
        check(&"/topics".repeat(10_000), 404, "unknown path");
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
