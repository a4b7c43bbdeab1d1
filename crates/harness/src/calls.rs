//! The functions that a filter may import: one table, and one place where each call is counted, charged and refused.

pub(crate) mod buffers;
pub(crate) mod callouts;
pub(crate) mod header_maps;
pub(crate) mod metrics;
pub(crate) mod plugin;
pub(crate) mod streams;
pub(crate) mod wasi;

use wasmtime::{Engine, FuncType, Linker, Val, ValType};

use crate::Status;
use crate::guest::{Args, Guest, Refused};
use crate::host::Host;

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
    GetStatus,
    GrpcCall,
    GrpcCancel,
    HttpCall,
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

/// One importable function.
pub(crate) struct Import {
    /// `None` where a test cannot refuse it: WASI.
    call: Option<HostCall>,
    module: &'static str,
    name: &'static str,
    /// `i` for each 32-bit and `I` for each 64-bit parameter.
    params: &'static str,
    returns: bool,
    run: Handler,
}

pub(crate) type Handler = fn(&mut Guest<'_>, &Args<'_>) -> Result<(), Refused>;

impl Import {
    const fn proxy(call: HostCall, name: &'static str, params: &'static str, run: Handler) -> Self {
        Self { call: Some(call), module: "env", name, params, returns: true, run }
    }

    const fn wasi(name: &'static str, params: &'static str, run: Handler) -> Self {
        Self { call: None, module: "wasi_snapshot_preview1", name, params, returns: true, run }
    }

    fn ty(&self, engine: &Engine) -> FuncType {
        let params = self.params.chars().map(|kind| if kind == 'I' { ValType::I64 } else { ValType::I32 });
        FuncType::new(engine, params, self.returns.then_some(ValType::I32))
    }

    fn call(&self, mut guest: Guest<'_>, params: &[Val]) -> wasmtime::Result<Status> {
        guest.charge(CALL_COST)?;
        if let Some(status) = self.call.and_then(|call| guest.host().faults.strike(call)) {
            return Ok(status);
        }
        match (self.run)(&mut guest, &Args(params)) {
            Ok(()) => Ok(Status::OK),
            Err(Refused::Status(status)) => Ok(status),
            Err(Refused::Trap(error)) => Err(error),
        }
    }
}

/// Everything that this host has.
pub(crate) fn link(linker: &mut Linker<Host>, engine: &Engine) -> wasmtime::Result<()> {
    for import in TABLES.into_iter().flatten() {
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

/// Whether `module.name` is one of them.
pub(crate) fn has(module: &str, name: &str) -> bool {
    TABLES.into_iter().flatten().any(|import| import.module == module && import.name == name)
}

const TABLES: [&[Import]; 7] = [
    buffers::IMPORTS,
    callouts::IMPORTS,
    header_maps::IMPORTS,
    metrics::IMPORTS,
    plugin::IMPORTS,
    streams::IMPORTS,
    wasi::IMPORTS,
];

/// What a host call counts for, in instructions, so that a loop of host calls ends as soon as one of instructions.
const CALL_COST: u64 = 1_000;
