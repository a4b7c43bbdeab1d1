//! Traces for an OpenTelemetry collector, and the identifier that joins an error, the log and a trace.
//!
//! Every request has a trace id: its gateway's (W3C `traceparent`), or a random one. Clients see it in errors. A span
//! is made only of a request that is sampled, so without a collector a request costs its id and nothing else.
//!
//! - `context`: the trace of the current task
//! - `span`: a request or a command that is sampled; `requests`: those to other systems below it
//! - `export`: the way to the collector, a bounded queue

mod context;
mod export;
mod span;

use std::sync::Arc;

use opentelemetry::trace::{
    SpanContext, SpanKind, TraceContextExt as _, TraceFlags, TraceState, Tracer as _,
};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use sluicegate_backend::rate::Rate;
use sluicegate_fair_share::{ClientKey, Ledger};

pub use self::context::{Context, below, current, current_id, produce, reported};
pub use self::export::ExportCounts;
pub use self::span::{RECEIVE, SEND, Span};

/// Decides what is traced, and exports it. Clones share everything.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Tracing>>);

/// The parts of an exporter.
struct Tracing {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
    /// Of requests about which their gateway says nothing.
    sample_ratio: f64,
    /// Any client can ask its gateway to sample each of its requests.
    spans: Rate,
    counts: ExportCounts,
}

impl Traces {
    /// Samples this share of requests, and so many spans a second. Nothing without an endpoint. Connects in the
    /// background; must be called in a tokio runtime.
    pub fn new(endpoint: Option<&str>, sample_ratio: f64, max_spans_per_second: usize) -> Self {
        let Some(endpoint) = endpoint else { return Self::default() };
        let counts = ExportCounts::default();
        match export::provider(endpoint, &counts) {
            Ok((provider, tracer)) => Self(Some(Arc::new(Tracing {
                tracer,
                provider,
                sample_ratio,
                spans: Rate::new(Ledger::of_one_cluster(max_spans_per_second)),
                counts,
            }))),
            Err(error) => {
                tracing::error!(error, event = "traces_not_started", "failed to start the export of traces");
                Self::default()
            }
        }
    }

    /// The counts of exports; `None` if nothing is ever exported.
    pub fn counts(&self) -> Option<&ExportCounts> {
        self.0.as_ref().map(|tracing| &tracing.counts)
    }

    /// Exports what is left. Takes a few seconds at most.
    ///
    /// # Cancel safety
    /// After a drop, it goes on in the background.
    pub async fn end(&self) {
        let Some(tracing) = &self.0 else { return };
        let provider = tracing.provider.clone();
        // An error is counted and logged by the exporter.
        let _ =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(export::LAST_EXPORT)).await;
    }
}

impl Tracing {
    /// Begins the span of a request or a command, if it is sampled.
    fn sample(self: &Arc<Self>, context: &Context, name: &'static str, client: ClientKey) -> Option<Span> {
        let is_sampled = context.sampled.unwrap_or_else(|| fastrand::f64() < self.sample_ratio);
        let span = is_sampled.then(|| self.begin(context, name, SpanKind::Server, client))??;
        Some(Span::new(span, self, client))
    }

    /// Begins a span below the context, unless the client or the bridge has used up its share of this second.
    fn begin(
        &self,
        context: &Context,
        name: &'static str,
        kind: SpanKind,
        client: ClientKey,
    ) -> Option<opentelemetry_sdk::trace::Span> {
        if !self.spans.try_take(client.into(), 1) {
            self.counts.dropped.inc();
            return None;
        }
        let (flags, is_remote) = (TraceFlags::SAMPLED, context.span.is_none());
        let parent = SpanContext::new(context.trace, context.parent, flags, is_remote, TraceState::NONE);
        let parent = opentelemetry::Context::new().with_remote_span_context(parent);
        let builder = self.tracer.span_builder(name).with_kind(kind);
        // A trace that begins here takes its id from the context.
        Some(context.enter(|| builder.start_with_context(&self.tracer, &parent)))
    }
}
