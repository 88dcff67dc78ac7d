//! `/metrics`: what the gateway does, in numbers, as OpenMetrics or in the older text format of Prometheus.
//!
//! How long a scrape takes and how large it is does not depend on how many streams, users or routines there
//! are, and nothing of a URL, a token or an execution id is in it: there are no labels but the method and the
//! status of calls.
//!
//! Not for what the figures mean: docs/metrics.md.

use std::collections::BTreeSet;
use std::fmt;
use std::time::UNIX_EPOCH;

use http::HeaderValue;
use http::header::GetAll;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::{Board, Figure, View};
use crate::measures::Distribution;

mod help;

use help::help;

/// How a scrape is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    OpenMetrics,
    /// The text format 0.0.4.
    Text,
}

impl Format {
    /// What `Accept` asks for: Prometheus names both with weights, and gives the one that it prefers more.
    /// Whoever does not name OpenMetrics gets text.
    pub(super) fn of(accept: GetAll<'_, HeaderValue>) -> Self {
        let (mut open_metrics, mut text) = (0.0, 0.0);
        let ranges = accept.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        for range in ranges {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or("").to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
            let weight = weight.unwrap_or(0.0);
            match media.as_str() {
                "application/openmetrics-text" => open_metrics = weight.max(open_metrics),
                "text/plain" => text = weight.max(text),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Everything of one scrape, as it was when it was asked for.
#[derive(Debug)]
pub(super) struct Scrape {
    figures: Vec<Figure>,
    is_serving: bool,
    started_at: Option<f64>,
    version: &'static str,
    /// Without a gateway there is none.
    histograms: Option<Histograms>,
}

#[derive(Debug)]
struct Histograms {
    delays: Distribution,
    streams: Distribution,
    calls: Vec<(&'static str, String, Distribution)>,
}

impl Scrape {
    pub(super) fn take(board: &Board) -> Self {
        let gateway = board.gateway();
        let started_at = board.surroundings.facts().started_at;
        Self {
            figures: board.surroundings.figures(gateway.as_ref().map(|gateway| &*gateway.stats)),
            is_serving: gateway.as_ref().is_some_and(|gateway| !gateway.is_unavailable()),
            started_at: started_at
                .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
                .map(|since| since.as_secs_f64()),
            version: board.surroundings.version(),
            histograms: gateway.map(|gateway| Histograms {
                delays: gateway.measures.delays(),
                streams: gateway.measures.streams(),
                calls: gateway.measures.calls(),
            }),
        }
    }

    pub(super) fn encode(self, format: Format) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        // Writing to a string fails only where we say so ourselves.
        let _ = encode(&mut out, &registry);
        match format {
            Format::OpenMetrics => out,
            Format::Text => older(&out),
        }
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let encoder = &mut encoder;
        begin(encoder, "pg_sse_build_info", MetricType::Gauge)?
            .0
            .encode_family(&[("version", self.version)])?
            .encode_gauge(&1_u32)?;
        begin(encoder, "pg_sse_serving", MetricType::Gauge)?.0.encode_gauge(&u32::from(self.is_serving))?;
        if let Some(at) = self.started_at {
            begin(encoder, "pg_sse_start_time_seconds", MetricType::Gauge)?.0.encode_gauge(&at)?;
        }
        for figure in &self.figures {
            let name = name(figure.view, figure.column);
            match name.strip_suffix("_total") {
                Some(family) => begin(encoder, family, MetricType::Counter)?
                    .0
                    .encode_counter::<NoLabelSet, _, u64>(&figure.value, None)?,
                None => begin(encoder, &name, MetricType::Gauge)?.0.encode_gauge(&figure.value)?,
            }
        }
        let Some(Histograms { delays, streams, calls }) = &self.histograms else { return Ok(()) };
        begin(encoder, "pg_sse_event_delay_seconds", MetricType::Histogram)?.histogram(delays, 1e9)?;
        begin(encoder, "pg_sse_event_streams", MetricType::Histogram)?.histogram(streams, 1.0)?;
        if !calls.is_empty() {
            let mut family = begin(encoder, "pg_sse_call_duration_seconds", MetricType::Histogram)?;
            for (method, status, durations) in calls {
                let labels = [("method", *method), ("status", status.as_str())];
                Encoder(family.0.encode_family(&labels)?).histogram(durations, 1e9)?;
            }
        }
        Ok(())
    }
}

fn begin<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    kind: MetricType,
) -> Result<Encoder<'e>, fmt::Error> {
    encoder.encode_descriptor(name, help(name), None, kind).map(Encoder)
}

/// What writes the samples of one metric.
struct Encoder<'a>(MetricEncoder<'a>);

impl Encoder<'_> {
    /// `unit`: how many of what was measured make one of what is shown.
    fn histogram(&mut self, found: &Distribution, unit: f64) -> Result<(), fmt::Error> {
        let bounds = found.bounds.iter().map(|bound| *bound as f64 / unit).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(found.counts.iter().copied()).collect();
        self.0.encode_histogram::<NoLabelSet>(found.sum as f64 / unit, found.count(), &buckets, None)
    }
}

