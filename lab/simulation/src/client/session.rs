//! A session, in the protocol that gateways speak to a bridge: in protobuf with Kafka, in JSON with NATS.

use std::io;

use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{PubSubReq, PubSubResp, grpc};
use tokio::io::{AsyncWriteExt, DuplexStream};

use super::Connection;
use crate::jetstream::translation;
use crate::network::next_frame;

pub(super) struct Session {
    stream: DuplexStream,
    unread: BytesMut,
    /// Whether the cluster is one of NATS.
    is_nats: bool,
}

impl Session {
    pub(super) fn new(stream: DuplexStream, is_nats: bool) -> Self {
        Self { stream, unread: BytesMut::new(), is_nats }
    }
}

impl Connection for Session {
    fn send(&mut self, sequence: i64, req: Req) -> BoxFuture<'_, io::Result<()>> {
        let json = if self.is_nats { translation::command(sequence, &req) } else { None };
        let message = json.unwrap_or_else(|| PubSubReq { sequence, req: Some(req) }.encode_to_vec());
        let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let framed = [&grpc::head(len)[..], &message].concat();
        async move { self.stream.write_all(&framed).await }.boxed()
    }

    fn next(&mut self) -> BoxFuture<'_, Option<(i64, Resp)>> {
        async move {
            let len = |head| usize::try_from(grpc::message_len(head).ok()?).ok();
            let message = next_frame(&mut self.stream, &mut self.unread, len).await?;
            if message.starts_with(b"{") {
                return translation::answer(&message);
            }
            let PubSubResp { sequence, resp } = PubSubResp::decode(message).ok()?;
            Some((sequence, resp?))
        }
        .boxed()
    }
}
