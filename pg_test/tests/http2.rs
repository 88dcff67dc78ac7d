//! HTTP/2 of the gateway's own, as clients of others see it (C1.3 `http2`, C1.6): curl, Python,
//! Chromium, h2load.

mod common;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use cluster::http::KeyKind;
use cluster::{PATIENCE, find_program, wait_for};
use common::SOON;
use common::browser::Browser;
use common::site::{Lines, Site, text};
use serde_json::json;

const FILE: &str = env!("CARGO_CRATE_NAME");

const VERSION: [&str; 4] = ["-s", "-o", "/dev/null", "-w"];

/// What was spoken.
fn version(site: &Site, more: &[&str]) -> Result<String> {
    let arguments = [&VERSION[..], &["%{http_version} %{http_code}"], more].concat();
    Ok(text(&site.curl(&arguments, "/healthz")?))
}

#[test]
fn curl_speaks_http2_until_a_reload_turns_it_off_and_streams_outlive_that() -> Result<()> {
    let site = Site::start()?;
    ensure!(version(&site, &[])? == "2 200", "by itself");
    ensure!(version(&site, &["--http1.1"])? == "1.1 200");
    let mut stream = Lines::of(site.curl_command(&["-sN", "--http2"], "/api/f/info")?)?;
    stream.wait_for("event: sse.ready")?;
    site.cluster.sql("select f('one')")?;
    stream.wait_for("data: one")?;
    site.cluster.reconfigure("sse.http2", "off")?;
    wait_for(SOON, "HTTP/1.1 alone", || Ok((version(&site, &["--http2"])? == "1.1 200").then_some(())))?;
    site.renew(KeyKind::Rsa)?;
    site.cluster.reload()?;
    site.answers()?;
    site.cluster.sql("select f('two')")?;
    stream.wait_for("data: two")?;
    site.cluster.reconfigure("sse.http2", "on")?;
    wait_for(SOON, "HTTP/2 again", || Ok((version(&site, &[])? == "2 200").then_some(())))?;
    site.cluster.sql("select f('three')")?;
    stream.wait_for("data: three")
}

#[test]
fn heads_of_http2_have_nothing_of_a_connection_and_everything_else() -> Result<()> {
    let site = Site::start()?;
    let head = text(&site.curl(&["-sI", "--http2"], "/api/f/info")?).to_lowercase();
    ensure!(head.starts_with("http/2 200") && head.contains("content-type: text/event-stream"), "{head}");
    ensure!(head.contains("\r\ndate: ") && head.contains("x-accel-buffering: no"), "{head}");
    let stream = site.curl(&["-si", "--http2", "-N", "--max-time", "2"], "/api/f/info")?;
    let refused = site.curl(&["-si", "--http2", "-X", "PUT", "-d", "x"], "/api/f/info")?;
    for (answer, status) in [(text(&stream), "200"), (text(&refused), "405")] {
        let head = answer.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
        ensure!(head.starts_with(&format!("http/2 {status}")), "{answer}");
        for name in ["connection", "transfer-encoding", "keep-alive"] {
            ensure!(!head.contains(&format!("\r\n{name}:")), "{head}");
        }
    }
    ensure!(text(&stream).contains("\r\n\r\n: connected\n\nretry: "), "no chunks: {}", text(&stream));
    Ok(())
}

