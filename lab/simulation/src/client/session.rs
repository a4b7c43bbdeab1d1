//! A session, in the protocol that gateways speak to a bridge: in protobuf with Kafka, in JSON with NATS.

use std::io;

use bytes::{Buf, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{PubSubReq, PubSubResp, grpc};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::Connection;
use crate::jetstream::translation;

/// An open session.
pub(super) struct Session {
    stream: DuplexStream,
    unread: BytesMut,
    unsent: BytesMut,
    /// Whether the cluster is one of NATS.
    is_nats: bool,
}

impl Session {
    pub(super) fn new(stream: DuplexStream, is_nats: bool) -> Self {
        Self { stream, unread: BytesMut::new(), unsent: BytesMut::new(), is_nats }
    }

    async fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            self.stream.write_buf(&mut self.unsent).await?;
        }
        Ok(())
    }

    async fn message(&mut self) -> Option<BytesMut> {
        self.flush().await.ok()?;
        loop {
            if let Some(head) = self.unread.first_chunk() {
                let len = usize::try_from(grpc::message_len(*head).ok()?).ok()?;
                if self.unread.len() >= len.checked_add(grpc::HEAD_LEN)? {
                    self.unread.advance(grpc::HEAD_LEN);
                    return Some(self.unread.split_to(len));
                }
            }
            if self.stream.read_buf(&mut self.unread).await.ok()? == 0 {
                return None;
            }
        }
    }
}

impl Connection for Session {
    fn send(&mut self, sequence: i64, req: Req) -> BoxFuture<'_, io::Result<()>> {
        let json = if self.is_nats { translation::command(sequence, &req) } else { None };
        let message = json.unwrap_or_else(|| PubSubReq { sequence, req: Some(req) }.encode_to_vec());
        let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.unsent.extend_from_slice(&grpc::head(len));
        self.unsent.extend_from_slice(&message);
        self.flush().boxed()
    }

    fn next(&mut self) -> BoxFuture<'_, Option<(i64, Resp)>> {
        async move {
            let message = self.message().await?;
            if message.starts_with(b"{") {
                return translation::answer(&message);
            }
            let PubSubResp { sequence, resp } = PubSubResp::decode(message).ok()?;
            Some((sequence, resp?))
        }
        .boxed()
    }
}
