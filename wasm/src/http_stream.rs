//! A stream with a plain HTTP request: its body is put together, the bridge is called, and its answer becomes the response.

use prost::Message;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdHttp, PubSubReq, grpc};
use sluicegate_session::budget::Reservation;

use crate::config::{Cluster, Resource};
use crate::cors::{Asked, Cors, Verdict};
use crate::filter::Filter;
use crate::host::{self, Buffer, Status};
use crate::http::{Answer, Failure, Header, is_safe};
use crate::problem::{Form, Problem, StatusCode};

/// A request, as its headers tell.
pub(crate) struct Request<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) cors: Option<&'a Cors>,
    /// What lies behind the route's path.
    pub(crate) rest: &'a [u8],
    pub(crate) headers: &'a [Header],
    /// There is no body.
    pub(crate) end: bool,
}

/// A request and how far it has come.
pub(crate) struct HttpStream {
    context_id: u32,
    cluster: Cluster,
    /// RFC 9110, section 9.2.1: a lost answer leaves nothing unknown.
    safe: bool,
    form: Form,
    /// What every answer says to web pages.
    cors: Vec<(&'static str, String)>,
    state: State,
}

enum State {
    /// The body is not complete. What it holds is what `room` reserves, and at most `max_body_bytes`; what the command
    /// holds is reserved by `head`.
    Receiving { command: CmdHttp, head: Reservation, body: Vec<u8>, room: Reservation },
    /// The bridge has been called, at this time in nanoseconds.
    Waiting { token: u32, since: Option<u64> },
    /// The client has its answer.
    Answered,
}

impl HttpStream {
    /// A request that is answered, or passed on, or whose body is to come.
    pub(crate) fn open(
        filter: &Filter,
        context_id: u32,
        cluster: &Cluster,
        request: &Request<'_>,
    ) -> Result<Self, Status> {
        filter.stats.http_requested();
        let mut stream = Self {
            context_id,
            cluster: cluster.clone(),
            safe: is_safe(request.method()),
            form: match request.resource {
                Resource::Produce(_) => Form::Problem,
                Resource::Rest { .. } => {
                    Form::accepted(&request.all("accept").collect::<Vec<_>>().join(&b','))
                }
            },
            cors: request.cors.map(|cors| cors.headers(request.header("origin"))).unwrap_or_default(),
            state: State::Answered,
        };
        stream.begin(filter, request)?;
        Ok(stream)
    }

    fn begin(&mut self, filter: &Filter, request: &Request<'_>) -> Result<(), Status> {
        match request.judge() {
            Some(Verdict::Refuse(problem)) => return self.refuse(filter, &problem),
            Some(Verdict::Preflight(headers)) => return self.answer(filter, 204, &headers, b""),
            Some(Verdict::Pass) | None => {}
        }
        if std::str::from_utf8(request.rest).is_err() {
            return self.refuse(filter, &Problem::new(StatusCode::BadRequest, "the path is not UTF-8"));
        }
        // An upgrade has no end, so what comes after its headers is not the request's.
        let upgrade = request.header("upgrade").is_some();
        if upgrade && !self.safe {
            return self.refuse(filter, &Problem::new(StatusCode::BadRequest, "no upgrade is expected here"));
        }
        let max = filter.config.max_body_bytes;
        if request.length().is_some_and(|length| length > max) {
            return self.refuse(filter, &too_large(max));
        }
        let command = request.resource.command(request.method(), request.rest, request.headers);
        let (mut head, room) = (Reservation::new(&filter.budget), Reservation::new(&filter.budget));
        let ends = upgrade || filter.gateway.has_ended(request.end, self.safe)?;
        if !ends && !head.grow_to(command.encoded_len()) {
            return self.no_room(filter);
        }
        self.state = State::Receiving { command, head, body: Vec::new(), room };
        if ends { self.client_ends(filter) } else { Ok(()) }
    }

    /// The next `size` bytes of the body, which the host does not keep.
    pub(crate) fn client_bytes(&mut self, filter: &Filter, size: usize, end: bool) -> Result<(), Status> {
        let State::Receiving { body, room, .. } = &mut self.state else { return Ok(()) };
        let max = filter.config.max_body_bytes;
        if size > max.saturating_sub(body.len()) {
            return self.refuse(filter, &too_large(max));
        }
        if size > 0 {
            let bytes = host::buffer(Buffer::RequestBody, size)?;
            filter.stats.received(bytes.len());
            if !room.extend(body, &bytes, max) {
                return self.no_room(filter);
            }
        }
        if end { self.client_ends(filter) } else { Ok(()) }
    }

