//! Filters of records in queries.

use sluicegate_backend::System;
use sluicegate_backend::command::RecordFilter;
use sluicegate_delivery::MAX_FILTERS;
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::FILTER;
use sluicegate_dialect::session::check_values;

use super::super::problem::{Problem, ProblemKind};
use super::path::Query;

/// The filters in JSON, each in a parameter of its own, after those that others make.
///
/// # Errors
/// One is invalid, or there are too many.
pub(super) fn with_json(
    mut filters: Vec<RecordFilter>,
    query: &Query,
    system: System,
) -> Result<Vec<RecordFilter>, Problem> {
    let invalid = |expected: String| {
        Problem::new(ProblemKind::Malformed, format!("query parameter {FILTER}: {expected}"))
    };
    for json in query.list(FILTER) {
        filters.push(dialect::of(system).filter(json).map_err(invalid)?);
    }
    if filters.len() > MAX_FILTERS {
        return Err(invalid(format!("{} filters: expected at most {MAX_FILTERS}", filters.len())));
    }
    check_values(&filters).map_err(invalid)?;
    Ok(filters)
}
