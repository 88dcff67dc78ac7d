//! The reverse proxies of docs/operations.md, with the configurations given there (C1.5).

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::http::{EventStream, Request};
use cluster::{Cluster, PATIENCE, Proxy, StopMode, lasting_port, wait_for};
use common::{SOON, calls, proxy};

const FILE: &str = env!("CARGO_CRATE_NAME");

/// The origin that the page sends.
const HOST: &str = "intranet.example";

fn gateway() -> Result<(Cluster, SocketAddr)> {
    // The proxies know one port: the gateway comes back to it.
    let port = lasting_port()?;
    let cluster =
        calls::start(calls::builder().setting("sse.trusted_proxies", "127.0.0.1").setting("sse.port", port))?;
    cluster.sql(
        "create function login() returns table (user_id text) language sql as $$ select 'alice' $$;
         comment on function login() is E'HTTP POST\n@login\n@anonymous';
         create function f(t text) returns void language plpgsql as $$ begin raise info '%', t; end $$;
         comment on function f(text) is '@sse'",
    )?;
    let address = cluster.http()?.address();
    Ok((cluster, address))
}

/// What the documentation promises of all proxies.
fn check(cluster: &Cluster, proxy: &Proxy) -> Result<()> {
    let login = |origin: &str| {
        let request = Request::new("POST", "/api/login").header("Host", HOST).header("Origin", origin);
        proxy.http.request(&request.json(&serde_json::json!({})))
    };
    let answer = login(&format!("http://{HOST}"))?;
    ensure!(answer.status() == 200, "a page logs in: {} {}", answer.status(), answer.text());
    ensure!(answer.header("set-cookie").is_some_and(|cookie| cookie.contains("HttpOnly")), "{answer:?}");
    let foreign = login("http://evil.example")?;
    ensure!(foreign.status() == 403, "a foreign page does not: {}", foreign.status());

    let mut stream = proxy.http.events_with(&Request::get("/api/f/info").header("Host", HOST))?;
    ensure!(stream.next(SOON)?.event == "sse.ready", "the beginning comes at once");
    for n in 0..3 {
        let raised = Instant::now();
        cluster.sql(&format!("select f('{n}')"))?;
        ensure!(stream.next_payload(SOON)?.data == n.to_string(), "each event comes by itself");
        ensure!(raised.elapsed() < SOON, "it is not buffered");
    }
    check_absence(cluster, proxy, stream)
}

/// A page whose script does nothing for it gets its events again after Postgres has been away.
fn check_absence(cluster: &Cluster, proxy: &Proxy, stream: EventStream) -> Result<()> {
    cluster.stop(StopMode::Fast)?;
    let id = stream.last_event_id().to_owned();
    let request = Request::get("/api/f/info")
        .header("Host", HOST)
        .header("Accept", "text/event-stream")
        .header("Last-Event-ID", &id);
    // As WHATWG HTML §9.2.3 has it: the end of a stream is a reason to come back, any other answer is the
    // end.
    let come_back = || -> Result<Option<EventStream>> {
        let mut connection = proxy.http.connect()?;
        connection.send(&request)?;
        let head = connection.head()?;
        let content_type = head.header("content-type").unwrap_or_default().to_owned();
        ensure!(
            head.status == 200 && content_type.starts_with("text/event-stream"),
            "{head:?} ends the page"
        );
        let mut stream = EventStream::follow(connection, head)?;
        match stream.next(SOON) {
            Ok(ready) => {
                ensure!(ready.event == "sse.ready", "{ready:?}");
                Ok(Some(stream))
            }
            Err(_) => {
                ensure!(stream.retry() == Some(Duration::from_secs(2)), "when to come back");
                Ok(None)
            }
        }
    };
    for _ in 0..3 {
        ensure!(come_back()?.is_none(), "Postgres is away");
    }
    let call =
        Request::new("POST", "/api/login").header("Host", HOST).header("Origin", &format!("http://{HOST}"));
    let answer = proxy.http.request(&call.json(&serde_json::json!({})))?;
    ensure!((502..=503).contains(&answer.status()), "a call is told: {}", answer.status());
    cluster.start()?;
    let mut stream = wait_for(PATIENCE, "the page is back", come_back)?;
    ensure!(stream.next(SOON)?.data.contains("restarted"), "what it missed is not hidden");
    cluster.sql("select f('again')")?;
    ensure!(stream.next_payload(SOON)?.data == "again", "it hears again");
    Ok(())
}

#[test]
fn a_page_behind_the_documented_nginx_logs_in_and_hears_each_event_at_once_and_again_after_an_absence()
-> Result<()> {
    let (cluster, gateway) = gateway()?;
    let Some(proxy) = proxy::documented_nginx(FILE, gateway)? else { return Ok(()) };
    check(&cluster, &proxy)
}

#[test]
fn a_page_behind_the_documented_caddy_logs_in_and_hears_each_event_at_once_and_again_after_an_absence()
-> Result<()> {
    let (cluster, gateway) = gateway()?;
    let Some(proxy) = proxy::documented_caddy(FILE, gateway)? else { return Ok(()) };
    check(&cluster, &proxy)
}

#[test]
fn a_page_behind_the_documented_haproxy_logs_in_and_hears_each_event_at_once_and_again_after_an_absence()
-> Result<()> {
    let (cluster, gateway) = gateway()?;
    let Some(proxy) = proxy::documented_haproxy(FILE, gateway)? else { return Ok(()) };
    check(&cluster, &proxy)
}
