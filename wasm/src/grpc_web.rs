//! What a unary call of gRPC-Web (`application/grpc-web+proto`) is answered with: for hosts that make plain HTTP calls only.
//!
//! As the protocol's document `PROTOCOL-WEB.md` has it: messages are framed as in gRPC, and the trailers are one more frame
//! behind them, with the highest bit of its flag set; an answer without a message may have them among its headers.

use sluicegate_protocol::grpc;

use crate::http::{Failure, Header};

/// What `content-type` says of a call.
pub const CONTENT_TYPE: &str = "application/grpc-web+proto";

/// The message that a call was answered with. `headers` have names in lower case, and `:status`; there are none where there was
/// no answer at all.
///
/// # Errors
/// Why there is none: the call's status where that is known, else [`Failure::Unreadable`] for whatever is no whole answer.
pub fn answer(headers: &[Header], mut body: Vec<u8>) -> Result<Vec<u8>, Failure> {
    if headers.is_empty() {
        return Err(Failure::Unanswered);
    }
    if let Some(status) = header(headers, "grpc-status") {
        return Err(match code(status) {
            Some(0) | None => Failure::Unreadable,
            Some(code) => Failure::Status(code),
        });
    }
    match header(headers, ":status") {
        Some(b"200") => {}
        Some(status) => return Err(Failure::Status(code_of_http(status))),
        None => return Err(Failure::Unreadable),
    }
    let message = message(&body).ok_or(Failure::Unreadable)??;
    body.truncate(message.end);
    body.drain(..message.start);
    Ok(body)
}

/// Where in a body its message is; None where it is not one message, or none, and trailers.
fn message(body: &[u8]) -> Option<Result<std::ops::Range<usize>, Failure>> {
    let (flag, first, behind) = frame(body)?;
    let (message, trailers) = match flag {
        MESSAGE => match frame(behind)? {
            (TRAILERS, trailers, []) => (Some(first), trailers),
            _ => return None,
        },
        TRAILERS if behind.is_empty() => (None, first),
        _ => return None,
    };
    match (code(status(trailers)?)?, message) {
        (0, Some(message)) => Some(Ok(grpc::HEAD_LEN..grpc::HEAD_LEN.checked_add(message.len())?)),
        (0, None) => None,
        (code, _) => Some(Err(Failure::Status(code))),
    }
}

/// The first frame's flag and content, and what is behind it; None where it is cut.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let ([flag, a, b, c, d], rest) = bytes.split_first_chunk::<{ grpc::HEAD_LEN }>()?;
    let len = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok()?;
    let (content, rest) = rest.split_at_checked(len)?;
    Some((*flag, content, rest))
}

/// `grpc-status` of trailers, which are "encoded in HTTP/1.1 header format".
fn status(trailers: &[u8]) -> Option<&[u8]> {
    trailers.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
        let is_status = name.trim_ascii().eq_ignore_ascii_case(b"grpc-status");
        is_status.then(|| value.get(1..).unwrap_or_default().trim_ascii())
    })
}

fn code(status: &[u8]) -> Option<u32> {
    let digits = !status.is_empty() && status.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(status).ok().filter(|_| digits)?.parse().ok()
}

/// gRPC's document "HTTP to gRPC Status Code Mapping", for an answer that is not of a gRPC server.
fn code_of_http(status: &[u8]) -> u32 {
    match status {
        b"400" => INTERNAL,
        b"401" => UNAUTHENTICATED,
        b"403" => PERMISSION_DENIED,
        b"404" => UNIMPLEMENTED,
        b"429" | b"502" | b"503" | b"504" => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|(other, _)| other == name.as_bytes()).map(|(_, value)| value.trim_ascii())
}

/// Flags of frames.
const MESSAGE: u8 = 0;
const TRAILERS: u8 = 0x80;

