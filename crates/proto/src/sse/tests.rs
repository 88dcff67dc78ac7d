#![allow(clippy::unwrap_used)]
use super::*;
use crate::place::Place;
use proptest::prelude::*;

const ID: EventId = EventId::new(0xab, 0x10);

fn event(name: Option<&str>, data: &str) -> String {
    let mut out = Vec::new();
    append_event(&mut out, ID, name, data);
    String::from_utf8(out).unwrap()
}

#[test]
fn an_event_is_id_name_data_and_a_blank_line() {
    assert_eq!(event(None, "hello"), "id: ab-10\ndata: hello\n\n");
    assert_eq!(event(Some("order"), "{}"), "id: ab-10\nevent: order\ndata: {}\n\n");
}

// It is looked for in blocks.
#[test]
fn the_first_line_end_is_found_wherever_it_lies() {
    for len in 0..100 {
        let text = "x".repeat(len);
        assert_eq!(line_end(&text), None);
        for place in 0..len {
            for end in ["\n", "\r"] {
                let text = format!("{}{end}{}\n", &text[..place], &text[place..]);
                assert_eq!(line_end(&text), Some(place), "{text:?}");
            }
        }
    }
}

#[test]
fn a_payload_is_split_at_every_kind_of_line_end_and_opens_no_field() {
    for (data, lines) in [
        ("", "data: \n"),
        ("a\nb", "data: a\ndata: b\n"),
        ("a\rb", "data: a\ndata: b\n"),
        ("a\r\nb", "data: a\ndata: b\n"),
        ("a\n\rb", "data: a\ndata: \ndata: b\n"),
        ("a\n", "data: a\ndata: \n"),
        ("\r\n\r\n", "data: \ndata: \ndata: \n"),
        ("x\n\nid: 7\nevent: e\nretry: 1", "data: x\ndata: \ndata: id: 7\ndata: event: e\ndata: retry: 1\n"),
        ("  two blanks", "data:   two blanks\n"),
        ("\u{feff}bom \0 nul \u{1f600} \u{2028}", "data: \u{feff}bom \0 nul \u{1f600} \u{2028}\n"),
    ] {
        assert_eq!(event(None, data), format!("id: ab-10\n{lines}\n"), "{data:?}");
    }
}

#[test]
fn a_name_cannot_open_a_field() {
    assert_eq!(event(Some("a\ndata: b\0"), "x"), "id: ab-10\nevent: a\u{fffd}data: b\u{fffd}\ndata: x\n\n");
}

#[test]
fn ready_carries_retry_inside_its_block() {
    let mut out = Vec::new();
    append_ready(&mut out, ID, Duration::from_millis(2500));
    assert_eq!(out, b"retry: 2500\nid: ab-10\nevent: sse.ready\ndata: {}\n\n");
}

#[test]
fn a_gap_is_json_with_null_for_an_unknown_number() {
    let mut out = Vec::new();
    append_gap(&mut out, ID, GapReason::TooLarge, Some(1));
    append_gap(&mut out, ID, GapReason::Slow, None);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "id: ab-10\nevent: sse.gap\ndata: {\"reason\": \"too_large\", \"missed\": 1}\n\n\
         id: ab-10\nevent: sse.gap\ndata: {\"reason\": \"slow\", \"missed\": null}\n\n"
    );
}

