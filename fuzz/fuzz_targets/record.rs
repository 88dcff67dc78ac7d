//! Any bytes as a record: refused, or exactly what the decoded record encodes to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sse_proto::record::{
    Kind, append_placed, decode, encode_into, place, raised_at, set_raised_at, set_ticket, ticket,
};

fuzz_target!(|bytes: &[u8]| {
    // The place is read without looking at the record after it.
    if let Some((place, inner)) = place(bytes) {
        let mut placed = Vec::new();
        append_placed(place, inner, &mut placed).expect("there is memory");
        assert_eq!(placed, bytes);
        assert!(decode(bytes).is_ok());
    }
    let Ok(record) = decode(bytes) else { return };
    assert_eq!(Some(record.kind()), Kind::of(bytes));
    let mut encoded = b"before".to_vec();
    encode_into(&record, &mut encoded).expect("what was decoded can be encoded");
    assert_eq!(&encoded[..6], b"before");
    // Decoding passes over these two.
    set_ticket(&mut encoded[6..], ticket(bytes));
    set_raised_at(&mut encoded[6..], raised_at(bytes));
    assert_eq!(&encoded[6..], bytes);
});
