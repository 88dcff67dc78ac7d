//! Any bytes as a record: refused, or exactly what the decoded record encodes to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sse_proto::record::{Kind, decode, encode_into, raised_at, set_raised_at, set_ticket, ticket};

fuzz_target!(|bytes: &[u8]| {
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
