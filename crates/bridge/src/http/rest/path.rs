//! A path becomes a resource, a query its parameters.

use std::ops::RangeInclusive;

use super::super::number::whole_number;
use super::super::problem::{Fault, Problem};

/// What is at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// `/topics`
    Topics,
    /// `/topics/{topic}`
    Topic { topic: String },
    /// `/topics/{topic}/partitions/{partition}`
    Partition { topic: String, partition: i32 },
    /// `/topics/{topic}/partitions/{partition}/records`
    Records { topic: String, partition: i32 },
    /// `/topics/{topic}/partitions/{partition}/offsets`
    Offsets { topic: String, partition: i32 },
}

impl Resource {
    /// Takes a path apart. One slash at its end means nothing.
    ///
    /// # Errors
    /// Nothing is there, or it is no path.
    pub(super) fn parse(path: &str) -> Result<Self, Problem> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> =
            path.strip_prefix('/').unwrap_or(path).split('/').take(MAX_SEGMENTS).collect();
        match segments[..] {
            ["topics"] => Ok(Self::Topics),
            ["topics", topic] => Ok(Self::Topic { topic: named(topic)? }),
            ["topics", topic, "partitions", partition] => {
                Ok(Self::Partition { topic: named(topic)?, partition: numbered(partition)? })
            }
            ["topics", topic, "partitions", partition, "records"] => {
                Ok(Self::Records { topic: named(topic)?, partition: numbered(partition)? })
            }
            ["topics", topic, "partitions", partition, "offsets"] => {
                Ok(Self::Offsets { topic: named(topic)?, partition: numbered(partition)? })
            }
            _ => Err(Problem::new(Fault::NoResource, RESOURCES)),
        }
    }

    /// The methods that it takes, as the header `Allow` has them.
    pub(super) fn allow(&self, write: bool) -> &'static str {
        match (self, write) {
            (Self::Topic { .. }, true) => "GET, HEAD, POST, OPTIONS",
            (Self::Partition { .. }, true) => "POST, OPTIONS",
            (Self::Partition { .. }, false) => "OPTIONS",
            (Self::Topics | Self::Topic { .. } | Self::Records { .. } | Self::Offsets { .. }, _) => {
                "GET, HEAD, OPTIONS"
            }
        }
    }

    /// What it is called in a text.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Topics => "the list of topics",
            Self::Topic { .. } => "a topic",
            Self::Partition { .. } => "a partition",
            Self::Records { .. } => "records",
            Self::Offsets { .. } => "offsets",
        }
    }
}

fn named(segment: &str) -> Result<String, Problem> {
    decoded(segment).filter(|topic| !topic.is_empty()).ok_or_else(|| {
        Problem::new(Fault::Malformed, "expected the name of a topic in the path, percent-encoded UTF-8")
    })
}

fn numbered(segment: &str) -> Result<i32, Problem> {
    let number = decoded(segment).and_then(|text| i32::try_from(whole_number(&text)?).ok());
    number.filter(|number| *number >= 0).ok_or_else(|| {
        let detail = format!("expected the number of a partition in the path, 0 to {}", i32::MAX);
        Problem::new(Fault::Malformed, detail)
    })
}

/// RFC 3986, section 2.1. `None` where an octet is not encoded as it should be, or where they are no UTF-8.
fn decoded(text: &str) -> Option<String> {
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

/// The parameters of a query, all of them known and none there twice.
#[derive(Debug)]
pub(super) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Takes a query apart, in which these parameters may be.
    ///
    /// # Errors
    /// It has another one, or one twice, or is not encoded as it should be.
    pub(super) fn parse(query: &str, known: &[&'static str]) -> Result<Self, Problem> {
        let malformed = |detail: String| Err(Problem::new(Fault::Malformed, detail));
        let mut parameters: Vec<(&'static str, String)> = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
                return malformed("expected a query of NAME=VALUE, percent-encoded UTF-8".to_owned());
            };
            let Some(name) = known.iter().find(|known| **known == name) else {
                let name: String = name.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
                return malformed(match known {
                    [] => format!("query parameter {name} is unknown: expected none here"),
                    _ => format!("query parameter {name} is unknown: expected {}", known.join(", ")),
                });
            };
            if parameters.iter().any(|(given, _)| given == name) {
                return malformed(format!("query parameter {name} is there more than once: expected one"));
            }
            parameters.push((*name, value));
        }
        Ok(Self(parameters))
    }

    /// Checks that there are no parameters.
    ///
    /// # Errors
    /// As [`Query::parse`].
    pub(super) fn none(query: &str) -> Result<(), Problem> {
        Self::parse(query, &[]).map(drop)
    }

    /// A whole number, where it is there.
    ///
    /// # Errors
    /// It is none, or not within `range`.
    pub(super) fn number(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Problem> {
        let Some((_, value)) = self.0.iter().find(|(given, _)| *given == name) else { return Ok(None) };
        whole_number(value).filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
            let (least, most) = range.into_inner();
            let detail = format!("query parameter {name}: expected a whole number from {least} to {most}");
            Problem::new(Fault::Malformed, detail)
        })
    }
}

