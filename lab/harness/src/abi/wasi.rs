//! The WASI functions that Rust modules import, as in cpp-host's `exports.cc`.

use super::guest::{Args, Guest, Refused};
use super::host_call::Status;
use super::import::Import;
use super::log::Level;
use super::system::Host;

pub(crate) const fn imports<H: Host>() -> [Import<H>; 4] {
    [
        Import::wasi("environ_get", "ii", nothing),
        Import::wasi("environ_sizes_get", "ii", no_strings),
        Import::wasi("fd_write", "iiii", fd_write),
        Import::wasi("proc_exit", "i", proc_exit).without_result(),
    ]
}

pub(crate) fn nothing<H: Host>(_: &mut Guest<'_, H>, _: &Args<'_>) -> Result<(), Refused> {
    Ok(())
}

/// No environment.
fn no_strings<H: Host>(guest: &mut Guest<'_, H>, args: &Args<'_>) -> Result<(), Refused> {
    guest.write_u32(args.u32(0), 0)?;
    guest.write_u32(args.u32(1), 0)
}

/// Logs standard output as info and standard error as error. Each call is a line; its line break is removed.
fn fd_write<H: Host>(guest: &mut Guest<'_, H>, args: &Args<'_>) -> Result<(), Refused> {
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
        guest.host().system().log.push(level, text.strip_suffix(b"\n").unwrap_or(&text));
    }
    guest.write_u32(args.u32(3), written).map_err(fault)
}

/// Stricter than Envoy, which logs the call and returns; the module then runs into the compiler's trap.
fn proc_exit<H: Host>(_: &mut Guest<'_, H>, args: &Args<'_>) -> Result<(), Refused> {
    Err(Refused::trap(format!("the module called proc_exit with {}", args.u32(0))))
}

fn read_u32<H: Host>(guest: &mut Guest<'_, H>, at: u32) -> Result<u32, Refused> {
    let bytes = guest.read(at, 4).map_err(fault)?;
    Ok(bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)))
}

/// WASI has its own error numbers.
fn fault(refused: Refused) -> Refused {
    match refused {
        Refused::Status(_) => FAULT.into(),
        trap @ Refused::Trap(_) => trap,
    }
}

const BAD_DESCRIPTOR: Status = Status(8);
const FAULT: Status = Status(21);
