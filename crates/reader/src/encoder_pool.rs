//! Idle encoders, kept for their decompression buffers.

use sluicegate_records::Encoder;

use crate::lock::Lock;

#[derive(Debug, Default)]
pub(crate) struct EncoderPool {
    /// At most [`MAX_IDLE`], each with a buffer of a few MiB if batches are compressed.
    idle: Lock<Vec<Encoder>>,
}

impl EncoderPool {
    pub(crate) fn with<T>(&self, encode: impl FnOnce(&mut Encoder) -> T) -> T {
        let idle = self.idle.lock().pop();
        let mut encoder = idle.unwrap_or_default();
        let encoded = encode(&mut encoder);
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(encoder);
        }
        encoded
    }
}

/// An encoder is in use only while a thread encodes: more idle ones than threads are of no use.
const MAX_IDLE: usize = 16;
