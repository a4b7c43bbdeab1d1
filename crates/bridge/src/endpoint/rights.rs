//! The rights of a client: what its route grants to everybody, narrowed to what it grants to this person.

use http::{HeaderMap, HeaderValue};
use sluicegate_delivery::grant::SchemaRules;
use sluicegate_protocol::metadata;
use sluicegate_protocol::metadata::MAX_ACCESS_BYTES;
use sluicegate_rights::{Claims, Policy, Rights, Topics};

use super::refusal::Refusal;

/// The policy of the client's route, if it has one.
///
/// # Errors
/// The header is invalid.
pub(crate) fn policy(headers: &HeaderMap) -> Result<Option<Policy>, Refusal> {
    let Some(policy) = headers.get(metadata::ACCESS).map(|policy| policy.as_bytes()) else { return Ok(None) };
    if policy.len() > MAX_ACCESS_BYTES {
        return Err(Refusal::Policy(format!("it has {} bytes", policy.len())));
    }
    // An unknown member can be a restriction of a newer gateway.
    Policy::parse(policy).map(Some).map_err(Refusal::Policy)
}

/// The rights that a route grants to everybody. Without headers: to read every topic, to write none, and
/// to consume in no group.
///
/// # Errors
/// A header is invalid.
pub(crate) fn of_route(headers: &HeaderMap) -> Result<Rights, Refusal> {
    let topics = topics(headers, metadata::TOPICS)?.unwrap_or_default();
    let may_read = flag(headers, metadata::READ)?.unwrap_or(true);
    let may_write = flag(headers, metadata::WRITE)?.unwrap_or(false);
    let consume = self::topics(headers, metadata::CONSUME)?;
    Ok(Rights { read: may_read.then(|| topics.clone()), write: may_write.then_some(topics), consume })
}

/// The topics whose tables clients of the route can read.
///
/// # Errors
/// The header is invalid.
pub(crate) fn tables(headers: &HeaderMap) -> Result<Topics, Refusal> {
    Ok(topics(headers, metadata::TABLES)?.unwrap_or_else(Topics::none))
}

/// The route's rules for schemas of records that clients write.
///
/// # Errors
/// A header is invalid.
pub(crate) fn schemas(headers: &HeaderMap) -> Result<SchemaRules, Refusal> {
    let flag = |header| Ok(flag(headers, header)?.unwrap_or(false));
    Ok(SchemaRules { encodes: flag(metadata::ENCODE)?, registers: flag(metadata::REGISTER_SCHEMAS)? })
}

/// Whether clients of the route learn of the cluster's brokers, and of the configuration of topics.
///
/// # Errors
/// The header is invalid.
pub(crate) fn describes(headers: &HeaderMap) -> Result<bool, Refusal> {
    Ok(flag(headers, metadata::DESCRIBE)?.unwrap_or(false))
}

fn topics(headers: &HeaderMap, header: &'static str) -> Result<Option<Topics>, Refusal> {
    let expected = "comma-separated topics or prefixes followed by *, in at most 8192 bytes";
    let parse = |listed: &HeaderValue| Topics::parse(listed.as_bytes());
    let listed = headers.get(header);
    listed.map(|listed| parse(listed).ok_or(Refusal::InvalidHeader { header, expected })).transpose()
}

/// The rights of a client with these claims on a route that grants `route` to everybody.
pub(crate) fn rights(route: Rights, policy: Option<&Policy>, claims: Option<&Claims>) -> Rights {
    match policy {
        None => route,
        Some(policy) => route.and(policy.rights(claims)),
    }
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
    use super::*;
    use crate::http::tests::headers;

    #[test]
    fn only_listed_topics_have_tables() {
        let of = |lines: &[(&str, &str)]| tables(&headers(lines));
        assert!(!of(&[]).ok().unwrap().contains("a"));
        let listed = of(&[(metadata::TABLES, "a,b.*")]).ok().unwrap();
        assert!(listed.contains("a") && listed.contains("b.c") && !listed.contains("c"));
        assert!(of(&[(metadata::TABLES, "a b")]).is_err());
    }

    #[test]
    fn schemas_are_used_as_the_route_says() {
        for (lines, encodes, registers) in [
            (&[][..], false, false),
            (&[(metadata::ENCODE, "true"), (metadata::REGISTER_SCHEMAS, "false")], true, false),
            (&[(metadata::REGISTER_SCHEMAS, "true")], false, true),
        ] {
            assert_eq!(schemas(&headers(lines)).ok(), Some(SchemaRules { encodes, registers }), "{lines:?}");
        }
    }

    #[test]
    fn invalid_headers_grant_nothing() {
        let of = |lines: HeaderMap| {
            schemas(&lines)?;
            describes(&lines)?;
            Ok(rights(of_route(&lines)?, policy(&lines)?.as_ref(), None))
        };
        let check = |header, value: &str| match of(headers(&[(header, value)])).err() {
            Some(Refusal::InvalidHeader { header: found, .. }) => assert_eq!(found, header),
            Some(refusal @ Refusal::Policy(_)) => {
                assert!(header == metadata::ACCESS && refusal.text().len() < 400, "{value}");
                assert_eq!(refusal.text().contains("invalid type: string \"a\""), value.contains("[\"a\"]"));
            }
            other => panic!("{header}: {value}: {other:?}"),
        };
        check(metadata::TOPICS, "a b");
        let schemas = [metadata::ENCODE, metadata::REGISTER_SCHEMAS];
        for header in [metadata::READ, metadata::WRITE, metadata::DESCRIBE].into_iter().chain(schemas) {
            ["", "yes", "TRUE", "1", "true, false"].into_iter().for_each(|value| check(header, value));
        }
        for value in
            ["", "[]", "x", r#"{"read":["a"]}"#, r#"{"newer":1}"#, r#"{"read":[{"topic":"${sub}"}]}"#]
        {
            check(metadata::ACCESS, value);
        }
        check(metadata::ACCESS, &format!("{{{}}}", " ".repeat(MAX_ACCESS_BYTES)));
    }
}
