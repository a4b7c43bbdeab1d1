//! The codes and reasons of Close frames (RFC 6455, section 7.4).

use sluicegate_protocol::Close;

use crate::session_error::SessionError;

/// The close that a client's Close frame asks for; code 0 if it gave none.
///
/// # Errors
/// A payload of one byte, a code that must not be sent, or a reason that is not UTF-8 (sections 5.5.1, 7.4 and 8.1).
pub fn parse(payload: &[u8]) -> Result<Close, SessionError> {
    // RFC 6455, section 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer"
    let (code, reason) = match payload {
        [] => return Ok(Close::default()),
        [_] => return Err(SessionError::Protocol("close payload of 1 byte")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !can_be_sent(code) {
        return Err(SessionError::Protocol("close code that must not be sent"));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| SessionError::NotUtf8)?;
    Ok(Close { code: u32::from(code), reason: reason.to_owned() })
}

/// The payload of a Close frame. Empty for a code that must not be sent, such as 0.
pub fn payload(close: &Close) -> Vec<u8> {
    let Some(code) = u16::try_from(close.code).ok().filter(|code| can_be_sent(*code)) else {
        return Vec::new();
    };
    let end = close.reason.floor_char_boundary(MAX_REASON);
    let reason = close.reason.get(..end).unwrap_or_default();
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// RFC 6455, section 7.4.2, and IANA's registry: 1004, 1005, 1006 and 1015 are never on the wire, 1016 to 2999 have no
/// meaning yet.
fn can_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Control frames hold 125 bytes (section 5.5), two of them the code.
const MAX_REASON: usize = 123;

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn valid_codes_keep_their_value() {
        for code in [1000_u16, 1001, 1002, 1003, 1007, 1008, 1011, 1012, 1013, 1014, 3000, 4999] {
            let payload_in = [&code.to_be_bytes()[..], "späte".as_bytes()].concat();
            let close = parse(&payload_in).unwrap();
            assert_eq!((close.code, close.reason.as_str()), (u32::from(code), "späte"));
            assert_eq!(payload(&close), payload_in);
        }
    }

    #[test]
    fn invalid_codes_are_errors() {
        for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            assert_eq!(parse(&code.to_be_bytes()).map_err(SessionError::code), Err(1002), "code {code}");
            assert_eq!(payload(&Close { code: u32::from(code), reason: "x".into() }), b"");
        }
        assert_eq!(payload(&Close { code: 65_536 + 1000, reason: String::new() }), b"");
    }

    #[test]
    fn long_reason_is_cut_between_characters() {
        let close = Close { code: 1000, reason: "ä".repeat(100) };
        let payload = payload(&close);
        assert_eq!(payload.len(), 2 + 122);
        assert!(std::str::from_utf8(&payload[2..]).is_ok());
    }
}
