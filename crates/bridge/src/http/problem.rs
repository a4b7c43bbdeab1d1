//! Failures as problem documents (RFC 9457). On REST resources they also have the members of the REST proxies' errors.

use std::time::Duration;

use http::{HeaderName, StatusCode, header};
use serde::Serialize;
use sluicegate_backend::{CommandError, Fault, Log, ProducerState, System};
use sluicegate_delivery::cluster::out_of_range;
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::body::BodyError;
use sluicegate_dialect::http::failure::{Details, is_default, name};
use sluicegate_dialect::http::media_type::PROBLEM;
use sluicegate_dialect::json::InvalidJson;
use sluicegate_protocol::Reason;
use sluicegate_telemetry::traces;

use super::response::Response;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    kind: ProblemKind,
    /// The failure, and what to do about it.
    detail: String,
    /// The party at fault; [`Reason::Unspecified`] if it has nothing to do with a command.
    reason: Reason,
    details: Details,
    retry_after: Duration,
}

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// The request is invalid.
    Malformed,
    /// The route asks for an identity, and the client has no valid one: the challenge of `WWW-Authenticate`.
    Unauthenticated(&'static str),
    /// The route or the bridge does not allow it.
    Forbidden,
    /// The messaging system does not authorize the cluster's user.
    NotAuthorized,
    /// The path is unknown.
    NoResource,
    NoTopic,
    NoPartition,
    /// The table has no such key.
    NoKey,
    /// The records have been deleted, or their topic has.
    Gone,
    /// The stream has another content type.
    OtherType,
    /// The resource has only these methods, in the form of the header `Allow`.
    MethodNotAllowed(&'static str),
    NotAcceptable,
    TooLarge,
    UnsupportedMediaType,
    /// The body's content is invalid.
    Unprocessable,
    /// A value or key has no schema, or does not fit its schema.
    Schema(SchemaFault),
    /// A request of a consumer in a group.
    Consumer(ConsumerFault),
    /// The schema registry does not answer.
    NoRegistry,
    TooManyHeaders,
    /// The producer's records do not follow those that are written, or nobody can tell.
    OutOfOrder,
    /// The producer has a later epoch.
    Fenced,
    /// The write queue has no room, or the client's identity has used up its quota.
    Busy,
    /// The body did not arrive in time.
    TooSlow,
    /// The route's configuration is invalid.
    Misconfigured,
    /// The gateway's secret, or its cluster, does not match the bridge's.
    GatewayMismatch,
    /// The messaging system refuses the command.
    Rejected,
    /// The messaging system or the bridge is unavailable. Nothing was written, and a retry can succeed.
    Unavailable,
    /// A record may have been written.
    UnknownOutcome,
}

/// A fault of records that are encoded by schemas, as the REST proxies tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchemaFault {
    /// A key needs a schema, and the request names none.
    NoKeySchema,
    /// A value needs one.
    NoValueSchema,
    /// The schema does not allow the JSON.
    Unfit,
    /// The schema is unknown or invalid.
    Unknown,
}

/// A fault of requests of consumers, as the REST proxies tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConsumerFault {
    /// The group has no such consumer.
    Unknown,
    /// The group has a consumer of this name.
    Taken,
    /// The consumer's subscription or partitions do not allow it.
    State,
    /// A setting is invalid.
    Settings,
    /// The consumer has another format than the client accepts.
    Format,
}

impl ConsumerFault {
    fn codes(self) -> (StatusCode, &'static str, u32) {
        match self {
            Self::Unknown => (StatusCode::NOT_FOUND, "Not Found", 40403),
            Self::Taken => (StatusCode::CONFLICT, "Conflict", 40902),
            Self::State => (StatusCode::CONFLICT, "Conflict", 40903),
            Self::Settings => (StatusCode::UNPROCESSABLE_ENTITY, "Unprocessable Content", 42204),
            Self::Format => (StatusCode::NOT_ACCEPTABLE, "Not Acceptable", 40601),
        }
    }
}

