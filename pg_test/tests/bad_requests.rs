//! What comes from outside never writes a line of its own into the server log (C6.1).
//!
//! Not for all that a request may get wrong: `crates/gateway/tests/http.rs` and `call_attacks.rs` there.

mod common;

use anyhow::{Result, ensure};
use cluster::http::Request;
use common::calls::{self, Api};
use serde_json::json;

// Attack: paths, hosts, and names that a role may choose, write lines of their own into the server log.
#[test]
fn what_comes_from_outside_is_escaped_in_the_log() -> Result<()> {
    let cluster = calls::start(calls::builder())?;
    let api = Api::of(&cluster, "escaping")?;
    let mark = cluster.log_mark()?;
    for bytes in [
        &b"GET /\x1b[2Jx\rFATAL: y HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"GET /%0aFATAL:%20forged HTTP/1.1\r\nHost: evil\x1b[31m\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\n\r\n",
    ] {
        let mut connection = api.http.connect()?;
        connection.send_bytes(bytes)?;
        connection.response("GET")?;
    }
    // The gateway's messages come in order: after this one nothing more is said of those requests. It names a
    // login that cannot log in.
    let name = "\"x\nFATAL:  forged\x1b[31m\"";
    api.sql(&format!(
        "create function {name}() returns table (user_id text, hash text) language sql as $$ select '1', 'h' $$;
         comment on function {name}() is e'HTTP POST /log-in-here\\n@login'"
    ))?;
    assert_eq!(api.http.request(&Request::new("POST", "/log-in-here").json(&json!({})))?.status(), 500);
    cluster.wait_for_log(mark, r"the login escaping.x\nFATAL:  forged\u{1b}[31m is answered with 500")?;
    let log = cluster.log_since(mark)?;
    ensure!(
        !log.contains("\x1b") && !log.lines().any(|line| line.trim_start().starts_with("FATAL")),
        "{log}"
    );
    Ok(())
}