/// `pg_sse_` and the column's name (C8.2). Other names have: bytes of the ring, because both views have a
/// column `bytes_total`; three gauges, because OpenMetrics names a counter without its `_total`, and there is
/// a counter of each of these names; and all of `sse.stat_wal`, whose columns have names that others have,
/// too.
pub(super) fn name(view: View, column: &str) -> String {
    match (view, column) {
        (View::Ring, "bytes_total") => "pg_sse_ring_bytes_total".to_owned(),
        (View::Gateway, "connections") => "pg_sse_connections_open".to_owned(),
        (View::Gateway, "subscribers") => "pg_sse_subscribers_open".to_owned(),
        (View::Gateway, "call_workers") => "pg_sse_call_workers_ready".to_owned(),
        (View::Wal, column) => format!("pg_sse_wal_{column}"),
        (_, column) => format!("pg_sse_{column}"),
    }
}

/// The older format: what is said of a counter names its samples, and there is no end mark.
fn older(text: &str) -> String {
    let counter = |line: &'_ str| -> Option<String> {
        line.strip_prefix("# TYPE ")?.strip_suffix(" counter").map(str::to_owned)
    };
    let counters: BTreeSet<String> = text.lines().filter_map(counter).collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        let about = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
        let named = about.and_then(|about| about.split_once(' '));
        match named.filter(|(name, _)| counters.contains(*name)) {
            Some((name, rest)) => {
                let keyword = &line[..line.len() - name.len() - rest.len() - 1];
                out.extend([keyword, name, "_total ", rest]);
            }
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderMap;
    use http::header::ACCEPT;

    use super::*;

    #[test]
    fn open_metrics_is_for_who_prefers_it() {
        let of = |accept: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(ACCEPT, HeaderValue::from_str(value).unwrap());
            }
            Format::of(headers.get_all(ACCEPT))
        };
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(of(&[prometheus]), Format::OpenMetrics);
        assert_eq!(of(&["application/openmetrics-text"]), Format::OpenMetrics);
        for accept in [
            &[][..],
            &["*/*"],
            &["text/html,*/*;q=0.8"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=0.2,text/plain"],
            &["application/openmetrics-text;q=x"],
        ] {
            assert_eq!(of(accept), Format::Text, "{accept:?}");
        }
    }

    fn scrape() -> Scrape {
        let figure = |view, column, value| Figure { view, column, value };
        let streams = Distribution { bounds: &[0, 1], counts: vec![1, 2, 3], sum: 20 };
        let delays = Distribution { bounds: &[100_000], counts: vec![1, 1], sum: 3_000_000_000 };
        Scrape {
            figures: vec![figure(View::Gateway, "events_total", 7), figure(View::Ring, "used_bytes", 8)],
            is_serving: true,
            started_at: None,
            version: "1",
            histograms: Some(Histograms {
                calls: vec![("GET", "200".to_owned(), delays.clone())],
                delays,
                streams,
            }),
        }
    }

    #[test]
    fn both_formats_say_the_same_of_a_counter_a_gauge_and_a_histogram() {
        let (open, text) = (scrape().encode(Format::OpenMetrics), scrape().encode(Format::Text));
        for line in [
            "pg_sse_events_total 7",
            "pg_sse_used_bytes 8",
            "# TYPE pg_sse_used_bytes gauge",
            "pg_sse_build_info{version=\"1\"} 1",
            "# TYPE pg_sse_event_streams histogram",
            "pg_sse_event_streams_bucket{le=\"1.0\"} 3",
            "pg_sse_event_streams_bucket{le=\"+Inf\"} 6",
            "pg_sse_event_streams_sum 20.0",
            "pg_sse_event_streams_count 6",
            "pg_sse_event_delay_seconds_bucket{le=\"0.0001\"} 1",
            "pg_sse_call_duration_seconds_count{method=\"GET\",status=\"200\"} 2",
        ] {
            assert!(open.lines().any(|found| found == line), "{line}: {open}");
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(open.contains("# TYPE pg_sse_events counter\n") && open.ends_with("# EOF\n"), "{open}");
        assert!(text.contains("# TYPE pg_sse_events_total counter\n") && !text.contains("EOF"), "{text}");
        assert!(text.contains("# HELP pg_sse_events_total "), "{text}");
    }
}