#[test]
fn files_preflights_and_errors_have_their_heads_over_http2() -> Result<()> {
    const ORIGIN: &str = "Origin: https://app.example";
    let site = Site::start()?;
    let root = site.cluster.home().join("www");
    std::fs::create_dir(&root)?;
    std::fs::write(root.join("page.html"), "<p>hello")?;
    site.cluster.install().account().give(&root)?;
    site.cluster.configure("sse.static_root", &root.to_string_lossy())?;
    site.cluster.reconfigure("sse.cors_origins", "https://app.example")?;
    let ask = |arguments: &[&str], path: &str| -> Result<String> {
        Ok(text(&site.curl(&[&["-si", "--http2"], arguments].concat(), path)?).to_lowercase())
    };
    wait_for(SOON, "the file", || Ok(ask(&[], "/page.html")?.starts_with("http/2 200").then_some(())))?;
    let preflight = ["-X", "OPTIONS", "-H", ORIGIN, "-H", "Access-Control-Request-Method: GET"];
    let allowed =
        ["access-control-allow-origin: https://app.example", "access-control-allow-credentials: true"];
    let listed = [&allowed[..], &["vary: origin"]].concat();
    for (arguments, path, status, fields) in [
        (&[][..], "/page.html", 200, &["content-type: text/html; charset=utf-8", "content-length: 8"][..]),
        (&["-I"], "/page.html", 200, &["content-length: 8", "x-content-type-options: nosniff"]),
        (&[], "/../page.html", 200, &["content-length: 8"]),
        (&["--path-as-is"], "/../page.html", 404, &["content-type: application/problem+json"]),
        (&["-H", ORIGIN], "/page.html", 200, &listed),
        (&["-H", ORIGIN], "/nowhere", 404, &listed),
        (&["-I", "-H", ORIGIN], "/api/f/info", 200, &listed),
        (&preflight, "/api/f/info", 204, &["access-control-allow-methods: get, head, options", allowed[0]]),
        (&["-X", "PUT"], "/api/f/info", 405, &["allow: get, head, options"]),
        (&["-H", "Authorization: Bearer x"], "/api/f/info", 401, &["www-authenticate: bearer"]),
    ] {
        let answer = ask(arguments, path)?;
        ensure!(answer.starts_with(&format!("http/2 {status}")), "{path} {arguments:?}: {answer}");
        for field in fields {
            ensure!(answer.contains(&format!("\r\n{field}")), "{field}, {path} {arguments:?}: {answer}");
        }
    }
    let foreign = ask(
        &["-X", "OPTIONS", "-H", "Origin: https://evil.example", preflight[4], preflight[5]],
        "/api/f/info",
    )?;
    ensure!(foreign.starts_with("http/2 204") && !foreign.contains("access-control-"), "{foreign}");
    Ok(())
}

