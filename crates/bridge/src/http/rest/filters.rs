//! Filters of records in queries.

use std::collections::BTreeMap;

use bytes::Bytes;
use sluicegate_backend::System;
use sluicegate_backend::command::RecordFilter;
use sluicegate_delivery::{MAX_FILTERS, MAX_VALUES};
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::{FILTER, HttpWords};
use sluicegate_dialect::session::check_values;

use super::super::problem::Problem;
use super::path::{self, Query};

/// The filters in JSON, each in a parameter of its own, after those that others make.
///
/// # Errors
/// One is invalid, or there are too many.
pub(in super::super) fn with_json(
    mut filters: Vec<RecordFilter>,
    query: &Query,
    system: System,
) -> Result<Vec<RecordFilter>, Problem> {
    let invalid = |expected: String| path::invalid(FILTER, &expected);
    for json in query.list(FILTER) {
        filters.push(dialect::of(system).filter(json).map_err(invalid)?);
    }
    if filters.len() > MAX_FILTERS {
        return Err(invalid(format!("{} filters: expected at most {MAX_FILTERS}", filters.len())));
    }
    check_values(&filters).map_err(invalid)?;
    Ok(filters)
}

/// The filters of plain parameters. Values of one header, or of the key or subject, are alternatives. A record must match the
/// key and each header.
///
/// # Errors
/// One is invalid, or there are too many.
pub(in super::super) fn of_records(query: &Query, words: &HttpWords) -> Result<Vec<RecordFilter>, Problem> {
    let HttpWords { key: key_name, key_prefix, .. } = *words;
    let values = words.lists().into_iter().filter(|list| *list != FILTER).flat_map(|list| query.list(list));
    if values.count() > MAX_VALUES {
        let expected = format!("expected at most {MAX_VALUES} {key_name}s, prefixes and headers");
        return Err(path::invalid(key_name, &expected));
    }
    let bytes = |value: &str| Bytes::copy_from_slice(value.as_bytes());
    let key = RecordFilter {
        equals: query.list(key_name).map(bytes).collect(),
        prefixes: query.list(key_prefix).map(bytes).collect(),
        ..RecordFilter::default()
    };
    let mut headers: BTreeMap<&str, Vec<Bytes>> = BTreeMap::new();
    for header in query.list("header") {
        let (name, value) = header.split_once('=').unzip();
        let name = name.unwrap_or(header);
        if name.is_empty() {
            return Err(path::invalid("header", "expected NAME, or NAME=VALUE"));
        }
        headers.entry(name).or_default().extend(value.map(bytes));
    }
    let of_headers = headers.into_iter().map(|(name, equals)| RecordFilter {
        header: Some(name.to_owned()),
        equals,
        ..RecordFilter::default()
    });
    let has_key = !key.equals.is_empty() || !key.prefixes.is_empty();
    let filters: Vec<_> = has_key.then_some(key).into_iter().chain(of_headers).collect();
    if filters.len() > MAX_FILTERS {
        return Err(path::invalid(
            "header",
            &format!("expected at most {MAX_FILTERS} names of headers, or one less with {key_name}s"),
        ));
    }
    Ok(filters)
}
