//! How a stream over HTTP/2 gets from its slot to the body that hyper sends: one piece at a time.
//!
//! To the slot it is a socket: it takes a piece when the last one has been taken out, and says when that is.
//! The body takes a piece out when the connection asks for one. So what a reader does not take stays in the
//! log, as it does with a full socket, and a stream has neither a task of ours nor a queue.
//!
//! Each end sees when the other has gone. A slot that goes without having said the end cuts the stream off.
//!
//! Not for the connection that many such streams share: that is `door/http2`.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// What a piece holds at most, in bytes: what a frame of HTTP/2 holds when its peer asks for nothing else,
/// and a record of TLS. A stream whose reader stalls keeps up to three pieces: one here, one that hyper waits
/// to send, one in the buffer of the connection.
pub(crate) const PIECE_BYTES: usize = 16 << 10;

thread_local! {
    /// The last piece that was made: the next stream of a walk gets the same bytes most of the time, and
    /// shares them.
    static LAST: RefCell<Bytes> = const { RefCell::new(Bytes::new()) };
}

/// Whether somebody has cut a stream of a connection off, and who is to be told.
#[derive(Default)]
pub(crate) struct Fate {
    is_cut: Cell<bool>,
    /// Of the task that sends the stream.
    task: RefCell<Option<Waker>>,
}

impl Fate {
    /// Cuts the stream off: what it still had to send is dropped. False: it was before.
    pub(crate) fn cut(&self) -> bool {
        let is_first = !self.is_cut.replace(true);
        if let Some(task) = self.task.take() {
            task.wake();
        }
        is_first
    }

    /// Whether it is cut off; if not, the task is woken when it is.
    pub(crate) fn is_cut(&self, cx: &Context<'_>) -> bool {
        if !self.is_cut.get() {
            remember(&mut self.task.borrow_mut(), cx);
        }
        self.is_cut.get()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The slot has said that nothing more comes.
    Ended,
    /// The body has gone: the peer has reset the stream, or its connection has.
    Gone,
}

struct Middle {
    state: Cell<State>,
    /// Empty: there is none.
    piece: RefCell<Bytes>,
    slot: RefCell<Option<Waker>>,
    body: RefCell<Option<Waker>>,
}

/// The slot's end.
pub(crate) struct PipeWriter {
    middle: Rc<Middle>,
    fate: Rc<Fate>,
}

/// The body's end.
pub(crate) struct PipeReader(Rc<Middle>);

/// The two ends of a stream whose task asks `fate`.
pub(crate) fn pipe(fate: Rc<Fate>) -> (PipeWriter, PipeReader) {
    let middle = Rc::new(Middle {
        state: Cell::new(State::Open),
        piece: RefCell::default(),
        slot: RefCell::default(),
        body: RefCell::default(),
    });
    (PipeWriter { middle: Rc::clone(&middle), fate }, PipeReader(middle))
}

impl PipeWriter {
    /// `Ready`, with an error, when the body has gone. Nothing is ever to be read.
    pub(crate) fn poll_read_ready(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.middle.state.get() == State::Gone {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        remember(&mut self.middle.slot.borrow_mut(), cx);
        Poll::Pending
    }

    pub(crate) fn poll_write_ready(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self.room() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                remember(&mut self.middle.slot.borrow_mut(), cx);
                Poll::Pending
            }
            room => Poll::Ready(room),
        }
    }

    /// # Errors
    /// `WouldBlock` while there is a piece; `BrokenPipe` when the body has gone; that there is no memory.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.room()?;
        let bytes = &bytes[..bytes.len().min(PIECE_BYTES)];
        let piece = LAST.with_borrow_mut(|last| {
            if **last != *bytes {
                let mut copy = Vec::new();
                copy.try_reserve_exact(bytes.len()).map_err(|_| ErrorKind::OutOfMemory)?;
                copy.extend_from_slice(bytes);
                *last = Bytes::from(copy);
            }
            Ok::<_, ErrorKind>(last.clone())
        })?;
        self.put(piece);
        Ok(bytes.len())
    }

    /// The same for pieces, which become one.
    pub(crate) fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.room()?;
        let len = pieces.iter().map(|piece| piece.len()).sum::<usize>().min(PIECE_BYTES);
        let mut copy = Vec::new();
        copy.try_reserve_exact(len).map_err(|_| ErrorKind::OutOfMemory)?;
        for piece in pieces {
            let rest = len - copy.len();
            copy.extend_from_slice(&piece[..piece.len().min(rest)]);
        }
        self.put(Bytes::from(copy));
        Ok(len)
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// As [`PipeWriter::try_write`]; `WouldBlock`: to be called again.
    pub(crate) fn try_finish(&self) -> io::Result<()> {
        self.room()?;
        self.middle.state.set(State::Ended);
        wake(&self.middle.body);
        Ok(())
    }

    /// Whether the stream is cut off.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.fate.is_cut.get()
    }

    fn room(&self) -> io::Result<()> {
        match self.middle.state.get() {
            State::Gone => Err(ErrorKind::BrokenPipe.into()),
            _ if self.middle.piece.borrow().is_empty() => Ok(()),
            _ => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn put(&self, piece: Bytes) {
        if !piece.is_empty() {
            self.middle.piece.replace(piece);
            wake(&self.middle.body);
        }
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        if self.middle.state.get() == State::Open {
            self.fate.cut();
        }
    }
}

impl PipeReader {
    /// The next piece; `None` at the end.
    pub(crate) fn poll_piece(&self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let piece = self.middle().piece.take();
        if !piece.is_empty() {
            wake(&self.middle().slot);
            return Poll::Ready(Some(piece));
        }
        if self.middle().state.get() == State::Ended {
            return Poll::Ready(None);
        }
        remember(&mut self.middle().body.borrow_mut(), cx);
        Poll::Pending
    }

    fn middle(&self) -> &Middle {
        &self.0
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        if self.0.state.replace(State::Gone) == State::Open {
            wake(&self.0.slot);
        }
    }
}

fn remember(place: &mut Option<Waker>, cx: &Context<'_>) {
    if !place.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *place = Some(cx.waker().clone());
    }
}

