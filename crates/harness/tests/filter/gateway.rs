//! The filter in each gateway, for what is the same in all of them: plain HTTP requests, and what becomes of them.

use std::fmt;
use std::time::Duration;

use sluicegate_harness::apisix::{self, Plugin, Route, Worker};
use sluicegate_harness::{Headers, HostCall, Outcome, Response, Status, Stream, Vm, When};
use sluicegate_protocol::CmdHttp;

use crate::plain::{answer_of, decode, post, says};
use crate::socket::{PROFILES, Profile, answered, configuration, module};

/// A gateway with the filter in it, configured as most tests want it.
pub(crate) enum Gateway {
    Envoy(Profile, Vm),
    Apisix(Worker, Route),
}

/// A request that the client has sent as a whole.
pub(crate) enum Sent<'a> {
    /// With the token of its call, where there is one.
    Envoy(&'a Vm, Stream, Option<u32>),
    Apisix(apisix::Stream),
}

/// What the bridge was asked.
pub(crate) struct Asked {
    pub(crate) metadata: Headers,
    pub(crate) command: CmdHttp,
    pub(crate) timeout: Duration,
}

impl Gateway {
    pub(crate) fn all() -> [Self; 3] {
        let [tunnel, internal] = PROFILES.map(|profile| Self::Envoy(profile, profile.start()));
        [tunnel, internal, Self::apisix()]
    }

    pub(crate) fn apisix() -> Self {
        let worker = apisix();
        let route = worker.route(configuration(APISIX));
        Self::Apisix(worker, route)
    }

    /// A request without a body.
    pub(crate) fn request(&self, headers: Headers) -> Sent<'_> {
        self.send(headers, None)
    }

    /// A request with a body.
    pub(crate) fn posts(&self, headers: Headers, body: impl AsRef<[u8]>) -> Sent<'_> {
        self.send(headers, Some(body.as_ref()))
    }

    fn send(&self, headers: Headers, body: Option<&[u8]>) -> Sent<'_> {
        match self {
            Self::Envoy(_, vm) => {
                let last = || vm.grpc_calls().last().map(|call| call.token);
                let before = last();
                let mut stream = vm.request(headers);
                if let Some(body) = body {
                    stream.client_sends(body);
                    stream.client_ends();
                }
                Sent::Envoy(vm, stream, last().filter(|token| Some(*token) != before))
            }
            Self::Apisix(_, route) => Sent::Apisix(route.request(headers, body.unwrap_or_default())),
        }
    }

    /// Of the two gateways, Envoy alone counts.
    #[track_caller]
    pub(crate) fn counts(&self, name: &str, want: u64) {
        if let Self::Envoy(profile, vm) = self {
            assert_eq!(vm.metric(&format!("sluicegate.{name}")), Some(want), "{profile:?}, {name}");
        }
    }

    /// The host call by which the bridge is called.
    pub(crate) fn call(&self) -> HostCall {
        match self {
            Self::Envoy(..) => HostCall::GrpcCall,
            Self::Apisix(..) => HostCall::HttpCall,
        }
    }

    pub(crate) fn refuse(&self, call: HostCall, when: When, status: Status) {
        match self {
            Self::Envoy(_, vm) => vm.refuse(call, when, status),
            Self::Apisix(worker, _) => worker.refuse(call, when, status),
        }
    }

    pub(crate) fn log(&self) -> Vec<String> {
        let lines = match self {
            Self::Envoy(_, vm) => vm.log(),
            Self::Apisix(worker, _) => worker.log(),
        };
        lines.into_iter().map(|line| line.text).collect()
    }

    /// A plain request goes there and its answer comes back.
    #[track_caller]
    pub(crate) fn works(&self) {
        let mut sent = self.posts(post("/orders"), "witness");
        assert_eq!(&sent.asked().command.body[..], b"witness", "{self:?}");
        sent.answer(200, &[], "seen");
        assert_eq!(sent.answered().text(), "seen", "{self:?}");
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envoy(profile, _) => write!(f, "Envoy, {profile:?}"),
            Self::Apisix(..) => f.write_str("APISIX"),
        }
    }
}

