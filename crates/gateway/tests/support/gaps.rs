//! What gaps look like, and the data of many events.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use super::id;
use super::peer::Event;

pub fn gap(reason: &str, missed: &str, sequence: u64) -> Event {
    let data = format!("{{\"reason\": \"{reason}\", \"missed\": {missed}}}");
    Event { name: "sse.gap".to_owned(), data, id: id(sequence) }
}

pub fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}
