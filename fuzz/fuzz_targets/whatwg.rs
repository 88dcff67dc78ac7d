//! A parser of event streams, written from WHATWG HTML §9.2.5 and §9.2.6 alone: slow, plain, and knowing
//! nothing of how pg_sse writes.
//!
//! The tests have a parser of their own, in `pg_test/http`. Two on purpose: a mistake in reading the standard
//! would have to be made twice to stay unseen.

/// A dispatched event.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// `type`; `message` when the stream names none.
    pub name: String,
    pub data: String,
    pub last_event_id: String,
}

/// What a stream comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    pub events: Vec<Event>,
    /// The last `retry:` that was digits only.
    pub retry: Option<u128>,
    /// Blocks that ended with nothing to dispatch.
    pub empty_blocks: usize,
    pub comments: usize,
}

/// Parses a whole stream; a block that is not ended by a blank line is discarded.
pub fn parse(bytes: &[u8]) -> Parsed {
    // "Streams must be decoded using the UTF-8 decode algorithm", which strips one byte order mark.
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);

    let mut parsed = Parsed::default();
    let (mut data, mut name, mut id) = (String::new(), String::new(), String::new());
    let mut last_event_id = String::new();
    let mut has_fields = false;
    for line in complete_lines(text) {
        if line.is_empty() {
            // "Dispatch the event": the id first, whether or not there is data.
            last_event_id.clone_from(&id);
            if data.is_empty() {
                name.clear();
                parsed.empty_blocks += usize::from(has_fields);
            } else {
                if data.ends_with('\n') {
                    data.pop();
                }
                let name = std::mem::take(&mut name);
                parsed.events.push(Event {
                    name: if name.is_empty() { "message".to_owned() } else { name },
                    data: std::mem::take(&mut data),
                    last_event_id: last_event_id.clone(),
                });
            }
            has_fields = false;
            continue;
        }
        if line.starts_with(':') {
            parsed.comments += 1;
            continue;
        }
        has_fields = true;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value.to_owned(),
            "data" => {
                data.push_str(value);
                data.push('\n');
            }
            "id" if !value.contains('\0') => id = value.to_owned(),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                parsed.retry = value.parse().ok();
            }
            _ => {}
        }
    }
    parsed
}

/// Lines ended by CRLF, LF or CR; what is after the last line end is no line yet.
fn complete_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut start = 0;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let end = at;
        at += 1;
        match bytes[end] {
            b'\r' if bytes.get(at) == Some(&b'\n') => at += 1,
            b'\r' | b'\n' => {}
            _ => continue,
        }
        lines.push(&text[start..end]);
        start = at;
    }
    lines
}
