//! The WASI functions that Rust's standard library imports, as cpp-host's `exports.cc` has them.

use std::time::Duration;

use super::guest::{Args, Guest, Refused};
use super::import::Import;
use super::log::Level;
use super::status::Status;
use super::system::System;

pub(crate) const fn imports<H: System>() -> [Import<H>; 9] {
    [
        Import::wasi("args_get", "ii", nothing),
        Import::wasi("args_sizes_get", "ii", no_strings),
        Import::wasi("clock_time_get", "iIi", clock_time_get),
        Import::wasi("environ_get", "ii", nothing),
        Import::wasi("environ_sizes_get", "ii", no_strings),
        Import::wasi("fd_write", "iiii", fd_write),
        Import::wasi("proc_exit", "i", proc_exit).without_result(),
        Import::wasi("random_get", "ii", random_get),
        Import::wasi("sched_yield", "", nothing),
    ]
}

fn nothing<H: System>(_: &mut Guest<'_, H>, _: &Args<'_>) -> Result<(), Refused> {
    Ok(())
}

/// No arguments and no environment.
fn no_strings<H: System>(guest: &mut Guest<'_, H>, args: &Args<'_>) -> Result<(), Refused> {
    guest.write_u32(args.u32(0), 0)?;
    guest.write_u32(args.u32(1), 0)
}

fn clock_time_get<H: System>(guest: &mut Guest<'_, H>, args: &Args<'_>) -> Result<(), Refused> {
    let host = guest.host();
    let time = match args.u32(0) {
        0 => host.now(),
        1 => host.uptime(),
        _ => return Err(NOT_SUPPORTED.into()),
    };
    guest.write_u64(args.u32(2), nanoseconds(time))
}

/// Standard output is logged as info, standard error as error, one line a call, without its line break.
fn fd_write<H: System>(guest: &mut Guest<'_, H>, args: &Args<'_>) -> Result<(), Refused> {
    let level = match args.u32(0) {
        1 => Level::Info,
        2 => Level::Error,
        _ => return Err(BAD_DESCRIPTOR.into()),
    };
    let mut text = Vec::new();
    for slice in 0..args.u32(2) {
        let at = slice.checked_mul(8).and_then(|offset| args.u32(1).checked_add(offset)).ok_or(FAULT)?;
        let (start, length) = (read_u32(guest, at)?, read_u32(guest, at.saturating_add(4))?);
        text.extend(guest.read(start, length).map_err(fault)?);
    }
    let written = u32::try_from(text.len()).map_err(|_| FAULT)?;
    if !text.is_empty() {
        guest.host().log().push(level, text.strip_suffix(b"\n").unwrap_or(&text));
    }
    guest.write_u32(args.u32(3), written).map_err(fault)
}

/// Stricter than Envoy, which logs the call and lets the filter run on, into the trap that the compiler put behind it.
fn proc_exit<H: System>(_: &mut Guest<'_, H>, args: &Args<'_>) -> Result<(), Refused> {
    Err(Refused::Trap(wasmtime::Error::msg(format!("the filter called proc_exit with {}", args.u32(0)))))
}

/// The same bytes in each run, so that a failing test fails again.
fn random_get<H: System>(guest: &mut Guest<'_, H>, args: &Args<'_>) -> Result<(), Refused> {
    if args.u32(1) > MAX_RANDOM {
        return Err(INVALID.into());
    }
    let mut bytes = Vec::new();
    for _ in 0..args.u32(1) {
        // Marsaglia's xorshift; this is no source of secrets.
        let random = guest.host().random();
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        let [byte, ..] = random.to_le_bytes();
        bytes.push(byte);
    }
    guest.write(args.u32(0), &bytes).map_err(fault)
}

fn read_u32<H: System>(guest: &mut Guest<'_, H>, at: u32) -> Result<u32, Refused> {
    let bytes = guest.read(at, 4).map_err(fault)?;
    Ok(bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)))
}

/// WASI numbers its errors its own way.
fn fault(refused: Refused) -> Refused {
    match refused {
        Refused::Status(_) => FAULT.into(),
        trap @ Refused::Trap(_) => trap,
    }
}

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const BAD_DESCRIPTOR: Status = Status(8);
const FAULT: Status = Status(21);
const INVALID: Status = Status(28);
const NOT_SUPPORTED: Status = Status(58);

/// cpp-host, `limits.h`.
const MAX_RANDOM: u32 = 64 * 1024;
