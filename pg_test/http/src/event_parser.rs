//! Bytes of an event stream in, events out: WHATWG HTML §9.2.6, "Interpreting an event stream", word by word.
//!
//! Written from the standard and not from our server, so that both being wrong in the same way is unlikely.
//!
//! Not for connecting and reconnecting: [`super::EventStream`], and the test that does it.

use std::borrow::Cow;
use std::time::Duration;

/// One dispatched event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The last event id string of the stream when it was dispatched; empty when none was ever sent.
    pub id: String,
    /// `message` when the block names none.
    pub event: String,
    /// The data, lines joined by LF.
    pub data: String,
}

/// What a browser overlooks, and no server should send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// Blocks with fields and without data: several clients take them for empty events.
    pub empty_blocks: usize,
    /// Lines without effect: a field that the standard does not know, a value that it ignores, or
    /// `event: message`, which is the name of an event without one.
    pub idle_lines: Vec<String>,
    /// Lines that are not UTF-8: what is wrong in them was replaced.
    pub replaced_lines: usize,
}

/// The state between two pieces of a stream.
#[derive(Clone, Debug, Default)]
pub struct EventParser {
    line: Vec<u8>,
    after_cr: bool,
    past_first_line: bool,
    data: String,
    event_type: String,
    last_event_id_buffer: String,
    last_event_id: String,
    retry: Option<Duration>,
    comments: Vec<String>,
    has_fields: bool,
    oddities: Oddities,
}

impl EventParser {
    /// Takes the next bytes and returns the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            let ends_crlf = std::mem::take(&mut self.after_cr) && byte == b'\n';
            match byte {
                b'\n' if ends_crlf => {}
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    events.extend(self.end_line());
                }
                _ => self.line.push(byte),
            }
        }
        events
    }

    /// The id that a reconnecting browser would send.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The last valid `retry:` field.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// All comments so far, without their colon.
    pub fn comments(&self) -> &[String] {
        &self.comments
    }

    /// All that was odd so far.
    pub fn oddities(&self) -> &Oddities {
        &self.oddities
    }

    fn end_line(&mut self) -> Option<Event> {
        let bytes = std::mem::take(&mut self.line);
        // The stream is decoded as UTF-8 with replacement; line ends are ASCII, so line by line gives the
        // same.
        let decoded = String::from_utf8_lossy(&bytes);
        self.oddities.replaced_lines += usize::from(matches!(decoded, Cow::Owned(_)));
        let is_first = !std::mem::replace(&mut self.past_first_line, true);
        let line = if is_first { decoded.strip_prefix('\u{feff}').unwrap_or(&decoded) } else { &decoded };
        if line.is_empty() {
            return self.dispatch();
        }
        match line.split_once(':') {
            Some(("", comment)) => self.comments.push(comment.to_owned()),
            Some((field, value)) => self.process(line, field, value.strip_prefix(' ').unwrap_or(value)),
            None => self.process(line, line, ""),
        }
        None
    }

    fn process(&mut self, line: &str, field: &str, value: &str) {
        self.has_fields = true;
        if (field, value) == ("event", "message") {
            self.oddities.idle_lines.push(line.to_owned());
        }
        match field {
            "event" => value.clone_into(&mut self.event_type),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.last_event_id_buffer),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry);
            }
            _ => self.oddities.idle_lines.push(line.to_owned()),
        }
    }

    fn dispatch(&mut self) -> Option<Event> {
        self.last_event_id.clone_from(&self.last_event_id_buffer);
        let event_type = std::mem::take(&mut self.event_type);
        let mut data = std::mem::take(&mut self.data);
        self.oddities.empty_blocks += usize::from(std::mem::take(&mut self.has_fields) && data.is_empty());
        // "If the data buffer is an empty string": one `data:` line leaves a line feed in it, so that is an
        // event.
        data.pop()?;
        let event = if event_type.is_empty() { "message".to_owned() } else { event_type };
        Some(Event { id: self.last_event_id.clone(), event, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(stream: &str) -> Vec<Event> {
        EventParser::default().push(stream.as_bytes())
    }

    fn data(stream: &str) -> Vec<String> {
        events(stream).into_iter().map(|event| event.data).collect()
    }

    #[test]
    fn the_examples_of_the_standard_give_what_it_says() {
        assert_eq!(data("data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
        let stream =
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
        let found = events(stream);
        let ids: Vec<&str> = found.iter().map(|event| event.id.as_str()).collect();
        assert_eq!(ids, ["1", "", ""]);
        assert_eq!(found[2].data, " third event");
        assert_eq!(data("data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
        assert_eq!(data("data:test\n\ndata: test\n\n"), ["test", "test"]);
    }

    #[test]
    fn every_line_end_counts_wherever_the_bytes_are_cut() {
        let stream = b"data: a\r\ndata: b\rdata: c\n\r\ndata: d\r\r";
        for cut in 0..stream.len() {
            let mut parser = EventParser::default();
            let mut found = parser.push(&stream[..cut]);
            found.extend(parser.push(&stream[cut..]));
            let data: Vec<&str> = found.iter().map(|event| event.data.as_str()).collect();
            assert_eq!(data, ["a\nb\nc", "d"], "cut at {cut}");
        }
    }

    #[test]
    fn only_one_leading_bom_is_dropped() {
        assert_eq!(data("\u{feff}data: a\n\n"), ["a"]);
        assert_eq!(data("\u{feff}\u{feff}data: a\n\n"), [""; 0]);
        assert_eq!(data(":x\n\u{feff}data: a\n\n"), [""; 0]);
    }

    #[test]
    fn an_id_without_data_counts_and_one_with_nul_does_not() {
        let mut parser = EventParser::default();
        assert!(parser.push(b"id: 7\n\n").is_empty());
        assert_eq!(parser.last_event_id(), "7");
        parser.push(b"id: 8\0\n\n");
        assert_eq!(parser.last_event_id(), "7");
        parser.push(b"id: 9\n");
        assert_eq!(parser.last_event_id(), "7", "a block that is not complete does not count");
    }

    #[test]
    fn retry_takes_digits_only() {
        let mut parser = EventParser::default();
        parser.push(b"retry: 1500\n\nretry: 2s\n\nretry:\n\n");
        assert_eq!(parser.retry(), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn a_block_without_data_dispatches_nothing_and_forgets_its_name() {
        assert_eq!(events("event: x\n\ndata: a\n\n")[0].event, "message");
    }

    #[test]
    fn what_a_browser_overlooks_is_kept() {
        let mut parser = EventParser::default();
        parser.push(b": comment\n\nid: 1\nretry: 5\nevent: x\ndata: a\n\n");
        assert_eq!(*parser.oddities(), Oddities::default());
        parser.push(b"retry:\ndatum: x\nid: \0\nevent: message\n\ndata: \xff\n\n");
        let idle_lines = ["retry:", "datum: x", "id: \0", "event: message"].map(str::to_owned).into();
        assert_eq!(*parser.oddities(), Oddities { empty_blocks: 1, idle_lines, replaced_lines: 1 });
    }
}
