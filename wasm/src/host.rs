//! Each call to the proxy that hosts the filter (proxy-wasm ABI 0.2.1), with every status it may return as a value.
//!
//! The Rust SDK's functions panic on a status they do not expect, and on a header value that is not UTF-8.

#![expect(unsafe_code, reason = "calls across the boundary of the module")]

use std::ptr::null_mut;

use crate::http::Header;
use crate::pairs;

/// A status other than OK, as the host returned it: 1 not found, 2 bad argument, others as the host likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(u32);

impl Status {
    const NOT_FOUND: Self = Self(1);
    /// The host has the function for modules that import it, and no more than that.
    pub(crate) const UNIMPLEMENTED: Self = Self(12);
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "host status {}", self.0)
    }
}

/// Which headers.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum Map {
    Request = 0,
    Response = 2,
    HttpCallResponse = 6,
}

/// Which bytes.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    HttpCallResponse = 4,
    GrpcReceive = 5,
    PluginConfiguration = 7,
}

/// What a metric does.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum Metric {
    Counter = 0,
    Gauge = 1,
}

/// A call of gRPC's.
pub(crate) struct GrpcCall<'a> {
    /// Where to: `envoy.config.core.v3.GrpcService`, serialized.
    pub(crate) target: &'a [u8],
    /// The service's full name.
    pub(crate) service: &'a str,
    pub(crate) method: &'a str,
    pub(crate) metadata: &'a [(&'a str, &'a str)],
    pub(crate) message: &'a [u8],
    pub(crate) timeout_ms: u32,
}

/// A call of plain HTTP's.
pub(crate) struct HttpCall<'a> {
    /// Where to, as the host names it.
    pub(crate) target: &'a str,
    /// With the pseudo headers that make up the request line.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
    pub(crate) timeout_ms: u32,
}

/// Writes a line to the proxy's log. There is nobody to tell when that fails.
pub(crate) fn log_error(line: &str) {
    let (error, line) = (4, format!("sluicegate: {line}"));
    let _ = unsafe { proxy_log(error, line.as_ptr(), line.len()) };
}

/// The value of a header. Of several with one name, hosts give the first, or all of them joined by commas.
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

