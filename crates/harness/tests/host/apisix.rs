//! The rules of the host that behaves as APISIX.

mod callbacks;
mod contexts;
mod header_maps;
mod load;
mod support;
mod upstream;
