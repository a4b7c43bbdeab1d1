//! Padding of writes to the bridge, so that unread data of one stream harms no other stream of the connection.

use bytes::Bytes;
use sluicegate_protocol::control_req::Control;
use sluicegate_protocol::grpc::MIN_WRITE;

use crate::session::control;

/// Pads gRPC messages for the bridge to at least [`MIN_WRITE`] bytes, with a control message that the bridge ignores.
/// Leaves an empty buffer empty. Adds fewer bytes if there is no memory.
pub fn pad(to_bridge: &mut Vec<u8>) {
    let missing = MIN_WRITE.saturating_sub(to_bridge.len());
    if to_bridge.is_empty() || missing == 0 {
        return;
    }
    let zeros = ZEROS.get(..missing.saturating_sub(LEAST)).unwrap_or_default();
    let _ = control(Control::Padding(Bytes::from_static(zeros)), to_bridge);
}

/// The smallest such message: gRPC's head, and the tags and lengths of two fields.
const LEAST: usize = 10;

static ZEROS: [u8; MIN_WRITE] = [0; MIN_WRITE];

#[cfg(test)]
mod tests {
    use prost::Message;
    use sluicegate_protocol::pub_sub_req::Req;
    use sluicegate_protocol::{ControlReq, PubSubReq, grpc};

    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn short_write_is_padded_with_one_message() {
        for len in 1..MIN_WRITE {
            let before = vec![b'x'; len];
            let mut padded = before.clone();
            pad(&mut padded);
            assert!((MIN_WRITE..MIN_WRITE + LEAST + 2).contains(&padded.len()), "{len} to {}", padded.len());
            let (message, padding) = padded.split_at(len);
            assert_eq!(message, before);
            let (head, padding) = padding.split_first_chunk().unwrap();
            assert_eq!(grpc::message_len(*head).unwrap() as usize, padding.len());
            let Some(Req::Control(ControlReq { control: Some(Control::Padding(zeros)) })) =
                PubSubReq::decode(padding).unwrap().req
            else {
                panic!("{padding:?} after {len} bytes")
            };
            assert!(zeros.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn empty_and_long_writes_are_not_padded() {
        for len in [0, MIN_WRITE, MIN_WRITE + 1, 70_000] {
            let mut bytes = vec![b'x'; len];
            pad(&mut bytes);
            assert_eq!(bytes.len(), len);
        }
    }
}
