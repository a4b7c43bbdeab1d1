//! Sends spans to a collector, over OTLP and gRPC. Spans that it does not accept are dropped and counted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue, SpanId, TraceId};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider,
    Span, SpanData, SpanExporter, SpanProcessor,
};
use prometheus_client::metrics::counter::Counter;

use super::context::current_trace;
use crate::rate_limit::RateLimit;

/// Counts of spans.
#[derive(Debug, Clone, Default)]
pub struct ExportCounts {
    /// Taken by the collector.
    pub exported: Counter,
    /// Over the quota or the queue, or not taken by the collector.
    pub dropped: Counter,
    queued: Arc<AtomicUsize>,
}

/// The source of spans, which exports them to `endpoint`.
///
/// # Errors
/// The endpoint is not a usable URL.
pub(super) fn provider(
    endpoint: &str,
    counts: &ExportCounts,
) -> Result<(SdkTracerProvider, SdkTracer), String> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|error| error.to_string())?;
    let exporter =
        CountingExporter { inner: exporter, counts: counts.clone(), warnings: RateLimit::default() };
    let batches = BatchConfigBuilder::default()
        // More than `QueueBound` lets in: nothing is lost without being counted.
        .with_max_queue_size(MAX_QUEUE.saturating_mul(2))
        .with_max_export_batch_size(MAX_BATCH)
        .with_scheduled_delay(DELAY)
        .build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let attributes = [KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    let resource =
        Resource::builder().with_service_name("sluicegate-bridge").with_attributes(attributes).build();
    let provider = SdkTracerProvider::builder()
        .with_id_generator(RequestIds::default())
        .with_resource(resource)
        .with_span_processor(QueueBound { inner: processor, counts: counts.clone() })
        .build();
    let tracer = provider.tracer("sluicegate-bridge");
    Ok((provider, tracer))
}

/// Lets at most [`MAX_QUEUE`] spans wait for their export.
#[derive(Debug)]
struct QueueBound {
    inner: BatchSpanProcessor,
    counts: ExportCounts,
}

impl SpanProcessor for QueueBound {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.counts.queued.fetch_add(1, Ordering::Relaxed) >= MAX_QUEUE {
            self.counts.queued.fetch_sub(1, Ordering::Relaxed);
            self.counts.dropped.inc();
            return;
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Counts what the collector takes, and logs its failures now and then.
struct CountingExporter {
    inner: opentelemetry_otlp::SpanExporter,
    counts: ExportCounts,
    warnings: RateLimit,
}

impl SpanExporter for CountingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.inner.export(batch).await;
        self.counts.queued.fetch_sub(spans, Ordering::Relaxed);
        let count = if exported.is_ok() { &self.counts.exported } else { &self.counts.dropped };
        count.inc_by(u64::try_from(spans).unwrap_or(u64::MAX));
        if let Err(error) = &exported
            && self.warnings.is_due("traces")
        {
            tracing::warn!(spans, %error, event = "traces_dropped", "the collector did not take spans, they are lost");
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl fmt::Debug for CountingExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CountingExporter")
    }
}

/// A trace that begins in the bridge has the id that errors and the log show.
#[derive(Debug, Default)]
struct RequestIds(RandomIdGenerator);

impl IdGenerator for RequestIds {
    fn new_trace_id(&self) -> TraceId {
        current_trace().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

/// Spans that wait for their export. A span takes about 1 KiB.
const MAX_QUEUE: usize = 4096;
const MAX_BATCH: usize = 512;
/// The longest wait for others before an export.
const DELAY: Duration = Duration::from_secs(1);
/// For one export with its retries. Spans are queued meanwhile.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the export of what is left at the end.
pub(super) const LAST_EXPORT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use opentelemetry::trace::Tracer as _;

    use super::*;

    #[derive(Debug)]
    struct Collector;

    impl SpanExporter for Collector {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            Ok(())
        }
    }

    #[test]
    fn spans_beyond_the_queue_are_dropped_and_counted() {
        let counts = ExportCounts::default();
        // So that nothing is exported meanwhile.
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(2 * MAX_QUEUE)
            .with_max_export_batch_size(2 * MAX_QUEUE)
            .with_scheduled_delay(Duration::from_secs(3_600))
            .build();
        let processor = BatchSpanProcessor::builder(Collector).with_batch_config(batches).build();
        let queue = QueueBound { inner: processor, counts: counts.clone() };
        let provider = SdkTracerProvider::builder().with_span_processor(queue).build();
        let tracer = provider.tracer("test");
        for _ in 0..MAX_QUEUE + 10 {
            drop(tracer.start("span"));
        }
        assert_eq!((counts.queued.load(Ordering::Relaxed), counts.dropped.get()), (MAX_QUEUE, 10));
    }
}
