//! Encodings of a session's commands and answers.

/// The encoding of a session's commands and answers, chosen once by its WebSocket subprotocol. Control messages are
/// protobuf in either: JSON cannot begin with [`CONTROL_PREFIX`](crate::CONTROL_PREFIX), which is not UTF-8.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Codec {
    /// `PubSubReq` and `PubSubResp`, in WebSocket binary messages.
    #[default]
    Protobuf,
    /// JSON objects, in WebSocket text messages.
    Json,
}

impl Codec {
    /// The codec of a session with this subprotocol, if it has one.
    pub fn of(subprotocol: Option<&[u8]>) -> Self {
        match subprotocol {
            Some(name) if name == JSON_SUBPROTOCOL.as_bytes() => Self::Json,
            _ => Self::Protobuf,
        }
    }
}

/// The WebSocket subprotocol of [`Codec::Protobuf`], for clients that have to offer one.
pub const PROTOBUF_SUBPROTOCOL: &str = "sluicegate.v1";

/// The WebSocket subprotocol of [`Codec::Json`].
pub const JSON_SUBPROTOCOL: &str = "sluicegate.v1.json";

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn json_is_chosen_by_its_exact_name() {
        assert_eq!(Codec::of(Some(b"sluicegate.v1.json")), Codec::Json);
        for other in
            [None, Some(&b""[..]), Some(b"Sluicegate.v1.json"), Some(b"sluicegate.v1"), Some(b"\xff")]
        {
            assert_eq!(Codec::of(other), Codec::Protobuf, "{other:?}");
        }
    }

    #[test]
    fn no_text_begins_as_a_control_message() {
        for rest in ["", "\0", "{}", "\u{be}"] {
            let bytes = [&crate::CONTROL_PREFIX[..], rest.as_bytes()].concat();
            assert!(std::str::from_utf8(&bytes).is_err(), "{rest:?}");
        }
    }
}
