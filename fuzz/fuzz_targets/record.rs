//! Any bytes as a record: refused, or exactly what the decoded record encodes to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sse_proto::record::{Kind, decode, encode_into, set_ticket, ticket};

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = decode(bytes) else { return };
    assert_eq!(Some(record.kind()), Kind::of(bytes));
    let mut encoded = b"before".to_vec();
    encode_into(&record, &mut encoded).expect("what was decoded can be encoded");
    assert_eq!(&encoded[..6], b"before");
    set_ticket(&mut encoded[6..], ticket(bytes));
    assert_eq!(&encoded[6..], bytes);
});
