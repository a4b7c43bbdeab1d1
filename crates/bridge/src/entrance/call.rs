//! One command and its answer, or one HTTP request and its, as unary gRPC.

use std::sync::Arc;

use ::http::{Request, Response};
use bytes::{Buf, Bytes};
use hyper::body::Incoming;
use prost::Message;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{HttpResp, KafkaFetchResp, PubSubReq, PubSubResp};
use sluicegate_session::request::{UNKNOWN, WRONG};
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic::server::Grpc;
use tonic_prost::{ProstCodec, ProstEncoder};

use super::{Entrance, Refusal};
use crate::cluster::{Cluster, Command, Turn};
use crate::http::{self, Running};
use crate::request_check::{MAX_HTTP_HEADERS, Undecodable, check_before_decoding};
use crate::session::Answer;

impl Entrance {
    pub(super) async fn call(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let cluster = self.cluster(request.headers()).await?;
        let slot = Arc::clone(&self.calls).try_acquire_owned().map_err(|_| Refusal::Full)?;
        let waiting = Arc::clone(&self.waiting);
        let running = Running::new(slot, waiting, self.drain.clone(), self.open.token());
        let mut grpc = Grpc::new(Checked).max_decoding_message_size(self.max_call_bytes);
        let service = tower::service_fn(|request: tonic::Request<Decoded>| {
            let (cluster, running) = (Arc::clone(&cluster), Arc::clone(&running));
            async move { answer(&cluster, request.into_inner(), running).await.map(tonic::Response::new) }
        });
        Ok(grpc.unary(service, request).await)
    }
}

/// Prost's codec, of which a request is checked before it is decoded.
struct Checked;

/// A request, or what it is answered without being decoded.
type Decoded = Result<PubSubReq, HttpResp>;

impl Codec for Checked {
    type Encode = PubSubResp;
    type Decode = Decoded;
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
    type Item = Decoded;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Decoded>, Status> {
        let message = message.copy_to_bytes(message.remaining());
        match check_before_decoding(&message) {
            Err(Undecodable::TooMany { message, .. }) => Err(Status::invalid_argument(message)),
            Err(Undecodable::TooManyHttpHeaders { count }) => {
                Ok(Some(Err(http::too_many_headers(count, MAX_HTTP_HEADERS))))
            }
            Err(Undecodable::Wrong) => Err(Status::invalid_argument(WRONG)),
            Ok(()) => match PubSubReq::decode(message) {
                Ok(request) => Ok(Some(Ok(request))),
                Err(_) => Err(Status::invalid_argument(WRONG)),
            },
        }
    }
}

async fn answer(
    cluster: &Arc<Cluster>,
    request: Decoded,
    running: Arc<Running>,
) -> Result<PubSubResp, Status> {
    let PubSubReq { sequence, req } = match request {
        Ok(request) => request,
        Err(refused) => return Ok(answered_http(cluster, 0, refused)),
    };
    let answered =
        async |command| cluster.answer(sequence, command, Turn::default(), running.patience()).await;
    let answer = match req {
        Some(Req::CmdPing(ping)) => Answer::pong(sequence, ping.state),
        Some(Req::CmdKafkaFetch(fetch)) => answered(Command::Fetch(fetch)).await,
        Some(Req::CmdKafkaListOffset(list)) => answered(Command::ListOffset(list)).await,
        Some(Req::CmdKafkaProduce(produce)) => answered(Command::Produce(produce)).await,
        Some(Req::CmdHttp(request)) => {
            let response = http::answer(cluster, request, Arc::clone(&running)).await;
            return Ok(answered_http(cluster, sequence, response));
        }
        // Unlike a session, a call is always answered.
        Some(Req::CmdEmpty(_) | Req::Control(_)) | None => Answer::refusal(sequence, UNKNOWN),
    };
    match answer {
        Answer::Message(message) => Ok(message),
        Answer::Messages { sequence, messages } => fetched(sequence, messages),
    }
}

fn answered_http(cluster: &Cluster, sequence: i64, response: HttpResp) -> PubSubResp {
    cluster.metrics.http(response.status);
    PubSubResp { sequence, resp: Some(Resp::HttpResp(response)) }
}

fn fetched(sequence: i64, messages: Bytes) -> Result<PubSubResp, Status> {
    // The bytes are our own encoding.
    let fetched = KafkaFetchResp::decode(messages).map_err(|error| Status::internal(error.to_string()))?;
    Ok(PubSubResp { sequence, resp: Some(Resp::KafkaFetchResp(fetched)) })
}
