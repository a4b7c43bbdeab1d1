//! The names of the host calls, and their statuses.

/// A proxy-wasm host call that the filter makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the `proxy_*` function of the same name")]
pub enum HostCall {
    CloseStream,
    DefineMetric,
    GetBufferBytes,
    GetHeaderMapPairs,
    GetHeaderMapValue,
    GetProperty,
    IncrementMetric,
    Log,
    RemoveHeaderMapValue,
    ReplaceHeaderMapValue,
    SendLocalResponse,
    SetBufferBytes,
    SetEffectiveContext,
    SetProperty,
    SetTickPeriodMilliseconds,
}

impl HostCall {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::CloseStream,
        Self::DefineMetric,
        Self::GetBufferBytes,
        Self::GetHeaderMapPairs,
        Self::GetHeaderMapValue,
        Self::GetProperty,
        Self::IncrementMetric,
        Self::Log,
        Self::RemoveHeaderMapValue,
        Self::ReplaceHeaderMapValue,
        Self::SendLocalResponse,
        Self::SetBufferBytes,
        Self::SetEffectiveContext,
        Self::SetProperty,
        Self::SetTickPeriodMilliseconds,
    ];
}

/// A result code as the module sees it. The constants are cpp-host's `WasmResult`; other numbers, such as
/// [`Status`]`(77)`, are valid too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u32);

impl Status {
    /// The call succeeded.
    pub const OK: Self = Self(0);
    /// No such header, property, metric or buffer.
    pub const NOT_FOUND: Self = Self(1);
    /// An argument out of range, or a map that is not available in this callback.
    pub const BAD_ARGUMENT: Self = Self(2);
    /// A pointer or length outside the module's memory.
    pub const INVALID_MEMORY_ACCESS: Self = Self(6);
    /// The host failed.
    pub const INTERNAL_FAILURE: Self = Self(10);
    /// The host has no such call (APISIX says so).
    pub const UNIMPLEMENTED: Self = Self(12);
}
