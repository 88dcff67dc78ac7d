//! Pictures of a chapter, as SVG that is read on light and on dark pages.
//!
//! Not for figures: they are in the table beside the picture.

use std::fmt::Write;

use crate::report::{Chapter, Metric, figure};

const WIDTH: f64 = 720.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 90.0;
const BAR: f64 = 16.0;
const GAP: f64 = 14.0;

/// One for each side, of equal weight on white and on black.
const COLOURS: [&str; 8] =
    ["#2f81f7", "#8b949e", "#d29922", "#3fb950", "#db6d28", "#a371f7", "#e5534b", "#39a0a8"];

/// One grey that is read on white and on black: whether the page around is dark, a picture does not know.
const STYLE: &str =
    "text{font:13px system-ui,sans-serif;fill:#6e7781}.name{font-weight:600}line{stroke:#8b949e}";

/// Bars of one metric: a group for each row that `takes`, in it a bar for each side.
pub(crate) fn bars(chapter: &Chapter, metric: Metric, title: &str, takes: impl Fn(&str) -> bool) -> String {
    let rows: Vec<&str> = chapter.rows().into_iter().filter(|row| takes(row)).collect();
    let sides = chapter.sides();
    let all = rows.iter().flat_map(|row| sides.iter().filter_map(|side| chapter.median(row, side, metric)));
    let most = all.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut body = String::new();
    let mut top = 44.0;
    for row in rows {
        let begin = top;
        for (number, side) in sides.iter().enumerate() {
            let Some(size) = chapter.median(row, side, metric) else { continue };
            let width = (WIDTH - LEFT - RIGHT) * size / most;
            let (colour, middle) = (COLOURS[number % COLOURS.len()], top + BAR * 0.75);
            let _ = write!(
                body,
                "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{colour}\"><title>{}</title></rect>\
                 <text x=\"{:.1}\" y=\"{middle:.1}\">{}</text>",
                BAR - 2.0,
                escaped(side),
                LEFT + width + 6.0,
                figure(size)
            );
            top += BAR;
        }
        let _ = write!(
            body,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 10.0,
            (begin + top) / 2.0 + 4.0,
            escaped(row)
        );
        top += GAP;
    }
    let _ = write!(body, "<line x1=\"{LEFT}\" y1=\"38\" x2=\"{LEFT}\" y2=\"{:.1}\"/>", top - GAP + 4.0);
    legend(&mut body, &sides, top);
    page(title, metric.unit, &body, top + 22.0 * (sides.len() as f64 / 3.0).ceil() + 6.0)
}

/// Curves of one metric over numbers, both on logarithmic axes: `points` are a name and its places.
pub(crate) fn curves(title: &str, unit: &str, x_name: &str, points: &[(String, Vec<(f64, f64)>)]) -> String {
    let all = || points.iter().flat_map(|(_, places)| places.iter().copied());
    let span = |pick: fn((f64, f64)) -> f64| {
        let low = all().map(pick).fold(f64::MAX, f64::min).max(1e-9).log10();
        let high = all().map(pick).fold(1e-9, f64::max).log10();
        (low, (high - low).max(1.0))
    };
    let (x_span, y_span) = (span(|place| place.0), span(|place| place.1));
    let (left, right, top, bottom) = (70.0, WIDTH - 30.0, 50.0, 320.0);
    let x = |value: f64| left + (right - left) * (value.max(1e-9).log10() - x_span.0) / x_span.1;
    let y = |value: f64| bottom - (bottom - top) * (value.max(1e-9).log10() - y_span.0) / y_span.1;
    let mut body = format!(
        "<line x1=\"{left}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{bottom}\"/><line x1=\"{left}\" y1=\"{top}\" x2=\"{left}\" y2=\"{bottom}\"/>"
    );
    let mut marked = Vec::new();
    for (number, (_, places)) in points.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let line: Vec<String> =
            places.iter().map(|place| format!("{:.1},{:.1}", x(place.0), y(place.1))).collect();
        let _ = write!(
            body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        for place in places {
            let (at, height) = (x(place.0), y(place.1));
            let _ = write!(
                body,
                "<circle cx=\"{at:.1}\" cy=\"{height:.1}\" r=\"3.5\" fill=\"{colour}\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                height - 9.0,
                figure(place.1)
            );
            if !marked.contains(&place.0.to_bits()) {
                marked.push(place.0.to_bits());
                let _ = write!(
                    body,
                    "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0}</text>",
                    bottom + 18.0,
                    place.0
                );
            }
        }
    }
    let _ = write!(
        body,
        "<text x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        bottom + 36.0,
        escaped(x_name)
    );
    let names: Vec<&str> = points.iter().map(|(name, _)| name.as_str()).collect();
    legend(&mut body, &names, bottom + 44.0);
    page(title, unit, &body, bottom + 50.0 + 22.0 * (names.len() as f64 / 3.0).ceil())
}

fn legend(body: &mut String, names: &[&str], top: f64) {
    for (number, name) in names.iter().enumerate() {
        let (left, line) = ((number % 3) as f64 * 238.0 + 8.0, (number / 3) as f64 * 22.0 + top);
        let _ = write!(
            body,
            "<rect x=\"{left}\" y=\"{line:.1}\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            COLOURS[number % COLOURS.len()],
            left + 18.0,
            line + 11.0,
            escaped(name)
        );
    }
}

fn page(title: &str, unit: &str, body: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\" role=\"img\">\
         <style>{STYLE}</style><title>{0}</title><text x=\"8\" y=\"22\" class=\"name\">{0}{1}</text>{body}</svg>\n",
        escaped(title),
        if unit.is_empty() { String::new() } else { format!(", {}", escaped(unit)) }
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
