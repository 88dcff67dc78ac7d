//! How a connection is left: an answer that hyper does not write, the end, and what the peer still sends.
//!
//! Not for streams: the slab ends them.

use std::io::ErrorKind;
use std::time::Duration;

use crate::stream::socket::Socket;

/// What is still read from a peer after the last answer, so that closing does not destroy the answer on its
/// way (RFC 9112 §9.6): for this long and this many bytes at most. Beyond either the socket is closed as it
/// is.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 << 10;

/// Answers a peer whose head has not been read, in at most two seconds.
pub(crate) async fn tell(mut socket: Socket, answer: &[u8]) {
    // The head is read and thrown away: closing a socket with unread bytes would destroy the answer on its
    // way.
    let _ = tokio::time::timeout(Duration::from_secs(1), async {
        socket.readable().await?;
        let _ = socket.try_read(&mut [0; 4096]);
        socket.writable().await?;
        socket.try_write(answer)
    })
    .await;
    linger(socket).await;
}

/// Closes the socket for writing now, and for reading when the peer has closed or [`LINGER_TIME`] is over.
pub(crate) async fn linger(mut socket: Socket) {
    let drained = async {
        while let Err(error) = socket.try_finish() {
            if error.kind() != ErrorKind::WouldBlock || socket.writable().await.is_err() {
                return;
            }
        }
        let mut rest = LINGER_BYTES;
        let mut space = [0; 4096];
        while rest > 0 && socket.readable().await.is_ok() {
            match socket.try_discard(&mut space) {
                Ok(0) => return,
                Ok(n) => rest = rest.saturating_sub(n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    let _ = tokio::time::timeout(LINGER_TIME, drained).await;
}