    /// The body is complete: the bridge is called.
    pub(crate) fn client_ends(&mut self, filter: &Filter) -> Result<(), Status> {
        let (mut command, body, reserved) = match std::mem::replace(&mut self.state, State::Answered) {
            State::Receiving { command, head, body, room } => (command, body, (head, room)),
            other => {
                self.state = other;
                return Ok(());
            }
        };
        command.body = body.into();
        let request = PubSubReq { sequence: 0, req: Some(Req::CmdHttp(command)) };
        let framed = frame(&request);
        drop((request, reserved));
        let Some(framed) = framed else { return self.no_room(filter) };
        match filter.call(self.context_id, &self.cluster, &framed) {
            Ok(token) => self.state = State::Waiting { token, since: host::now().ok() },
            Err(status) => {
                host::log_error(&format!("failed to call the bridge: {status}"));
                filter.stats.http_call_failed();
                return self.refuse(
                    filter,
                    &Problem::retriable(StatusCode::ServiceUnavailable, "the bridge cannot be called"),
                );
            }
        }
        Ok(())
    }

    /// The bridge has answered, or will not.
    pub(crate) fn answered(
        &mut self,
        filter: &Filter,
        ended: Result<Vec<u8>, Failure>,
    ) -> Result<(), Status> {
        let State::Waiting { since, .. } = self.state else { return Ok(()) };
        match ended.and_then(|message| Answer::decode(message).ok_or(Failure::Unreadable)) {
            Ok(answer) => self.answer(filter, answer.status, &answer.headers, &answer.body),
            Err(failure) => {
                filter.stats.http_call_failed();
                let waited = since.zip(host::now().ok()).map(|(since, now)| now.saturating_sub(since));
                let timeout = u64::from(filter.config.http_timeout_ms).saturating_mul(NANOS_PER_MS);
                let elapsed = waited.is_some_and(|waited| waited >= timeout.saturating_sub(TIMER_SLACK_NS));
                self.tell(filter, &failure.or_timed_out(elapsed).problem(self.safe))
            }
        }
    }

    /// The stream is over. A client that went away has no use for what it asked; what it wrote may be under way.
    pub(crate) fn end(&mut self, filter: &Filter) {
        if let State::Waiting { token, .. } = std::mem::replace(&mut self.state, State::Answered) {
            filter.forget_call(token, self.safe);
        }
    }

    fn no_room(&mut self, filter: &Filter) -> Result<(), Status> {
        filter.stats.out_of_memory();
        let detail = "the gateway has no room for another request, try again";
        self.refuse(filter, &Problem::retriable(StatusCode::ServiceUnavailable, detail))
    }

    /// The filter's own no.
    fn refuse(&mut self, filter: &Filter, problem: &Problem) -> Result<(), Status> {
        filter.stats.http_refused();
        self.tell(filter, problem)
    }

    fn tell(&mut self, filter: &Filter, problem: &Problem) -> Result<(), Status> {
        let document = problem.document(self.form);
        self.answer(filter, problem.status.number(), &problem.headers(self.form), document.as_bytes())
    }

    fn answer(
        &mut self,
        filter: &Filter,
        status: u16,
        headers: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)],
        body: &[u8],
    ) -> Result<(), Status> {
        self.state = State::Answered;
        let headers = headers.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
        let cors = self.cors.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let body = filter.gateway.body(status, body);
        host::respond(status, &headers.chain(cors).collect::<Vec<_>>(), body)?;
        filter.stats.sent(body.len());
        Ok(())
    }
}

impl Request<'_> {
    fn judge(&self) -> Option<Verdict> {
        let asked = Asked {
            method: self.method(),
            origin: self.header("origin"),
            request_method: self.header("access-control-request-method"),
            request_headers: self.header("access-control-request-headers"),
        };
        self.cors.map(|cors| cors.judge(&asked, self.resource.methods()))
    }

    fn method(&self) -> &[u8] {
        self.header(":method").unwrap_or_default()
    }

    /// What `content-length` says. A proxy lets none pass that is not a number.
    fn length(&self) -> Option<usize> {
        let length = std::str::from_utf8(self.header("content-length")?).ok()?;
        // A number that is too large for its type is too large for anything else.
        Some(length.trim().parse().unwrap_or(usize::MAX))
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let of_name = self.headers.iter().filter(move |(other, _)| other == name.as_bytes());
        of_name.map(|(_, value)| value.as_slice())
    }
}

/// A gRPC message with its head; None where there is no memory for it.
fn frame(request: &PubSubReq) -> Option<Vec<u8>> {
    let len = request.encoded_len();
    let mut framed = Vec::new();
    framed.try_reserve_exact(len.checked_add(grpc::HEAD_LEN)?).ok()?;
    framed.extend_from_slice(&grpc::head(u32::try_from(len).ok()?));
    request.encode(&mut framed).ok()?;
    Some(framed)
}

fn too_large(max: usize) -> Problem {
    Problem::new(StatusCode::ContentTooLarge, format!("a body of at most {max} bytes is expected"))
}

const NANOS_PER_MS: u64 = 1_000_000;

/// How early a host's timer may be.
const TIMER_SLACK_NS: u64 = 10 * NANOS_PER_MS;