impl ProblemKind {
    /// The status, its title, and the REST proxies' error code: their own code if they have one for it, otherwise the
    /// status.
    fn codes(self) -> (StatusCode, &'static str, u32) {
        use StatusCode as Status;
        match self {
            Self::Malformed => (Status::BAD_REQUEST, "Bad Request", 400),
            Self::Unauthenticated(_) => (Status::UNAUTHORIZED, "Unauthorized", 401),
            Self::Forbidden => (Status::FORBIDDEN, "Forbidden", 403),
            Self::NotAuthorized => (Status::FORBIDDEN, "Forbidden", 40301),
            Self::NoResource => (Status::NOT_FOUND, "Not Found", 404),
            Self::NoTopic => (Status::NOT_FOUND, "Not Found", 40401),
            Self::NoPartition => (Status::NOT_FOUND, "Not Found", 40402),
            Self::NoKey => (Status::NOT_FOUND, "Not Found", 404),
            Self::Gone => (Status::GONE, "Gone", 410),
            Self::OtherType => (Status::CONFLICT, "Conflict", 409),
            Self::MethodNotAllowed(_) => (Status::METHOD_NOT_ALLOWED, "Method Not Allowed", 405),
            Self::NotAcceptable => (Status::NOT_ACCEPTABLE, "Not Acceptable", 406),
            Self::TooLarge => (Status::PAYLOAD_TOO_LARGE, "Content Too Large", 413),
            Self::UnsupportedMediaType => (Status::UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type", 415),
            Self::Unprocessable => (Status::UNPROCESSABLE_ENTITY, "Unprocessable Content", 422),
            Self::Schema(fault) => {
                let code = match fault {
                    SchemaFault::NoKeySchema => 42201,
                    SchemaFault::NoValueSchema => 42202,
                    SchemaFault::Unfit => 42203,
                    SchemaFault::Unknown => 42205,
                };
                (Status::UNPROCESSABLE_ENTITY, "Unprocessable Content", code)
            }
            Self::Consumer(fault) => fault.codes(),
            Self::NoRegistry => (Status::REQUEST_TIMEOUT, "Request Timeout", 40801),
            Self::TooManyHeaders => {
                (Status::REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large", 431)
            }
            Self::OutOfOrder => (Status::CONFLICT, "Conflict", 409),
            Self::Fenced => (Status::FORBIDDEN, "Forbidden", 403),
            Self::Busy => (Status::TOO_MANY_REQUESTS, "Too Many Requests", 429),
            Self::TooSlow => (Status::REQUEST_TIMEOUT, "Request Timeout", 408),
            Self::Misconfigured => (Status::INTERNAL_SERVER_ERROR, "Internal Server Error", 500),
            Self::GatewayMismatch => (Status::BAD_GATEWAY, "Bad Gateway", 502),
            Self::Rejected => (Status::INTERNAL_SERVER_ERROR, "Internal Server Error", 50002),
            Self::Unavailable => (Status::SERVICE_UNAVAILABLE, "Service Unavailable", 50003),
            Self::UnknownOutcome => (Status::GATEWAY_TIMEOUT, "Gateway Timeout", 50003),
        }
    }

    /// The reason in sessions of a problem that has no fault of its own.
    fn reason(self) -> Reason {
        match self {
            Self::Malformed | Self::Unprocessable | Self::Schema(_) => Reason::InvalidCommand,
            Self::Forbidden => Reason::Denied,
            Self::NotAuthorized => Reason::Unauthorized,
            Self::NoTopic
            | Self::NoPartition
            | Self::NoKey
            | Self::Gone
            | Self::Consumer(ConsumerFault::Unknown) => Reason::NotFound,
            Self::Consumer(ConsumerFault::Taken | ConsumerFault::State | ConsumerFault::Settings) => {
                Reason::InvalidCommand
            }
            Self::TooLarge => Reason::TooLarge,
            Self::OutOfOrder => Reason::OutOfOrder,
            Self::Fenced => Reason::Fenced,
            Self::Busy => Reason::QueueFull,
            Self::Rejected => Reason::Rejected,
            Self::Unavailable | Self::NoRegistry => Reason::Transient,
            Self::UnknownOutcome => Reason::UnknownOutcome,
            Self::Unauthenticated(_)
            | Self::NoResource
            | Self::OtherType
            | Self::MethodNotAllowed(_)
            | Self::NotAcceptable
            | Self::Consumer(ConsumerFault::Format)
            | Self::UnsupportedMediaType
            | Self::TooManyHeaders
            | Self::TooSlow
            | Self::Misconfigured
            | Self::GatewayMismatch => Reason::Unspecified,
        }
    }

    /// Advice to append to a command's error.
    fn advice(self, system: System) -> Option<&'static str> {
        match self {
            Self::Busy | Self::Unavailable => Some("try again after Retry-After"),
            Self::UnknownOutcome => Some(dialect::of(system).words().unknown_outcome),
            Self::NotAuthorized => Some(dialect::of(system).words().not_authorized),
            Self::Malformed
            | Self::Unauthenticated(_)
            | Self::Forbidden
            | Self::NoResource
            | Self::NoTopic
            | Self::NoPartition
            | Self::NoKey
            | Self::Gone
            | Self::OtherType
            | Self::MethodNotAllowed(_)
            | Self::NotAcceptable
            | Self::TooLarge
            | Self::UnsupportedMediaType
            | Self::Unprocessable
            | Self::Schema(_)
            | Self::Consumer(_)
            | Self::NoRegistry
            | Self::OutOfOrder
            | Self::Fenced
            | Self::TooManyHeaders
            | Self::TooSlow
            | Self::Misconfigured
            | Self::GatewayMismatch
            | Self::Rejected => None,
        }
    }

    /// The kind of a failed command, or record.
    pub(super) fn of(error: &CommandError) -> Self {
        match error.fault {
            Fault::Invalid | Fault::OffsetOutOfRange | Fault::Recreated => Self::Malformed,
            Fault::Forbidden => Self::Forbidden,
            Fault::Unauthenticated => Self::Unauthenticated(INVALID_TOKEN),
            Fault::NotAuthorized => Self::NotAuthorized,
            Fault::NotFound => Self::NoTopic,
            Fault::TooLarge => Self::TooLarge,
            Fault::InvalidRecord => Self::Unprocessable,
            Fault::OutOfOrder | Fault::Expired => Self::OutOfOrder,
            Fault::Fenced => Self::Fenced,
            Fault::QueueFull | Fault::QuotaExceeded => Self::Busy,
            Fault::Transient | Fault::Unreachable { retriable: true } => Self::Unavailable,
            Fault::Rejected | Fault::Unreachable { retriable: false } => Self::Rejected,
            Fault::UnknownOutcome { .. } => Self::UnknownOutcome,
        }
    }
}

impl From<InvalidJson> for Problem {
    fn from(invalid: InvalidJson) -> Self {
        Self::new(ProblemKind::Malformed, format!("the body is {invalid}"))
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(detail) => Self::new(ProblemKind::TooLarge, detail),
            BodyError::Unfit(detail) => Self::new(ProblemKind::Unprocessable, detail),
        }
    }
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let reason = kind.reason();
        let (details, retry_after) = (Details::default(), Duration::ZERO);
        Self { kind, detail: detail.into(), reason, details, retry_after }
    }

    /// The problem of a failed command or record.
    pub(super) fn failed(error: CommandError, system: System) -> Self {
        if error.fault == Fault::Unauthenticated {
            // As if the request had come a moment later.
            return Self::new(ProblemKind::of(&error), error.message);
        }
        let (kind, details) = (ProblemKind::of(&error), Details::of(&error, system));
        let CommandError { fault, mut message, retry_after, .. } = error;
        if let Some(advice) = kind.advice(system) {
            message.push_str("; ");
            message.push_str(advice);
        }
        Self { kind, detail: message, reason: fault.reason(), details, retry_after }
    }

    /// The same with this text.
    pub(super) fn with_detail(self, detail: String) -> Self {
        Self { detail, ..self }
    }

    /// Whether a record may have been written.
    pub(super) fn is_unknown_outcome(&self) -> bool {
        self.kind == ProblemKind::UnknownOutcome
    }

    /// Whether the topic or partition does not exist.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.kind, ProblemKind::NoTopic | ProblemKind::NoPartition)
    }

    /// Whether the request is in conflict with what is there.
    pub(super) fn is_conflict(&self) -> bool {
        self.kind.codes().0 == StatusCode::CONFLICT
    }

    /// Whether it tells of a producer.
    pub(super) fn has_producer(&self) -> bool {
        self.details.producer().is_some()
    }

    /// The same of another kind.
    pub(super) fn of_kind(self, kind: ProblemKind) -> Self {
        Self { kind, ..self }
    }

    /// The problem of a failed read of this log, from this offset if the client gave one.
    pub(super) async fn of_read(
        grant: &Grant,
        log: Log<'_>,
        offset: Option<i64>,
        error: CommandError,
    ) -> Self {
        let system = grant.system();
        if let (Some(offset), Some(ends)) = (offset, error.ends) {
            return Self::failed(out_of_range(system, log, offset, ends), system);
        }
        Self::failed(error, system).with_missing_log(grant, log.topic, Some(log.partition)).await
    }

    /// If the messaging system reported that something is missing, says whether it is the topic.
    pub(super) async fn with_missing_log(self, grant: &Grant, topic: &str, partition: Option<i32>) -> Self {
        if self.kind != ProblemKind::NoTopic {
            return self;
        }
        let system = grant.system();
        let (kind, detail) = match partition {
            Some(partition @ 1..) if system.has_partitions && grant.has_existing(topic).await => {
                (ProblemKind::NoPartition, format!("topic {topic} has no partition {partition}"))
            }
            // Such as a stream that does not listen to a message's subject.
            _ if !system.has_partitions && grant.has_existing(topic).await => return self,
            _ => (ProblemKind::NoTopic, system.missing_topic(topic)),
        };
        Self { kind, detail, ..self }
    }

    /// The code in version 3 of the REST proxies' API, the message, and whether a record may have been written.
    pub(super) fn streamed(self) -> (u32, String, bool) {
        let (status, _, code) = self.kind.codes();
        let code = if matches!(self.kind, ProblemKind::Schema(_)) { status.as_u16().into() } else { code };
        (code, self.detail, self.kind == ProblemKind::UnknownOutcome)
    }

    /// Logs the failure of a command or of one that was refused.
    pub(super) fn log(&self, grant: &Grant, route: &'static str) {
        grant.log_failure(route, self.reason, &self.detail);
    }

    /// As a problem document.
    pub(super) fn plain(self) -> Response {
        self.response(PROBLEM, None)
    }

    /// As a problem document with the members of the REST proxies' errors, in this content type.
    pub(super) fn rest(self, content_type: &str) -> Response {
        let (_, _, error_code) = self.kind.codes();
        self.response(content_type, Some(error_code))
    }

    fn response(self, content_type: &str, error_code: Option<u32>) -> Response {
        let (status, title, _) = self.kind.codes();
        let document = Document {
            r#type: "about:blank",
            title,
            status: status.as_u16(),
            detail: &self.detail,
            reason: (self.reason != Reason::Unspecified).then(|| name(self.reason)),
            details: self.details,
            unknown_outcome: self.kind == ProblemKind::UnknownOutcome,
            error_code,
            message: error_code.map(|_| &self.detail[..]),
            trace_id: traces::current_id(),
        };
        let mut response = Response::json(status, content_type, &document);
        if let ProblemKind::MethodNotAllowed(allow) = self.kind {
            response = response.header(header::ALLOW, allow);
        }
        if let ProblemKind::Unauthenticated(challenge) = self.kind {
            response = response.header(header::WWW_AUTHENTICATE, challenge);
        }
        if matches!(self.kind, ProblemKind::Busy | ProblemKind::Unavailable | ProblemKind::NoRegistry) {
            // RFC 9110, section 10.2.3: whole seconds.
            let seconds = self.retry_after.as_millis().div_ceil(1000).max(1);
            response = response.header(header::RETRY_AFTER, seconds.to_string());
        }
        match self.details.producer() {
            Some(ProducerState { epoch, sequence }) => response
                .header(PRODUCER_EPOCH, epoch.to_string())
                .header(PRODUCER_EXPECTED, sequence.to_string()),
            None => response,
        }
    }
}

