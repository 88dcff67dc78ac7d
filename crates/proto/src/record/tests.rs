#![allow(clippy::unwrap_used)]

use super::*;
use crate::annotation::RoutineKind;
use crate::scope::ScopeValue;
use crate::word::MAX_LABEL_BYTES;
use proptest::option;
use proptest::prelude::*;

mod placed;
mod signatures;
mod stamps;

use signatures::{signature, signatures};

fn encode(record: &Record<'_>) -> Vec<u8> {
    record.encode().unwrap()
}

fn caller<'a>() -> Caller<'a> {
    Caller { call: 7, is_authenticated: true, user_id: Some("u"), execution_id: Some("i"), has_made_id: true }
}

fn routine() -> Routine {
    Routine {
        kind: RoutineKind::Procedure,
        has_identity_parameters: true,
        ..Routine::new(16_384, "public", "notify", "@sse")
    }
}

// Long because it is a list of bytes.
#[test]
fn golden_bytes() {
    let full = Envelope {
        scope: Cow::Owned(Scope::Authorize(vec![
            ScopeValue::Id("42".to_owned()),
            ScopeValue::Any("é".to_owned()),
        ])),
        access: Cow::Owned(Access::Authorize(vec![
            ScopeValue::Name("n".to_owned()),
            ScopeValue::Role("r".to_owned()),
        ])),
        topic: Some("t"),
        event: Some("e"),
        execution_id: Some("x"),
        emitter: Some(Emitter { user_id: Some("7"), user_name: None, roles: vec!["a", "b"] }),
        caller: Some(caller()),
        xid: NonZeroU64::new(0x0102),
    };
    let full_bytes: &[u8] = b"\x01\x02\0\0\0\x01\x02\0\0\x0042\0\x02\0\0\0\xc3\xa9\
        \x02\x02\0\0\0\x02\x01\0\0\0n\x03\x01\0\0\0r\
        \x01\0\0\0t\x01\0\0\0e\x01\0\0\0x\
        \x01\x01\0\0\x007\0\0\0\0\x02\0\0\0\x01\0\0\0a\x01\0\0\0b\
        \x01\x07\0\0\0\0\0\0\0\x03\x01\0\0\0u\x01\0\0\0i";
    let cases: [(Record<'_>, Vec<u8>); 13] = [
        (
            Record::Event { envelope: full, data: "hi\n" },
            [b"\x1c", &[0; 8][..], &[2, 1, 0, 0, 0, 0, 0, 0], &[0; 8], full_bytes, b"\x03\0\0\0hi\n"]
                .concat(),
        ),
        (
            Record::TooLarge {
                envelope: Envelope {
                    scope: Cow::Owned(Scope::Nobody),
                    access: Cow::Owned(Access::Anonymous),
                    ..Envelope::for_all()
                },
            },
            b"\x1a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x03\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                .to_vec(),
        ),
        (Record::CallEnd { call: 0x0102 }, b"\x16\x02\x01\0\0\0\0\0\0".to_vec()),
        (
            Record::SnapshotEnd { ticket: 0, xid: 3, call: 0x0102 },
            b"\x18\0\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0".to_vec(),
        ),
        (Record::Canary { number: 0x0102 }, b"\x1b\x02\x01\0\0\0\0\0\0".to_vec()),
        (
            Record::CatalogBegin { reading: 5, generation: 0x0102 },
            b"\x19\x05\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0".to_vec(),
        ),
        (
            Record::CatalogRoutine { reading: 9, routine: routine() },
            b"\x0a\x09\0\0\0\0\0\0\0\0\x40\0\0\x01\x05\x06\0\0\0public\x06\0\0\0notify\x04\0\0\0@sse\0"
                .to_vec(),
        ),
        (
            Record::CatalogRoutine {
                reading: 9,
                routine: Routine { comment: String::new(), signature: Some(signature()), ..routine() },
            },
            b"\x0a\x09\0\0\0\0\0\0\0\0\x40\0\0\x01\x05\x06\0\0\0public\x06\0\0\0notify\0\0\0\0\
              \x01\x03\x02\0\0\0\x01\0\0\0a\x03\x01\x01\0\0\0t\x19\0\0\0\x04;\0\0\0\
              \x02\x02\0\0\0\x01\0\0\0m\x05\x01\0\0\0m\x06\
              \0\0\0\0\x02\0\x01\0\0\0u\x19\0\0\0\x02\x02\0\0\0\x01\0\0\0m\x05\x01\0\0\0m\x06\
              \x04\x01\x01\0\0\0\x01\0\0\0c\x01\0\0\0\x04;\0\0\0\x02\x02\0\0\0\x01\0\0\0m\x05\x01\0\0\0m\x06\
              \x01\0\0\0\x07\0\0\0\0\x09\0\0\0\0\0\0\0\x01"
                .to_vec(),
        ),
        (Record::CallRole { reading: 9, role: CallRole::Off }, b"\x0b\x09\0\0\0\0\0\0\0\0".to_vec()),
        (
            Record::CallRole { reading: 9, role: CallRole::Ready { warnings: vec!["w".to_owned()] } },
            b"\x0b\x09\0\0\0\0\0\0\0\x01\x01\0\0\0\x01\0\0\0w".to_vec(),
        ),
        (
            Record::CallRole {
                reading: 9,
                role: CallRole::Refused { reason: "r".to_owned(), hint: "h".to_owned() },
            },
            b"\x0b\x09\0\0\0\0\0\0\0\x02\x01\0\0\0r\x01\0\0\0h".to_vec(),
        ),
        (
            Record::CatalogClient { reading: 9, file: ClientFile::AsyncApi, part: "x" },
            b"\x0d\x09\0\0\0\0\0\0\0\x02\x01\0\0\0x".to_vec(),
        ),
        (Record::CatalogEnd { reading: 9, count: 3 }, b"\x05\x09\0\0\0\0\0\0\0\x03\0\0\0".to_vec()),
    ];
    for (record, bytes) in cases {
        assert_eq!(encode(&record), bytes, "{record:?}");
        assert_eq!(decode(&bytes).as_ref(), Ok(&record));
    }
}

#[test]
fn a_record_that_is_cut_off_or_goes_on_is_refused_at_every_length() {
    let records = [
        Record::Event { envelope: Envelope::for_all(), data: "data" },
        Record::TooLarge { envelope: Envelope::for_all() },
        Record::TooLarge { envelope: Envelope { caller: Some(caller()), ..Envelope::for_all() } },
        Record::CallEnd { call: 1 },
        Record::Canary { number: 1 },
        Record::CatalogBegin { reading: 1, generation: 1 },
        Record::CatalogRoutine { reading: 1, routine: routine() },
        Record::CatalogRoutine { reading: 1, routine: Routine { signature: Some(signature()), ..routine() } },
        Record::CallRole { reading: 1, role: CallRole::Ready { warnings: vec!["w".to_owned()] } },
        Record::CatalogClient { reading: 1, file: ClientFile::TypeScript, part: "x" },
        Record::CatalogEnd { reading: 1, count: 1 },
    ];
    for record in records {
        let mut bytes = encode(&record);
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), Err(DecodeError::Truncated), "{record:?} {length}");
        }
        bytes.push(0);
        assert_eq!(decode(&bytes), Err(DecodeError::Trailing));
    }
}