/// gRPC's numbers.
const UNKNOWN: u32 = 2;
const PERMISSION_DENIED: u32 = 7;
const UNIMPLEMENTED: u32 = 12;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;
const UNAUTHENTICATED: u32 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(list: &[(&str, &str)]) -> Vec<Header> {
        list.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    }

    fn ok() -> Vec<Header> {
        headers(&[("content-type", CONTENT_TYPE), (":status", "200")])
    }

    fn frame_of(flag: u8, content: &[u8]) -> Vec<u8> {
        let mut frame = [&grpc::head(content.len().try_into().unwrap()), content].concat();
        frame[0] = flag;
        frame
    }

    fn whole(message: &[u8], trailers: &str) -> Vec<u8> {
        [frame_of(0, message), frame_of(0x80, trailers.as_bytes())].concat()
    }

    #[test]
    fn an_answer_is_its_message() {
        for trailers in [
            "grpc-status:0\r\n",
            "grpc-status: 0",
            "Grpc-Message: x:y\r\nGRPC-Status:\t0 \r\n\r\n",
            "x\ngrpc-status:00",
        ] {
            assert_eq!(answer(&ok(), whole(b"abc", trailers)), Ok(b"abc".to_vec()), "{trailers:?}");
        }
        assert_eq!(answer(&ok(), whole(b"", "grpc-status:0")), Ok(Vec::new()));
    }

    #[test]
    fn an_answer_cut_at_any_byte_is_none() {
        let whole = whole(b"abc", "grpc-status:0\r\n");
        for cut in 0..whole.len() {
            assert_eq!(answer(&ok(), whole[..cut].to_vec()), Err(Failure::Unreadable), "cut at byte {cut}");
        }
    }

    #[test]
    fn a_status_is_told_wherever_it_stands() {
        let status = Err(Failure::Status(8));
        assert_eq!(answer(&ok(), frame_of(0x80, b"grpc-status:8\r\ngrpc-message:full\r\n")), status);
        assert_eq!(answer(&ok(), whole(b"abc", "grpc-status:8")), status);
        for http in ["200", "503"] {
            let headers = headers(&[("grpc-status", "8"), (":status", http)]);
            assert_eq!(answer(&headers, Vec::new()), status);
            assert_eq!(answer(&headers, whole(b"abc", "grpc-status:0")), status);
        }
    }

    #[test]
    fn another_servers_answer_is_told_by_its_status() {
        let table = [
            ("400", 13),
            ("401", 16),
            ("403", 7),
            ("404", 12),
            ("429", 14),
            ("502", 14),
            ("503", 14),
            ("504", 14),
            ("101", 2),
            ("204", 2),
            ("301", 2),
            ("500", 2),
            ("", 2),
        ];
        for (http, code) in table {
            let headers = headers(&[("content-type", "text/html"), (":status", http)]);
            assert_eq!(
                answer(&headers, whole(b"abc", "grpc-status:0")),
                Err(Failure::Status(code)),
                "{http}"
            );
        }
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for body in [
            Vec::new(),
            b"<html>".to_vec(),
            frame_of(0, b"abc"),
            frame_of(0x80, b"grpc-status:0"),
            frame_of(0x80, b"grpc-message:x"),
            whole(b"abc", ""),
            whole(b"abc", "grpc-status"),
            whole(b"abc", "grpc-status:"),
            whole(b"abc", "grpc-status:+0"),
            whole(b"abc", "grpc-status:x"),
            whole(b"abc", "grpc-status:4294967296"),
            [frame_of(0, b"abc"), whole(b"abc", "grpc-status:0")].concat(),
            [whole(b"abc", "grpc-status:0"), b"x".to_vec()].concat(),
            [frame_of(0x80, b"grpc-status:8"), b"x".to_vec()].concat(),
            [frame_of(0x80, b"grpc-status:0"), frame_of(0, b"abc")].concat(),
            [frame_of(1, b"abc"), frame_of(0x80, b"grpc-status:0")].concat(),
            [frame_of(0, b"abc"), frame_of(0x81, b"grpc-status:0")].concat(),
        ] {
            let shown = body.escape_ascii().to_string();
            assert_eq!(answer(&ok(), body), Err(Failure::Unreadable), "{shown}");
        }
        for list in [
            &[("content-type", CONTENT_TYPE)][..],
            &[("grpc-status", "0"), (":status", "200")],
            &[("grpc-status", "x")],
        ] {
            assert_eq!(answer(&headers(list), whole(b"abc", "grpc-status:0")), Err(Failure::Unreadable));
        }
    }

    #[test]
    fn a_host_that_has_no_answer_tells_by_no_headers() {
        assert_eq!(answer(&[], Vec::new()), Err(Failure::Unanswered));
        assert_eq!(answer(&[], whole(b"abc", "grpc-status:0")), Err(Failure::Unanswered));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = answer(&ok(), body);
        }

        #[test]
        fn any_message_comes_back(message in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(answer(&ok(), whole(&message, "grpc-status:0\r\n")), Ok(message));
        }
    }
}
