//! The calls about the plugin as a whole: log, clock, ticks, properties, contexts.

use std::time::Duration;

use crate::abi::guest::{Args, Guest, Refused};
use crate::abi::host_call::HostCall;
use crate::abi::import::Import;
use crate::abi::log::Level;
use crate::abi::status::Status;
use crate::envoy::host::{Action, Host};

pub(super) const IMPORTS: &[Import<Host>] = &[
    Import::proxy(HostCall::Log, "proxy_log", "iii", log),
    Import::proxy(
        HostCall::GetCurrentTimeNanoseconds,
        "proxy_get_current_time_nanoseconds",
        "i",
        get_current_time,
    ),
    Import::proxy(
        HostCall::SetTickPeriodMilliseconds,
        "proxy_set_tick_period_milliseconds",
        "i",
        set_tick_period,
    ),
    Import::proxy(HostCall::GetProperty, "proxy_get_property", "iiii", get_property),
    Import::proxy(HostCall::SetProperty, "proxy_set_property", "iiii", set_property),
    Import::proxy(HostCall::SetEffectiveContext, "proxy_set_effective_context", "i", set_effective_context),
    Import::proxy(HostCall::Done, "proxy_done", "", done),
];

/// cpp-host, `log`: a level above critical is `BadArgument`.
fn log(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let level = Level::from_number(args.u32(0)).ok_or(Status::BAD_ARGUMENT)?;
    let text = guest.read(args.u32(1), args.u32(2))?;
    guest.host().system.log.push(level, &text);
    Ok(())
}

fn get_current_time(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let now = u64::try_from(guest.host().now.as_nanos()).unwrap_or(u64::MAX);
    guest.write_u64(args.u32(0), now)
}

/// Envoy, `Wasm::setTimerPeriod`: restarts the timer; a period of 0 stops it.
fn set_tick_period(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let host = guest.host();
    host.tick_period = Duration::from_millis(args.u32(0).into());
    host.tick_due = (!host.tick_period.is_zero()).then(|| host.now.saturating_add(host.tick_period));
    Ok(())
}

/// Envoy, `getProperty`: a property of the stream, including those that the filter set, or of the host; else
/// `NotFound`.
fn get_property(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let path = guest.read(args.u32(0), args.u32(1))?;
    let value = property(guest.host(), &path).ok_or(Status::NOT_FOUND)?;
    guest.give(&value, args.u32(2), args.u32(3))
}

fn property(host: &mut Host, path: &[u8]) -> Option<Vec<u8>> {
    let own = host.exchange().and_then(|exchange| match path {
        b"response\0code_details" => exchange.code_details.clone().map(String::into_bytes),
        _ => exchange.properties.get(path).cloned(),
    });
    own.or_else(|| {
        host.settings.properties.iter().find(|(known, _)| known == path).map(|(_, value)| value.clone())
    })
}

/// Envoy, `setProperty`: `NotFound` without a stream.
fn set_property(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let path = guest.read(args.u32(0), args.u32(1))?;
    let value = guest.read(args.u32(2), args.u32(3))?;
    let exchange = guest.host().exchange().ok_or(Status::NOT_FOUND)?;
    exchange.properties.insert(path, value);
    Ok(())
}

/// cpp-host, `set_effective_context`: `BadArgument` for a context that does not exist.
fn set_effective_context(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let host = guest.host();
    if !host.is_context(args.u32(0)) {
        return Err(Status::BAD_ARGUMENT.into());
    }
    host.effective = Some(args.u32(0));
    Ok(())
}

/// cpp-host, `WasmBase::done`: `NotFound` unless the root's `on_done` returned false.
fn done(guest: &mut Guest<'_, Host>, _: &Args<'_>) -> Result<(), Refused> {
    let host = guest.host();
    if !std::mem::take(&mut host.shutdown_pending) {
        return Err(Status::NOT_FOUND.into());
    }
    host.actions.push_back(Action::DeleteRoot);
    Ok(())
}
