//! `sse.stat_histograms`: how long events and calls took, as the gateway has measured it; for those who open
//! no admin port.
//!
//! Not for counters, which are copied into shared memory once a second: `stats.rs`.

use serde_json::{Value, json};
use sse_gateway::{Gateway, HistogramReading};

use crate::answer_file::AnswerFile;
use crate::pg::shmem::Shared;

/// `with_extension` makes `pg_sse_histograms.new` of it, which no other answer is written to.
const FILE: AnswerFile = AnswerFile { name: "pg_sse_histograms.json", what: "histograms" };

/// The gateway's side: answers a question that there is. Without a gateway there are no histograms.
pub(crate) fn tend(shared: &Shared, gateway: Option<&Gateway>) {
    let numbers = &shared.header.histograms;
    let Some(question) = AnswerFile::question(numbers) else { return };
    let readings = gateway.map(Gateway::histograms).unwrap_or_default();
    let rows = Value::Array(readings.iter().flat_map(rows).collect());
    FILE.answer(numbers, question, &rows.to_string());
}

/// One for each bucket. That beyond all bounds has none: JSON has no infinity.
fn rows(reading: &HistogramReading) -> impl Iterator<Item = Value> {
    let total = reading.counts.last().copied().unwrap_or(0);
    let (method, status) = reading.calls.as_ref().map(|(method, status)| (*method, status.as_str())).unzip();
    let bounds = reading.bounds.iter().copied().map(Some).chain([None]);
    bounds.zip(&reading.counts).map(move |(bound, count)| {
        json!({
            "name": reading.name,
            "method": method,
            "status": status,
            "upper_bound": bound,
            "count": count,
            "sum": reading.sum,
            "total": total,
        })
    })
}

/// A backend's side: the rows as a JSON array.
pub(crate) fn ask(shared: &Shared) -> String {
    FILE.ask(&shared.header.histograms, shared)
}
