//! The names of the host calls.

/// A proxy-wasm host call, as tests name it.
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
