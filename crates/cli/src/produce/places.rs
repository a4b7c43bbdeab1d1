//! Prints where acknowledged records are in the log.

use crate::args::{Offsets, Produce};
use crate::failure::Failure;
use crate::json::{self, NO_OFFSET};
use crate::log::Log;
use crate::stdout::Stdout;

use super::record::Acknowledged;

/// Lines for standard output, of one command at most.
pub(super) struct Places<'a> {
    stdout: &'a mut Stdout,
    format: Option<Offsets>,
    /// The topic or stream.
    name: &'a str,
    lines: Vec<u8>,
}

impl<'a> Places<'a> {
    pub(super) fn new(args: &Produce, name: &'a str, stdout: &'a mut Stdout) -> Self {
        Self { stdout, format: args.print_offsets, name, lines: Vec::new() }
    }

    /// Takes the place of the `number`th record of the input.
    pub(super) fn add(&mut self, number: u64, acknowledged: Acknowledged) {
        let Some(format) = self.format else { return };
        let log = match acknowledged.partition {
            Some(partition) => Log::partition(self.name, partition),
            None => Log::Stream(self.name.to_owned()),
        };
        let offset = acknowledged.offset.unwrap_or(NO_OFFSET);
        match format {
            Offsets::Text => self.lines.extend(format!("{number} {}\n", log.at(offset)).bytes()),
            Offsets::Json => json::offsets(Some(number), &log, &json::Offsets::At(offset), &mut self.lines),
        }
    }

    /// Prints what was added. If the reader has closed standard output, records are written nevertheless.
    pub(super) async fn print(&mut self) -> Result<(), Failure> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let printed = self.stdout.write(&std::mem::take(&mut self.lines)).await;
        match printed {
            Err(Failure::ReaderGone) => {
                self.format = None;
                Ok(())
            }
            printed => printed,
        }
    }
}
