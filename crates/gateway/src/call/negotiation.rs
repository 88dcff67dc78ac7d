//! In which form a request wants its call answered: at once, as a stream (C7.8), or later (C7.9).
//!
//! Elements of the two headers that cannot be read are passed over, as if they were absent: a request is
//! answered in the ordinary form unless it clearly asks for another.
//!
//! Not for whether the call can be answered so.

use http::header::ACCEPT;
use http::{HeaderMap, HeaderName};

/// RFC 7240.
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Whether `Accept` gives `text/event-stream` a higher weight than `application/json` and `*/*`, of those
/// that it names. Browsers name it alone for an EventSource, and `*/*` for everything else that scripts send.
/// Other ranges (`text/*`) say nothing about it: what comes with them may be read by no event parser.
pub(super) fn wants_stream(headers: &HeaderMap) -> bool {
    let (mut stream, mut other) = (0, 0);
    for element in elements(headers, &ACCEPT) {
        let Some((range, weight)) = weighted(element) else { continue };
        match range.to_ascii_lowercase().as_str() {
            "text/event-stream" => stream = weight.max(stream),
            "application/json" | "*/*" => other = weight.max(other),
            _ => {}
        }
    }
    stream > other
}

/// Whether `Prefer` has `respond-async`: in any case, in a list or in a header of its own, with parameters
/// (which RFC 7240 does not define for it), or with an empty value, which is none (RFC 7240 §2).
pub(super) fn prefers_async(headers: &HeaderMap) -> bool {
    elements(headers, &PREFER).any(|element| {
        let preference = split(element, ';').next().unwrap_or("");
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        name.trim_matches(BLANKS).eq_ignore_ascii_case("respond-async")
            && matches!(value.trim_matches(BLANKS), "" | "\"\"")
    })
}

/// Optional white space (RFC 9110 §5.6.3).
const BLANKS: [char; 2] = [' ', '\t'];

/// The elements of all headers of this name, which make one list (RFC 9110 §5.3).
fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let texts = headers.get_all(name).iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
    texts.flat_map(|text| split(text, ','))
}

/// A media range and its weight in thousandths; `None` for one whose weight cannot be read.
fn weighted(element: &str) -> Option<(&str, u16)> {
    let mut parts = split(element, ';').map(|part| part.trim_matches(BLANKS));
    let range = parts.next()?;
    let weight = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim_matches(BLANKS).eq_ignore_ascii_case("q").then(|| value.trim_matches(BLANKS))
    });
    Some((range, weight.map_or(Some(1000), thousandths)?))
}

/// RFC 9110 §12.4.2: `0` or `1`, with up to three digits after the point, and at most 1.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_readable = matches!(whole, "0" | "1")
        && fraction.len() <= 3
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let weight = format!("{whole}{fraction:0<3}").parse().ok().filter(|_| is_readable)?;
    (weight <= 1000).then_some(weight)
}

/// The pieces between separators, which do not count inside a quoted string (RFC 9110 §5.6.4). A string that
/// is not closed goes to the end.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |c| {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            c => return c == separator && !is_quoted,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderValue;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn a_stream_is_wanted_by_who_gives_it_the_higher_weight() {
        for (accept, expected) in [
            (&["text/event-stream"][..], true),
            (&["Text/Event-Stream"], true),
            (&["text/event-stream;charset=utf-8"], true),
            (&["text/event-stream, */*;q=0.1"], true),
            (&["text/event-stream;q=0.5,application/json;q=0.4,*/*;q=0.499"], true),
            (&["text/html", "text/event-stream"], true),
            (&["application/json;q=0.1", "text/event-stream;q=0.2"], true),
            (&["text/event-stream;q=0.001"], true),
            (&["text/event-stream;x=\"a, */*\";q=0.5"], true),
            (&["text/event-stream;x=\"\\\", */*\""], true),
            (&["text/event-stream ; Q = 0.5 , application/json ; q=0.4"], true),
            (&["text/event-stream", "*/*;q=x"], true),
            (&["text/event-stream, text/html, application/xml"], true),
            (&["text/event-stream;q=0.3, text/event-stream;q=1, */*;q=0.9"], true),
            (&["text/event-stream;q=1.000, */*;q=0.999"], true),
            (&["text/event-stream;q=0.05, */*;q=0."], true),
            (&[], false),
            (&[""], false),
            (&["*/*"], false),
            (&["text/*"], false),
            (&["application/json"], false),
            (&["text/event-stream, */*"], false),
            (&["text/event-stream, application/json"], false),
            (&["text/event-stream;q=0.4, application/json;q=0.5"], false),
            (&["text/event-stream;q=0.4", "*/*;q=0.4"], false),
            (&["text/event-stream;q=0"], false),
            (&["text/event-stream;q=0.000"], false),
            (&["text/event-stream;q=2"], false),
            (&["text/event-stream;q=1.001"], false),
            (&["text/event-stream;q=0.1234"], false),
            (&["text/event-stream;q="], false),
            (&["text/event-stream;q=-1"], false),
            (&["text/event-stream;q=.5"], false),
            (&["text/event-stream;q=00"], false),
            (&["text/event-stream;q=0.+1"], false),
            (&["text/event-streams"], false),
            (&["\"text/event-stream\""], false),
            (&["x=\"text/event-stream"], false),
        ] {
            assert_eq!(wants_stream(&headers(&ACCEPT, accept)), expected, "{accept:?}");
        }
    }

    #[test]
    fn the_preference_is_found_in_every_spelling() {
        for (prefer, expected) in [
            (&["respond-async"][..], true),
            (&["Respond-Async"], true),
            (&["respond-async, wait=10"], true),
            (&["wait=10,respond-async"], true),
            (&["wait=10", "respond-async"], true),
            (&["handling=lenient, \trespond-async\t; foo=\"bar, baz\""], true),
            (&["respond-async;x"], true),
            (&["respond-async=\"\""], true),
            (&["respond-async = "], true),
            (&[",, respond-async ,"], true),
            (&["foo=\"a, respond-async\", respond-async"], true),
            (&[], false),
            (&[""], false),
            (&["wait=10"], false),
            (&["respond-asynchronously"], false),
            (&["respond_async"], false),
            (&["respond-async=no"], false),
            (&["respond-async=\"x\""], false),
            (&["foo=\"a, respond-async\""], false),
            (&["foo=\"\\\", respond-async"], false),
            (&["foo; respond-async"], false),
            (&["\"respond-async\""], false),
        ] {
            assert_eq!(prefers_async(&headers(&PREFER, prefer)), expected, "{prefer:?}");
        }
    }
}