/// The epoch of a producer: of the request, or after a refusal the latest one.
pub(super) const PRODUCER_EPOCH: HeaderName = HeaderName::from_static("producer-epoch");
/// The sequence of its next record.
pub(super) const PRODUCER_EXPECTED: HeaderName = HeaderName::from_static("producer-expected-seq");

/// The challenge to a client whose identity is not valid any more (RFC 6750, section 3.1).
pub(crate) const INVALID_TOKEN: &str = "Bearer error=\"invalid_token\"";

/// RFC 9457, section 3.1, with extension members.
#[derive(Serialize)]
struct Document<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(flatten)]
    details: Details,
    #[serde(skip_serializing_if = "is_default")]
    unknown_outcome: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    trace_id: String,
}

#[cfg(test)]
mod tests {
    use sluicegate_delivery::testing::script::Script;

    use super::super::tests::{header, told};
    use super::*;
    use crate::tests::check_causes;

    const ALL: [ProblemKind; 35] = [
        ProblemKind::Malformed,
        ProblemKind::Unauthenticated("Bearer"),
        ProblemKind::Forbidden,
        ProblemKind::NotAuthorized,
        ProblemKind::NoResource,
        ProblemKind::NoTopic,
        ProblemKind::NoPartition,
        ProblemKind::NoKey,
        ProblemKind::Gone,
        ProblemKind::OtherType,
        ProblemKind::MethodNotAllowed("GET"),
        ProblemKind::NotAcceptable,
        ProblemKind::TooSlow,
        ProblemKind::NoRegistry,
        ProblemKind::Schema(SchemaFault::NoKeySchema),
        ProblemKind::Schema(SchemaFault::NoValueSchema),
        ProblemKind::Schema(SchemaFault::Unfit),
        ProblemKind::Schema(SchemaFault::Unknown),
        ProblemKind::Consumer(ConsumerFault::Unknown),
        ProblemKind::Consumer(ConsumerFault::Format),
        ProblemKind::Consumer(ConsumerFault::Taken),
        ProblemKind::Consumer(ConsumerFault::State),
        ProblemKind::Consumer(ConsumerFault::Settings),
        ProblemKind::TooLarge,
        ProblemKind::UnsupportedMediaType,
        ProblemKind::Unprocessable,
        ProblemKind::Busy,
        ProblemKind::OutOfOrder,
        ProblemKind::Fenced,
        ProblemKind::TooManyHeaders,
        ProblemKind::Misconfigured,
        ProblemKind::Rejected,
        ProblemKind::GatewayMismatch,
        ProblemKind::Unavailable,
        ProblemKind::UnknownOutcome,
    ];

