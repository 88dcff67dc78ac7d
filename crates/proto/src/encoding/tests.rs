#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn convert(name: &str, bytes: &[u8]) -> (String, usize) {
    let mut scratch = String::new();
    let (text, replaced) = to_utf8(bytes, Encoding::parse(name).unwrap(), &mut scratch).unwrap();
    (text.to_owned(), replaced)
}

/// postgres.txt: for each encoding of one byte the code points of 0x80 to 0xff, `-` where there is none, as
/// `convert_from` of PostgreSQL 15.20 answers them.
#[test]
fn every_character_of_every_single_byte_encoding_is_the_one_that_postgres_has() {
    let lines = include_str!("postgres.txt").lines();
    let mut compared = 0;
    for line in lines {
        let (name, characters) = line.split_once(' ').unwrap();
        for (byte, expected) in (0x80..=0xff).zip(characters.split(' ')) {
            if expected == "-" {
                continue;
            }
            let expected = char::from_u32(u32::from_str_radix(expected, 16).unwrap()).unwrap();
            assert_eq!(convert(name, &[byte]), (expected.to_string(), 0), "{name} {byte:x}");
            compared += 1;
        }
    }
    assert!(compared > 3200, "{compared}");
}

#[test]
fn east_asian_encodings_are_converted_as_postgres_does() {
    for (name, bytes, text) in [
        ("EUC_JP", &b"\xc6\xfc\xcb\xdc\xb8\xec \x8e\xb6\x8e\xc5"[..], "日本語 ｶﾅ"),
        ("EUC_JP", b"\xa1\xc1\x8f\xa2\xc3\x8f\xf3\xf3\x8f\xf3\xfe\x8f\xf4\xa1\x8f\xf4\xfe.", "～￤ⅰⅡⅢ黑."),
        ("EUC_CN", b"\xd6\xd0\xce\xc4\xa1\xa4\xa1\xaa.", "中文・―."),
        ("EUC_KR", b"\xc7\xd1\xb1\xdb\xa2\xe8.", "한글㉾."),
    ] {
        assert_eq!(convert(name, bytes), (text.to_owned(), 0), "{name}");
    }
}

#[test]
fn what_is_utf8_already_is_not_copied() {
    for (name, text) in
        [("UTF8", "grün 🙂 \u{feff}"), ("SQL_ASCII", "grün"), ("EUC_TW", "ascii"), ("LATIN1", "ascii")]
    {
        let mut scratch = String::from("old");
        let (converted, replaced) =
            to_utf8(text.as_bytes(), Encoding::parse(name).unwrap(), &mut scratch).unwrap();
        assert_eq!((converted.as_ptr(), converted, replaced), (text.as_ptr(), text, 0), "{name}");
    }
}

#[test]
fn bytes_that_are_no_utf8_are_replaced_and_counted() {
    for (bytes, text, replaced) in [
        (&b"a\xffb"[..], "a\u{fffd}b", 1),
        (b"\xff\xfe", "\u{fffd}\u{fffd}", 2),
        (b"\xe2\x82", "\u{fffd}", 1),
        (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}", 3),
        (b"\xef\xbb\xbfbom", "\u{feff}bom", 0),
        (b"", "", 0),
    ] {
        assert_eq!(convert("UTF8", bytes), (text.to_owned(), replaced));
        assert_eq!(convert("SQL_ASCII", bytes), (text.to_owned(), replaced));
    }
}

#[test]
fn a_byte_order_mark_is_no_reason_to_guess_another_encoding() {
    assert_eq!(convert("WIN1252", b"\xef\xbb\xbfx").0, "ï»¿x");
    assert_eq!(convert("LATIN2", b"\xff\xfeab").0, "˙ţab");
}

#[test]
fn encodings_without_a_table_keep_ascii_and_replace_each_other_character_once() {
    for (name, bytes, text, replaced) in [
        ("EUC_TW", &b"a\xc4\xe3\x8e\xa2\xa1\xa1b"[..], "a\u{fffd}\u{fffd}b", 2),
        ("EUC_JIS_2004", b"a\xa4\xa2\x8e\xb6\x8f\xa1\xa1b", "a\u{fffd}\u{fffd}\u{fffd}b", 3),
        ("MULE_INTERNAL", b"a\x81\xe4\x92\xb0\xa1\x9c\xf0\xa1\xa1b", "a\u{fffd}\u{fffd}\u{fffd}b", 3),
    ] {
        assert_eq!(convert(name, bytes), (text.to_owned(), replaced), "{name}");
    }
}

#[test]
fn a_broken_character_never_swallows_the_ascii_behind_it() {
    for name in ["UTF8", "SQL_ASCII", "EUC_JP", "EUC_CN", "EUC_KR", "EUC_TW", "EUC_JIS_2004", "MULE_INTERNAL"]
    {
        for lead in [&b"\x8e"[..], b"\x8f\xa2", b"\xa4", b"\x9d", b"\xf0", b"\xc3"] {
            for end in ["\nend", "Abc", "~0", "00"] {
                let (text, _) = convert(name, &[lead, end.as_bytes()].concat());
                assert!(text.ends_with(end), "{name} {lead:x?} {text:?}");
            }
        }
    }
}

#[test]
fn all_server_encodings_of_postgres_are_known_and_no_client_encoding() {
    assert_eq!(METHODS.len(), 35);
    for (name, _) in METHODS {
        assert!(Encoding::parse(name).is_some());
    }
    for name in ["", "utf8", "SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004"] {
        assert_eq!(Encoding::parse(name), None, "{name}");
    }
    assert_eq!(Some(Encoding::default()), Encoding::parse("SQL_ASCII"));
    assert_ne!(Encoding::parse("EUC_TW"), Encoding::parse("EUC_JIS_2004"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_in_any_encoding_become_text_and_every_replacement_is_counted(
        index in 0_usize..METHODS.len(),
        bytes in prop::collection::vec(prop_oneof![1 => 0_u8..0x80, 3 => 0x80_u8..], 0..200),
    ) {
        let (name, _) = METHODS[index];
        let (text, replaced) = convert(name, &bytes);
        // U+FFFD is in no table, but its UTF-8 may be in the bytes.
        let in_text = text.chars().filter(|character| *character == char::REPLACEMENT_CHARACTER).count();
        let is_table = !matches!(name, "UTF8" | "SQL_ASCII");
        prop_assert!(in_text == replaced || !is_table && in_text > replaced);
        prop_assert!(text.len() <= bytes.len() * 3);
    }
}
