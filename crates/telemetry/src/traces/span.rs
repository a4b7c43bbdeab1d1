//! A sampled request or command.

use std::sync::Arc;

use opentelemetry::trace::{Span as _, Status};
use opentelemetry::{Key, KeyValue, SpanId, TraceId, Value};
use sluicegate_backend::System;
use sluicegate_fair_share::ClientKey;

use super::Tracing;

/// A span. It ends when it is dropped.
pub struct Span {
    span: opentelemetry_sdk::trace::Span,
    parent: Parent,
}

/// Begins spans below another one, on behalf of the same client.
#[derive(Clone)]
pub(super) struct Parent {
    pub(super) tracing: Arc<Tracing>,
    pub(super) client: ClientKey,
}

impl Span {
    pub(super) fn new(
        span: opentelemetry_sdk::trace::Span,
        tracing: &Arc<Tracing>,
        client: ClientKey,
    ) -> Self {
        Self { span, parent: Parent { tracing: Arc::clone(tracing), client } }
    }

    /// Begins a span of a request below `parent`.
    pub(super) fn below(parent: Parent, span: opentelemetry_sdk::trace::Span) -> Self {
        Self { span, parent }
    }

    pub(super) fn ids(&self) -> (TraceId, SpanId) {
        let context = self.span.span_context();
        (context.trace_id(), context.span_id())
    }

    pub(super) fn parent(&self) -> Parent {
        self.parent.clone()
    }

    /// Sets an attribute.
    pub fn set(&mut self, key: impl Into<Key>, value: impl Into<Value>) {
        self.span.set_attribute(KeyValue::new(key, value));
    }

    /// The command of a client, in OpenTelemetry's messaging conventions.
    pub fn command(&mut self, system: System, name: &'static str, operation: Option<&'static str>) {
        self.set("messaging.system", system.label);
        self.set("messaging.operation.name", name);
        if let Some(operation) = operation {
            self.set("messaging.operation.type", operation);
        }
    }

    /// Where it is read or written.
    pub fn log(&mut self, topic: &str, partition: Option<i32>) {
        self.set("messaging.destination.name", topic.to_owned());
        if let Some(partition) = partition {
            self.set("messaging.destination.partition.id", partition.to_string());
        }
    }

    /// The number of records that are written.
    pub fn batch(&mut self, records: usize) {
        self.set("messaging.batch.message_count", i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// A plain HTTP request and its response, in OpenTelemetry's HTTP conventions.
    pub fn http(&mut self, method: &str, route: &'static str, status: u16) {
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
    pub fn fail(&mut self, reason: &'static str) {
        self.set("error.type", reason);
        self.span.set_status(Status::error(""));
    }
}

/// The type of an operation that reads records.
pub const RECEIVE: &str = "receive";
/// The type of an operation that writes records.
pub const SEND: &str = "send";
