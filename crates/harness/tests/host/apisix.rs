//! The rules of the host that behaves as APISIX.

mod bodies;
mod callbacks;
mod callouts;
mod contexts;
mod header_maps;
mod load;
mod support;
