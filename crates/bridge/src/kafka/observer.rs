//! Counts the reader's requests, and makes each of them a span of its command's trace.

use std::any::Any;
use std::time::Duration;

use opentelemetry::trace::SpanKind;
use sluicegate_reader::{BrokerRequest, Observer, RequestOutcome};

use crate::metrics::BrokerMetrics;
use crate::traces;

/// Watches the reader of one cluster.
#[derive(Debug)]
pub(super) struct ReadObserver(pub(super) BrokerMetrics);

impl Observer for ReadObserver {
    fn begin(&self, request: BrokerRequest, host: &str, port: u16) -> Option<Box<dyn Any + Send>> {
        let span = traces::below(request.name(), SpanKind::Client, |span| {
            span.set("messaging.system", "kafka");
            span.set("server.address", host.to_owned());
            span.set("server.port", i64::from(port));
        })?;
        Some(Box::new(span))
    }

    fn end(
        &self,
        request: BrokerRequest,
        outcome: RequestOutcome,
        took: Duration,
        begun: Option<Box<dyn Any + Send>>,
    ) {
        self.0.requested(request, outcome, took);
        if let Some(mut span) = traces::downcast(begun)
            && outcome != RequestOutcome::Answered
        {
            span.fail(outcome.name());
        }
    }

    fn connected(&self, is_open: bool) {
        self.0.connected(is_open);
    }
}
