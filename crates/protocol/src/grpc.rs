//! gRPC's message framing: a flag byte and a big-endian length in front of each message.
//!
//! gRPC over HTTP/2, "Length-Prefixed-Message": `Compressed-Flag (1 byte) Message-Length (4 bytes, big endian)
//! Message`.

/// The length of a message's head in bytes.
pub const HEAD_LEN: usize = 5;

/// The smallest write of a gateway on a shared connection, in bytes. HTTP/2 libraries charge shorter DATA frames that
/// are not read yet for the difference, and end the connection above a sum (h2 0.4.20: half the connection window).
pub const MIN_WRITE: usize = 256;

/// The head of an uncompressed message of `len` bytes.
pub fn head(len: u32) -> [u8; HEAD_LEN] {
    let [a, b, c, d] = len.to_be_bytes();
    [0, a, b, c, d]
}

/// The length of the message after `head`.
///
/// # Errors
/// [`Compressed`] unless the flag byte is 0: compression is never negotiated.
pub fn message_len(head: [u8; HEAD_LEN]) -> Result<u32, Compressed> {
    let [flag, a, b, c, d] = head;
    if flag != 0 {
        return Err(Compressed { flag });
    }
    Ok(u32::from_be_bytes([a, b, c, d]))
}

/// A message's compressed flag is set, although compression was not negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compressed {
    /// The flag byte.
    pub flag: u8,
}

impl std::fmt::Display for Compressed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "gRPC message with compressed flag {} where 0 was expected", self.flag)
    }
}

impl std::error::Error for Compressed {}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn head_encodes_the_length() {
        for len in [0, 1, 255, 256, 65_536, u32::MAX] {
            assert_eq!(message_len(head(len)), Ok(len));
        }
    }

    #[test]
    fn compressed_message_is_refused() {
        assert_eq!(message_len([1, 0, 0, 0, 0]), Err(Compressed { flag: 1 }));
    }
}
