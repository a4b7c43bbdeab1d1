//! The status of a host call: one of proxy-wasm's result codes, or any other number that a host returns.

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
    /// A value could not be written in its serialized form.
    pub const SERIALIZATION_FAILURE: Self = Self(3);
    /// A serialized argument could not be read.
    pub const PARSE_FAILURE: Self = Self(4);
    /// An expression could not be evaluated.
    pub const BAD_EXPRESSION: Self = Self(5);
    /// A pointer or length outside the module's memory.
    pub const INVALID_MEMORY_ACCESS: Self = Self(6);
    /// The queue is empty.
    pub const EMPTY: Self = Self(7);
    /// The compared value has changed.
    pub const CAS_MISMATCH: Self = Self(8);
    /// The result differs from what was expected.
    pub const RESULT_MISMATCH: Self = Self(9);
    /// The host failed.
    pub const INTERNAL_FAILURE: Self = Self(10);
    /// A call-out was cut off.
    pub const BROKEN_CONNECTION: Self = Self(11);
    /// The host has no such call (APISIX says so).
    pub const UNIMPLEMENTED: Self = Self(12);
}
