//! The note that our members keep in their groups, for the bridge that takes them over.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

/// A member's settings, in the place of its rack. That is a text which groups of all kinds keep and tell: user data is lost
/// once a member of another protocol is in the group (KIP-848). Brokers and leaders know no such rack, and share without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// Another number makes another subscription, for which the group rebalances.
    pub(super) number: u8,
    pub(super) session_timeout: Duration,
    pub(super) settings: Bytes,
}

impl Note {
    pub(super) fn encode(&self) -> String {
        let Self { number, session_timeout, settings } = self;
        format!("{MARK}:{number}:{}:{}", session_timeout.as_millis(), URL_SAFE_NO_PAD.encode(settings))
    }

    /// `None`: the rack of a member of another program.
    pub(super) fn decode(rack: &str) -> Option<Self> {
        let mut parts = rack.strip_prefix(MARK)?.strip_prefix(':')?.splitn(3, ':');
        let number = parts.next()?.parse().ok()?;
        let session_timeout = Duration::from_millis(parts.next()?.parse().ok()?);
        let settings = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?.into();
        Some(Self { number, session_timeout, settings })
    }
}

/// Tells ours from those of other programs. Another layout needs another one.
const MARK: &str = "sluicegate-1";
