//! Sessions for tests of other crates.

use std::time::Duration;

use sluicegate_delivery::drain::Drain;
use sluicegate_delivery::grant::Grant;
use sluicegate_protocol::codec::Codec;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::session::{self, Limits, Overload, Transport};

/// Serves a session of protobuf messages over an upgraded stream, with the limits of the default configuration, until it
/// ends.
///
/// # Cancel safety
/// A drop closes the session without a last message.
pub async fn session(io: impl AsyncRead + AsyncWrite + Send + 'static, grant: Grant, drain: Drain) {
    let limits = Limits {
        max_request_bytes: 1 << 20,
        max_commands: 64,
        answer_bytes: 1 << 20,
        ping_interval: Duration::from_secs(30),
        close_timeout: Duration::from_secs(5),
        drain_grace: Duration::from_secs(5),
    };
    let transport = Transport::stream(io, Overload::StopReading);
    session::run(transport, Codec::Protobuf, grant.into(), &limits, drain).await;
}
