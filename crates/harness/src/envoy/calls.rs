//! The functions that a module may import.

mod buffers;
mod header_maps;
mod metrics;
mod plugin;
mod streams;

use super::host::Host;
use crate::abi::import::Tables;
use crate::abi::wasi;

pub(crate) const TABLES: Tables<Host> = &[
    buffers::IMPORTS,
    header_maps::IMPORTS,
    metrics::IMPORTS,
    plugin::IMPORTS,
    streams::IMPORTS,
    &wasi::imports(),
];
