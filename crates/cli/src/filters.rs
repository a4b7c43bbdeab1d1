//! Filters of subscriptions and tables.

use sluicegate_client::{Filter, Header};

/// The filter of these keys or subjects, or those that begin so; None without both.
pub(crate) fn of_keys(filter: Filter, values: &[String], prefixes: &[String]) -> Option<Filter> {
    if values.is_empty() && prefixes.is_empty() {
        return None;
    }
    let filter = values.iter().fold(filter, |filter, value| filter.equals(value.clone()));
    Some(prefixes.iter().fold(filter, |filter, prefix| filter.starts_with(prefix.clone())))
}

/// A filter for each header that is named.
pub(crate) fn of_headers(headers: &[Header]) -> Vec<Filter> {
    let mut names: Vec<&str> = headers.iter().map(|header| header.key.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let filter = |name: &str| {
        let values = headers.iter().filter(|header| header.key == name);
        let values = values.filter_map(|Header { value, .. }| value.clone());
        values.fold(Filter::header(name), Filter::equals)
    };
    names.into_iter().map(filter).collect()
}
