//! Makes, fills and changes streams of a JetStream server.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, HeaderMap, ServerAddr};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::Nats;
use crate::Error;

/// A client that reconnects for as long as it lives.
pub struct Streams {
    client: Client,
    addresses: Vec<SocketAddr>,
}

impl Streams {
    /// A connection to the server of all tests in this process.
    pub async fn shared() -> Result<Self, Error> {
        Self::connect(Nats::shared().await?.client()).await
    }

    pub async fn connect(address: SocketAddr) -> Result<Self, Error> {
        Self::connect_with(&[address], ConnectOptions::new()).await
    }

    /// Connects to one of these servers, and to another one whenever that is lost.
    pub async fn connect_with(addresses: &[SocketAddr], options: ConnectOptions) -> Result<Self, Error> {
        let urls: Vec<ServerAddr> =
            addresses.iter().filter_map(|address| address.to_string().parse().ok()).collect();
        let client = options.connect(urls).await.map_err(Error::failed("connect to nats-server"))?;
        Ok(Self { client, addresses: addresses.to_vec() })
    }

    /// Creates a stream of the subjects `NAME.>`, with direct gets, in files, and with `more` settings.
    pub async fn create(&self, name: &str, more: Value) -> Result<(), Error> {
        let mut config = json!({ "name": name, "subjects": [format!("{name}.>")], "allow_direct": true });
        if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
            config.extend(more);
        }
        self.call(&format!("STREAM.CREATE.{name}"), &config).await.map(drop)
    }

    pub async fn call(&self, call: &str, request: &Value) -> Result<Value, Error> {
        let answer = self.client.request(format!("$JS.API.{call}"), request.to_string().into()).await;
        let answer = answer.map_err(Error::failed(format!("call {call}")))?;
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        match answer.get("error") {
            None => Ok(answer),
            Some(error) => Err(Error::JetStream { call: call.to_owned(), error: error.to_string() }),
        }
    }

    /// Writes messages in order. All are stored when it returns.
    pub async fn write(&self, subject: &str, messages: impl IntoIterator<Item = Bytes>) -> Result<(), Error> {
        let write = |message| self.client.request(subject.to_owned(), message);
        // A server drops what comes faster than it can store. The requests are sent in order.
        let mut acknowledgements = stream::iter(messages).map(write).buffered(UNACKNOWLEDGED);
        while let Some(acknowledged) = acknowledgements.next().await {
            acknowledged.map_err(Error::failed("write"))?;
        }
        Ok(())
    }

    /// Publishes a message with these headers, one of which is its id. Gives its sequence if the stream has acknowledged
    /// it.
    pub async fn write_once(&self, subject: &str, headers: &[(&str, &str)], message: Bytes) -> Option<i64> {
        let headers = headers.iter().fold(HeaderMap::new(), |mut all, (name, value)| {
            all.insert(*name, *value);
            all
        });
        let answer = self.client.request_with_headers(subject.to_owned(), headers, message).await;
        let answer = answer.ok().and_then(|answer| serde_json::from_slice::<Value>(&answer.payload).ok());
        answer?.get("seq")?.as_i64()
    }

    /// Publishes exactly these bytes of subject and headers, which some client libraries send. A message that is
    /// written after this is stored after it.
    pub fn write_raw(&self, subject: &[u8], headers: &[u8], payload: &[u8]) -> Result<(), Error> {
        let mut sent = b"CONNECT {\"verbose\":false,\"headers\":true}\r\nHPUB ".to_vec();
        sent.extend_from_slice(subject);
        let lens = format!(" {} {}\r\n", headers.len(), headers.len().saturating_add(payload.len()));
        sent.extend_from_slice(lens.as_bytes());
        sent.extend_from_slice(headers);
        sent.extend_from_slice(payload);
        sent.extend_from_slice(b"\r\nPING\r\n");
        let answered = || -> io::Result<()> {
            let mut socket = TcpStream::connect(&self.addresses[..])?;
            socket.set_read_timeout(Some(Duration::from_secs(10)))?;
            socket.write_all(&sent)?;
            let mut answer = Vec::new();
            let mut read = [0; 4096];
            while memchr::memmem::find(&answer, b"PONG\r\n").is_none() {
                let len = socket.read(&mut read)?;
                if len == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                answer.extend_from_slice(read.get(..len).unwrap_or_default());
            }
            Ok(())
        };
        answered().map_err(Error::failed("publish raw bytes"))
    }

    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// Messages that are written before the first of them is acknowledged.
const UNACKNOWLEDGED: usize = 100;
