//! Streams of row changes (C3.5).

use anyhow::Result;
use cluster::http::EventStream;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Corner, SOON};

/// One row change as a subscriber gets it: the event's name, and its data.
pub(crate) type Change = (String, serde_json::Value);

impl Corner<'_> {
    /// A stream of the changes of these tables of this corner.
    pub(crate) fn changes(&self, tables: &[&str]) -> Result<EventStream> {
        let topics: Vec<String> = tables.iter().map(|table| format!("{}.{table}", self.name)).collect();
        self.topics(&topics)
    }

    /// A stream of these topics.
    pub(crate) fn topics(&self, topics: &[String]) -> Result<EventStream> {
        self.sql(
            "create or replace function ear() returns void language sql as '';
             comment on function ear() is '@sse'",
        )?;
        let topics: String = topics
            .iter()
            .map(|topic| format!("&topic={}", utf8_percent_encode(topic, NON_ALPHANUMERIC)))
            .collect();
        self.http.events(&format!("{}?id={}{topics}", self.path("ear/info"), self.name))?.begun()
    }
}

/// The next change.
pub(crate) fn next(stream: &mut EventStream) -> Result<Change> {
    let event = stream.next(SOON)?;
    let data = serde_json::from_str(&event.data).unwrap_or(serde_json::Value::String(event.data));
    Ok((event.event, data))
}

/// SQL that makes a trigger `t` for every operation on a table, with these arguments.
pub(crate) fn trigger(table: &str, arguments: &str) -> String {
    format!(
        "create trigger t after insert or update or delete on {table}
         for each row execute function sse.publish_change({arguments});"
    )
}
