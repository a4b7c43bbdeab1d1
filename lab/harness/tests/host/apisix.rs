//! The rules of APISIX that a filter must not break.

mod callbacks;
mod header_maps;
mod load;
mod support;