    const FAULTS: [(Fault, u16); 20] = [
        (Fault::OutOfOrder, 409),
        (Fault::Expired, 409),
        (Fault::Fenced, 403),
        (Fault::Invalid, 400),
        (Fault::OffsetOutOfRange, 400),
        (Fault::Recreated, 400),
        (Fault::Forbidden, 403),
        (Fault::Unauthenticated, 401),
        (Fault::NotAuthorized, 403),
        (Fault::NotFound, 404),
        (Fault::TooLarge, 413),
        (Fault::InvalidRecord, 422),
        (Fault::QueueFull, 429),
        (Fault::QuotaExceeded, 429),
        (Fault::Rejected, 500),
        (Fault::Unreachable { retriable: false }, 500),
        (Fault::Unreachable { retriable: true }, 503),
        (Fault::Transient, 503),
        (Fault::UnknownOutcome { retriable: true }, 504),
        (Fault::UnknownOutcome { retriable: false }, 504),
    ];

    #[test]
    fn reference_lists_every_kind_of_problem() {
        let row = |kind: ProblemKind| {
            let (status, title, error_code) = kind.codes();
            let status = status.as_u16().to_string();
            let errors = FAULTS.iter().map(|(fault, _)| CommandError::new(*fault, 0, ""));
            let failed = errors.map(|error| Problem::failed(error, System::Kafka));
            let mut reasons = vec![kind.reason()];
            reasons.extend(failed.filter(|problem| problem.kind == kind).map(|problem| problem.reason));
            reasons.sort_unstable();
            reasons.dedup();
            reasons.retain(|reason| *reason != Reason::Unspecified);
            let reasons: Vec<String> =
                reasons.into_iter().map(|reason| format!("`{}`", name(reason))).collect();
            vec![status, title.to_owned(), error_code.to_string(), reasons.join(", ")]
        };
        let heads = ["status", "`title`", "`error_code`", "`reason`", "cause"];
        check_causes("problems", &heads, ALL.into_iter().map(row));
    }

