//! Writes of a client that can write some of a topic's records.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use sluicegate_backend::System;
use sluicegate_backend::command::{Header, Record};
use sluicegate_rights::row::Marks;
use sluicegate_rights::{Row, Rows};

use crate::cluster::escape_for_message;

/// The records that a client can write to a topic.
pub(super) struct Writable<'a> {
    system: System,
    /// A record is in one row of each.
    groups: Vec<Group<'a>>,
}

struct Group<'a> {
    /// By key.
    keys: Vec<&'a Row>,
    /// Names of headers which a client cannot set itself.
    names: BTreeSet<&'a str>,
    /// The header of a record that is in no row by key.
    header: Option<Header>,
    /// Whether there are others than `header`, so that none is the one to set.
    is_ambiguous: bool,
}

impl<'a> Writable<'a> {
    pub(super) fn new(rows: &'a Rows, system: System) -> Self {
        Self { system, groups: rows.groups().map(Group::new).collect() }
    }

    /// Gives a record the headers of its rows.
    ///
    /// # Errors
    /// The client cannot write it: what was expected.
    pub(super) fn admit(&self, record: &mut Record) -> Result<(), String> {
        let mut set: Vec<&Header> = Vec::new();
        for Group { keys, names, header, is_ambiguous } in &self.groups {
            if let Some(own) = record.headers.iter().find(|header| names.contains(&*header.key)) {
                let name = escape_for_message(&own.key);
                return Err(format!("header {name}: expected none, because it is set here"));
            }
            match header {
                _ if keys.iter().any(|row| row.has(&Unwritten(record))) => {}
                None => return Err(expected(keys, self.system)),
                Some(Header { key, .. }) if *is_ambiguous => {
                    let name = escape_for_message(key);
                    return Err(format!(
                        "header {name} can have several values: this route writes with one only"
                    ));
                }
                Some(header) => set.push(header),
            }
        }
        record.headers.extend(set.into_iter().cloned());
        Ok(())
    }
}

impl<'a> Group<'a> {
    fn new(rows: &'a [Arc<Row>]) -> Self {
        let (mut keys, mut headers) = (Vec::new(), BTreeSet::new());
        for row in rows {
            match &**row {
                Row::Header { name, value } => drop(headers.insert((&**name, &**value))),
                by_key @ (Row::KeyPrefix(_) | Row::Subjects(_)) => keys.push(by_key),
            }
        }
        let header = headers.first().map(|(name, value)| Header {
            key: (*name).to_owned(),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
        });
        let names = headers.iter().map(|(name, _)| *name).collect();
        Self { keys, names, header, is_ambiguous: headers.len() > 1 }
    }
}

/// The error of a record whose key is in none of `rows`.
fn expected(rows: &[&Row], system: System) -> String {
    let keys = rows.iter().flat_map(|row| match row {
        Row::KeyPrefix(prefix) => vec![format!("{}…", escape_for_message(prefix))],
        Row::Subjects(subjects) => subjects.iter().map(|subject| escape_for_message(subject)).collect(),
        Row::Header { .. } => Vec::new(),
    });
    let mut shown: Vec<String> = keys.take(MAX_SHOWN.saturating_add(1)).collect();
    let more = if shown.len() > MAX_SHOWN { " or others" } else { "" };
    shown.truncate(MAX_SHOWN);
    let (word, shown) = (if system.has_partitions { "key" } else { "subject" }, shown.join(" or "));
    match shown.is_empty() {
        true => "this route does not let the client write any record here".to_owned(),
        false => format!("{word}: expected {shown}{more}"),
    }
}

/// A record to write.
struct Unwritten<'a>(&'a Record);

impl Marks for Unwritten<'_> {
    fn key(&self) -> Option<&[u8]> {
        // Rows are about keys as they are stored, and begin with no schema's id.
        self.0.key.as_deref().filter(|_| self.0.key_schema.is_none())
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.0.headers.iter().map(|header| (header.key.as_bytes(), header.value.as_deref()))
    }
}

