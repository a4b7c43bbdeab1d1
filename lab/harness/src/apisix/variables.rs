//! The nginx variables of a request.

/// nginx variables that a filter may set: `apisix/cli/ngx_tpl.lua`, `location /`.
pub const VARIABLES: [&str; 6] = [
    "upstream_connection",
    "upstream_host",
    "upstream_upgrade",
    "upstream_uri",
    "wasm_process_req_body",
    "wasm_process_resp_body",
];