/// Sets a header, in the place of all others of its name.
pub(crate) fn set_header(map: Map, name: &str, value: &[u8]) -> Result<(), Status> {
    check(unsafe {
        proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes all headers of a name; one that is not there is no error.
pub(crate) fn remove_header(map: Map, name: &[u8]) -> Result<(), Status> {
    match check(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) }) {
        Err(Status::NOT_FOUND) => Ok(()),
        other => other,
    }
}

/// The first `len` bytes of a buffer, or fewer where it is shorter.
pub(crate) fn buffer(buffer: Buffer, len: usize) -> Result<Vec<u8>, Status> {
    let (mut data, mut got) = (null_mut(), 0);
    check(unsafe { proxy_get_buffer_bytes(buffer as u32, 0, len, &mut data, &mut got) })?;
    Ok(own(data, got))
}

/// Puts `bytes` in the place of the first `len` bytes of a buffer. Hosts may refuse a `len` that is neither 0 nor all.
pub(crate) fn replace_front(buffer: Buffer, len: usize, bytes: &[u8]) -> Result<(), Status> {
    check(unsafe { proxy_set_buffer_bytes(buffer as u32, 0, len, bytes.as_ptr(), bytes.len()) })
}

/// Puts `bytes` behind all that a buffer holds.
pub(crate) fn append(buffer: Buffer, bytes: &[u8]) -> Result<(), Status> {
    // The ABI's "start" may lie beyond the end; hosts that read it as signed get a positive number.
    let end = i32::MAX.unsigned_abs() as usize;
    check(unsafe { proxy_set_buffer_bytes(buffer as u32, end, 0, bytes.as_ptr(), bytes.len()) })
}

/// Answers the request in the upstream's place.
pub(crate) fn respond<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    status: u16,
    headers: &[(N, V)],
    body: &[u8],
) -> Result<(), Status> {
    let headers = pairs::write(headers);
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

/// Ends the current stream in both directions, without a word.
pub(crate) fn reset_stream() -> Result<(), Status> {
    let request = 0;
    check(unsafe { proxy_close_stream(request) })
}

/// Makes another stream the current one, for the rest of the callback.
pub(crate) fn enter_stream(context_id: u32) -> Result<(), Status> {
    check(unsafe { proxy_set_effective_context(context_id) })
}

/// A unary call of gRPC's; the token by which its end is told.
pub(crate) fn grpc_call(call: &GrpcCall<'_>) -> Result<u32, Status> {
    let metadata = pairs::write(call.metadata);
    let mut token = 0;
    check(unsafe {
        proxy_grpc_call(
            call.target.as_ptr(),
            call.target.len(),
            call.service.as_ptr(),
            call.service.len(),
            call.method.as_ptr(),
            call.method.len(),
            metadata.as_ptr(),
            metadata.len(),
            call.message.as_ptr(),
            call.message.len(),
            call.timeout_ms,
            &mut token,
        )
    })?;
    Ok(token)
}

/// A call of plain HTTP's; the token by which its end is told.
pub(crate) fn http_call(call: &HttpCall<'_>) -> Result<u32, Status> {
    let (headers, trailers) = (pairs::write(call.headers), pairs::write::<&str, &str>(&[]));
    let mut token = 0;
    check(unsafe {
        proxy_http_call(
            call.target.as_ptr(),
            call.target.len(),
            headers.as_ptr(),
            headers.len(),
            call.body.as_ptr(),
            call.body.len(),
            trailers.as_ptr(),
            trailers.len(),
            call.timeout_ms,
            &mut token,
        )
    })?;
    Ok(token)
}

/// What is said of the call that has failed, while its end is told.
pub(crate) fn call_message() -> Result<Vec<u8>, Status> {
    let (mut code, mut data, mut len) = (0, null_mut(), 0);
    check(unsafe { proxy_get_status(&mut code, &mut data, &mut len) })?;
    Ok(own(data, len))
}

/// Gives a call up: its end is not told.
pub(crate) fn cancel_grpc_call(token: u32) -> Result<(), Status> {
    check(unsafe { proxy_grpc_cancel(token) })
}

/// Sets a property of the request. Which there are is the host's business.
pub(crate) fn set_property(name: &str, value: &str) -> Result<(), Status> {
    check(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// The clock, in nanoseconds.
pub(crate) fn now() -> Result<u64, Status> {
    let mut now = 0;
    check(unsafe { proxy_get_current_time_nanoseconds(&mut now) })?;
    Ok(now)
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

/// Takes over memory that the host allocated through `proxy_on_memory_allocate`.
fn own(data: *mut u8, len: usize) -> Vec<u8> {
    if data.is_null() || len == 0 {
        return Vec::new();
    }
    // SAFETY: the host got `len` bytes at `data` from this module's allocator, filled them, and hands them over with this
    // call.
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
    fn proxy_grpc_call(
        target: *const u8,
        target_len: usize,
        service: *const u8,
        service_len: usize,
        method: *const u8,
        method_len: usize,
        metadata: *const u8,
        metadata_len: usize,
        message: *const u8,
        message_len: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_grpc_cancel(token: u32) -> u32;
    fn proxy_http_call(
        target: *const u8,
        target_len: usize,
        headers: *const u8,
        headers_len: usize,
        body: *const u8,
        body_len: usize,
        trailers: *const u8,
        trailers_len: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_set_property(name: *const u8, name_len: usize, value: *const u8, value_len: usize) -> u32;
    fn proxy_get_status(code: *mut u32, message: *mut *mut u8, message_len: *mut usize) -> u32;
    fn proxy_set_effective_context(context_id: u32) -> u32;
    fn proxy_get_current_time_nanoseconds(now: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(milliseconds: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_len: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
}
