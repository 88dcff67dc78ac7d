//! Who gets what from the admin port (C8.2): methods, names, tokens, and what it says when others can reach
//! it.
//!
//! Not for what the answers contain: `admin_ready.rs`, `admin_metrics.rs`.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use cluster::http::Request;
use cluster::{Builder, Cluster, wait_for};
use common::admin::{TOKEN, open, with_port};
use common::{SOON, is_problem};

#[test]
fn health_metrics_and_page_need_no_token_and_everything_else_does() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    for path in ["/livez", "/metrics"] {
        let answer = admin.http.get(path)?;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
    admin.wait_for_failing(&[])?;
    // Whatever it is, also what there is not: whoever has no token learns nothing.
    for path in ["/api/overview", "/api/events", "/nothing", "/healthz", "/livez/", "/metrics/x"] {
        is_problem(&admin.http.get(path)?, 401, path)?;
        for token in ["", "x", "the token of this tes", "the token of this test.", "THE TOKEN OF THIS TEST"] {
            let request = Request::get(path).header("Authorization", &format!("Bearer {token}"));
            is_problem(&admin.http.request(&request)?, 401, path)?;
        }
        for other in ["Bearer", TOKEN, &format!("Basic {TOKEN}")] {
            let request = Request::get(path).header("Authorization", other);
            is_problem(&admin.http.request(&request)?, 401, other)?;
        }
        is_problem(&admin.http.request(&Request::get(path).bearer(TOKEN).bearer(TOKEN))?, 401, "two")?;
        let in_url = admin.http.get(&format!("{path}?token=the+token+of+this+test"))?;
        assert_eq!(in_url.status(), 401, "never from a URL: {path}");
    }
    let lower = Request::get("/nothing").header("Authorization", &format!("bearer {TOKEN}"));
    is_problem(&admin.http.request(&lower)?, 404, "in any case")?;
    is_problem(&admin.get("/nothing")?, 404, "with the token")
}

#[test]
fn what_can_only_be_looked_at_takes_get_and_head() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    for path in ["/livez", "/readyz", "/metrics"] {
        let head = admin.http.request(&Request::new("HEAD", path))?;
        ensure!(matches!(head.status(), 200 | 503) && head.text().is_empty(), "{path}: {:?}", head.head);
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let answer =
                admin.http.request(&Request::new(method, path).header("Origin", "https://x.example"))?;
            is_problem(&answer, 405, path)?;
            assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method} {path}");
        }
    }
    Ok(())
}

// Attack: a page of another origin takes an answer as its image or script, so that the bytes are in its
// process.
#[test]
fn no_answer_is_given_to_pages_of_other_origins() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    admin.wait_for_failing(&[])?;
    for path in ["/", "/inspector.js", "/livez", "/readyz", "/metrics", "/api/overview", "/nothing"] {
        for answer in [admin.http.get(path)?, admin.get(path)?] {
            assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        }
    }
    Ok(())
}

// Attack: DNS rebinding. A page of evil.example makes the browser connect to 127.0.0.1 under that name.
#[test]
fn a_host_is_an_address_a_loopback_name_or_a_server_name() -> Result<()> {
    let admin = open(Cluster::builder().setting("sse.server_names", "db.example"), Builder::start)?;
    let status = |path: &str, host: &str| -> Result<u16> {
        Ok(admin.http.request(&Request::get(path).header("Host", host).bearer(TOKEN))?.status())
    };
    for path in ["/livez", "/readyz", "/metrics", "/", "/api/overview"] {
        for host in [
            "evil.example",
            "evil.example:80",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "db.example.",
            "2130706433",
            "127.1",
            ":1",
            "[::1",
            "",
        ] {
            assert_eq!(status(path, host)?, 421, "{path} {host}");
        }
    }
    for host in ["localhost", "127.0.0.1:1", "[::1]", "192.0.2.1", "db.example:9187", "DB.EXAMPLE"] {
        assert_eq!(status("/livez", host)?, 200, "{host}");
    }
    Ok(())
}

#[test]
fn without_a_token_set_nobody_is_let_in() -> Result<()> {
    let (builder, port) = with_port(Cluster::builder())?;
    let cluster = builder.setting("sse.admin_token", "").start()?;
    let http = cluster::http::Client::new(port);
    wait_for(SOON, "the admin port answers", || Ok(http.get("/livez").ok().map(drop)))?;
    for token in ["", " ", TOKEN] {
        let request = Request::get("/nothing").header("Authorization", &format!("Bearer {token}"));
        is_problem(&http.request(&request)?, 401, token)?;
    }
    drop(cluster);
    Ok(())
}