#[test]
fn an_unknown_kind_choice_or_flag_is_refused() {
    for kind in [0, 1, 2, 3, 4, 6, 12, 15, 16, 17, 18, 19, 20, 21, 23, 32, 255] {
        assert_eq!(decode(&[kind]), Err(DecodeError::Choice(kind)));
    }
    for (bytes, choice) in [
        (&b"\x1a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05"[..], 5),
        (b"\x1a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x03", 3),
        (b"\x1a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\0\0\0\x04\0\0\0\0", 4),
        (b"\x1a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02", 2),
        (b"\x0a\0\0\0\0\0\0\0\0\0\0\0\0\x02", 2),
        (b"\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\x10", 16),
        (b"\x0b\0\0\0\0\0\0\0\0\x03", 3),
    ] {
        assert_eq!(decode(bytes), Err(DecodeError::Choice(choice)), "{bytes:?}");
    }
}

#[test]
fn data_that_is_not_utf8_is_refused() {
    let mut bytes = encode(&Record::Event { envelope: Envelope::for_all(), data: "abc" });
    *bytes.last_mut().unwrap() = 0xff;
    assert_eq!(decode(&bytes), Err(DecodeError::Utf8));
}

#[test]
fn a_count_of_four_billion_in_a_few_bytes_is_refused_without_memory_for_it() {
    assert_eq!(
        decode(b"\x1a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xff\xff\xff\xff"),
        Err(DecodeError::Truncated)
    );
    assert_eq!(
        decode(b"\x1a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\xff\xff\xff\xff"),
        Err(DecodeError::Truncated)
    );
    assert_eq!(
        decode(b"\x1c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff"),
        Err(DecodeError::Truncated)
    );
}

