//! Figures of all runs, which can be saved and compared with those of another version.

use std::path::Path;
use std::{fmt, fs};

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::part::Measured;
use crate::report::median;

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

    /// Adds values to those of this name.
    pub(crate) fn add(
        &mut self,
        name: &str,
        unit: &str,
        better: Better,
        values: impl IntoIterator<Item = f64>,
    ) {
        match self.figures.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.values.extend(values),
            None => {
                let (name, unit, values) = (name.to_owned(), unit.to_owned(), values.into_iter().collect());
                self.figures.push(Figure { name, unit, better, values });
            }
        }
    }

    /// Adds the speed of a part, the CPU of each message in Envoy and bridge, and the latency of requests.
    pub(crate) fn add_part(&mut self, name: &str, part: &Measured) {
        self.add(name, "k/s", Better::More, [part.rate() / 1e3]);
        if part.gateway() > 0.0 {
            let each = part.per_million(part.gateway());
            self.add(&format!("{name}: CPU of Envoy and bridge"), "µs", Better::Less, [each]);
        }
        if let Some((p50, _)) = part.latency {
            self.add(&format!("{name}: p50"), "ms", Better::Less, [p50 * 1e3]);
        }
    }

    /// Adds the speed of a part as a multiple of a peer's.
    pub(crate) fn add_ratio(&mut self, name: &str, part: &Measured, peer: &Measured) {
        self.add(&format!("{name}: ratio"), "×", Better::More, [part.rate() / peer.rate()]);
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
        lines.push(format!(
            "{:<72} {:>25} {:>25}   now : before",
            "medians, from least to greatest", "before", "now"
        ));
        for now in &self.figures {
            let before =
                earlier.figures.iter().find(|before| before.name == now.name && before.unit == now.unit);
            let name = format!("{}, {}", now.name, now.unit);
            lines.push(match before {
                None => format!("{name:<72} {:>25} {:>25}", "", now.to_string()),
                Some(before) => {
                    let ratio = now.median() / before.median();
                    let (values, verdict) = (before.to_string(), now.verdict(before));
                    format!("{name:<72} {values:>25} {:>25}   {ratio:>5.2} ×  {verdict}", now.to_string())
                }
            });
        }
        lines
    }
}

impl Figure {
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
        write!(out, "{median:.places$} ({least:.places$}–{greatest:.places$})")
    }
}

/// Runs without which nothing is told. Of the same program, three and three runs are apart in one case of ten, five and five
/// in one of 126.
const LEAST_RUNS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(better: Better, values: &[f64]) -> Figures {
        let mut figures = Figures::new(vec!["machine".to_owned()]);
        figures.add("reading", "k/s", better, values.iter().copied());
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