#[test]
fn calls_and_their_streams_come_over_http2() -> Result<()> {
    let site = Site::start()?;
    site.cluster.sql(
        "create function twice(n int) returns int language plpgsql as $$ begin raise info 'half'; return 2 * n; end $$;
         comment on function twice(int) is E'HTTP POST\n@anonymous\n@sse'",
    )?;
    let json = ["-s", "--http2", "-H", "Content-Type: application/json", "-d", "{\"n\": 21}"];
    wait_for(SOON, "the call", || Ok((text(&site.curl(&json, "/api/twice")?) == "42").then_some(())))?;
    let streamed = [&json[..], &["-N", "-H", "Accept: text/event-stream"]].concat();
    let answer = text(&site.curl(&streamed, "/api/twice")?);
    ensure!(answer.contains("data: half\n\n") && answer.contains("event: sse.result\n"), "{answer}");
    ensure!(answer.trim_end().ends_with("data: 42"), "{answer}");
    // A body of many frames, and one that is too long.
    let long = format!("{{\"n\": 1, \"x\": \"{}\"}}", "y".repeat(300_000));
    let file = site.cluster.home().join("body");
    std::fs::write(&file, long)?;
    let body = format!("@{}", file.display());
    let post =
        ["-s", "--http2", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Content-Type: application/json"];
    let unknown = text(&site.curl(&[&post[..], &["--data-binary", &body]].concat(), "/api/twice")?);
    ensure!(unknown == "400", "no parameter is called x: {unknown}");
    // One that has come whole: of a longer one curl 7.88 loses the answer that comes before its end.
    std::fs::write(&file, format!("{{\"n\": 1, \"x\": \"{}\"}}", "y".repeat(40_000)))?;
    site.cluster.reconfigure("sse.max_body_size", "30kB")?;
    wait_for(SOON, "413", || {
        let status = site.curl(&[&post[..], &["--data-binary", &body]].concat(), "/api/twice")?;
        Ok((text(&status) == "413").then_some(()))
    })
}

#[test]
fn twelve_event_sources_of_one_page_share_one_connection() -> Result<()> {
    let site = Site::start()?;
    let Some(browser) = Browser::trusting(FILE, "", &site.certificate())? else { return Ok(()) };
    site.cluster.reconfigure("sse.idle_timeout", "1s")?;
    let page = browser.open(&site.url("/healthz"))?;
    page.is("location.protocol", &json!("https:"))?;
    page.value(
        "window.got = []; window.sources = [];
         for (let n = 0; n < 12; n++) {
             const source = new EventSource('/api/f/info?n=' + n);
             source.onmessage = e => got.push(n + e.data);
             sources.push(source);
         } 0",
    )?;
    page.is("sources.filter(source => source.readyState === 1).length", &json!(12))?;
    let protocols =
        "[...new Set(performance.getEntries().map(e => e.nextHopProtocol).filter(p => p))].join()";
    ensure!(page.value(protocols)? == json!("h2"), "{}", page.value(protocols)?);
    site.cluster.sql("select f('x')")?;
    page.is("got.length", &json!(12))?;
    ensure!(site.cluster.sql("select count(*) from sse.subscribers")? == "12");
    // Others may have been made on the way; without a stream they have ten seconds, or the setting.
    site.cluster.comes_to(PATIENCE, "one connection", "select connections from sse.stat_gateway", "1")?;
    // A call goes beside them, which over HTTP/1.1 would wait for the seventh connection.
    page.is("fetch('/api/who').then(answer => answer.status)", &json!(200))?;
    page.value("sources.forEach(source => source.close()); 0")?;
    site.cluster.comes_to(SOON, "nobody listens", "select count(*) from sse.subscribers", "0")
}

/// Opens two streams on one connection, and makes a call beside them.
const PYTHON: &str = r#"
import asyncio, ssl, sys
import httpx
base, ca = sys.argv[1], sys.argv[2]
async def listen(client, name, ready):
    async with client.stream("GET", "/api/f/info", timeout=60) as answer:
        assert answer.http_version == "HTTP/2", answer.http_version
        async for line in answer.aiter_lines():
            if line == "event: sse.ready":
                ready.set()
            if line.startswith("data: ") and line != "data: {}":
                print(name, line, flush=True)
    print(name, "ended", flush=True)
async def main():
    context = ssl.create_default_context(cafile=ca)
    async with httpx.AsyncClient(http1=False, http2=True, verify=context, base_url=base) as client:
        ready = [asyncio.Event(), asyncio.Event()]
        streams = [asyncio.create_task(listen(client, n, ready[n])) for n in range(2)]
        for event in ready:
            await asyncio.wait_for(event.wait(), 30)
        answer = await client.get("/healthz")
        print("health", answer.status_code, answer.http_version, flush=True)
        await asyncio.gather(*streams)
asyncio.run(main())
"#;

#[test]
fn python_hears_two_streams_on_one_connection_and_their_clean_ends() -> Result<()> {
    let has_pip = |python: &PathBuf| {
        Command::new(python).args(["-m", "pip", "--version"]).output().is_ok_and(|said| said.status.success())
    };
    let Some(python) = find_program("python3").filter(has_pip) else {
        return cluster::skip(FILE, "Python with pip");
    };
    let folder = tempfile::tempdir()?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "httpx[http2]==0.28.1"];
    let said = Command::new(&python).args(install).arg("--target").arg(folder.path()).output()?;
    ensure!(said.status.success(), "pip install: {}", String::from_utf8_lossy(&said.stderr));
    let site = Site::start()?;
    let mut command = Command::new(python);
    command.env("PYTHONPATH", folder.path()).args(["-c", PYTHON, &site.url("")]).arg(site.certificate());
    let mut lines = Lines::of(command)?;
    lines.wait_for("health 200 HTTP/2")?;
    ensure!(site.cluster.sql("select connections from sse.stat_gateway")? == "1");
    site.cluster.sql("select f('one')")?;
    // In either order.
    let mut heard = vec![lines.next()?, lines.next()?];
    heard.sort();
    ensure!(heard == ["0 data: one", "1 data: one"], "{heard:?}");
    site.cluster.stop(cluster::StopMode::Fast)?;
    let mut ended = vec![lines.next()?, lines.next()?];
    ended.sort();
    ensure!(ended == ["0 ended", "1 ended"], "{ended:?}");
    Ok(())
}

#[test]
fn h2load_gets_an_answer_to_every_request_of_many_at_a_time() -> Result<()> {
    let Some(h2load) = find_program("h2load") else { return cluster::skip(FILE, "h2load of nghttp2") };
    let site = Site::start()?;
    let mut listener = Lines::of(site.curl_command(&["-sN", "--http2"], "/api/f/info")?)?;
    listener.wait_for("event: sse.ready")?;
    // Ten connections with twenty requests each at a time.
    let said = Command::new(h2load)
        .args(["-n", "2000", "-c", "10", "-m", "20", "-t", "1", &site.url("/healthz")])
        .output()?;
    let said = text(&said);
    ensure!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    ensure!(said.contains("Application protocol: h2") && said.contains("status codes: 2000 2xx"), "{said}");
    site.cluster.sql("select f('still there')")?;
    listener.wait_for("data: still there")
}
