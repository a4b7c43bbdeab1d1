//! Counts the reader's requests, and makes each of them a span of its command's trace.

use std::any::Any;
use std::time::Duration;

use opentelemetry::trace::SpanKind;
use sluicegate_reader::{BrokerRequest, Observer, RequestOutcome};

use sluicegate_telemetry::metrics::{BrokerMetrics, BrokerStates};
use sluicegate_telemetry::traces;

/// Watches the reader of one cluster.
#[derive(Debug)]
pub(super) struct ReadObserver(BrokerMetrics);

impl ReadObserver {
    pub(super) fn new(metrics: BrokerMetrics) -> Self {
        let apis = BrokerRequest::ALL.map(BrokerRequest::name);
        Self(metrics.of(&apis, &RequestOutcome::ALL.map(RequestOutcome::name)))
    }

    /// Counts the brokers of a reader for as long as there is one.
    pub(super) fn watch(
        &self,
        states: impl Fn() -> Option<sluicegate_reader::BrokerStates> + Send + Sync + 'static,
    ) {
        self.0.watch(move || {
            let sluicegate_reader::BrokerStates { connected, idle, failed } = states()?;
            Some(BrokerStates { connected, idle, failed })
        });
    }
}

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
        self.0.requests.requested(request.name(), outcome.name(), took);
        if let Some(mut span) = downcast(begun)
            && outcome != RequestOutcome::Answered
        {
            span.fail(outcome.name());
        }
    }

    fn connected(&self, is_open: bool) {
        self.0.requests.connected(is_open);
    }
}

/// Takes a span back out of what [`Observer::begin`] has returned.
fn downcast(begun: Option<Box<dyn Any + Send>>) -> Option<Box<traces::Span>> {
    begun?.downcast().ok()
}
