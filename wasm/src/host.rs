//! The calls to the proxy that hosts the filter (proxy-wasm ABI 0.2.1). Each returns the host's status as a value.
//!
//! The Rust SDK's functions panic on unexpected statuses, and on header values that are not UTF-8.

#![expect(unsafe_code, reason = "calls across the boundary of the module")]

use std::ptr::null_mut;

use crate::pairs::{self, Header};

/// A status other than OK, as the host returned it: 1 is not found, 2 bad argument, and hosts return others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(u32);

impl Status {
    /// The header, property or map does not exist.
    pub(crate) const NOT_FOUND: Self = Self(1);
    /// The host has the function only so that modules that import it load.
    pub(crate) const UNIMPLEMENTED: Self = Self(12);
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "host status {}", self.0)
    }
}

/// The host's action after a callback.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub(crate) enum Action {
    /// The host answers the request with an error of its own.
    Fail = -1,
    Continue = 0,
    Pause = 1,
}

/// A header map.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum Map {
    Request = 0,
    Response = 2,
}

/// A buffer.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    PluginConfiguration = 7,
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum Metric {
    Counter = 0,
    Gauge = 1,
}

/// Writes an error to the proxy's log.
pub(crate) fn log_error(line: &str) {
    log(4, line);
}

/// Writes a warning to the proxy's log.
pub(crate) fn log_warning(line: &str) {
    log(3, line);
}

/// A failure is ignored: there is nowhere to report it.
fn log(level: u32, line: &str) {
    let line = format!("sluicegate: {line}");
    let _ = unsafe { proxy_log(level, line.as_ptr(), line.len()) };
}

/// The value of a header. If it repeats, hosts return the first or all of them joined by commas.
pub(crate) fn header(map: Map, name: &str) -> Result<Option<Vec<u8>>, Status> {
    let (mut data, mut len) = (null_mut(), 0);
    let status =
        unsafe { proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), &mut data, &mut len) };
    match check(status) {
        Ok(()) => Ok(Some(own(data, len))),
        Err(Status::NOT_FOUND) => Ok(None),
        Err(status) => Err(status),
    }
}

/// All headers.
pub(crate) fn headers(map: Map) -> Result<Vec<Header>, Status> {
    let (mut data, mut len) = (null_mut(), 0);
    check(unsafe { proxy_get_header_map_pairs(map as u32, &mut data, &mut len) })?;
    Ok(pairs::read(&own(data, len)))
}

/// Sets a header, replacing all others of its name.
pub(crate) fn set_header(map: Map, name: &str, value: &[u8]) -> Result<(), Status> {
    check(unsafe {
        proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes all headers of a name. A missing header is not an error.
pub(crate) fn remove_header(map: Map, name: &[u8]) -> Result<(), Status> {
    match check(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) }) {
        Err(Status::NOT_FOUND) => Ok(()),
        other => other,
    }
}

/// The first `len` bytes of a buffer, or all if it is shorter.
pub(crate) fn buffer(buffer: Buffer, len: usize) -> Result<Vec<u8>, Status> {
    let (mut data, mut got) = (null_mut(), 0);
    check(unsafe { proxy_get_buffer_bytes(buffer as u32, 0, len, &mut data, &mut got) })?;
    Ok(own(data, got))
}

/// Replaces the first `len` bytes of a buffer. Some hosts refuse a `len` that is neither 0 nor all.
pub(crate) fn replace_front(buffer: Buffer, len: usize, bytes: &[u8]) -> Result<(), Status> {
    check(unsafe { proxy_set_buffer_bytes(buffer as u32, 0, len, bytes.as_ptr(), bytes.len()) })
}

/// Appends `bytes` to a buffer.
pub(crate) fn append(buffer: Buffer, bytes: &[u8]) -> Result<(), Status> {
    // The ABI allows a start beyond the end. Hosts that read it as signed get a positive number.
    let end = i32::MAX.unsigned_abs() as usize;
    check(unsafe { proxy_set_buffer_bytes(buffer as u32, end, 0, bytes.as_ptr(), bytes.len()) })
}

/// Sends a local response, which no cache keeps: another request can be answered otherwise.
pub(crate) fn respond<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    status: u16,
    headers: &[(N, V)],
    body: &[u8],
) -> Result<(), Status> {
    let headers = headers.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    let headers: Vec<(&[u8], &[u8])> = headers.chain([(&b"cache-control"[..], &b"no-store"[..])]).collect();
    let headers = pairs::write(&headers);
    let no_grpc_status = -1;
    check(unsafe {
        proxy_send_local_response(
            u32::from(status),
            null_mut(),
            0,
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            no_grpc_status,
        )
    })
}

/// Resets the current stream in both directions.
pub(crate) fn reset_stream() -> Result<(), Status> {
    let request = 0;
    check(unsafe { proxy_close_stream(request) })
}

/// Makes another stream the current one for the rest of the callback.
pub(crate) fn enter_stream(context_id: u32) -> Result<(), Status> {
    check(unsafe { proxy_set_effective_context(context_id) })
}

/// A property of the request by its path. Each host has its own properties.
pub(crate) fn property(path: &[&str]) -> Result<Vec<u8>, Status> {
    let path = path.join("\0");
    let (mut data, mut len) = (null_mut(), 0);
    check(unsafe { proxy_get_property(path.as_ptr(), path.len(), &mut data, &mut len) })?;
    Ok(own(data, len))
}

/// Sets a property of the request. Each host has its own properties.
pub(crate) fn set_property(name: &str, value: &str) -> Result<(), Status> {
    check(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Asks for a tick every `milliseconds`.
pub(crate) fn tick_every(milliseconds: u32) -> Result<(), Status> {
    check(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
}

/// Defines a metric; the same name gives the same id.
pub(crate) fn define_metric(kind: Metric, name: &str) -> Result<u32, Status> {
    let mut id = 0;
    check(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id) })?;
    Ok(id)
}

/// Adds to a metric.
pub(crate) fn add_to_metric(id: u32, offset: i64) -> Result<(), Status> {
    check(unsafe { proxy_increment_metric(id, offset) })
}

fn check(status: u32) -> Result<(), Status> {
    if status == 0 { Ok(()) } else { Err(Status(status)) }
}

/// Takes ownership of memory that the host allocated through `proxy_on_memory_allocate`.
fn own(data: *mut u8, len: usize) -> Vec<u8> {
    if data.is_null() || len == 0 {
        return Vec::new();
    }
    // SAFETY: the host got `len` bytes at `data` from this module's allocator, filled them, and hands them over with
    // this call.
    unsafe { Vec::from_raw_parts(data, len, len) }
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, line: *const u8, len: usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_len: usize,
        value: *mut *mut u8,
        value_len: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, pairs: *mut *mut u8, pairs_len: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_len: usize,
        value: *const u8,
        value_len: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_len: usize) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        len: usize,
        data: *mut *mut u8,
        data_len: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(buffer: u32, start: usize, len: usize, data: *const u8, data_len: usize)
    -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_len: usize,
        body: *const u8,
        body_len: usize,
        headers: *const u8,
        headers_len: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_close_stream(stream: u32) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_len: usize,
        value: *mut *mut u8,
        value_len: *mut usize,
    ) -> u32;
    fn proxy_set_property(name: *const u8, name_len: usize, value: *const u8, value_len: usize) -> u32;
    fn proxy_set_effective_context(context_id: u32) -> u32;
    fn proxy_set_tick_period_milliseconds(milliseconds: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_len: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
}
