//! Spans of requests to other systems, below the one of the current task.

use opentelemetry::trace::SpanKind;
use sluicegate_backend::System;

use super::context;
use super::span::{SEND, Span};

/// Begins the span of a request that the current task sends to another system, if what it belongs to is sampled.
pub fn below(name: &'static str, kind: SpanKind, fill: impl FnOnce(&mut Span)) -> Option<Span> {
    let (context, parent) = context::sampled()?;
    let span = parent.tracing.begin(&context, name, kind, parent.client)?;
    let mut span = Span::below(parent, span);
    fill(&mut span);
    Some(span)
}

/// Begins the span of records on their way to a messaging system.
pub fn produce(system: System, records: usize) -> Option<Span> {
    below("Produce", SpanKind::Producer, |span| {
        span.command(system, "produce", Some(SEND));
        span.batch(records);
    })
}

/// Ends the span of [`produce`] with the last report.
pub async fn reported<T, E>(
    span: Option<Span>,
    reports: impl Future<Output = Vec<Result<T, E>>>,
) -> Vec<Result<T, E>> {
    let reports = reports.await;
    if let (Some(mut span), true) = (span, reports.iter().any(Result::is_err)) {
        span.fail("not_acknowledged");
    }
    reports
}
