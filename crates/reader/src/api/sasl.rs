//! SaslHandshake and SaslAuthenticate: the messages of a mechanism (KIP-43, KIP-152, KIP-368).

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{
    ApiKey, SaslAuthenticateRequest as AuthenticateBody, SaslHandshakeRequest as HandshakeBody,
};
use kafka_protocol::protocol::StrBytes;

use super::Api;
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

/// Names the mechanism. Since version 1, SaslAuthenticate requests carry its messages.
pub(crate) struct SaslHandshakeRequest {
    pub(crate) mechanism: &'static str,
}

/// Whether the broker supports the mechanism.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SaslHandshakeAnswer {
    pub(crate) error: Option<ErrorCode>,
    /// The mechanisms that it supports.
    pub(crate) mechanisms: Vec<String>,
}

/// The mechanism's message to the broker. It can contain secrets, so it has no `Debug`.
pub(crate) struct SaslAuthenticateRequest {
    pub(crate) message: Bytes,
}

/// The mechanism's message from the broker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SaslAuthenticateAnswer {
    pub(crate) error: Option<ErrorCode>,
    /// The broker's error message.
    pub(crate) message: String,
    pub(crate) bytes: Bytes,
    /// The lifetime of the authentication; `None` if it does not expire.
    pub(crate) lifetime: Option<Duration>,
}

impl Api for SaslHandshakeRequest {
    const KEY: ApiKey = ApiKey::SaslHandshake;
    const VERSIONS: RangeInclusive<i16> = 1..=1;
    const FLEXIBLE: i16 = i16::MAX;
    type Body = HandshakeBody;
    type Answer = SaslHandshakeAnswer;

    fn body(&self, _version: i16) -> HandshakeBody {
        HandshakeBody::default().with_mechanism(StrBytes::from_static_str(self.mechanism))
    }

    fn decode(&self, wire: &mut Wire, _version: i16) -> Result<SaslHandshakeAnswer, WireError> {
        let error = ErrorCode::of(wire.i16()?);
        let mut mechanisms = Vec::new();
        for _ in 0..wire.array(2)? {
            mechanisms.push(wire.string()?);
        }
        Ok(SaslHandshakeAnswer { error, mechanisms })
    }
}

impl Api for SaslAuthenticateRequest {
    const KEY: ApiKey = ApiKey::SaslAuthenticate;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const FLEXIBLE: i16 = 2;
    type Body = AuthenticateBody;
    type Answer = SaslAuthenticateAnswer;

    fn body(&self, _version: i16) -> AuthenticateBody {
        AuthenticateBody::default().with_auth_bytes(self.message.clone())
    }

    fn decode(&self, wire: &mut Wire, version: i16) -> Result<SaslAuthenticateAnswer, WireError> {
        let error = ErrorCode::of(wire.i16()?);
        let message = wire.string()?;
        let bytes = wire.bytes()?;
        let lifetime = if version >= 1 { wire.i64()? } else { 0 };
        let lifetime = u64::try_from(lifetime).ok().filter(|millis| *millis > 0).map(Duration::from_millis);
        Ok(SaslAuthenticateAnswer { error, message, bytes, lifetime })
    }
}
