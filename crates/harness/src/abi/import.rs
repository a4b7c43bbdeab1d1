//! A function that a module can import. Every call is counted, charged and refused here.

use wasmtime::{Engine, FuncType, ImportType, Linker, Module, Val, ValType};

use super::guest::{Args, Guest, Refused};
use super::host_call::HostCall;
use super::module;
use super::status::Status;
use super::system::System;

/// One importable function of the host `H`.
pub(crate) struct Import<H: 'static> {
    /// `None` if a test cannot refuse it.
    call: Option<HostCall>,
    module: &'static str,
    name: &'static str,
    /// `i` for each 32-bit and `I` for each 64-bit parameter.
    params: &'static str,
    returns: bool,
    run: Handler<H>,
}

pub(crate) type Handler<H> = fn(&mut Guest<'_, H>, &Args<'_>) -> Result<(), Refused>;

impl<H: System> Import<H> {
    pub(crate) const fn proxy(
        call: HostCall,
        name: &'static str,
        params: &'static str,
        run: Handler<H>,
    ) -> Self {
        Self { call: Some(call), module: "env", name, params, returns: true, run }
    }

    /// A function that tests cannot refuse.
    pub(crate) const fn fixed(name: &'static str, params: &'static str, run: Handler<H>) -> Self {
        Self { call: None, module: "env", name, params, returns: true, run }
    }

    pub(crate) const fn wasi(name: &'static str, params: &'static str, run: Handler<H>) -> Self {
        Self { call: None, module: "wasi_snapshot_preview1", name, params, returns: true, run }
    }

    /// The same function without a result.
    pub(crate) const fn without_result(mut self) -> Self {
        self.returns = false;
        self
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
        if let Some(status) = self.call.and_then(|call| guest.host().faults().next_refusal(call)) {
            return Ok(status);
        }
        match (self.run)(&mut guest, &Args(params)) {
            Ok(()) => Ok(Status::OK),
            Err(Refused::Status(status)) => Ok(status),
            Err(Refused::Trap(error)) => Err(error),
        }
    }
}

/// Every function of a host.
pub(crate) type Tables<H> = &'static [&'static [Import<H>]];

/// Links the functions of `tables`.
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

/// The imports of `module` that `tables` lack, as `module.name`.
pub(crate) fn unknown<H: System>(module: &Module, tables: Tables<H>) -> Vec<String> {
    let has = |import: &ImportType<'_>| {
        let same = |known: &&Import<H>| known.module == import.module() && known.name == import.name();
        tables.iter().copied().flatten().any(|known| same(&known))
    };
    module.imports().filter(|import| !has(import)).map(|import| module::name(&import)).collect()
}

/// The cost of a host call in instructions, so that an endless loop of host calls traps too.
const CALL_COST: u64 = 1_000;