// Attack: reading the token from where settings are shown.
#[test]
fn the_token_is_never_shown_and_takes_effect_on_reload() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    let shown = admin.cluster.sql(
        "select concat_ws('|', setting, boot_val, reset_val, current_setting('sse.admin_token'))
         from pg_settings where name = 'sse.admin_token'",
    )?;
    ensure!(shown.contains("(set)") && !shown.contains(TOKEN), "{shown}");
    let other = "another token, longer than the one before";
    let mark = admin.cluster.log_mark()?;
    admin.cluster.reconfigure("sse.admin_token", other)?;
    wait_for(SOON, "the new token opens", || {
        let answer = admin.http.request(&Request::get("/nothing").bearer(other))?;
        Ok((answer.status() == 404).then_some(()))
    })?;
    assert_eq!(admin.get("/nothing")?.status(), 401, "the old one");
    let log = admin.cluster.log_since(mark)?;
    ensure!(!log.contains(other) && !log.contains(TOKEN), "{log}");
    let reply = admin.cluster.session()?.run("set sse.admin_token = 'fifteen bytes..'")?;
    let error = format!("{:?}", reply.error().context("it was taken")?);
    ensure!(!error.contains("fifteen"), "{error}");
    Ok(())
}

#[test]
fn the_token_file_is_read_again_when_it_changes_and_must_be_the_servers_own() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    let path = admin.cluster.data_dir().join("token");
    let path = path.to_str().context("a path")?;
    let write = |umask: &str, content: &str| {
        let program = format!("umask {umask}; cat > {path}.new && mv {path}.new {path}");
        admin.cluster.sql(&format!("copy (select '{content}') to program '{program}'")).map(drop)
    };
    let opens = |token: &str, wanted: u16| {
        wait_for(SOON, &format!("{token:?} is answered with {wanted}"), || {
            let answer = admin.http.request(&Request::get("/nothing").bearer(token))?;
            Ok((answer.status() == wanted).then_some(()))
        })
    };
    write("077", "a token in a file, the first")?;
    admin.cluster.reconfigure("sse.admin_token_file", path)?;
    opens("a token in a file, the first", 404)?;
    opens(TOKEN, 404)?;
    write("077", "a token in a file, the second")?;
    opens("a token in a file, the second", 404)?;
    opens("a token in a file, the first", 401)?;
    let mark = admin.cluster.log_mark()?;
    write("022", "a token that all can read")?;
    // Files are looked at while requests come.
    wait_for(SOON, "the log says what is wrong", || {
        opens("a token that all can read", 401)?;
        let log = admin.cluster.log_since(mark)?;
        ensure!(!log.contains("a token that"), "{log}");
        Ok(log.contains("its mode must be 0600 or less").then_some(()))
    })?;
    opens("a token in a file, the second", 404)
}

#[test]
fn a_port_that_others_can_reach_warns_at_start_and_a_loopback_one_does_not() -> Result<()> {
    let (builder, port) = with_port(Cluster::builder().setting("sse.admin_listen_addresses", "0.0.0.0"))?;
    let cluster = builder.start()?;
    let http = cluster::http::Client::new(port);
    wait_for(SOON, "the admin port answers", || Ok(http.get("/livez").ok().map(drop)))?;
    wait_for(SOON, "the log warns", || {
        let log = cluster.log()?;
        let warns = |line: &&str| {
            line.contains("WARNING") && line.contains("sse.admin_listen_addresses reaches beyond")
        };
        Ok(log.lines().find(warns).map(drop))
    })?;
    let quiet = open(Cluster::builder(), Builder::start)?;
    ensure!(!quiet.cluster.log()?.contains("reaches beyond"));
    Ok(())
}

// Attack: sockets that say nothing, or a byte now and then, until nobody gets in any more.
#[test]
fn silent_and_slow_connections_keep_nobody_out_and_are_closed() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    let address = admin.http.address();
    let mut held: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
    held.iter_mut().for_each(|socket| drop(socket.write_all(b"GET /livez HTTP/1.1\r\nHost: x")));
    // At the first try, each time.
    for _ in 0..10 {
        assert_eq!(admin.http.get("/livez")?.status(), 200);
    }
    let mut closed = 0;
    for socket in &mut held {
        socket.set_read_timeout(Some(SOON))?;
        let mut bytes = [0; 1024];
        let is_closed = match socket.read(&mut bytes) {
            Ok(length) => length == 0 || bytes[0] == b'H',
            // Closed with bytes that were not read.
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        };
        closed += usize::from(is_closed);
    }
    ensure!(closed >= 90, "{closed} of 100 were closed");
    Ok(())
}

// Attack: a head that never ends.
#[test]
fn a_head_of_more_than_16_kb_is_refused() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    for (bytes, status) in [(15_000, 200), (16_000, 200), (40_000, 431)] {
        let mut connection = admin.http.connect()?;
        let head = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(bytes - 47));
        assert!(head.len().abs_diff(bytes) < 10, "{}", head.len());
        // It may be refused before all of it was sent.
        let _ = connection.send_bytes(head.as_bytes());
        assert_eq!(connection.response("GET")?.status(), status, "{bytes}");
    }
    Ok(())
}
