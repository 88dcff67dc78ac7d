//! What was measured: figures of every turn by row, side and metric; from them medians, and ratios to a
//! yardstick, or differences from it, with their range, as JSON and as tables.
//!
//! Not for pictures: plot.rs.

use std::fmt::Write;

use serde_json::{Value, json};

/// A kind of figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// Whether the comparison with the yardstick is shown.
    pub(crate) is_compared: bool,
}

/// All figures of one metric on one side in one row, in the order of the rounds.
#[derive(Debug)]
struct Series {
    row: String,
    side: String,
    metric: Metric,
    rounds: Vec<f64>,
}

/// How a figure is compared with the yardstick's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Ratio,
    Difference,
}

/// Ratio or difference of the medians, and the range of those of the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Compared {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// A part of the bench.
#[derive(Debug)]
pub(crate) struct Chapter {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// The heads of the first two columns.
    heads: [&'static str; 2],
    /// The side that others are compared with.
    yardstick: String,
    comparison: Comparison,
    series: Vec<Series>,
    /// What a reader must know, such as a side that was left out and why.
    pub(crate) notes: Vec<String>,
}

impl Chapter {
    pub(crate) fn new(name: &'static str, title: &'static str, yardstick: impl ToString) -> Self {
        Self {
            name,
            title,
            heads: ["row", "side"],
            yardstick: yardstick.to_string(),
            comparison: Comparison::Ratio,
            series: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn with_heads(mut self, heads: [&'static str; 2]) -> Self {
        self.heads = heads;
        self
    }

    /// Differences from the yardstick in place of ratios: for what comes on top of something.
    pub(crate) fn by_difference(mut self) -> Self {
        self.comparison = Comparison::Difference;
        self
    }

    /// Adds the figure of one round.
    pub(crate) fn add(&mut self, row: impl ToString, side: impl ToString, metric: Metric, figure: f64) {
        let (row, side) = (row.to_string(), side.to_string());
        let found =
            self.series.iter_mut().find(|one| one.row == row && one.side == side && one.metric == metric);
        match found {
            Some(series) => series.rounds.push(figure),
            None => self.series.push(Series { row, side, metric, rounds: vec![figure] }),
        }
    }

    pub(crate) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(crate) fn rows(&self) -> Vec<&str> {
        distinct(self.series.iter().map(|one| one.row.as_str()))
    }

    pub(crate) fn sides(&self) -> Vec<&str> {
        distinct(self.series.iter().map(|one| one.side.as_str()))
    }

    pub(crate) fn metrics(&self) -> Vec<Metric> {
        distinct(self.series.iter().map(|one| one.metric))
    }

    fn series(&self, row: &str, side: &str, metric: Metric) -> Option<&Series> {
        self.series.iter().find(|one| one.row == row && one.side == side && one.metric == metric)
    }

    pub(crate) fn median(&self, row: &str, side: &str, metric: Metric) -> Option<f64> {
        self.series(row, side, metric).map(|series| median(&series.rounds))
    }

    fn compared(&self, row: &str, side: &str, metric: Metric) -> Option<Compared> {
        self.compared_to(row, side, &self.yardstick, metric)
    }

    /// One side of a row compared with another.
    pub(crate) fn compared_to(&self, row: &str, side: &str, other: &str, metric: Metric) -> Option<Compared> {
        let (one, other) = (self.series(row, side, metric)?, self.series(row, other, metric)?);
        let compare = |one: f64, other: f64| match self.comparison {
            Comparison::Ratio => one / other,
            Comparison::Difference => one - other,
        };
        let rounds = one.rounds.iter().zip(&other.rounds);
        let rounds: Vec<f64> = rounds.map(|(one, other)| compare(*one, *other)).collect();
        let [low, high] = [f64::min, f64::max].map(|pick| rounds.iter().copied().reduce(pick));
        let median = compare(median(&one.rounds), median(&other.rounds));
        let compared = Compared { median, low: low?, high: high? };
        // Nothing was used that the system tells of.
        [compared.median, compared.low, compared.high].iter().all(|part| part.is_finite()).then_some(compared)
    }

    pub(crate) fn json(&self) -> Value {
        let rows = self.series.iter().map(|series| {
            let Series { row, side, metric, rounds } = series;
            let [low, high] =
                [f64::min, f64::max].map(|pick| rounds.iter().copied().reduce(pick).unwrap_or(0.0));
            let compared = self.compared(row, side, *metric).filter(|_| metric.is_compared);
            let by = match self.comparison {
                Comparison::Ratio => "ratio",
                Comparison::Difference => "difference",
            };
            json!({
                "row": row, "side": side, "metric": metric.name, "unit": metric.unit,
                "median": median(rounds), "low": low, "high": high, "rounds": rounds,
                by: compared.map(|compared| compared.median),
                format!("{by}_low"): compared.map(|compared| compared.low),
                format!("{by}_high"): compared.map(|compared| compared.high),
            })
        });
        let rows: Vec<_> = rows.collect();
        json!({ "title": self.title, "yardstick": self.yardstick, "rows": rows, "notes": self.notes })
    }

    /// The heads of the columns, and the cells of each line.
    pub(crate) fn table(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let metrics = self.metrics();
        let mut heads = self.heads.map(str::to_owned).to_vec();
        for metric in &metrics {
            heads.push(if metric.unit.is_empty() {
                metric.name.to_owned()
            } else {
                format!("{}, {}", metric.name, metric.unit)
            });
            if metric.is_compared {
                heads.push(match self.comparison {
                    Comparison::Ratio => format!("÷ {}", self.yardstick),
                    Comparison::Difference => format!("more than {}, {}", self.yardstick, metric.unit),
                });
            }
        }
        let mut lines = Vec::new();
        for row in self.rows() {
            let of_row = self.series.iter().filter(|one| one.row == row);
            for side in distinct(of_row.map(|one| one.side.as_str())) {
                let mut cells = vec![row.to_owned(), side.to_owned()];
                for &metric in &metrics {
                    cells.push(self.median(row, side, metric).map_or_else(String::new, figure));
                    if metric.is_compared {
                        let compared = self.compared(row, side, metric).filter(|_| side != self.yardstick);
                        cells.push(compared.map_or_else(String::new, |compared| self.cell(compared)));
                    }
                }
                lines.push(cells);
            }
        }
        (heads, lines)
    }

    fn cell(&self, Compared { median, low, high }: Compared) -> String {
        match self.comparison {
            Comparison::Ratio => format!("{median:.2} ({low:.2} to {high:.2})"),
            Comparison::Difference => format!("{} ({} to {})", figure(median), figure(low), figure(high)),
        }
    }

    /// The table with blanks, for a terminal.
    pub(crate) fn text(&self) -> String {
        let (heads, lines) = self.table();
        let width = |column: usize| {
            let cells = std::iter::once(&heads).chain(&lines).map(|cells| cells[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..heads.len()).map(width).collect();
        let mut text = format!("\n{}\n", self.title);
        for cells in std::iter::once(&heads).chain(&lines) {
            for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                let blanks = " ".repeat(width - cell.chars().count());
                let _ = if column < 2 {
                    write!(text, "{cell}{blanks}  ")
                } else {
                    write!(text, "{blanks}{cell}  ")
                };
            }
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "{note}");
        }
        text
    }

    /// The table in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let (heads, lines) = self.table();
        let mut text = format!("| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
        for cells in lines {
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }
}

fn distinct<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

/// The middle one; of an even number, the upper of the two.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}

/// Three digits that mean something, thousands in groups.
pub(crate) fn figure(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1000.0 => {
            let digits = format!("{figure:.0}");
            let mut grouped = String::new();
            for (place, digit) in digits.chars().enumerate() {
                if place > 0 && (digits.len() - place).is_multiple_of(3) {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: Metric = Metric { name: "cost", unit: "µs", is_compared: true };

    #[test]
    fn a_ratio_is_of_medians_and_its_range_is_of_rounds() {
        let mut chapter = Chapter::new("fanout", "Fan-out", "floor");
        for (ours, floor) in [(2.0, 1.0), (3.0, 2.0), (9.0, 3.0)] {
            chapter.add("100", "pg_sse", COST, ours);
            chapter.add("100", "floor", COST, floor);
        }
        let ratio = chapter.compared("100", "pg_sse", COST);
        assert_eq!(ratio, Some(Compared { median: 1.5, low: 1.5, high: 3.0 }));
        assert!(chapter.text().contains("1.50 (1.50 to 3.00)"));
        assert!(chapter.markdown().starts_with("| row | side | cost, µs | ÷ floor |\n|---|---|---|---|\n"));
        assert_eq!(chapter.json()["rows"][0]["ratio_high"], 3.0);
    }

    #[test]
    fn a_difference_is_of_medians_and_its_range_is_of_rounds() {
        let mut chapter = Chapter::new("capture", "Capture", "plain").by_difference();
        for (ours, plain) in [(250.0, 200.0), (280.0, 210.0), (300.0, 320.0)] {
            chapter.add("SELECT", "annotated", COST, ours);
            chapter.add("SELECT", "plain", COST, plain);
        }
        let difference = chapter.compared("SELECT", "annotated", COST);
        assert_eq!(difference, Some(Compared { median: 70.0, low: -20.0, high: 70.0 }));
        assert!(chapter.text().contains("70.0 (-20.0 to 70.0)"));
        assert!(chapter.markdown().starts_with("| row | side | cost, µs | more than plain, µs |\n"));
        assert_eq!(chapter.json()["rows"][0]["difference_low"], -20.0);
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!(
            [1_234_567.8, 123.4, 12.34, 1.234, 0.01234].map(figure),
            ["1,234,568", "123", "12.3", "1.23", "0.012"]
        );
    }
}
