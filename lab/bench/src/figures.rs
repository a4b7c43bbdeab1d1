//! Figures of all runs, which can be saved and compared with those of another version.

use std::path::Path;
use std::{fmt, fs};

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::part::{Cpu, Measured};
use crate::report::{median, say};

/// The figures of a benchmark, with its machine and programs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    /// Lines on the command, the machine and the programs.
    pub(crate) about: Vec<String>,
    figures: Vec<Figure>,
}

/// A quantity, once for each run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Figure {
    name: String,
    unit: String,
    better: Better,
    values: Vec<f64>,
    /// Whether it has values that are not printed yet.
    #[serde(skip)]
    is_new: bool,
}

/// The values that users prefer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Less,
    More,
}

impl Figures {
    pub(crate) fn new(about: Vec<String>) -> Self {
        Self { about, figures: Vec::new() }
    }

    /// Adds values of which users prefer small ones.
    pub(crate) fn less(&mut self, name: &str, unit: &str, values: impl IntoIterator<Item = f64>) {
        self.add(name, unit, Better::Less, values.into_iter().collect());
    }

    /// Adds values of which users prefer large ones.
    pub(crate) fn more(&mut self, name: &str, unit: &str, values: impl IntoIterator<Item = f64>) {
        self.add(name, unit, Better::More, values.into_iter().collect());
    }

    /// Adds values to those of this name.
    pub(crate) fn add(&mut self, name: &str, unit: &str, better: Better, values: Vec<f64>) {
        match self.figures.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => {
                figure.values.extend(values);
                figure.is_new = true;
            }
            None => {
                let (name, unit) = (name.to_owned(), unit.to_owned());
                self.figures.push(Figure { name, unit, better, values, is_new: true });
            }
        }
    }

    /// Prints the figures that have got values since the last time.
    pub(crate) fn say_new(&mut self) {
        say(&format!("\n{TITLE}"));
        for figure in self.figures.iter_mut().filter(|figure| figure.is_new) {
            figure.is_new = false;
            say(&format!("{:<72} {figure:>25}", figure.title()));
        }
        say("");
    }

    /// Adds the speed of a part, the latency of its requests, and the CPU of each message.
    pub(crate) fn add_part(&mut self, name: &str, part: &Measured) {
        self.more(name, "k/s", [part.rate() / 1e3]);
        if let Some((p50, p99)) = part.latency {
            self.less(&format!("{name}: p50"), "ms", [p50 * 1e3]);
            self.less(&format!("{name}: p99"), "ms", [p99 * 1e3]);
        }
        let Cpu { client, envoy, bridge, system } = part.cpu;
        for (process, cpu) in [
            ("Envoy and bridge", part.gateway()),
            ("Envoy", envoy),
            ("the bridge", bridge),
            ("the client", client),
            ("the messaging system", system),
        ] {
            if cpu > 0.0 {
                self.less(&format!("{name}: CPU of {process}"), "µs", [part.each(cpu)]);
            }
        }
    }

    /// Adds the speed of a part as a multiple of a peer's.
    pub(crate) fn add_ratio(&mut self, name: &str, part: &Measured, peer: &Measured) {
        self.more(&format!("{name}: ratio"), "×", [part.rate() / peer.rate()]);
    }

    /// Writes a file that [`Figures::read`] reads.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let at = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| at(&error))?;
        Ok(serde_json::from_str(&text).map_err(|error| at(&error))?)
    }

    /// A table of the figures beside those of an earlier benchmark.
    pub(crate) fn beside(&self, earlier: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (now, before) in self.about.iter().zip(&earlier.about).filter(|(now, before)| now != before) {
            lines.push(format!("before    {before}"));
            lines.push(format!("now       {now}"));
        }
        lines.push(format!("{TITLE:<72} {:>25} {:>25}   now : before", "before", "now"));
        for now in &self.figures {
            let before =
                earlier.figures.iter().find(|before| before.name == now.name && before.unit == now.unit);
            let name = now.title();
            lines.push(match before {
                None => format!("{name:<72} {:>25} {now:>25}", ""),
                Some(before) => {
                    let ratio = now.median() / before.median();
                    let verdict = now.verdict(before);
                    format!("{name:<72} {before:>25} {now:>25}   {ratio:>5.2} ×  {verdict}")
                }
            });
        }
        lines
    }
}

impl Figure {
    fn title(&self) -> String {
        format!("{}, {}", self.name, self.unit)
    }

    fn median(&self) -> f64 {
        median(self.values.iter().copied())
    }

    fn range(&self) -> (f64, f64) {
        let all = self.values.iter().copied();
        (all.clone().fold(f64::INFINITY, f64::min), all.fold(f64::NEG_INFINITY, f64::max))
    }

    /// Whether it has changed for users. That is told only if no run of one is among the runs of the other.
    fn verdict(&self, before: &Self) -> &'static str {
        if self.values.len().min(before.values.len()) < LEAST_RUNS {
            return "? (too few runs)";
        }
        let ((least, greatest), (least_before, greatest_before)) = (self.range(), before.range());
        if least <= greatest_before && least_before <= greatest {
            return "? (within the spread)";
        }
        let direction = if least > greatest_before { Better::More } else { Better::Less };
        if direction == self.better { "better" } else { "worse" }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, (least, greatest)) = (self.median(), self.range());
        let places = match median.abs() {
            ..10.0 => 2,
            ..100.0 => 1,
            _ => 0,
        };
        let spread = match self.values.len() {
            1 => String::new(),
            _ => format!(" ({least:.places$}–{greatest:.places$})"),
        };
        out.pad(&format!("{median:.places$}{spread}"))
    }
}

const TITLE: &str = "medians, from least to greatest";
/// Runs without which nothing is told. Of the same program, three and three runs are apart in one case of ten, five and five
/// in one of 126.
const LEAST_RUNS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(better: Better, values: &[f64]) -> Figures {
        let mut figures = Figures::new(vec!["machine".to_owned()]);
        figures.add("reading", "k/s", better, values.to_vec());
        figures
    }

    #[test]
    fn change_is_told_only_beyond_the_spread() {
        const LOW: [f64; 5] = [100.0, 101.0, 101.0, 101.0, 102.0];
        const HIGH: [f64; 5] = [105.0, 106.0, 106.0, 106.0, 107.0];
        const SPREAD: &str = "? (within the spread)";
        for (before, now, more, less) in [
            (LOW, HIGH, "better", "worse"),
            (HIGH, LOW, "worse", "better"),
            ([100.0, 101.0, 101.0, 101.0, 106.0], HIGH, SPREAD, SPREAD),
            (LOW, [102.0, 106.0, 106.0, 106.0, 107.0], SPREAD, SPREAD),
            ([90.0, 101.0, 101.0, 101.0, 120.0], LOW, SPREAD, SPREAD),
        ] {
            for (better, want) in [(Better::More, more), (Better::Less, less)] {
                let lines = figures(better, &now).beside(&figures(better, &before));
                assert!(lines.last().is_some_and(|line| line.ends_with(want)), "{lines:#?}");
            }
        }
        let lines = figures(Better::More, &[2.0, 2.0]).beside(&figures(Better::More, &[1.0, 1.0]));
        assert!(lines.last().is_some_and(|line| line.ends_with("2.00 ×  ? (too few runs)")), "{lines:#?}");
    }

    #[test]
    fn saved_figures_of_the_documents_are_read() {
        let saved = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/explanation/performance");
        for file in ["reading", "flood", "steady"] {
            Figures::read(&saved.join(file).with_extension("json")).unwrap();
        }
    }
}
