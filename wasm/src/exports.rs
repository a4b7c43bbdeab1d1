//! The functions that the proxy calls (proxy-wasm ABI 0.2.1). Callbacks that the filter does not need are not exported:
//! each costs about 1 µs per request in Envoy.

#![expect(unsafe_code, reason = "exported functions, and memory allocated for the host")]

use std::alloc::{Layout, alloc};
use std::ptr::null_mut;

use crate::contexts::Contexts;
use crate::host::Action;
use crate::stream::Stream;

thread_local! {
    static CONTEXTS: Contexts = const { Contexts::new() };
}

/// Without this reference to the constructors, the linker would run them, and their counterparts, around every export.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: the host calls this once, before any other export.
    unsafe { __wasm_call_ctors() }
}

/// The ABI's version is this function's name.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Allocates memory for the host; null if there is none.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size) {
        // SAFETY: the layout is not empty.
        Ok(layout) if size > 0 => unsafe { alloc(layout) },
        _ => null_mut(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context_id: u32, root_id: u32) {
    CONTEXTS.with(|contexts| contexts.create(context_id, root_id));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_: u32, _: usize) -> bool {
    true
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root_id: u32, size: usize) -> bool {
    CONTEXTS.with(|contexts| contexts.configure(root_id, size))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root_id: u32) {
    CONTEXTS.with(|contexts| contexts.tick(root_id));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context_id: u32, _: usize, _: u32) -> Action {
    on_stream(context_id, Stream::on_request_headers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context_id: u32, size: usize, _: u32) -> Action {
    on_stream(context_id, |stream| stream.on_request_body(size))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(context_id: u32, _: usize) -> Action {
    on_stream(context_id, Stream::on_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context_id: u32, _: usize, _: u32) -> Action {
    on_stream(context_id, Stream::on_response_headers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(context_id: u32, size: usize, end: u32) -> Action {
    on_stream(context_id, |stream| stream.on_response_body(size, end != 0))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(context_id: u32, _: usize) -> Action {
    on_stream(context_id, Stream::on_trailers)
}

/// The filter is always done at once. Without this export, Apache APISIX logs an error for every request.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(_: u32) -> bool {
    true
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context_id: u32) {
    CONTEXTS.with(|contexts| contexts.delete(context_id));
}

/// Calls for a stream that is unknown, or already in use further up the stack, are ignored.
fn on_stream(context_id: u32, call: impl FnOnce(&mut Stream) -> Action) -> Action {
    CONTEXTS.with(|contexts| contexts.stream(context_id, call)).unwrap_or(Action::Continue)
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}