#[test]
fn a_label_holds_up_to_its_limit_and_not_a_byte_more_on_both_sides() {
    for (length, fits) in [(MAX_LABEL_BYTES - 1, true), (MAX_LABEL_BYTES, true), (MAX_LABEL_BYTES + 1, false)]
    {
        let text = "x".repeat(length);
        let label = Some(text.as_str());
        for envelope in [
            Envelope { topic: label, ..Envelope::for_all() },
            Envelope { event: label, ..Envelope::for_all() },
            Envelope { execution_id: label, ..Envelope::for_all() },
        ] {
            let mut out = b"before".to_vec();
            let result = encode_into(&Record::TooLarge { envelope }, &mut out);
            assert_eq!(result, if fits { Ok(()) } else { Err(EncodeError::Unrepresentable) }, "{length}");
            assert_eq!(out.len() > 6, fits, "nothing is left of what failed");
        }
        let text = [&(length as u32).to_le_bytes()[..], text.as_bytes()].concat();
        for (before, after) in [(0, 10), (4, 6), (8, 2)] {
            let bytes = [
                &b"\x1a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..],
                &vec![0; before],
                &text,
                &vec![0; after],
            ]
            .concat();
            let error = decode(&bytes).err();
            assert_eq!(error, (!fits).then_some(DecodeError::Label), "{length} {before}");
        }
    }
}

