//! Any bytes as what a log has: records of ours, or not, that are put together; never a panic, and within the
//! bounds. What can be decoded is exactly what was encoded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sse_proto::log_record::{
    Assembler, Complete, Content, Limits, LogRecord, decode, mark, message_head, part_head, payload,
};

const LIMITS: Limits = Limits { body_bytes: 200, all_bytes: 500 };

// Each piece: what it is, an xid, a length, and so many bytes.
fuzz_target!(|bytes: &[u8]| {
    let _ = payload(bytes);
    let mut assembler = Assembler::new(LIMITS);
    let (mut rest, mut end) = (bytes, 0);
    while let Some(([what, xid, length], after)) = rest.split_first_chunk() {
        let (piece, after) = after.split_at(usize::from(*length).min(after.len()));
        (rest, end) = (after, end + 1);
        let xid = u32::from(*xid);
        let complete = match what % 8 {
            0 => assembler.commit(xid, end),
            1 => {
                assembler.abort(xid);
                None
            }
            2 if *what == 2 => {
                assembler.forget_all();
                None
            }
            _ => take(&mut assembler, xid, end, piece),
        };
        complete.iter().for_each(look_through);
        assert!(assembler.bytes() <= LIMITS.all_bytes);
    }
    assembler.forget_all();
    assert_eq!((assembler.bytes(), assembler.waiting()), (0, 0));
});

fn take(assembler: &mut Assembler, xid: u32, end: u64, piece: &[u8]) -> Option<Complete> {
    let message = [&message_head(xid != 0)[..], piece].concat();
    assert_eq!(payload(&message), Some(piece));
    match decode(piece).ok()? {
        LogRecord::Events(part) => {
            let head = part_head(&part);
            assert_eq!([&head[..], part.bytes].concat(), piece);
            assembler.part(xid, end, &part)
        }
        LogRecord::Mark { start } => {
            assert_eq!(mark(start), *piece);
            None
        }
    }
}

fn look_through(complete: &Complete) {
    let Content::Events(events) = &complete.content else { return };
    let bytes: usize = events.records().map(|(_, record)| 4 + record.len()).sum();
    assert!(bytes <= LIMITS.body_bytes);
}
