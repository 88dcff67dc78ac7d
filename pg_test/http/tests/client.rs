//! The HTTP and SSE clients against a server of a few lines, which answers with exactly the given bytes.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use test_http::{Client, PATIENCE, Request, StreamError};

/// Answers the first connection: reads one head, writes the first part, and each further one when it is told
/// to.
struct Server {
    next: Sender<()>,
    thread: JoinHandle<String>,
}

fn server(parts: &[&[u8]]) -> (Client, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(listener.local_addr().unwrap().port());
    let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
    let (next, told) = channel();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            request.push(byte[0]);
        }
        for (number, part) in parts.into_iter().enumerate() {
            if number > 0 {
                // Nobody is there to tell any more: the rest follows at once.
                let _ = told.recv();
            }
            stream.write_all(&part).unwrap();
        }
        String::from_utf8(request).unwrap()
    });
    (client, Server { next, thread })
}

impl Server {
    fn go_on(&self) {
        self.next.send(()).unwrap();
    }

    /// Sends the rest, closes, and says what was asked.
    fn end(self) -> String {
        drop(self.next);
        self.thread.join().unwrap()
    }
}

const AT_ONCE: Duration = Duration::from_millis(1);

const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_request_says_host_and_its_answer_is_read_by_length() {
    let (client, server) = server(&[b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{", b"}"]);
    server.go_on();
    let response = client.request(&Request::get("/x?y").header("Accept", "*/*")).unwrap();
    assert_eq!((response.status(), response.text().as_str()), (404, "{}"));
    assert!(response.json().unwrap().is_object());
    let request = server.end();
    assert!(request.starts_with("GET /x?y HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
}

#[test]
fn events_arrive_one_by_one_and_the_end_is_clean() {
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len()).into_bytes();
    let (client, server) = server(&[
        STREAM,
        &chunk(": connected\n\n"),
        &chunk("event: sse.ready\nid: 1\nretry: 5\ndata: {}\n\n"),
        &chunk("id: 2\ndata: one\n\ndata: two\n"),
        &chunk("\n"),
        b"0\r\n\r\n",
    ]);
    let mut stream = client.events("/e").unwrap();
    server.go_on();
    assert_eq!(stream.next_comment(PATIENCE).unwrap(), " connected");
    assert_eq!(stream.next(AT_ONCE), Err(StreamError::TimedOut));
    server.go_on();
    let ready = stream.next(PATIENCE).unwrap();
    assert_eq!((ready.event.as_str(), ready.id.as_str()), ("sse.ready", "1"));
    server.go_on();
    assert_eq!(stream.next_data(1, PATIENCE).unwrap(), ["one"]);
    assert_eq!(stream.next(AT_ONCE), Err(StreamError::TimedOut), "its blank line is missing");
    server.go_on();
    assert_eq!(stream.next_data(1, PATIENCE).unwrap(), ["two"]);
    assert_eq!(stream.retry(), Some(Duration::from_millis(5)));
    assert_eq!(stream.comments(), [" connected"]);
    assert_eq!(stream.last_event_id(), "2");
    server.go_on();
    assert!(stream.wait_for_end(PATIENCE).unwrap().is_empty());
    stream.wait_for_close(PATIENCE).unwrap();
    assert!(stream.bytes().starts_with(b": connected\n\n"));
}

#[test]
fn silence_a_stream_that_is_cut_and_its_end_are_told_apart() {
    let (client, server) = server(&[STREAM, b"5\r\nda", b""]);
    let mut stream = client.events("/e").unwrap();
    server.go_on();
    assert_eq!(stream.next(AT_ONCE), Err(StreamError::TimedOut));
    server.end();
    assert_eq!(stream.next(PATIENCE), Err(StreamError::Cut));
}

#[test]
fn bytes_that_are_not_utf8_and_bytes_after_the_end_break_a_stream() {
    for bytes in [&b"8\r\ndata: \xff\n\r\n"[..], b"0\r\n\r\nx"] {
        let (client, server) = server(&[STREAM, bytes]);
        let mut stream = client.events("/e").unwrap();
        server.go_on();
        let told = stream.next(PATIENCE);
        assert!(matches!(told, Err(StreamError::Broken(_))), "{bytes:?}: {told:?}");
    }
}

#[test]
fn an_answer_that_is_no_stream_is_told_with_its_body() {
    let (client, _server) = server(&[b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nnope"]);
    let error = client.events("/e").unwrap_err().to_string();
    assert!(error.contains("401") && error.contains("nope"), "{error}");
}

#[test]
fn resuming_sends_the_id() {
    let (client, server) = server(&[STREAM, b"0\r\n\r\n"]);
    client.events_after("/e", "a-1").unwrap();
    assert!(server.end().contains("\r\nLast-Event-ID: a-1\r\n"));
}
