#![allow(clippy::unwrap_used)]

use super::*;
use std::sync::Arc;

#[derive(Debug, PartialEq)]
enum Nest {
    End,
    Deeper(Arc<Self>),
    Both { text: String, list: Vec<Option<u32>> },
}

choices!(Nest { 0 => End, 1 => Deeper(within), 7 => Both { text, list } });

#[derive(Debug, PartialEq)]
struct Flags {
    before: u32,
    first: bool,
    second: bool,
    after: char,
}

fields!(Flags { before } flags { first, second } { after });

#[test]
fn choices_are_within_each_other_up_to_the_limit() {
    // Attack: bytes that make the reader recurse until its stack ends, which would end the server.
    let bytes = |levels: usize| [vec![1; levels - 1], vec![0]].concat();
    for (levels, fits) in [(MAX_LEVELS - 1, true), (MAX_LEVELS, true), (MAX_LEVELS + 1, false)] {
        let nest = decode::<Nest>(&bytes(levels));
        assert_eq!(nest.as_ref().err(), (!fits).then_some(&DecodeError::Depth), "{levels}");
        if let Ok(nest) = nest {
            assert_eq!(encode(&nest), Ok(bytes(levels)));
        }
    }
    assert_eq!(decode::<Nest>(&[1; 1 << 20]), Err(DecodeError::Depth));
    // Beside each other there may be more.
    let many: Vec<Nest> = (0..=MAX_LEVELS).map(|_| Nest::Deeper(Arc::new(Nest::End))).collect();
    assert_eq!(decode(&encode(&many).unwrap()), Ok(many));
}

#[test]
fn a_length_holds_what_a_u32_does() {
    let most = u32::MAX as usize;
    assert_eq!([most - 1, most].map(|length| Writer::Counts(0).length(length)), [Ok(()); 2]);
    assert_eq!(Writer::Counts(0).length(most + 1), Err(EncodeError::Unrepresentable));
}

#[test]
fn each_shape_has_its_bytes() {
    let both = Nest::Both { text: "é".to_owned(), list: vec![None, Some(0x0102)] };
    let bytes = b"\x07\x02\0\0\0\xc3\xa9\x02\0\0\0\0\x01\x02\x01\0\0";
    assert_eq!(encode(&both).as_deref(), Ok(&bytes[..]));
    assert_eq!(decode(bytes), Ok(both));
    let flags = Flags { before: 1, first: false, second: true, after: 'a' };
    let bytes = b"\x01\0\0\0\x02a\0\0\0";
    assert_eq!(encode(&flags).as_deref(), Ok(&bytes[..]));
    assert_eq!(decode(bytes), Ok(flags));
    assert_eq!(decode::<Flags>(b"\x01\0\0\0\x04a\0\0\0"), Err(DecodeError::Choice(4)));
    assert_eq!(decode::<Flags>(b"\x01\0\0\0\x02\0\xd8\0\0"), Err(DecodeError::Utf8));
    assert_eq!(decode::<Nest>(b"\x02"), Err(DecodeError::Choice(2)));
}

#[test]
fn what_has_no_memory_or_no_bytes_leaves_nothing_behind() {
    struct Endless;
    impl Field<'_> for Endless {
        fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
            writer.byte(1)?;
            match writer {
                Writer::Counts(count) => *count = usize::MAX,
                Writer::Appends(_) => return Err(EncodeError::OutOfMemory),
            }
            Ok(())
        }

        fn read(_: &mut Reader<'_>) -> Result<Self, DecodeError> {
            Ok(Self)
        }
    }
    assert_eq!(encode(&Endless), Err(EncodeError::OutOfMemory));
    let mut out = b"before".to_vec();
    assert_eq!(append(&Endless, &mut out), Err(EncodeError::OutOfMemory));
    assert_eq!(out, b"before");
}
