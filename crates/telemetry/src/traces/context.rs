//! The trace of the current task: W3C Trace Context, level 1.

use std::fmt::Write;

use http::HeaderMap;
use opentelemetry::trace::SpanKind;
use opentelemetry::{SpanId, TraceId};
use sluicegate_backend::System;
use sluicegate_fair_share::ClientKey;

use super::Traces;
use super::span::{Parent, SEND, Span};

/// A request's place in a trace.
#[derive(Clone)]
pub struct Context {
    pub(super) trace: TraceId,
    /// The gateway's span, or that of the command. Invalid: the trace begins here.
    pub(super) parent: SpanId,
    /// Whether the gateway samples the trace; `None`: it does not say.
    pub(super) sampled: Option<bool>,
    /// The span under way, below which requests to brokers are spans of their own.
    pub(super) span: Option<Parent>,
    traces: Traces,
}

impl Context {
    /// From the gateway's headers. A `traceparent` that is missing, repeated or invalid begins a new trace.
    pub fn of(headers: &HeaderMap, traces: &Traces) -> Self {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let parsed = match (lines.next(), lines.next()) {
            (Some(line), None) => parse(line.as_bytes()),
            _ => None,
        };
        let context = parsed.unwrap_or_else(|| Self::random(Traces::default()));
        Self { traces: traces.clone(), ..context }
    }

    fn random(traces: Traces) -> Self {
        // 0 is not a valid id.
        let trace = TraceId::from(fastrand::u128(1..));
        Self { trace, parent: SpanId::INVALID, sampled: None, span: None, traces }
    }

    /// The context of one command of a session that was opened in this one: in the gateway's trace, or in one of its
    /// own.
    pub fn command(self) -> Self {
        if self.parent == SpanId::INVALID { Self::random(self.traces) } else { self }
    }

    /// Begins the span of a request or a command, if it is sampled. `self` becomes the context of what belongs to it.
    pub fn sample(&mut self, name: &'static str, client: ClientKey) -> Option<Span> {
        let span = self.traces.0.as_ref()?.sample(self, name, client)?;
        let (trace, parent) = span.ids();
        let under_way = Some(span.parent());
        *self = Self { trace, parent, sampled: Some(true), span: under_way, traces: self.traces.clone() };
        Some(span)
    }

    /// Runs `run` in this context.
    pub(super) fn enter<T>(&self, run: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), run)
    }

    /// Runs `future` in this context.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }
}

/// The current task's context; a new one outside requests.
pub fn current() -> Context {
    CURRENT.try_with(Context::clone).unwrap_or_else(|_| Context::random(Traces::default()))
}

/// The current trace id, in hexadecimal, for errors and the log. Empty outside requests.
pub fn current_id() -> String {
    CURRENT.try_with(|context| hex(context.trace)).unwrap_or_default()
}

/// The current trace id.
pub(super) fn current_trace() -> Option<TraceId> {
    CURRENT.try_with(|context| context.trace).ok()
}

/// The current task's context and the span under way, if that is sampled.
pub(super) fn sampled() -> Option<(Context, Parent)> {
    CURRENT.try_with(|context| context.span.clone().map(|span| (context.clone(), span))).ok()?
}

fn hex(trace: TraceId) -> String {
    let mut text = String::with_capacity(32);
    // Cannot fail: a `String` takes everything.
    let _ = write!(text, "{trace}");
    text
}

/// Section 3.2 of the recommendation. Versions above 00 can have more behind the flags.
fn parse(line: &[u8]) -> Option<Context> {
    let line = std::str::from_utf8(line).ok()?;
    let (version, trace, parent, flags) =
        (line.get(..2)?, line.get(3..35)?, line.get(36..52)?, line.get(53..55)?);
    let dashes = [2, 35, 52].into_iter().all(|at| line.as_bytes().get(at) == Some(&b'-'));
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let rest = line.get(55..)?;
    let is_whole = match version {
        // "Version 255 is invalid."
        "ff" => false,
        "00" => rest.is_empty(),
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    if !dashes || !is_whole || ![version, trace, parent, flags].into_iter().all(is_hex) {
        return None;
    }
    let (trace, parent) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(parent).ok()?);
    let sampled = u8::from_str_radix(flags, 16).ok()? & SAMPLED != 0;
    // "If the trace-id value is invalid (for example if it contains non-allowed characters or all zeros), vendors MUST
    // ignore the traceparent." The same holds for the parent-id.
    let is_valid = trace != TraceId::INVALID && parent != SpanId::INVALID;
    let traces = Traces::default();
    is_valid.then_some(Context { trace, parent, sampled: Some(sampled), span: None, traces })
}

const TRACEPARENT: &str = "traceparent";
/// The flag of a sampled trace.
const SAMPLED: u8 = 1;

tokio::task_local! {
    static CURRENT: Context;
}

/// Begins the span of a request that the current task sends to another system, if what it belongs to is sampled.
pub fn below(name: &'static str, kind: SpanKind, fill: impl FnOnce(&mut Span)) -> Option<Span> {
    let (context, parent) = sampled()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_is_parsed_as_recommended() {
        let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let zeros = "0".repeat(32);
        for (line, want) in [
            (format!("00-{trace}-{parent}-01"), Some(true)),
            (format!("00-{trace}-{parent}-00"), Some(false)),
            (format!("00-{trace}-{parent}-03"), Some(true)),
            (format!("cc-{trace}-{parent}-01-more"), Some(true)),
            (format!("cc-{trace}-{parent}-01.more"), None),
            (format!("00-{trace}-{parent}-01-more"), None),
            (format!("ff-{trace}-{parent}-01"), None),
            (format!("00-{zeros}-{parent}-01"), None),
            (format!("00-{trace}-{}-01", &zeros[..16]), None),
            (format!("00-{}-{parent}-01", trace.to_uppercase()), None),
            (format!("00_{trace}-{parent}-01"), None),
            (format!("00-{trace}-{parent}-0é"), None),
            (format!("00-{trace}-{parent}"), None),
            (String::new(), None),
        ] {
            let parsed = parse(line.as_bytes());
            assert_eq!(parsed.as_ref().map(|context| context.sampled), want.map(Some), "{line}");
            if let Some(context) = parsed {
                assert_eq!((hex(context.trace), context.parent.to_string()), (trace.into(), parent.into()));
            }
            for cut in 0..line.len() {
                // Never panics, whatever is missing.
                let _ = parse(&line.as_bytes()[..cut]);
            }
        }
    }

    #[test]
    fn repeated_traceparent_begins_a_new_trace() {
        let line = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, line.parse().unwrap());
        assert_eq!(Context::of(&headers, &Traces::default()).sampled, Some(true));
        headers.append(TRACEPARENT, line.parse().unwrap());
        assert_eq!(Context::of(&headers, &Traces::default()).sampled, None);
    }
}