    #[test]
    fn document_has_only_known_members() {
        let problem = Problem::new(ProblemKind::Malformed, "say \"x\"\n");
        let document = r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"say \"x\"\n","reason":"invalid_command"}"#;
        assert_eq!(told(problem.clone().plain()), (400, document.to_owned()));
        let document = r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"say \"x\"\n","reason":"invalid_command","error_code":400,"message":"say \"x\"\n"}"#;
        assert_eq!(told(problem.rest(PROBLEM)), (400, document.to_owned()));
        let error = CommandError::new(Fault::UnknownOutcome { retriable: true }, 7, "m");
        let document = r#"{"type":"about:blank","title":"Gateway Timeout","status":504,"detail":"m; a retry can write it twice","reason":"unknown_outcome","kafka_code":7,"unknown_outcome":true}"#;
        assert_eq!(told(Problem::failed(error, System::Kafka).plain()), (504, document.to_owned()));
    }

    #[test]
    fn each_fault_of_a_command_has_its_status() {
        for (fault, status) in FAULTS {
            let problem = Problem::failed(CommandError::new(fault, 0, ""), System::Kafka);
            assert_eq!(problem.plain().status.as_u16(), status, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn missing_stream_is_no_topic() {
        let (cluster, _) = Script::cluster_of(System::Nats, 1);
        let missing = async |name| {
            let error = CommandError::new(Fault::NotFound, 10059, "stream not found");
            Problem::failed(error, System::Nats)
                .with_missing_log(&Grant::all(&cluster), name, Some(0))
                .await
                .detail
        };
        assert_eq!(missing("0").await, "stream not found");
        assert_eq!(missing("gone").await, "stream gone does not exist, create it first");
    }

    #[test]
    fn retry_after_is_whole_seconds_of_at_least_one() {
        for (kind, ms, want) in [
            (ProblemKind::Busy, 100, "1"),
            (ProblemKind::Unavailable, 1001, "2"),
            (ProblemKind::Unavailable, 0, "1"),
        ] {
            let problem = Problem { retry_after: Duration::from_millis(ms), ..Problem::new(kind, "") };
            assert_eq!(header(&problem.plain(), "retry-after"), Some(want));
        }
    }
}