#[test]
fn a_comment_stays_a_comment() {
    for (text, expected) in
        [("", ":\n\n"), ("connected", ": connected\n\n"), ("a\ndata: b\r", ": a\n: data: b\n:\n\n")]
    {
        let mut out = Vec::new();
        append_comment(&mut out, text);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn only_the_one_spelling_of_an_id_is_known() {
    for text in
        ["", "-", "ab", "ab-", "-10", "AB-10", "0ab-10", "ab-010", "+ab-10", "ab-10-", "ab -10", "g-1"]
    {
        assert_eq!(EventId::parse(text), None, "{text:?}");
    }
    assert_eq!(EventId::parse("10000000000000000-1"), None);
    for text in ["ab-10ss", "ab-s", "abs-10", "ab-10S", "ab-10 s"] {
        assert_eq!(EventId::parse(text), None, "{text:?}");
    }
    assert_eq!(EventId::parse("ab-10s"), Some(ID.marked()));
    assert_eq!(EventId::parse("0-0"), Some(EventId::new(0, 0)));
    let last = EventId::new(u64::MAX, u64::MAX);
    assert_eq!(EventId::parse(&last.to_string()), Some(last));
}

#[test]
fn a_chunk_says_its_size_in_hex() {
    let mut out = Vec::new();
    append_chunk(&mut out, b":\n\n");
    assert_eq!(out, b"3\r\n:\n\n\r\n");
    assert_eq!(chunk_payload(&out), b":\n\n");
    assert_eq!(chunk_payload(b""), b"");
    assert_eq!(chunk_payload(b"no line end"), b"");
}

#[test]
fn a_place_in_the_log_has_one_spelling_that_no_id_of_memory_has() {
    let place = Place::new(0x1, 0x016b_37a8, 0x2);
    assert_eq!(EventId::at(place).to_string(), "w1-16b37a8-2");
    assert_eq!(EventId::parse("w1-16b37a8-2s"), Some(EventId::at(place).marked()));
    let last = EventId::at(Place::new(u32::MAX, u64::MAX, u32::MAX));
    assert_eq!(EventId::parse(&last.to_string()), Some(last));
    for text in [
        "w",
        "w1",
        "w1-2",
        "w1-2-",
        "w-2-3",
        "w1--3",
        "w1-2-3-4",
        "W1-2-3",
        "ww1-2-3",
        "1-2-3",
        "w01-2-3",
        "w1-02-3",
        "w1-2-03",
        "w1-2-A",
        "w1-2-3ss",
        "w1-2-s",
        "w 1-2-3",
        "w100000000-2-3",
        "w1-10000000000000000-3",
        "w1-2-100000000",
    ] {
        assert_eq!(EventId::parse(text), None, "{text:?}");
    }
}

fn ids() -> impl Strategy<Value = EventId> {
    let number = || prop_oneof![0..20_u64, any::<u64>()];
    let short = || prop_oneof![0..20_u32, any::<u32>()];
    let memory = (number(), number()).prop_map(|(epoch, sequence)| EventId::new(epoch, sequence));
    let log = (short(), number(), short())
        .prop_map(|(timeline, lsn, index)| EventId::at(Place::new(timeline, lsn, index)));
    (prop_oneof![memory, log], any::<bool>()).prop_map(|(id, is_marked)| EventId { is_marked, ..id })
}

proptest! {
    #[test]
    fn ids_come_back_as_they_were(id in ids()) {
        let text = id.to_string();
        prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
        prop_assert_eq!(EventId::parse(&text), Some(id));
    }

    #[test]
    fn the_length_is_known_before_it_is_written(
        id in ids(), name in proptest::option::of(".*"), data in "([a-c]|\r|\n|\r\n|\u{fe0f}|.)*",
    ) {
        let mut plain = Vec::new();
        append_event(&mut plain, id, name.as_deref(), &data);
        prop_assert_eq!(plain.len(), event_len(id, name.as_deref(), &data));
        let mut chunk = Vec::new();
        append_chunked_event(&mut chunk, id, name.as_deref(), &data);
        prop_assert_eq!(chunk.len(), chunked_event_len(id, name.as_deref(), &data));
        prop_assert_eq!(chunk_payload(&chunk), &plain[..]);
        let mut framed = format!("{:x}\r\n", plain.len()).into_bytes();
        framed.extend_from_slice(&plain);
        framed.extend_from_slice(b"\r\n");
        prop_assert_eq!(chunk, framed);
    }

    #[test]
    fn an_event_is_marked_by_another_head_and_the_rest_as_it_lies(
        id in ids(), name in proptest::option::of("[a-z]+"), data in "([a-c]|\n|.)*",
    ) {
        let id = EventId { is_marked: false, ..id };
        let written = |id| {
            let (mut bare, mut chunk) = (Vec::new(), Vec::new());
            append_event(&mut bare, id, name.as_deref(), &data);
            append_chunked_event(&mut chunk, id, name.as_deref(), &data);
            (bare, chunk)
        };
        let ((bare, chunk), (marked_bare, marked_chunk)) = (written(id), written(id.marked()));
        let mut out = Vec::new();
        let replaced = append_marked_head(&mut out, &chunk);
        out.extend_from_slice(&chunk[replaced..]);
        prop_assert_eq!(out, marked_chunk);
        let mut out = Vec::new();
        let replaced = append_marked_id_of(&mut out, &bare);
        out.extend_from_slice(&bare[replaced..]);
        prop_assert_eq!(out, marked_bare);
    }

    #[test]
    fn every_line_is_a_field_we_wrote(name in proptest::option::of(".*"), data in "([a-c:]|\r|\n|\r\n|.)*") {
        let mut out = Vec::new();
        append_event(&mut out, ID, name.as_deref(), &data);
        let text = String::from_utf8(out).unwrap();
        prop_assert!(!text.contains('\r'));
        let block = text.strip_suffix("\n\n").unwrap();
        let data_lines: Vec<&str> = block.split('\n').filter_map(|line| line.strip_prefix("data: ")).collect();
        let others = block.split('\n').filter(|line| !line.starts_with("data: ")).count();
        prop_assert_eq!(others, 1 + usize::from(name.is_some()));
        prop_assert_eq!(data_lines.join("\n"), data.replace("\r\n", "\n").replace('\r', "\n"));
    }
}
