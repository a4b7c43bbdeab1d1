//! The client as its callers see it, against a server in the same process.

mod commands;
mod connecting;
mod endings;
mod many;
mod members;
mod nats;
mod reading;
mod renewing;
#[cfg(feature = "rest")]
mod rest;
mod server;
mod subscribing;
#[cfg(feature = "testing")]
mod writing;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaSubscribe, ErrorResp, KafkaFetchResp, KafkaListOffsetResp, KafkaMessage, KafkaProduceResp,
    KafkaSubscribedResp, KafkaSubscriptionEvent, OnLag, PartitionNext, PartitionOffset, PongResp,
    ProduceRecord, Produced, PubSubReq, PubSubResp, PublishMessage, Reason, RecordFilter, SessionResp,
    SubscribedTopic,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use self::server::{Peer, accept, busy, connected, listener, messages, play, session};
use crate::{
    At, Builder, Client, ConnectError, Error, FetchOptions, Filter, Isolation, SkipCause, Source, Subscribe,
    Update,
};
