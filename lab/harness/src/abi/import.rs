//! A function that a module can import. Every call is counted, charged and refused here.

use wasmi::{Caller, ExternType, FuncType, ImportType, Linker, Module, Val, ValType};

use super::errors::LoadError;
use super::guest::{Args, Guest, Refused};
use super::host_call::{HostCall, Status};
use super::system::Host;

/// One importable function of the host `H`.
pub(crate) struct Import<H: 'static> {
    /// `None` if a test cannot refuse it.
    call: Option<HostCall>,
    module: &'static str,
    name: &'static str,
    /// As of [`HostCall::params`].
    params: &'static str,
    returns: bool,
    run: Handler<H>,
}

pub(crate) type Handler<H> = fn(&mut Guest<'_, H>, &Args<'_>) -> Result<(), Refused>;

impl<H: Host> Import<H> {
    pub(crate) const fn proxy(call: HostCall, run: Handler<H>) -> Self {
        Self { call: Some(call), ..Self::fixed(call.name(), call.params(), run) }
    }

    /// A function that tests cannot refuse.
    pub(crate) const fn fixed(name: &'static str, params: &'static str, run: Handler<H>) -> Self {
        Self { call: None, module: "env", name, params, returns: true, run }
    }

    pub(crate) const fn wasi(name: &'static str, params: &'static str, run: Handler<H>) -> Self {
        Self { module: "wasi_snapshot_preview1", ..Self::fixed(name, params, run) }
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

    fn ty(&self) -> FuncType {
        let params = self.params.bytes().map(|kind| if kind == b'I' { ValType::I64 } else { ValType::I32 });
        FuncType::new(params, self.returns.then_some(ValType::I32))
    }

    fn call(&self, mut guest: Guest<'_, H>, params: &[Val]) -> Result<Status, wasmi::Error> {
        guest.charge(CALL_COST)?;
        if let Some(status) = self.call.and_then(|call| guest.host().system().faults.next_refusal(call)) {
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

/// Links the functions of `tables` that `module` imports.
pub(crate) fn link<H: Host>(module: &Module, tables: Tables<H>) -> Result<Linker<H>, LoadError> {
    let mut linker = Linker::new(module.engine());
    linker.allow_shadowing(true); // a module can import a function twice
    let mut unknown = Vec::new();
    for import in module.imports() {
        let same = |known: &&Import<H>| known.module == import.module() && known.name == import.name();
        let Some(known) = tables.iter().copied().flatten().find(same) else {
            unknown.push(name(&import));
            continue;
        };
        if !matches!(import.ty(), ExternType::Func(ty) if *ty == known.ty()) {
            return Err(LoadError(format!("link the filter: {} has another type", name(&import))));
        }
        let call = |caller: Caller<'_, H>, params: &[Val], results: &mut [Val]| {
            let status = known.call(Guest::new(caller), params)?;
            if let Some(result) = results.first_mut() {
                *result = Val::I32(status.0.cast_signed());
            }
            Ok(())
        };
        let linked = linker.func_new(known.module, known.name, known.ty(), call);
        linked.map_err(|error| LoadError(format!("link the filter: {error}")))?;
    }
    let missing = format!("load a filter with imports that this host does not have: {}", unknown.join(", "));
    if unknown.is_empty() { Ok(linker) } else { Err(LoadError(missing)) }
}

/// As `module.name`.
pub(super) fn name(import: &ImportType<'_>) -> String {
    format!("{}.{}", import.module(), import.name())
}

/// The cost of a host call in instructions, so that an endless loop of host calls traps too.
const CALL_COST: u64 = 1_000;