impl Sent<'_> {
    /// What the bridge is asked, and has not answered.
    #[track_caller]
    pub(crate) fn asked(&self) -> Asked {
        match self {
            Self::Envoy(vm, _, token) => {
                let calls = vm.grpc_calls();
                let call = calls.iter().find(|call| Some(call.token) == *token).expect("a call");
                let command = decode(&call.message);
                Asked { metadata: call.metadata.clone(), command, timeout: call.timeout }
            }
            Self::Apisix(stream) => {
                let call = calling(stream);
                let own = call.headers.iter().filter(|(name, _)| name.starts_with(b"sluicegate-"));
                let command = decode(message(&call.body));
                Asked { metadata: own.collect(), command, timeout: call.timeout }
            }
        }
    }

    /// Nobody has asked the bridge, or it has answered.
    pub(crate) fn is_asking(&self) -> bool {
        match self {
            Self::Envoy(vm, _, token) => vm.grpc_calls().iter().any(|call| Some(call.token) == *token),
            Self::Apisix(stream) => matches!(stream.outcome(), apisix::Outcome::Calling(_)),
        }
    }

    pub(crate) fn answer(&mut self, status: u32, headers: &[(&str, &str)], body: &str) {
        self.answer_with(&answer_of(status, headers, body));
    }

    /// The bridge answers with this message.
    pub(crate) fn answer_with(&mut self, bytes: &[u8]) {
        match self {
            Self::Envoy(vm, _, Some(token)) => vm.answer_grpc_call(*token, bytes),
            Self::Envoy(_, _, None) => {}
            Self::Apisix(stream) => stream.bridge_answers(200, grpc_web(), whole(bytes)),
        }
    }

    /// The bridge ends the call with a gRPC status other than 0.
    pub(crate) fn fail(&mut self, code: u32) {
        match self {
            Self::Envoy(vm, _, Some(token)) => vm.fail_grpc_call(*token, code, "whatever"),
            Self::Envoy(_, _, None) => {}
            Self::Apisix(stream) => {
                let trailers =
                    frame(0x80, format!("grpc-status:{code}\r\ngrpc-message:whatever\r\n").as_bytes());
                stream.bridge_answers(200, grpc_web(), trailers);
            }
        }
    }

    #[track_caller]
    pub(crate) fn answered(&self) -> Response {
        match self {
            Self::Envoy(_, stream, _) => answered(stream),
            Self::Apisix(stream) => match stream.outcome() {
                apisix::Outcome::Answered(response) => response,
                other => panic!("{other:?}"),
            },
        }
    }

    /// The client has this problem document, and that is all.
    #[track_caller]
    pub(crate) fn told(&self, status: u16, detail: &str) {
        says(&self.answered(), status, detail);
    }

    /// The request has gone on to the upstream, with these headers.
    pub(crate) fn forwarded(&self) -> Option<Headers> {
        match self {
            Self::Envoy(_, stream, _) => match stream.outcome() {
                Outcome::Forwarded(headers) => Some(headers),
                _ => None,
            },
            Self::Apisix(stream) => match stream.outcome() {
                apisix::Outcome::Forwarded(headers) => Some(headers),
                _ => None,
            },
        }
    }
}

/// A worker of APISIX with the filter in it.
pub(crate) fn apisix() -> Worker {
    let plugin = Plugin::load(module()).unwrap_or_else(|error| panic!("failed to {error}"));
    plugin.start().unwrap_or_else(|error| panic!("failed to {error}"))
}

/// The call that a request waits for.
#[track_caller]
pub(crate) fn calling(stream: &apisix::Stream) -> apisix::Call {
    match stream.outcome() {
        apisix::Outcome::Calling(call) => call,
        other => panic!("{other:?}"),
    }
}

/// The headers of an answer in gRPC-Web.
pub(crate) fn grpc_web() -> Headers {
    [("content-type", "application/grpc-web+proto")].into()
}

/// An answer in gRPC-Web: a message and the trailers of success.
pub(crate) fn whole(bytes: &[u8]) -> Vec<u8> {
    [frame(0, bytes), frame(0x80, b"grpc-status:0\r\n")].concat()
}

/// A frame of gRPC-Web.
pub(crate) fn frame(flag: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a length").to_be_bytes();
    [&[flag], &length[..], bytes].concat()
}

/// The message of a call in gRPC-Web, which is one frame.
#[track_caller]
fn message(body: &[u8]) -> &[u8] {
    let (head, message) = body.split_at(5);
    assert_eq!(head, &frame(0, message)[..5]);
    message
}

/// The keys of a configuration that are APISIX' own.
pub(crate) const APISIX: &str = r#""bridge": "bridge.example:7400""#;
