//! The built program, run against a server in this process: what it prints, where, and how it exits.
#![cfg(test)] // so that helpers, too, may fail as tests do

mod admin;
mod check_routes;
mod completions;
mod failures;
mod groups;
mod interrupts;
mod kafka;
mod nats;
mod once;
mod produce;
mod program;
mod progress;
mod reads;
mod secrets;
mod server;
mod streams;
mod subscribe;
mod tls;
mod topics;

use std::process::Stdio;
use std::time::Duration;

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaSubscribe, CmdNatsSubscribe, ErrorResp, Header, Isolation, KafkaListOffsetsResp, KafkaMessage,
    KafkaProduceResp, KafkaSource, KafkaSubscribedResp, ListedOffset, OnLag, PartitionNext, PongResp,
    ProduceRecord, Produced, Reason, RecordFilter, SubscribedTopic,
};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;

use self::program::{Run, command, feed, finish, run};
use self::server::Session;
