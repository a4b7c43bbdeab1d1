//! The functions that a filter may import: one table, and one place where each call is counted, charged and refused.

pub(crate) mod buffers;
pub(crate) mod header_maps;
pub(crate) mod metrics;
pub(crate) mod plugin;
pub(crate) mod streams;
pub(crate) mod wasi;

use std::time::Duration;

use wasmtime::{Engine, FuncType, ImportType, Linker, Module, Val, ValType};

use crate::fault::Faults;
use crate::guest::{Args, Guest, Refused};
use crate::host::Host;
use crate::log::Log;
use crate::{Status, module};

/// A proxy-wasm host call, to name it in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the `proxy_*` function of the same name")]
pub enum HostCall {
    AddHeaderMapValue,
    CloseStream,
    ContinueStream,
    DefineMetric,
    Done,
    GetBufferBytes,
    GetCurrentTimeNanoseconds,
    GetHeaderMapPairs,
    GetHeaderMapValue,
    GetLogLevel,
    GetMetric,
    GetProperty,
    IncrementMetric,
    Log,
    RecordMetric,
    RemoveHeaderMapValue,
    ReplaceHeaderMapValue,
    SendLocalResponse,
    SetBufferBytes,
    SetEffectiveContext,
    SetHeaderMapPairs,
    SetProperty,
    SetTickPeriodMilliseconds,
}

/// One importable function of the host `H`.
pub(crate) struct Import<H: 'static = Host> {
    /// `None` where a test cannot refuse it.
    call: Option<HostCall>,
    module: &'static str,
    name: &'static str,
    /// `i` for each 32-bit and `I` for each 64-bit parameter.
    params: &'static str,
    returns: bool,
    run: Handler<H>,
}

pub(crate) type Handler<H = Host> = fn(&mut Guest<'_, H>, &Args<'_>) -> Result<(), Refused>;

impl<H: System> Import<H> {
    pub(crate) const fn proxy(
        call: HostCall,
        name: &'static str,
        params: &'static str,
        run: Handler<H>,
    ) -> Self {
        Self { call: Some(call), module: "env", name, params, returns: true, run }
    }

    /// One that a test cannot refuse.
    pub(crate) const fn fixed(name: &'static str, params: &'static str, run: Handler<H>) -> Self {
        Self { call: None, module: "env", name, params, returns: true, run }
    }

    const fn wasi(name: &'static str, params: &'static str, run: Handler<H>) -> Self {
        Self { call: None, module: "wasi_snapshot_preview1", name, params, returns: true, run }
    }

    /// As `module.name`.
    pub(crate) fn path(&self) -> String {
        format!("{}.{}", self.module, self.name)
    }

    fn ty(&self, engine: &Engine) -> FuncType {
        let params = self.params.chars().map(|kind| if kind == 'I' { ValType::I64 } else { ValType::I32 });
        FuncType::new(engine, params, self.returns.then_some(ValType::I32))
    }

    fn call(&self, mut guest: Guest<'_, H>, params: &[Val]) -> wasmtime::Result<Status> {
        guest.charge(CALL_COST)?;
        if let Some(status) = self.call.and_then(|call| guest.host().faults().strike(call)) {
            return Ok(status);
        }
        match (self.run)(&mut guest, &Args(params)) {
            Ok(()) => Ok(Status::OK),
            Err(Refused::Status(status)) => Ok(status),
            Err(Refused::Trap(error)) => Err(error),
        }
    }
}

/// What both hosts have: it is the worker's, not the proxy's.
pub(crate) trait System: 'static {
    fn log(&mut self) -> &mut Log;
    fn faults(&mut self) -> &mut Faults;
    /// Wall clock, since 1970.
    fn now(&self) -> Duration;
    /// Since the start.
    fn uptime(&self) -> Duration;
    fn random(&mut self) -> &mut u64;
}

/// Everything that a host has.
pub(crate) type Tables<H = Host> = &'static [&'static [Import<H>]];

/// Gives a module the functions of `tables`.
pub(crate) fn link<H: System>(
    linker: &mut Linker<H>,
    engine: &Engine,
    tables: Tables<H>,
) -> wasmtime::Result<()> {
    for import in tables.iter().copied().flatten() {
        linker.func_new(import.module, import.name, import.ty(engine), |caller, params, results| {
            let status = import.call(Guest::new(caller), params)?;
            if let Some(result) = results.first_mut() {
                *result = Val::I32(status.0.cast_signed());
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// What `module` imports and `tables` do not have, as `module.name`.
pub(crate) fn unknown<H: System>(module: &Module, tables: Tables<H>) -> Vec<String> {
    let has = |import: &ImportType<'_>| {
        let same = |known: &&Import<H>| known.module == import.module() && known.name == import.name();
        tables.iter().copied().flatten().any(|known| same(&known))
    };
    module.imports().filter(|import| !has(import)).map(|import| module::name(&import)).collect()
}

pub(crate) const TABLES: Tables = &[
    buffers::IMPORTS,
    header_maps::IMPORTS,
    metrics::IMPORTS,
    plugin::IMPORTS,
    streams::IMPORTS,
    &wasi::imports(),
];

/// What a host call counts for, in instructions, so that a loop of host calls ends as soon as one of instructions.
const CALL_COST: u64 = 1_000;
