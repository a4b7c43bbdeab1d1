//! `proxy_get_buffer_bytes`.

use crate::abi::guest::{Args, Guest, Refused};
use crate::abi::host_call::HostCall;
use crate::abi::import::Import;
use crate::abi::status::Status;
use crate::apisix::host::Host;

pub(super) const IMPORTS: &[Import<Host>] =
    &[Import::proxy(HostCall::GetBufferBytes, "proxy_get_buffer_bytes", "iiiii", get)];

/// A, `proxy_get_buffer_bytes`: an empty buffer is `NotFound`. A configuration is always returned whole. For other
/// buffers, a start at or after the end is `BadArgument`, and so is a length of 0, or below 0 as a signed number.
fn get(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let host = guest.host();
    let whole = args.u32(0) == 7;
    let buffer = match args.u32(0) {
        7 => host.plugin().map(|plugin| plugin.conf.clone()),
        // This host has no body callbacks and no call-outs.
        0 | 1 => None,
        4 => host.exchange().map(|_| None).ok_or(Status::BAD_ARGUMENT)?,
        _ => return Err(Status::UNIMPLEMENTED.into()),
    };
    let buffer = buffer.filter(|buffer| !buffer.is_empty()).ok_or(Status::NOT_FOUND)?;
    let part = if whole { &buffer[..] } else { part(&buffer, args.u32(1), args.u32(2))? };
    guest.give(part, args.u32(3), args.u32(4))
}

fn part(buffer: &[u8], start: u32, length: u32) -> Result<&[u8], Status> {
    let length = i32::try_from(length).ok().filter(|length| *length > 0).ok_or(Status::BAD_ARGUMENT)?;
    // A: computes the end as a signed 32-bit number, where an overflow is undefined behaviour.
    let start = i32::try_from(start).map_err(|_| Status::BAD_ARGUMENT)?;
    let end = start.checked_add(length).ok_or(Status::BAD_ARGUMENT)?.unsigned_abs() as usize;
    let start = start.unsigned_abs() as usize;
    buffer.get(start..end.min(buffer.len())).filter(|part| !part.is_empty()).ok_or(Status::BAD_ARGUMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_of_a_buffer_is_given_by_the_modules_rules() {
        let refused = Err(Status::BAD_ARGUMENT);
        for (start, length, want) in [
            (0, 6, Ok(&b"abcdef"[..])),
            (0, 7, Ok(b"abcdef")),
            (5, 1, Ok(b"f")),
            (1, 2, Ok(b"bc")),
            (6, 1, refused),
            (0, 0, refused),
            (0, u32::MAX, refused),
            (u32::MAX, 1, refused),
            (1, i32::MAX.unsigned_abs(), refused),
        ] {
            assert_eq!(part(b"abcdef", start, length), want, "start {start}, length {length}");
        }
    }
}
