//! What every filter built on the Rust SDK imports, because its traits' default methods name it, and what this host lacks.
//! Calling one is a trap with its name.

use super::Import;
use crate::guest::Refused;

/// A handler is a plain function and knows nothing of its name, so each gets one of its own.
macro_rules! absent {
    ($name:literal, $params:literal) => {
        Import::absent($name, $params, |_, _| {
            Err(Refused::Trap(wasmtime::Error::msg(concat!(
                "the filter called ",
                $name,
                ", which this host lacks"
            ))))
        })
    };
}

pub(crate) const IMPORTS: &[Import] = &[
    absent!("proxy_call_foreign_function", "iiiiii"),
    absent!("proxy_dequeue_shared_queue", "iii"),
    absent!("proxy_enqueue_shared_queue", "iii"),
    absent!("proxy_get_shared_data", "iiiii"),
    absent!("proxy_grpc_cancel", "i"),
    absent!("proxy_grpc_close", "i"),
    absent!("proxy_grpc_send", "iiii"),
    absent!("proxy_grpc_stream", "iiiiiiiii"),
    absent!("proxy_register_shared_queue", "iii"),
    absent!("proxy_resolve_shared_queue", "iiiii"),
    absent!("proxy_set_shared_data", "iiiii"),
];
