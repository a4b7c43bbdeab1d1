//! The host calls that the filter makes, and their statuses.

macro_rules! host_calls {
    ($($call:ident $name:literal $params:literal)*) => {
        /// A host call that the filter makes, by the name of its function without `proxy_`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum HostCall {
            $($call),*
        }

        impl HostCall {
            pub const ALL: [Self; 15] = [$(Self::$call),*];

            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$call => $name),*
                }
            }

            /// `i` for each 32-bit and `I` for each 64-bit parameter.
            pub(super) const fn params(self) -> &'static str {
                match self {
                    $(Self::$call => $params),*
                }
            }
        }
    };
}

host_calls! {
    CloseStream "proxy_close_stream" "i"
    DefineMetric "proxy_define_metric" "iiii"
    GetBufferBytes "proxy_get_buffer_bytes" "iiiii"
    GetHeaderMapPairs "proxy_get_header_map_pairs" "iii"
    GetHeaderMapValue "proxy_get_header_map_value" "iiiii"
    GetProperty "proxy_get_property" "iiii"
    IncrementMetric "proxy_increment_metric" "iI"
    Log "proxy_log" "iii"
    RemoveHeaderMapValue "proxy_remove_header_map_value" "iii"
    ReplaceHeaderMapValue "proxy_replace_header_map_value" "iiiii"
    SendLocalResponse "proxy_send_local_response" "iiiiiiii"
    SetBufferBytes "proxy_set_buffer_bytes" "iiiii"
    SetEffectiveContext "proxy_set_effective_context" "i"
    SetProperty "proxy_set_property" "iiii"
    SetTickPeriodMilliseconds "proxy_set_tick_period_milliseconds" "i"
}

/// A result code as the module sees it. The constants are cpp-host's `WasmResult`; other numbers, such as
/// [`Status`]`(77)`, are valid too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("status {0}")]
pub struct Status(pub u32);

impl Status {
    pub const OK: Self = Self(0);
    /// No such header, property, metric or buffer.
    pub const NOT_FOUND: Self = Self(1);
    /// An argument out of range, or a map that is not available in this callback.
    pub const BAD_ARGUMENT: Self = Self(2);
    /// A pointer or length outside the module's memory.
    pub const INVALID_MEMORY_ACCESS: Self = Self(6);
    pub const INTERNAL_FAILURE: Self = Self(10);
    /// The host has no such call (APISIX says so).
    pub const UNIMPLEMENTED: Self = Self(12);
}