/// What is said where nothing is.
const RESOURCES: &str = "nothing is at this path: expected /topics, /topics/TOPIC, /topics/TOPIC/partitions/N, \
                         /topics/TOPIC/partitions/N/records or /topics/TOPIC/partitions/N/offsets behind the route's path";
/// One more than any resource has.
const MAX_SEGMENTS: usize = 6;
/// How many characters of a name are repeated.
const MAX_SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(problem: Problem) -> (u16, String) {
        let response = problem.plain();
        (response.status.as_u16(), String::from_utf8(response.body.to_vec()).unwrap())
    }

    #[test]
    fn each_resource_has_its_path() {
        let topic = || "a b".to_owned();
        for (path, want) in [
            ("/topics", Resource::Topics),
            ("/topics/", Resource::Topics),
            ("topics", Resource::Topics),
            ("/topics/a%20b", Resource::Topic { topic: topic() }),
            ("/topics/a%20b/", Resource::Topic { topic: topic() }),
            ("/topics/a b/partitions/7", Resource::Partition { topic: topic(), partition: 7 }),
            ("/topics/a%20b/partitions/%30/records", Resource::Records { topic: topic(), partition: 0 }),
            (
                "/topics/a%20b/partitions/2147483647/offsets",
                Resource::Offsets { topic: topic(), partition: i32::MAX },
            ),
            ("/topics/topics", Resource::Topic { topic: "topics".into() }),
            ("/topics/%e2%82%ac", Resource::Topic { topic: "€".into() }),
            ("/topics/a%2Fb", Resource::Topic { topic: "a/b".into() }),
        ] {
            assert_eq!(Resource::parse(path).unwrap(), want, "{path}");
        }
    }

    #[track_caller]
    fn check(path: &str, status: u16, want: &str) {
        let (found, body) = text(Resource::parse(path).unwrap_err());
        assert_eq!(found, status, "{path}");
        assert!(body.contains(want), "{path}: {body}");
    }

    #[test]
    fn other_paths_are_told_what_there_is() {
        for path in
            ["", "/", "//", "/topic", "/Topics", "/topics/t/partitions", "/topics/t/records", "//topics"]
        {
            check(path, 404, "nothing is at this path");
        }
        check("/topics/t/partitions/0/records/x", 404, "nothing is at this path");
        check("/topics/t/partitions/0/records//", 404, "nothing is at this path");
        check(&"/topics".repeat(10_000), 404, "nothing is at this path");
        for path in
            ["/topics//partitions/0", "/topics/%", "/topics/%2", "/topics/%zz", "/topics/%ff", "/topics/%+1"]
        {
            check(path, 400, "the name of a topic");
        }
        for number in ["-1", "+1", "2147483648", "x", "", "1.0", "0x1", "%2d1", "99999999999999999999", "٣"]
        {
            check(&format!("/topics/t/partitions/{number}/records"), 400, "the number of a partition");
        }
    }

    #[test]
    fn parameters_are_known_and_there_once() {
        let known = ["offset", "timeout"];
        let query = Query::parse("offset=%31&&timeout=0", &known).unwrap();
        assert_eq!(query.number("offset", 0..=i64::MAX).unwrap(), Some(1));
        assert_eq!(query.number("timeout", 0..=10).unwrap(), Some(0));
        assert_eq!(query.number("max_bytes", 0..=10).unwrap(), None);
        for (query, want) in [
            ("ofset=1", "query parameter ofset is unknown: expected offset, timeout"),
            ("offset=1&offset=1", "query parameter offset is there more than once"),
            ("offset=%", "percent-encoded"),
            ("%ff=1", "percent-encoded"),
            ("a%0ab=1", "a\\\\nb is unknown"),
        ] {
            let (status, body) = text(Query::parse(query, &known).unwrap_err());
            assert_eq!(status, 400, "{query}");
            assert!(body.contains(want), "{query}: {body}");
        }
        assert!(text(Query::none("x=1").unwrap_err()).1.contains("expected none here"));
        assert!(Query::none("").is_ok());
        let long = text(Query::none(&"x".repeat(1 << 20)).unwrap_err()).1;
        assert!(long.len() < 1000);
    }

    #[test]
    fn a_number_is_whole_and_within_its_range() {
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
