//! How long something is when it is written.
//!
//! Not for: what is counted of it (`row_size.rs`).

/// How long a numeric is as text, from its head (numeric.c): no less.
pub(super) fn numeric_bytes(numeric: &[u8]) -> usize {
    const SPECIAL: u16 = 0xC000;
    const SHORT: u16 = 0x8000;
    let word = |index: usize| {
        let bytes = numeric.get(2 * index..2 * index + 2)?;
        Some(u16::from_ne_bytes([bytes[0], bytes[1]]))
    };
    let head = word(0).unwrap_or(SPECIAL);
    let (weight, scale) = match head & SPECIAL {
        SPECIAL => return 3,
        // Seven bits, the highest of which is the sign.
        SHORT => (i16::from((head << 1) as u8 as i8 >> 1), (head & 0x1F80) >> 7),
        _ => (word(1).unwrap_or(0).cast_signed(), head & 0x3FFF),
    };
    // Four digits to each of base 10,000, of which the first may have one.
    let whole = usize::try_from(weight).map_or(1, |weight| 4 * weight + 1);
    whole + usize::from(scale)
}

/// How many bytes a byte of a text has in JSON.
pub(super) fn escaped_bytes(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        0..=31 => 6,
        _ => 1,
    }
}