#[test]
fn a_label_that_could_open_a_field_of_the_stream_is_refused_on_both_sides() {
    // Attack: an event name or topic that was not checked where it came from.
    for (label, is_topic) in
        [("a\ndata: forged", false), ("a\rb", false), ("a\0b", false), ("a b", true), ("grün", true)]
    {
        let bytes = [&[label.len() as u8, 0, 0, 0], label.as_bytes()].concat();
        let event =
            [&b"\x1a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..], &bytes, &[0; 6]]
                .concat();
        assert_eq!(decode(&event), Err(DecodeError::Label), "{label:?}");
        let topic =
            [&b"\x1a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..], &bytes, &[0; 10]].concat();
        assert_eq!(decode(&topic).is_ok(), is_topic, "{label:?}");
        let record = Record::TooLarge { envelope: Envelope { event: Some(label), ..Envelope::for_all() } };
        assert_eq!(encode_into(&record, &mut Vec::new()), Err(EncodeError::Unrepresentable));
    }
}

#[test]
fn empty_optional_texts_are_absent() {
    let emitter = Emitter { user_id: Some(""), user_name: Some(""), roles: vec![] };
    let envelope = Envelope { topic: Some(""), emitter: Some(emitter), ..Envelope::for_all() };
    let bytes = encode(&Record::TooLarge { envelope });
    let Ok(Record::TooLarge { envelope }) = decode(&bytes) else { panic!() };
    assert_eq!((envelope.topic, envelope.emitter), (None, Some(Emitter::default())));
}

fn values() -> impl Strategy<Value = Vec<ScopeValue>> {
    let value = (0..4, ".{0,8}").prop_map(|(kind, text)| match kind {
        0 => ScopeValue::Any(text),
        1 => ScopeValue::Id(text),
        2 => ScopeValue::Name(text),
        _ => ScopeValue::Role(text),
    });
    prop::collection::vec(value, 0..5)
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        Just(Scope::All),
        values().prop_map(Scope::Authorize),
        Just(Scope::Matching),
        Just(Scope::Caller),
        Just(Scope::Nobody)
    ]
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::Unspecified), Just(Access::Anonymous), values().prop_map(Access::Authorize)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_comes_back_as_it_was(
        scope in scope(),
        access in access(),
        topic in option::of("[^\\p{Cc}]{1,50}"),
        event in option::of("[!-~]{1,200}"),
        execution_id in option::of("[^\\p{Cc}]{1,50}"),
        emitter in option::of((option::of(".{1,9}"), option::of(".{1,9}"), prop::collection::vec(".{0,9}", 0..4))),
        caller in option::of((any::<u64>(), any::<(bool, bool)>(), ".{1,9}", "[^\\p{Cc}]{1,9}")),
        data in "(?s).{0,300}",
        xid in any::<u64>(),
    ) {
        let roles: Vec<&str> = emitter.iter().flat_map(|(_, _, roles)| roles).map(String::as_str).collect();
        let envelope = Envelope {
            scope: Cow::Owned(scope),
            access: Cow::Owned(access),
            topic: topic.as_deref(),
            event: event.as_deref(),
            execution_id: execution_id.as_deref(),
            emitter: emitter.as_ref().map(|(user_id, user_name, _)| Emitter {
                user_id: user_id.as_deref(),
                user_name: user_name.as_deref(),
                roles: roles.clone(),
            }),
            caller: caller.as_ref().map(|(call, (is_authenticated, has_made_id), user_id, id)| Caller {
                call: *call,
                is_authenticated: *is_authenticated,
                user_id: Some(user_id),
                execution_id: Some(id),
                has_made_id: *has_made_id,
            }),
            xid: NonZeroU64::new(xid),
        };
        let record = Record::Event { envelope, data: &data };
        let bytes = encode(&record);
        prop_assert_eq!(Kind::of(&bytes), Some(Kind::Event));
        let decoded = decode(&bytes);
        prop_assert_eq!(decoded.as_ref(), Ok(&record));
    }

    #[test]
    fn every_routine_comes_back_as_it_was(
        reading: u64,
        oid: u32,
        texts in [".{0,20}", ".{0,20}", "(?s).{0,200}"],
        flags in prop::array::uniform5(any::<bool>()),
        signature in option::of(signatures()),
    ) {
        let [schema, name, comment] = texts;
        let [is_function, volatile, parallel_safe, has_identity_parameters, comment_is_too_long] = flags;
        let kind = if is_function { RoutineKind::Function } else { RoutineKind::Procedure };
        let routine =
            Routine { oid, schema, name, kind, volatile, parallel_safe, has_identity_parameters, comment, comment_is_too_long, signature };
        let record = Record::CatalogRoutine { reading, routine };
        let bytes = encode(&record);
        let decoded = decode(&bytes);
        prop_assert_eq!(decoded.as_ref(), Ok(&record));
    }

    #[test]
    fn bytes_that_decode_are_what_the_record_encodes_to(
        kind in prop_oneof![0_u8..7, 9_u8..12, 19_u8..26],
        rest in prop::collection::vec(prop_oneof![4 => 0_u8..4, 1 => any::<u8>()], 0..64),
    ) {
        let bytes = [&[kind], &rest[..]].concat();
        if let Ok(record) = decode(&bytes) {
            let mut encoded = encode(&record);
            set_ticket(&mut encoded, ticket(&bytes));
            prop_assert_eq!(encoded, bytes);
        }
    }

    #[test]
    fn a_ticket_comes_back_and_changes_nothing_else(number: u64, data in ".{0,9}") {
        let record = Record::Event { envelope: Envelope::for_all(), data: &data };
        let mut bytes = encode(&record);
        prop_assert_eq!(ticket(&bytes), 0);
        set_ticket(&mut bytes, number);
        prop_assert_eq!(ticket(&bytes), number);
        let decoded = decode(&bytes);
        prop_assert_eq!(decoded.as_ref(), Ok(&record));
    }

    #[test]
    fn an_xid_that_is_filled_in_comes_back_and_changes_nothing_else(before: u64, number: u64, data in ".{0,9}") {
        let with = |xid| Envelope { xid: NonZeroU64::new(xid), ..Envelope::for_all() };
        let mut bytes = encode(&Record::Event { envelope: with(before), data: &data });
        set_ticket(&mut bytes, 7);
        set_xid(&mut bytes, number);
        prop_assert_eq!(ticket(&bytes), 7);
        let record = Record::Event { envelope: with(number), data: &data };
        let decoded = decode(&bytes);
        prop_assert_eq!(decoded.as_ref(), Ok(&record));
    }
}
