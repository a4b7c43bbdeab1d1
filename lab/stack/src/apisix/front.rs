//! The worker's thread: passes requests through the filter to the bridge, and answers back.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use sluicegate_harness::apisix::{Outcome, Plugin, Route, Worker};
use sluicegate_harness::{Headers, Response as Answer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};

use super::Setup;
use super::upstream::{Body, Gone, Upstream};
use crate::Error;

/// Serves until `stopped` fires or is dropped. `memory` has the bytes of the filter after each request.
pub(super) fn run(
    (address, bridge): (SocketAddr, SocketAddr),
    filter: &Path,
    setup: Setup,
    started: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
    memory: Arc<AtomicU64>,
) -> Result<(), Error> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::failed("start a runtime"))?;
    let serve = async move {
        let host = Rc::new(Host::start(filter, bridge, setup, memory)?);
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(Error::failed(format!("listen on {address}")))?;
        let _ = started.send(());
        let accept = async {
            loop {
                if let Ok((stream, client)) = listener.accept().await {
                    spawn_local(connection(Rc::clone(&host), stream, client));
                }
            }
        };
        tokio::select! {
            () = accept => {}
            _ = stopped => {}
        }
        Ok(())
    };
    LocalSet::new().block_on(&runtime, serve)
}

async fn connection(host: Rc<Host>, stream: TcpStream, client: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let client = client.ip().to_string();
    let service = service_fn(move |request| {
        let (host, client) = (Rc::clone(&host), client.clone());
        async move { host.exchange(&client, request).await }
    });
    let _ = auto::Builder::new(Local).serve_connection(TokioIo::new(stream), service).await;
}

/// One worker of APISIX.
struct Host {
    /// Routes and their plugins, in matching order: exact paths first, then longer prefixes.
    routes: Vec<(super::Route, Route)>,
    upstream: Upstream,
    memory: Arc<AtomicU64>,
    /// Declared after its routes, so that it is dropped last.
    worker: Worker,
}

impl Host {
    fn start(filter: &Path, bridge: SocketAddr, setup: Setup, memory: Arc<AtomicU64>) -> Result<Self, Error> {
        let Setup { mut routes, read_timeout } = setup;
        let what = "start the filter in APISIX's host";
        let plugin = Plugin::load(filter).map_err(|error| Error::failed(what)(error.to_string()))?;
        let worker = plugin.start().map_err(|error| Error::failed(what)(error.to_string()))?;
        routes.sort_by_key(|route| (route.below, usize::MAX - route.path.len()));
        let with_plugin = |route: super::Route| {
            let plugin = worker.route(serde_json::Value::from(route.conf.clone()).to_string());
            (route, plugin)
        };
        Ok(Self {
            routes: routes.into_iter().map(with_plugin).collect(),
            upstream: Upstream { address: bridge, read_timeout },
            memory,
            worker,
        })
    }

    /// A drop closes the connection to the upstream, as nginx does when the client disconnects.
    async fn exchange(&self, client: &str, request: Request<Incoming>) -> Result<Response<Body>, Gone> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, LONGEST_BODY).collect().await?.to_bytes();
        if head.method == Method::TRACE {
            return whole(405, "text/html", "<html>nginx's own page for 405</html>");
        }
        let path = head.uri.path();
        let Some((_, route)) = self.routes.iter().find(|(route, _)| route.takes(path)) else {
            return whole(404, "text/plain", r#"{"error_msg":"404 Route Not Found"}"#);
        };
        let mut stream = route.request_from(client, lines(&head), &body);
        let bytes = u64::try_from(self.worker.memory_bytes()).unwrap_or(u64::MAX);
        self.memory.store(bytes, Ordering::Relaxed);
        match stream.outcome() {
            Outcome::Forwarded(headers) => match self.upstream.send(&headers, body).await {
                Ok(response) => {
                    let answer = stream.upstream_answers(response.status, response.headers);
                    self::answer(&answer.ok_or("the request was not forwarded")?, response.body)
                }
                Err((status, bytes_sent)) => {
                    let page = stream.upstream_fails(status, bytes_sent);
                    made_here(page.ok_or("the request was not forwarded")?)
                }
            },
            Outcome::Answered(response) => made_here(response),
            Outcome::Unavailable(why) => whole(503, "text/plain", why),
            Outcome::Lost => Err("the worker is lost".into()),
        }
    }
}

fn made_here(response: Answer) -> Result<Response<Body>, Gone> {
    answer(&response.headers, sent(response.body.into()))
}

fn answer(headers: &Headers, body: Body) -> Result<Response<Body>, Gone> {
    let mut answer = Response::builder().status(headers.text(":status").unwrap_or_default());
    for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(b":")) {
        answer = answer.header(name, value);
    }
    Ok(answer.body(body)?)
}

/// The request line as pseudo-headers, then the header lines.
fn lines(head: &Parts) -> Headers {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let pseudo = [(":method", head.method.as_str()), (":path", target), (":scheme", "http")];
    let authority = head.uri.authority().filter(|_| !head.headers.contains_key(HOST));
    let authority = authority.map(|authority| (":authority", authority.as_str()));
    let pseudo = pseudo.into_iter().chain(authority).map(|(name, value)| (name, value.as_bytes()));
    let others = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    pseudo.chain(others).collect()
}

fn whole(status: u16, content_type: &str, body: &'static str) -> Result<Response<Body>, Gone> {
    let answer = Response::builder().status(StatusCode::from_u16(status)?).header(CONTENT_TYPE, content_type);
    Ok(answer.body(sent(Bytes::from_static(body.as_bytes())))?)
}

/// A body of unknown length.
fn sent(body: Bytes) -> Body {
    let frames = (!body.is_empty()).then(|| Ok(Frame::data(body)));
    StreamBody::new(stream::iter(frames)).boxed_unsync()
}

#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}

/// nginx has no default limit for this.
const LONGEST_BODY: usize = 64 << 20;
