//! `proxy_define_metric`, `proxy_increment_metric` and `proxy_record_metric`.

use crate::abi::guest::{Args, Guest, Refused};
use crate::abi::host_call::HostCall;
use crate::abi::import::Import;
use crate::envoy::host::Host;

pub(super) const IMPORTS: &[Import<Host>] = &[
    Import::proxy(HostCall::DefineMetric, "proxy_define_metric", "iiii", define),
    Import::proxy(HostCall::IncrementMetric, "proxy_increment_metric", "iI", increment),
    Import::proxy(HostCall::RecordMetric, "proxy_record_metric", "iI", record),
];

fn define(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let name = guest.read(args.u32(1), args.u32(2))?;
    let handle = guest.host().metrics.define(args.u32(0), &name)?;
    guest.write_u32(args.u32(3), handle)
}

fn increment(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    Ok(guest.host().metrics.increment(args.u32(0), args.i64(1))?)
}

fn record(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    Ok(guest.host().metrics.record(args.u32(0), args.i64(1).cast_unsigned())?)
}
