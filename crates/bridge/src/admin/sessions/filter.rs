//! The query of a request for sessions.

use std::net::IpAddr;

use sluicegate_delivery::OpenClient;
use sluicegate_fair_share::ClientKey;
use sluicegate_telemetry::shown;

use crate::percent::parameters;

/// The sessions that an operator asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) filter: Filter,
    /// Sessions of a page, at most.
    pub(super) limit: usize,
    /// Only sessions with larger numbers.
    pub(super) after: u64,
}

/// Properties of a session, all of which must match.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    issuer: Option<String>,
    subject: Option<String>,
    route: Option<String>,
    cluster: Option<String>,
    topic: Option<String>,
    address: Option<ClientKey>,
    id: Option<u64>,
}

impl Query {
    /// # Errors
    /// A parameter is unknown, repeated or invalid: the expected form.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let (mut filter, mut limit, mut after) = (Filter::default(), None, None);
        for pair in parameters(query) {
            let (key, value) = pair.ok_or("expected NAME=VALUE, in percent-encoded UTF-8")?;
            let key = key.as_str();
            match key {
                "issuer" => set(&mut filter.issuer, key, Some(value))?,
                "subject" => set(&mut filter.subject, key, Some(value))?,
                "route" => set(&mut filter.route, key, Some(value))?,
                "cluster" => set(&mut filter.cluster, key, Some(value))?,
                "topic" => set(&mut filter.topic, key, Some(value))?,
                "address" => {
                    let address = value.parse::<IpAddr>();
                    let address = address.map_err(|_| "address: expected an IP address without a port")?;
                    set(&mut filter.address, key, Some(ClientKey::from(address)))?;
                }
                "id" => set(&mut filter.id, key, Some(number(key, &value, u64::MAX)?))?,
                "limit" => set(&mut limit, key, Some(number(key, &value, MAX_LIMIT)?))?,
                "after" => set(&mut after, key, Some(number(key, &value, u64::MAX)?))?,
                _ => return Err(format!("{}: expected one of {KEYS}", key.escape_debug())),
            }
        }
        let limit = usize::try_from(limit.unwrap_or(DEFAULT_LIMIT)).unwrap_or(usize::MAX);
        Ok(Self { filter, limit, after: after.unwrap_or_default() })
    }
}

impl Filter {
    /// Whether every session matches.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn matches(&self, client: &OpenClient) -> bool {
        let Self { issuer, subject, route, cluster, topic, address, id } = self;
        let grant = &client.grant;
        let person = || grant.holding().map(|holding| holding.person);
        let is = |wanted: &Option<String>, found: Option<&str>| {
            let is_wanted = |wanted: &String| found.is_some_and(|found| shown::is_name(found, wanted));
            wanted.as_ref().is_none_or(is_wanted)
        };
        id.is_none_or(|id| client.id == id)
            && address.is_none_or(|address| grant.client() == address)
            && is(cluster, Some(grant.metrics().name()))
            && is(route, grant.route_name())
            && (issuer.is_none() && subject.is_none()
                || person().is_some_and(|person| {
                    is(issuer, person.issuer.as_deref()) && is(subject, person.subject.as_deref())
                }))
            && topic.as_ref().is_none_or(|topic| grant.subscribes_to(topic))
    }
}

fn set<T>(member: &mut Option<T>, key: &str, value: Option<T>) -> Result<(), String> {
    match member {
        Some(_) => Err(format!("{key}: expected it once")),
        None => {
            *member = value;
            Ok(())
        }
    }
}

fn number(key: &str, value: &str, max: u64) -> Result<u64, String> {
    let number = value.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("{key}: expected a number from 1 to {max}"))
}

const KEYS: &str = "issuer, subject, route, cluster, topic, address, id, limit, after";
const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_checked() {
        let parsed = Query::parse("subject=a+%26b&address=%3A%3Affff%3A192.0.2.1&limit=2&after=7").unwrap();
        assert_eq!((parsed.limit, parsed.after), (2, 7));
        assert_eq!(parsed.filter.subject.as_deref(), Some("a &b"));
        assert_eq!(parsed.filter.address, Some(ClientKey::parse(b"192.0.2.1")));
        let all = Query::parse("").unwrap();
        assert_eq!((all.filter.is_empty(), all.limit, all.after), (true, 100, 0));
        for (query, expected) in [
            ("subjekt=a", "subjekt: expected one of issuer"),
            ("subject=a&subject=b", "subject: expected it once"),
            ("subject=%ff", "expected NAME=VALUE, in percent-encoded UTF-8"),
            ("address=192.0.2.1:80", "address: expected an IP address"),
            ("limit=1001", "limit: expected a number from 1 to 1000"),
            ("limit=0", "limit: expected a number"),
            ("id=x", "id: expected a number"),
        ] {
            let error = Query::parse(query).unwrap_err();
            assert!(error.starts_with(expected), "{query}: {error}");
        }
    }
}
