//! The HTTP and SSE clients against a server of a few lines, which answers with exactly the given bytes.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use cluster::PATIENCE;
use cluster::http::{Client, Request, StreamError};

/// Answers the first connection: reads one head, writes the parts with a pause between them, closes.
fn answer(parts: &[&[u8]]) -> (Client, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(listener.local_addr().unwrap().port());
    let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            request.push(byte[0]);
        }
        for part in parts {
            stream.write_all(&part).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        String::from_utf8(request).unwrap()
    });
    (client, server)
}

const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_request_says_host_and_its_answer_is_read_by_length() {
    let (client, server) = answer(&[b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{", b"}"]);
    let response = client.request(&Request::get("/x?y").header("Accept", "*/*")).unwrap();
    assert_eq!((response.status(), response.text().as_str()), (404, "{}"));
    assert!(response.json().unwrap().is_object());
    let request = server.join().unwrap();
    assert!(request.starts_with("GET /x?y HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
}

#[test]
fn events_arrive_one_by_one_and_the_end_is_clean() {
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len()).into_bytes();
    let (client, _server) = answer(&[
        STREAM,
        &chunk(": connected\n\n"),
        &chunk("event: sse.ready\nid: 1\nretry: 5\ndata: {}\n\n"),
        &chunk("id: 2\ndata: one\n\ndata: two\n"),
        &chunk("\n"),
        b"0\r\n\r\n",
    ]);
    let mut stream = client.events("/e").unwrap();
    let ready = stream.next(PATIENCE).unwrap();
    assert_eq!((ready.event.as_str(), ready.id.as_str()), ("sse.ready", "1"));
    assert_eq!(stream.next_data(2, PATIENCE).unwrap(), ["one", "two"]);
    assert_eq!(stream.retry(), Some(Duration::from_millis(5)));
    assert_eq!(stream.comments(), [" connected"]);
    assert_eq!(stream.last_event_id(), "2");
    assert!(stream.wait_for_end(PATIENCE).unwrap().is_empty());
    assert!(stream.bytes().starts_with(b": connected\n\n"));
}

#[test]
fn silence_a_broken_stream_and_its_end_are_told_apart() {
    let (client, _server) = answer(&[STREAM, b"5\r\nda"]);
    let mut stream = client.events("/e").unwrap();
    assert_eq!(stream.next(Duration::from_millis(1)), Err(StreamError::TimedOut));
    assert!(matches!(stream.next(PATIENCE), Err(StreamError::Broken(_))));
}

#[test]
fn an_answer_that_is_no_stream_is_told_with_its_body() {
    let (client, _server) = answer(&[b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nnope"]);
    let error = client.events("/e").unwrap_err().to_string();
    assert!(error.contains("401") && error.contains("nope"), "{error}");
}

#[test]
fn resuming_sends_the_id() {
    let (client, server) = answer(&[STREAM, b"0\r\n\r\n"]);
    client.events_after("/e", "a-1").unwrap();
    assert!(server.join().unwrap().contains("\r\nLast-Event-ID: a-1\r\n"));
}
