//! Clients that write through the gateway by plain HTTP: one record per request, on persistent connections.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::report::{Measured, Took};
use crate::{Failure, Writing};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    gateway: SocketAddr,
    #[arg(long)]
    path: String,
    #[command(flatten)]
    writing: Writing,
}

type Connection = SendRequest<Full<Bytes>>;

/// Prints a [`Measured`] line.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    // One thread: more would take CPU from the measured processes.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (took, seconds) = runtime.block_on(async {
        let connections = try_join_all((0..args.writing.clients).map(|_| connect(args))).await?;
        let start = Instant::now();
        let took = connections.into_iter().map(|connection| write(args, connection, start));
        let took = try_join_all(took).await?;
        Ok::<_, Failure>((took.concat(), start.elapsed().as_secs_f64()))
    })?;
    Measured::of_requests(&took, 1, args.writing.size, seconds).print()
}

async fn connect(args: &Args) -> Result<Connection, Failure> {
    let stream = TcpStream::connect(args.gateway).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Errors reach the requests on the connection.
    tokio::spawn(connection);
    Ok(sender)
}

async fn write(args: &Args, mut connection: Connection, start: Instant) -> Result<Took, Failure> {
    let (host, value) = (args.gateway.to_string(), Bytes::from(args.writing.value()));
    let mut took = Took::new();
    while start.elapsed() < args.writing.time() {
        let request = Request::post(&args.path).header(header::HOST, &host).body(Full::new(value.clone()))?;
        let sent = Instant::now();
        let answer = connection.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status != StatusCode::OK {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
        }
        took.push(sent.elapsed());
    }
    Ok(took)
}
