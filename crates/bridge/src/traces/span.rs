//! A sampled request or command, and the requests to brokers below it.

use std::sync::Arc;

use opentelemetry::trace::{Span as _, SpanKind, Status};
use opentelemetry::{Key, KeyValue, SpanId, TraceId, Value};
use sluicegate_fair_share::Source;

use super::Tracing;
use super::context;
use crate::backend::System;

/// A span. It ends when it is dropped.
pub(crate) struct Span {
    span: opentelemetry_sdk::trace::Span,
    parent: Parent,
}

/// Begins spans below another one, on behalf of the same client.
#[derive(Clone)]
pub(super) struct Parent {
    tracing: Arc<Tracing>,
    client: Source,
}

impl Span {
    pub(super) fn new(span: opentelemetry_sdk::trace::Span, tracing: &Arc<Tracing>, client: Source) -> Self {
        Self { span, parent: Parent { tracing: Arc::clone(tracing), client } }
    }

    pub(super) fn ids(&self) -> (TraceId, SpanId) {
        let context = self.span.span_context();
        (context.trace_id(), context.span_id())
    }

    pub(super) fn parent(&self) -> Parent {
        self.parent.clone()
    }

    pub(crate) fn set(&mut self, key: impl Into<Key>, value: impl Into<Value>) {
        self.span.set_attribute(KeyValue::new(key, value));
    }

    /// What the bridge is asked to do, in OpenTelemetry's messaging conventions.
    pub(crate) fn command(&mut self, system: System, name: &'static str, operation: Option<&'static str>) {
        self.set("messaging.system", system.label);
        self.set("messaging.operation.name", name);
        if let Some(operation) = operation {
            self.set("messaging.operation.type", operation);
        }
    }

    /// Where it is read or written.
    pub(crate) fn log(&mut self, topic: &str, partition: Option<i32>) {
        self.set("messaging.destination.name", topic.to_owned());
        if let Some(partition) = partition {
            self.set("messaging.destination.partition.id", partition.to_string());
        }
    }

    /// How many records are written.
    pub(crate) fn batch(&mut self, records: usize) {
        self.set("messaging.batch.message_count", i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// A plain HTTP request and its response, in OpenTelemetry's HTTP conventions.
    pub(crate) fn http(&mut self, method: &str, route: &'static str, status: u16) {
        self.span.update_name(format!("{method} {route}"));
        self.set("http.request.method", method.to_owned());
        self.set("http.route", route);
        self.set("http.response.status_code", i64::from(status));
        // Of a server's span, "4xx [...] MUST be left unset" in the status.
        if status >= 500 {
            self.set("error.type", status.to_string());
            self.span.set_status(Status::error(""));
        }
    }

    /// Marks the span as failed. `reason` is one of a few words.
    pub(crate) fn fail(&mut self, reason: &'static str) {
        self.set("error.type", reason);
        self.span.set_status(Status::error(""));
    }
}

/// Begins the span of a request that the current task sends to another system, if what it belongs to is sampled.
pub(crate) fn below(name: &'static str, kind: SpanKind, fill: impl FnOnce(&mut Span)) -> Option<Span> {
    let (context, parent) = context::sampled()?;
    let span = parent.tracing.begin(&context, name, kind, parent.client)?;
    let mut span = Span { span, parent };
    fill(&mut span);
    Some(span)
}

/// Begins the span of records on their way to a messaging system.
pub(crate) fn produce(system: System, records: usize) -> Option<Span> {
    below("Produce", SpanKind::Producer, |span| {
        span.command(system, "produce", Some(SEND));
        span.batch(records);
    })
}

/// Ends the span of [`produce`] with the last report.
pub(crate) async fn reported<T, E>(
    span: Option<Span>,
    reports: impl Future<Output = Vec<Result<T, E>>>,
) -> Vec<Result<T, E>> {
    let reports = reports.await;
    if let (Some(mut span), true) = (span, reports.iter().any(Result::is_err)) {
        span.fail("not_acknowledged");
    }
    reports
}

/// The type of an operation that reads records.
pub(crate) const RECEIVE: &str = "receive";
/// The type of an operation that writes records.
pub(crate) const SEND: &str = "send";
