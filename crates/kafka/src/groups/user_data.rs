//! What our members keep in their groups for whoever takes them over.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The user data of a subscription of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UserData {
    /// Another number makes another subscription, for which the group rebalances.
    pub(super) number: u8,
    pub(super) session_timeout: Duration,
    pub(super) settings: Bytes,
}

impl UserData {
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes =
            BytesMut::with_capacity(MAGIC.len().saturating_add(5).saturating_add(self.settings.len()));
        bytes.put_slice(MAGIC);
        bytes.put_u8(self.number);
        bytes.put_u32(u32::try_from(self.session_timeout.as_millis()).unwrap_or(u32::MAX));
        bytes.put_slice(&self.settings);
        bytes.freeze()
    }

    /// `None`: that of a member of another program.
    pub(super) fn decode(mut bytes: Bytes) -> Option<Self> {
        if !bytes.starts_with(MAGIC) {
            return None;
        }
        bytes.advance(MAGIC.len());
        let number = bytes.try_get_u8().ok()?;
        let session_timeout = Duration::from_millis(bytes.try_get_u32().ok()?.into());
        Some(Self { number, session_timeout, settings: bytes })
    }
}

/// Tells ours from those of other programs. Another layout needs another one.
const MAGIC: &[u8] = b"sluicegate\x01";
