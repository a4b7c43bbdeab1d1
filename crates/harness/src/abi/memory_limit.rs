//! The limits of a module's memory and tables.

use wasmtime::ResourceLimiter;

/// The limit of linear memory.
pub(crate) struct MemoryLimit {
    pub(crate) bytes: usize,
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= self.bytes)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE)
    }
}

/// Function table entries; a filter needs a few hundred.
const MAX_TABLE: usize = 100_000;