/// The keys in an error, at most.
const MAX_SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use sluicegate_backend::command::SchemaChoice;

    use super::*;
    use crate::testing::records::{keys as key, rows};

    fn tenant(value: &str) -> Row {
        Row::Header { name: "tenant".into(), value: value.into() }
    }

    fn record(key: Option<&'static str>, headers: &[&str]) -> Record {
        let header = |name: &&str| Header { key: (*name).to_owned(), value: Some("x".into()) };
        let headers = headers.iter().map(header).collect();
        Record { key: key.map(Into::into), headers, ..Record::default() }
    }

    /// The names of the headers that a record is written with.
    #[track_caller]
    fn check(limits: Vec<Row>, mut record: Record, want: Result<&[(&str, &str)], &str>) {
        let rows = rows(limits);
        let admitted = Writable::new(&rows, System::Kafka).admit(&mut record);
        let headers = record.headers.iter().map(|header| {
            let value = header.value.as_deref().unwrap_or_default();
            (header.key.as_str(), str::from_utf8(value).unwrap())
        });
        let headers: Vec<_> = headers.collect();
        assert_eq!(admitted.as_ref().map(|()| &headers[..]).map_err(String::as_str), want);
    }

    #[test]
    fn keys_begin_as_one_of_the_rows_does() {
        check(vec![key("a:"), key("b:")], record(Some("b:1"), &[]), Ok(&[]));
        check(vec![key("a:")], record(Some("a"), &[]), Err("key: expected a:…"));
        check(vec![key("a:")], record(None, &[]), Err("key: expected a:…"));
        let many = ["a:", "b:", "c:", "d\n:"].map(key).to_vec();
        check(many, record(Some("x"), &[]), Err("key: expected a:… or b:… or c:… or others"));
        check(vec![key("\n:")], record(Some("x"), &[]), Err("key: expected \\n:…"));
        let key_schema = Some(SchemaChoice::Id(1));
        let encoded = Record { key_schema, ..record(Some("a:1"), &[]) };
        check(vec![key("a:")], encoded, Err("key: expected a:…"));
    }

    #[test]
    fn header_is_set_and_never_the_clients() {
        check(vec![tenant("a")], record(None, &["y"]), Ok(&[("y", "x"), ("tenant", "a")]));
        check(vec![tenant("a"), tenant("a")], record(None, &[]), Ok(&[("tenant", "a")]));
        let own = "header tenant: expected none, because it is set here";
        check(vec![tenant("a")], record(None, &["tenant"]), Err(own));
        check(vec![tenant("x")], record(None, &["tenant"]), Err(own));
        check(vec![key("a:"), tenant("b")], record(Some("a:1"), &["tenant"]), Err(own));
        check(vec![key("a:"), tenant("b")], record(Some("a:1"), &[]), Ok(&[]));
        check(vec![key("a:"), tenant("b")], record(Some("b:1"), &[]), Ok(&[("tenant", "b")]));
        let several = "header tenant can have several values: this route writes with one only";
        check(vec![tenant("a"), tenant("b")], record(None, &[]), Err(several));
    }

    #[test]
    fn subjects_are_those_of_the_rows() {
        let rows = rows(vec![Row::Subjects(vec!["orders.acme.>".into(), "x.*".into()])]);
        let writable = Writable::new(&rows, System::Nats);
        let admit = |subject| writable.admit(&mut record(Some(subject), &[]));
        assert_eq!((admit("orders.acme.new"), admit("x.y")), (Ok(()), Ok(())));
        assert_eq!(admit("orders.acme").unwrap_err(), "subject: expected orders.acme.> or x.*");
    }

    #[test]
    fn nothing_can_be_written_without_rows() {
        let refused = "this route does not let the client write any record here".to_owned();
        for (rows, want) in [(Rows::none(), Err(refused)), (Rows::default(), Ok(()))] {
            let admitted = Writable::new(&rows, System::Kafka).admit(&mut record(Some("a"), &["tenant"]));
            assert_eq!(admitted, want);
        }
    }
}
