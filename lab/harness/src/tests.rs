//! The hosts, judged by small modules in WebAssembly text: how they fail modules on purpose, and the rules of APISIX that
//! crash its worker.

mod apisix;
mod faults;
mod text;