fn wake(place: &RefCell<Option<Waker>>) {
    // Taken out first: whoever is woken may look at once.
    if let Some(waker) = place.take() {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A waker, and how often it was woken since the last time.
    fn bell() -> (Waker, impl Fn() -> usize) {
        let bell = Arc::<Bell>::default();
        (Waker::from(Arc::clone(&bell)), move || bell.0.swap(0, Ordering::Relaxed))
    }

    fn is_full<T>(outcome: io::Result<T>) -> bool {
        outcome.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    #[test]
    fn it_holds_one_piece_and_each_end_wakes_the_other() {
        let (slot, slot_woken) = bell();
        let (body, body_woken) = bell();
        let (slot, body) = (Context::from_waker(&slot), Context::from_waker(&body));
        let (writer, reader) = pipe(Rc::default());
        assert!(reader.poll_piece(&body).is_pending() && writer.poll_write_ready(&slot).is_ready());
        assert_eq!(writer.try_write(b"").unwrap(), 0);
        assert_eq!(body_woken(), 0);
        assert_eq!(writer.try_write(b"one").unwrap(), 3);
        assert_eq!(body_woken(), 1);
        assert!(is_full(writer.try_write(b"two")) && is_full(writer.try_finish()));
        assert!(is_full(writer.try_write_vectored(&[IoSlice::new(b"two")])));
        assert!(writer.poll_write_ready(&slot).is_pending());
        assert_eq!(reader.poll_piece(&body), Poll::Ready(Some(Bytes::from_static(b"one"))));
        assert_eq!(slot_woken(), 1);
        assert_eq!(writer.try_write_vectored(&[IoSlice::new(b"tw"), IoSlice::new(b"o")]).unwrap(), 3);
        assert_eq!(reader.poll_piece(&body), Poll::Ready(Some(Bytes::from_static(b"two"))));
        assert!(reader.poll_piece(&body).is_pending());
        writer.try_finish().unwrap();
        assert_eq!(body_woken(), 1);
        assert_eq!(reader.poll_piece(&body), Poll::Ready(None));
    }

    #[test]
    fn a_piece_is_as_long_as_it_may_be_and_no_byte_longer() {
        for len in [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1] {
            let text = vec![b'x'; len];
            let taken = len.min(PIECE_BYTES);
            let halves = [IoSlice::new(&text[..len / 2]), IoSlice::new(&text[len / 2..])];
            let (waker, _) = bell();
            let cx = Context::from_waker(&waker);
            let (writer, reader) = pipe(Rc::default());
            assert_eq!(writer.try_write(&text).unwrap(), taken);
            assert_eq!(reader.poll_piece(&cx), Poll::Ready(Some(Bytes::from(text[..taken].to_vec()))));
            assert_eq!(writer.try_write_vectored(&halves).unwrap(), taken);
            assert_eq!(reader.poll_piece(&cx), Poll::Ready(Some(Bytes::from(text[..taken].to_vec()))));
        }
    }

    #[test]
    fn streams_that_get_the_same_bytes_share_them_and_others_do_not() {
        let (waker, _) = bell();
        let cx = Context::from_waker(&waker);
        let piece = |bytes: &[u8]| {
            let (writer, reader) = pipe(Rc::default());
            writer.try_write(bytes).unwrap();
            let Poll::Ready(Some(piece)) = reader.poll_piece(&cx) else { panic!("no piece") };
            assert_eq!(piece, bytes);
            piece
        };
        let [one, same, other] = [piece(b"one"), piece(b"one"), piece(b"two")];
        assert!(one.as_ptr() == same.as_ptr() && one.as_ptr() != other.as_ptr());
    }

    #[test]
    fn a_slot_that_goes_without_an_end_cuts_its_stream_off_and_one_that_has_ended_does_not() {
        let (waker, woken) = bell();
        let cx = Context::from_waker(&waker);
        for has_ended in [false, true] {
            let fate = Rc::<Fate>::default();
            let (writer, _reader) = pipe(Rc::clone(&fate));
            assert!(!fate.is_cut(&cx));
            if has_ended {
                writer.try_finish().unwrap();
            }
            drop(writer);
            assert_eq!((fate.is_cut(&cx), woken()), (!has_ended, usize::from(!has_ended)));
        }
    }

    #[test]
    fn a_body_that_goes_is_seen_by_the_slot() {
        let (waker, woken) = bell();
        let cx = Context::from_waker(&waker);
        let (writer, reader) = pipe(Rc::default());
        writer.try_write(b"x").unwrap();
        assert!(writer.poll_read_ready(&cx).is_pending());
        drop(reader);
        assert_eq!(woken(), 1);
        assert!(matches!(writer.poll_read_ready(&cx), Poll::Ready(Err(_))));
        assert!(matches!(writer.poll_write_ready(&cx), Poll::Ready(Err(_))));
        assert_eq!(writer.try_write(b"y").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
