//! Chunked bodies, read from RFC 9112 §7.1 alone, without the extensions and trailers that pg_sse does not
//! send. As `whatwg.rs`, a second reader beside that of `pg_test/http` on purpose.

/// The content of a body, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    /// Of whole chunks, and of the one that has begun.
    pub bytes: Vec<u8>,
    /// The last byte is the end of a chunk.
    pub is_whole: bool,
    /// The last chunk has come.
    pub has_ended: bool,
}

/// Reads a body that may break off anywhere.
pub fn decode(mut chunked: &[u8]) -> Body {
    let mut body = Body { bytes: Vec::new(), is_whole: true, has_ended: false };
    while !chunked.is_empty() {
        assert!(!body.has_ended, "nothing follows the last chunk");
        body.is_whole = false;
        let Some(end) = chunked.windows(2).position(|pair| pair == b"\r\n") else { return body };
        let size = std::str::from_utf8(&chunked[..end]).expect("hex digits");
        assert!(!size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit()), "{size:?}");
        let size = usize::from_str_radix(size, 16).expect("a size");
        let rest = &chunked[end + 2..];
        body.bytes.extend_from_slice(&rest[..size.min(rest.len())]);
        let Some(line_end) = rest.get(size..size + 2) else { return body };
        assert_eq!(line_end, b"\r\n");
        chunked = &rest[size + 2..];
        (body.is_whole, body.has_ended) = (true, size == 0);
    }
    body
}
