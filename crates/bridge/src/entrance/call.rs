//! One command and its answer, as unary gRPC.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use http::{Request, Response};
use hyper::body::Incoming;
use prost::Message;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{KafkaFetchResp, PubSubReq, PubSubResp};
use sluicegate_session::request::{UNKNOWN, WRONG};
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic::server::Grpc;
use tonic_prost::{ProstCodec, ProstEncoder};

use super::{Entrance, Refusal};
use crate::cluster::{self, Cluster, Command, Turn, Undecodable};
use crate::session::Answer;

impl Entrance {
    pub(super) async fn call(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let cluster = Arc::clone(self.cluster(request.headers())?);
        let _slot = Arc::clone(&self.calls).try_acquire_owned().map_err(|_| Refusal::Full)?;
        let _open = self.open.token();
        let mut grpc = Grpc::new(Checked).max_decoding_message_size(self.limits.max_request_bytes);
        let service = tower::service_fn(move |request: tonic::Request<PubSubReq>| {
            let cluster = Arc::clone(&cluster);
            async move { answer(&cluster, request.into_inner()).await.map(tonic::Response::new) }
        });
        Ok(grpc.unary(service, request).await)
    }
}

/// Prost's codec, of which a request is checked before it is decoded.
struct Checked;

impl Codec for Checked {
    type Encode = PubSubResp;
    type Decode = PubSubReq;
    type Encoder = ProstEncoder<PubSubResp>;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<PubSubResp, PubSubReq>::raw_encoder(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        Self
    }
}

impl Decoder for Checked {
    type Item = PubSubReq;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<PubSubReq>, Status> {
        let message = message.copy_to_bytes(message.remaining());
        cluster::check(&message).map_err(|undecodable| match undecodable {
            Undecodable::TooMany { message, .. } => Status::invalid_argument(message),
            Undecodable::Wrong => Status::invalid_argument(WRONG),
        })?;
        let request = PubSubReq::decode(message);
        request.map(Some).map_err(|_| Status::invalid_argument(WRONG))
    }
}

async fn answer(cluster: &Cluster, request: PubSubReq) -> Result<PubSubResp, Status> {
    let PubSubReq { sequence, req } = request;
    let answered = async |command| cluster.answer(sequence, command, Turn::default(), || {}).await;
    let answer = match req {
        Some(Req::CmdPing(ping)) => Answer::pong(sequence, ping.state),
        Some(Req::CmdKafkaFetch(fetch)) => answered(Command::Fetch(fetch)).await,
        Some(Req::CmdKafkaListOffset(list)) => answered(Command::ListOffset(list)).await,
        Some(Req::CmdKafkaProduce(produce)) => answered(Command::Produce(produce)).await,
        // Unlike a session, a call is always answered.
        Some(Req::CmdEmpty(_) | Req::CmdHttp(_) | Req::Control(_)) | None => {
            Answer::refusal(sequence, UNKNOWN)
        }
    };
    match answer {
        Answer::Message(message) => Ok(message),
        Answer::Messages { sequence, messages } => fetched(sequence, messages),
    }
}

fn fetched(sequence: i64, messages: Bytes) -> Result<PubSubResp, Status> {
    // The bytes are our own encoding.
    let fetched = KafkaFetchResp::decode(messages).map_err(|error| Status::internal(error.to_string()))?;
    Ok(PubSubResp { sequence, resp: Some(Resp::KafkaFetchResp(fetched)) })
}
