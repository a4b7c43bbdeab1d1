//! The documented function of APISIX's `serverless-pre-function`, which takes a token out of the offered subprotocols,
//! in front of the filter.

use std::collections::HashMap;

use mlua::{Function, Lua};
use sluicegate_harness::apisix::Outcome;

use crate::gateway::apisix;
use crate::socket::upgrade;

const PAGE: &str = include_str!("../../../../docs/how-to/let-clients-in.md");
/// As documented.
const CONF: &str = r#"{"gateway_secret": "s3cret-of-the-gateway", "subprotocols": ["sluicegate"]}"#;
const OFFERED: &str = "sec-websocket-protocol";

#[test]
fn token_leaves_the_offered_subprotocols() {
    let worker = apisix();
    let route = worker.route(CONF);
    for (offered, token, left, selected) in [
        ("sluicegate, token.a.b-c_d", Some("a.b-c_d"), "sluicegate", Some("sluicegate")),
        ("sluicegate.v1.json, token.abc", Some("abc"), "sluicegate.v1.json", Some("sluicegate.v1.json")),
        ("token.abc,sluicegate.v1.json", Some("abc"), "sluicegate.v1.json", Some("sluicegate.v1.json")),
        ("other, sluicegate,token.abc", Some("abc"), "other, sluicegate", Some("sluicegate")),
        ("token.abc", Some("abc"), "", None),
        (
            "sluicegate.v1.json, sluicegate",
            None,
            "sluicegate.v1.json, sluicegate",
            Some("sluicegate.v1.json"),
        ),
        ("tokens.abc, sluicegate", None, "tokens.abc, sluicegate", Some("sluicegate")),
    ] {
        let headers = rewritten(offered);
        let header = |name: &str| headers.get(name).map(String::as_str);
        assert_eq!(header("authorization"), token, "{offered}");
        assert_eq!(header(OFFERED), Some(left), "{offered}");
        let stream = route.request(upgrade().with(OFFERED, left), "");
        let Outcome::Forwarded(to_bridge) = stream.outcome() else { panic!("{:?}", stream.outcome()) };
        assert_eq!(to_bridge.text("sluicegate-subprotocol"), selected, "{offered}");
    }
}

/// The headers that the function makes of an upgrade with these subprotocols.
fn rewritten(offered: &str) -> HashMap<String, String> {
    let (_, function) = PAGE.split_once("    functions:\n      - |\n").unwrap();
    let (function, _) = function.split_once("  jwt-auth:").unwrap();
    let lua = Lua::new();
    // `ngx` normalizes names.
    lua.load(
        "package.preload['apisix.core'] = function()
           return {request = {
             header = function(ctx, name) return ctx[name:lower()] end,
             set_header = function(ctx, name, value) ctx[name:lower()] = value end}}
         end",
    )
    .exec()
    .unwrap();
    let headers = lua.create_table().unwrap();
    headers.set(OFFERED, offered).unwrap();
    let function: Function = lua.load(function).eval().unwrap();
    function.call::<()>((mlua::Nil, &headers)).unwrap();
    headers.pairs().map(Result::unwrap).collect()
}
