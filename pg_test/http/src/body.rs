//! Finds where a body ends, and which of its bytes are content (RFC 9112 §6).
//!
//! Not for reading from the socket: bytes go in, bytes come out.

use anyhow::{Context, Result, bail};

use super::Head;

/// Takes the body of one answer apart, piece by piece.
#[derive(Debug)]
pub(super) struct BodyDecoder {
    framing: Framing,
    pending: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunk(Chunk),
    UntilClose,
    Ended,
}

#[derive(Debug, PartialEq, Eq)]
enum Chunk {
    Size,
    Data(usize),
    End { is_last: bool },
}

impl BodyDecoder {
    /// For the answer with this head to a request with this method.
    pub(super) fn new(head: &Head, method: &str) -> Result<Self> {
        let framing = if method == "HEAD" || matches!(head.status, 100..200 | 204 | 304) {
            Framing::Ended
        } else if let Some(coding) = head.header("transfer-encoding") {
            if !coding.eq_ignore_ascii_case("chunked") {
                bail!("transfer coding {coding:?}");
            }
            Framing::Chunk(Chunk::Size)
        } else if let Some(length) = head.header("content-length") {
            Framing::Length(length.parse().with_context(|| format!("content length {length:?}"))?)
        } else {
            Framing::UntilClose
        };
        let mut decoder = Self { framing, pending: Vec::new() };
        decoder.end_if_nothing_is_left();
        Ok(decoder)
    }

    /// Is the body complete?
    pub(super) fn is_ended(&self) -> bool {
        self.framing == Framing::Ended
    }

    /// Takes bytes from the connection and returns content; it may be empty.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.pending.extend_from_slice(bytes);
        let mut content = Vec::new();
        while self.step(&mut content)? {}
        Ok(content)
    }

    /// The peer has closed. That ends the body only where nothing else says where it ends.
    pub(super) fn close(&mut self) -> Result<()> {
        match self.framing {
            Framing::UntilClose | Framing::Ended => self.framing = Framing::Ended,
            _ => bail!("the connection was closed in the middle of the body"),
        }
        Ok(())
    }

    /// Did more come than the body?
    pub(super) fn has_rest(&self) -> bool {
        self.is_ended() && !self.pending.is_empty()
    }

    /// What came after the end of the body: the next answer.
    pub(super) fn into_rest(self) -> Vec<u8> {
        self.pending
    }

    /// One step; `false` when more bytes are needed, or none are left.
    fn step(&mut self, content: &mut Vec<u8>) -> Result<bool> {
        match &mut self.framing {
            Framing::Ended => return Ok(false),
            Framing::UntilClose => {
                content.append(&mut self.pending);
                return Ok(false);
            }
            Framing::Length(left) | Framing::Chunk(Chunk::Data(left)) => {
                let taken = (*left).min(self.pending.len());
                content.extend(self.pending.drain(..taken));
                *left -= taken;
                if *left > 0 {
                    return Ok(false);
                }
                self.end_if_nothing_is_left();
            }
            Framing::Chunk(Chunk::Size) => {
                let Some(line) = self.take_line()? else { return Ok(false) };
                // Neither extensions nor, at the end, trailers: some clients do not read them.
                if !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    bail!("chunk size {line:?}");
                }
                let size =
                    usize::from_str_radix(&line, 16).with_context(|| format!("chunk size {line:?}"))?;
                let is_last = size == 0;
                self.framing =
                    Framing::Chunk(if is_last { Chunk::End { is_last } } else { Chunk::Data(size) });
            }
            &mut Framing::Chunk(Chunk::End { is_last }) => {
                let Some(line) = self.take_line()? else { return Ok(false) };
                if !line.is_empty() {
                    bail!("{line:?} after a chunk's data");
                }
                self.framing = if is_last { Framing::Ended } else { Framing::Chunk(Chunk::Size) };
            }
        }
        Ok(true)
    }

    fn end_if_nothing_is_left(&mut self) {
        match self.framing {
            Framing::Length(0) => self.framing = Framing::Ended,
            Framing::Chunk(Chunk::Data(0)) => {
                self.framing = Framing::Chunk(Chunk::End { is_last: false });
            }
            _ => {}
        }
    }

    fn take_line(&mut self) -> Result<Option<String>> {
        let Some(end) = self.pending.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
        let line: Vec<u8> = self.pending.drain(..end + 2).collect();
        Ok(Some(String::from_utf8(line[..end].to_vec()).context("a chunk's frame is not text")?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn head(headers: &[(&str, &str)]) -> Head {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Head { version: "HTTP/1.1".to_owned(), status: 200, headers }
    }

    #[test]
    fn chunks_are_decoded_wherever_the_bytes_are_cut() {
        let bytes = b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\nrest";
        for cut in 0..bytes.len() {
            let mut decoder = BodyDecoder::new(&head(&[("Transfer-Encoding", "chunked")]), "GET").unwrap();
            let mut content = decoder.decode(&bytes[..cut]).unwrap();
            content.extend(decoder.decode(&bytes[cut..]).unwrap());
            assert_eq!(content, b"abc0123456789");
            assert!(decoder.is_ended() && decoder.has_rest());
            assert_eq!(decoder.into_rest(), b"rest");
        }
    }

    #[test]
    fn a_body_cut_short_is_an_error() {
        let mut chunked = BodyDecoder::new(&head(&[("Transfer-Encoding", "chunked")]), "GET").unwrap();
        chunked.decode(b"5\r\nab").unwrap();
        assert!(chunked.close().is_err());
        let mut counted = BodyDecoder::new(&head(&[("Content-Length", "3")]), "GET").unwrap();
        counted.decode(b"ab").unwrap();
        assert!(counted.close().is_err());
    }

    #[test]
    fn a_chunk_that_is_longer_than_it_says_is_an_error() {
        let mut decoder = BodyDecoder::new(&head(&[("Transfer-Encoding", "chunked")]), "GET").unwrap();
        assert!(decoder.decode(b"2\r\nabc\r\n").is_err());
    }

    #[test]
    fn what_pg_sse_does_not_send_is_an_error() {
        for bytes in ["1;x=y\r\na\r\n", " 1\r\na\r\n", "+1\r\na\r\n", "\r\na\r\n", "0\r\nTrailer: x\r\n\r\n"]
        {
            let mut decoder = BodyDecoder::new(&head(&[("Transfer-Encoding", "chunked")]), "GET").unwrap();
            assert!(decoder.decode(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn answers_without_a_body_end_at_once() {
        assert!(BodyDecoder::new(&head(&[("Content-Length", "10")]), "HEAD").unwrap().is_ended());
        assert!(BodyDecoder::new(&head(&[("Content-Length", "0")]), "GET").unwrap().is_ended());
    }
}
