//! A callback's result.

/// The host's action after a callback.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub(crate) enum Action {
    /// The host answers the request with an error of its own.
    Fail = -1,
    Continue = 0,
    Pause = 1,
}
