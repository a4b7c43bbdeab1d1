//! A client's connection, in the protocol that gateways speak to a bridge.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use prost::Message;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::control_req::Control as Ask;
use sluicegate_protocol::control_resp::Control;
use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    ControlReq, ErrorResp, KafkaMessage, KafkaSubscriptionEvent, PubSubReq, PubSubResp, grpc,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::sync::CancellationToken;

use crate::identity::Identity;
use crate::jetstream::translation;
use crate::quota::Received;

/// The key by which shared limits know a client, of its kind and number.
pub(crate) fn client_key(kind: u8, number: usize) -> ClientKey {
    ClientKey::from(IpAddr::from([10, 0, kind, u8::try_from(number).unwrap_or(u8::MAX)]))
}

/// The size of a message in an answer, with its tag and length.
pub(crate) fn framed_len(message: &KafkaMessage) -> usize {
    let len = message.encoded_len();
    1 + prost::length_delimiter_len(len) + len
}

/// Checks that messages are no more than a client takes at a time, in bytes and number, but for a single one. 0: no bound.
///
/// # Errors
/// They are more.
pub(crate) fn check_size(messages: &[KafkaMessage], max_bytes: u32, max_records: u32) -> Result<(), String> {
    let (count, bytes) = (messages.len(), messages.iter().map(framed_len).sum::<usize>());
    let is_within = |size: usize, max: u32| max == 0 || u32::try_from(size).is_ok_and(|size| size <= max);
    if is_within(count, max_records) && (is_within(bytes, max_bytes) || count <= 1) {
        return Ok(());
    }
    Err(format!("{count} records of {bytes} bytes, at most {max_records} of {max_bytes}"))
}

/// An open session.
pub(crate) struct Client {
    stream: DuplexStream,
    unread: BytesMut,
    unsent: BytesMut,
    /// Whether the cluster is one of NATS.
    is_nats: bool,
    /// `None`: nobody in particular, who may read everything.
    identity: Option<Arc<Identity>>,
    /// `None`: the client has no quota.
    received: Option<Arc<Received>>,
}

impl Client {
    pub(crate) fn new(
        stream: DuplexStream,
        is_nats: bool,
        identity: Option<Arc<Identity>>,
        received: Option<Arc<Received>>,
    ) -> Self {
        Self { stream, unread: BytesMut::new(), unsent: BytesMut::new(), is_nats, identity, received }
    }

    /// The longest time for which the client's quota lets it wait.
    pub(crate) fn owed(&self) -> Duration {
        self.received.as_ref().map_or(Duration::ZERO, |received| received.owed())
    }

    /// Sends a command.
    pub(crate) async fn send(&mut self, sequence: i64, req: Req) -> io::Result<()> {
        let req = if self.is_nats { translation::command(req) } else { req };
        let message = PubSubReq { sequence, req: Some(req) }.encode_to_vec();
        let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.unsent.extend_from_slice(&grpc::head(len));
        self.unsent.extend_from_slice(&message);
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            self.stream.write_buf(&mut self.unsent).await?;
        }
        Ok(())
    }

    /// The next answer with its sequence; `None` at the end of the session. Pings are answered.
    ///
    /// # Cancel safety
    /// A drop has no effect.
    pub(crate) async fn next(&mut self) -> Option<(i64, Resp)> {
        let Some(identity) = self.identity.clone() else { return self.answer().await };
        let (sequence, resp) = identity.within(self.answer()).await?;
        identity.check(messages(&resp));
        let is_end = matches!(resp, Resp::ErrorResp(_)) && identity.is_over();
        (!is_end).then_some((sequence, resp))
    }

    async fn answer(&mut self) -> Option<(i64, Resp)> {
        loop {
            let PubSubResp { sequence, resp } = self.message().await?;
            match resp? {
                Resp::Control(control) => match control.control? {
                    Control::Ping(payload) => {
                        let control = Some(Ask::Alive(payload));
                        self.send(0, Req::Control(ControlReq { control })).await.ok()?;
                    }
                    Control::Pong(_) => {}
                    Control::Close(close) => {
                        if close.code == UNAUTHORIZED
                            && let Some(identity) = &self.identity
                        {
                            identity.check_end();
                        }
                        return None;
                    }
                },
                resp => {
                    let resp = if self.is_nats { translation::answer(resp) } else { resp };
                    self.received.iter().for_each(|received| received.count(messages(&resp)));
                    return Some((sequence, resp));
                }
            }
        }
    }

    async fn message(&mut self) -> Option<PubSubResp> {
        self.flush().await.ok()?;
        loop {
            if let Some(head) = self.unread.first_chunk() {
                let len = usize::try_from(grpc::message_len(*head).ok()?).ok()?;
                if self.unread.len() >= len.checked_add(grpc::HEAD_LEN)? {
                    self.unread.advance(grpc::HEAD_LEN);
                    return PubSubResp::decode(self.unread.split_to(len)).ok();
                }
            }
            if self.stream.read_buf(&mut self.unread).await.ok()? == 0 {
                return None;
            }
        }
    }
}

/// The records of an answer.
fn messages(resp: &Resp) -> &[KafkaMessage] {
    match resp {
        Resp::KafkaDeliveryResp(delivery) => &delivery.messages,
        Resp::KafkaFetchResp(fetched) => &fetched.messages,
        _ => &[],
    }
}

/// The connection of a client that others can cut.
#[derive(Debug, Default)]
pub(crate) struct Cut(Mutex<CancellationToken>);

impl Cut {
    fn token(&self) -> MutexGuard<'_, CancellationToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the connection, if there is one.
    pub(crate) fn cut(&self) {
        std::mem::take(&mut *self.token()).cancel();
    }

    /// The result of a visit; `None` if its connection is cut.
    pub(crate) async fn unless_cut<T>(&self, visit: impl Future<Output = T>) -> Option<T> {
        let cut = CancellationToken::new();
        *self.token() = cut.clone();
        cut.run_until_cancelled(visit).await
    }
}

/// An answer in words, without what differs between two runs.
pub(crate) fn describe(resp: &Resp) -> String {
    let mut resp = resp.clone();
    let errors: Vec<&mut ErrorResp> = match &mut resp {
        Resp::ErrorResp(error) => vec![error],
        Resp::KafkaProduceResp(produced) => {
            produced.results.iter_mut().filter_map(|result| result.error.as_mut()).collect()
        }
        _ => Vec::new(),
    };
    for error in errors {
        error.message.clear();
        error.trace_id.clear();
    }
    if let Resp::KafkaSubscriptionEvent(KafkaSubscriptionEvent { event: Some(Event::Retrying(retrying)) }) =
        &mut resp
    {
        retrying.since = 0;
        retrying.error = None;
    }
    format!("{resp:?}")
}

/// The close code of a session whose identity is over.
const UNAUTHORIZED: u32 = 3000;
