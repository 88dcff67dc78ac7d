//! HTTPS by the gateway itself, as clients of others see it (C1.6): curl, OpenSSL, Python, Chromium.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use std::process::Command;

use anyhow::{Context, Result, ensure};
use cluster::http::KeyKind;
use cluster::{PATIENCE, find_program, wait_for};
use common::SOON;
use common::browser::Browser;
use common::site::{Lines, Site, text};
use serde_json::json;

const FILE: &str = env!("CARGO_CRATE_NAME");

#[test]
fn curl_hears_events_and_calls_over_tls_and_a_stream_outlives_renewals() -> Result<()> {
    let site = Site::start()?;
    let mut stream = Lines::of(site.curl_command(&["-sN"], "/api/f/info")?)?;
    stream.wait_for("event: sse.ready")?;
    site.cluster.sql("select f('one')")?;
    stream.wait_for("data: one")?;
    ensure!(
        text(&site.curl(&["-s", "-o", "/dev/null", "-w", "%{http_code} %{ssl_verify_result}"], "/api/who")?)
            == "200 0"
    );
    // RSA in place of the curve, without a reload; the old certificate is not shown any more.
    let mark = site.cluster.log_mark()?;
    let old = fs::read(site.certificate())?;
    site.renew(KeyKind::Rsa)?;
    site.says(mark, "has changed: new connections get the new one")?;
    site.answers()?;
    site.cluster.sql("select f('two')")?;
    stream.wait_for("data: two")?;
    // The key of another certificate: said, and the pair in use stays in use.
    let (certificate, key) = (fs::read(site.certificate())?, fs::read(site.key())?);
    let mark = site.cluster.log_mark()?;
    fs::write(site.certificate(), old)?;
    site.says(mark, "it is not the key of the first certificate in sse.tls_certificate_file; the certificate in use stays in use")?;
    fs::write(site.certificate(), &certificate)?;
    site.answers()?;
    // A key that others may read.
    let mark = site.cluster.log_mark()?;
    fs::set_permissions(site.key(), fs::Permissions::from_mode(0o640))?;
    site.cluster.reload()?;
    site.says(mark, "its mode must be 0600 or less")?;
    ensure!(fs::read(site.key())? == key);
    site.answers()?;
    // Only one of the two.
    fs::set_permissions(site.key(), fs::Permissions::from_mode(0o600))?;
    let mark = site.cluster.log_mark()?;
    site.cluster.reconfigure("sse.tls_private_key_file", "")?;
    site.says(mark, "sse.tls_private_key_file is not: TLS needs both")?;
    site.answers()?;
    site.cluster.sql("select f('three')")?;
    stream.wait_for("data: three")
}

#[test]
fn a_server_that_starts_without_a_usable_pair_listens_as_soon_as_there_is_one() -> Result<()> {
    let site = Site::start()?;
    fs::set_permissions(site.key(), fs::Permissions::from_mode(0o644))?;
    site.cluster.stop(cluster::StopMode::Fast)?;
    let mark = site.cluster.log_mark()?;
    site.cluster.start()?;
    site.says(mark, "its mode must be 0600 or less if it belongs to the server's user, 0640 or less if to root; nothing listens until that is mended")?;
    ensure!(site.cluster.sql("select 1")? == "1", "Postgres runs");
    ensure!(!site.curl(&["-s"], "/healthz")?.status.success());
    let state = |wanted: &str| {
        let state = || site.cluster.sql("select state from sse.stat_gateway");
        wait_for(PATIENCE, wanted, || Ok((state()? == wanted).then_some(())))
    };
    state("waiting for certificate")?;
    fs::set_permissions(site.key(), fs::Permissions::from_mode(0o600))?;
    site.answers()?;
    state("serving")
}

// Downgrade: old versions, and suites that are broken or have no forward secrecy.
#[test]
fn weak_versions_and_suites_are_refused_and_current_ones_are_not() -> Result<()> {
    let site = Site::start()?;
    let agreed = |arguments: &[&str]| -> Result<bool> {
        let output = site.s_client(arguments)?;
        let said = text(&output);
        Ok(output.status.success() && said.contains("Cipher is") && !said.contains("Cipher is (NONE)"))
    };
    for kind in [KeyKind::Curve, KeyKind::Rsa] {
        site.renew(kind)?;
        site.cluster.reload()?;
        site.answers()?;
        let own = if kind == KeyKind::Rsa { "ECDHE-RSA" } else { "ECDHE-ECDSA" };
        for (arguments, expected) in [
            (vec!["-tls1_3"], true),
            (vec!["-tls1_2"], true),
            (vec!["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], false),
            (vec!["-tls1", "-cipher", "ALL:@SECLEVEL=0"], false),
            (vec!["-tls1_2", "-cipher", &format!("{own}-AES128-GCM-SHA256")], true),
            (vec!["-tls1_2", "-cipher", &format!("{own}-AES256-GCM-SHA384")], true),
            (vec!["-tls1_2", "-cipher", &format!("{own}-CHACHA20-POLY1305")], true),
            (vec!["-tls1_2", "-cipher", &format!("{own}-AES128-SHA256:@SECLEVEL=0")], false),
            (vec!["-tls1_2", "-cipher", &format!("{own}-AES256-SHA:@SECLEVEL=0")], false),
            (vec!["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-SHA:@SECLEVEL=0"], false),
            (vec!["-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384:@SECLEVEL=0"], false),
            (vec!["-tls1_2", "-cipher", "NULL:aNULL:@SECLEVEL=0"], false),
        ] {
            ensure!(agreed(&arguments)? == expected, "{kind:?} {arguments:?}: {expected} expected");
        }
    }
    for (offered, chosen) in [("h2,http/1.1", "h2"), ("http/1.1,h2", "h2"), ("http/1.1", "http/1.1")] {
        let alpn = text(&site.s_client(&["-alpn", offered])?);
        ensure!(alpn.contains(&format!("ALPN protocol: {chosen}")), "{alpn}");
    }
    ensure!(!agreed(&["-alpn", "spdy/3"])?, "a client that can only speak something else");
    ensure!(!text(&site.s_client(&["-reconnect", "-no_ticket", "-tls1_2"])?).contains("Reused,"));
    Ok(())
}

// Session fixation: another host of the domain plants a cookie, which a name with __Host- does not allow.
#[test]
fn cookies_over_our_own_tls_are_secure_and_bound_to_the_host() -> Result<()> {
    let site = Site::start()?;
    ["--http1.1", "--http2"].iter().try_for_each(|version| cookies_are_bound(&site, version))
}

fn cookies_are_bound(site: &Site, version: &str) -> Result<()> {
    let jar = site.cluster.home().join("jar");
    let jar = jar.to_string_lossy();
    let page = format!("Origin: {}", site.url(""));
    let call = |path: &str| {
        site.curl(
            &[
                "-si",
                version,
                "-X",
                "POST",
                "-c",
                &jar,
                "-b",
                &jar,
                "-H",
                &page,
                "-H",
                "Content-Type: application/json",
                "-d",
                "{}",
            ],
            path,
        )
    };
    let answer = text(&call("/api/login")?);
    let cookie = answer.lines().find(|line| line.to_lowercase().starts_with("set-cookie:")).unwrap_or("");
    ensure!(cookie.contains("__Host-sse_session=") && cookie.contains("; Path=/;"), "{answer}");
    ensure!(
        cookie.contains("; Secure") && cookie.contains("HttpOnly") && !cookie.contains("Domain"),
        "{answer}"
    );
    let who = || site.curl(&["-s", version, "-b", &jar], "/api/who").map(|output| text(&output));
    ensure!(who()? == "alice");
    let planted = fs::read_to_string(&*jar)?.replace("__Host-sse_session", "sse_session");
    let plain = site.cluster.home().join("planted");
    fs::write(&plain, planted)?;
    ensure!(
        text(&site.curl(&["-s", version, "-b", &plain.to_string_lossy()], "/api/who")?).is_empty(),
        "another name"
    );
    // A page of another origin, and one of this host without TLS on another port.
    for foreign in ["https://evil.example", "http://localhost"] {
        let foreign = format!("Origin: {foreign}");
        let answer =
            site.curl(&["-si", version, "-X", "POST", "-b", &jar, "-H", &foreign, "-d", ""], "/api/logout")?;
        ensure!(text(&answer).lines().next().is_some_and(|line| line.contains(" 403")), "{}", text(&answer));
    }
    ensure!(text(&call("/api/logout")?).contains("__Host-sse_session=; Path=/; Max-Age=0"));
    ensure!(who()?.is_empty());
    Ok(())
}

/// Opens a stream with Python's `ssl` and prints its lines.
const PYTHON: &str = r#"
import socket, ssl, sys
port, ca, last = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=ca)
context.set_alpn_protocols(["http/1.1"])
raw = socket.create_connection(("127.0.0.1", port), timeout=60)
tls = context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)
resume = f"Last-Event-ID: {last}\r\n" if last else ""
tls.sendall(f"GET /api/f/info HTTP/1.1\r\nHost: localhost\r\n{resume}\r\n".encode())
print(tls.version(), flush=True)
file = tls.makefile("rb")
for line in file:
    print(line.decode().rstrip("\r\n"), flush=True)
print("closed", flush=True)
"#;

#[test]
fn python_hears_events_resumes_and_sees_a_clean_end_when_the_server_stops() -> Result<()> {
    let site = Site::start()?;
    let open = |last: &str| -> Result<Lines> {
        let mut python = Command::new(find_program("python3").context("no python3")?);
        python.args(["-c", PYTHON, &site.http.address().port().to_string()]);
        python.arg(site.certificate()).arg(last);
        Lines::of(python)
    };
    let mut stream = open("")?;
    stream.wait_for("TLSv1.3")?;
    stream.wait_for("event: sse.ready")?;
    site.cluster.sql("select f('one')")?;
    let mut id = String::new();
    for line in &mut stream.lines {
        let line = line?;
        if let Some(found) = line.strip_prefix("id: ") {
            found.clone_into(&mut id);
        }
        if line == "data: one" {
            break;
        }
    }
    drop(stream);
    site.cluster.sql("select f('two')")?;
    let mut stream = open(&id)?;
    stream.wait_for("data: two")?;
    site.cluster.stop(cluster::StopMode::Fast)?;
    stream.wait_for("0")?;
    // It raises an error at an end without close_notify.
    stream.wait_for("closed")
}

#[test]
fn plain_http_on_the_port_gets_a_400_that_says_https() -> Result<()> {
    let site = Site::start()?;
    let answer = site.http.get("/healthz")?;
    ensure!(answer.status() == 400 && answer.text().contains("https"), "{answer:?}");
    Ok(())
}

#[test]
fn a_page_in_a_browser_logs_in_and_hears_events_over_https() -> Result<()> {
    let site = Site::start()?;
    let Some(browser) = Browser::trusting(FILE, "", &site.certificate())? else { return Ok(()) };
    let page = browser.open(&site.url("/healthz"))?;
    page.is("location.protocol", &json!("https:"))?;
    let login = "fetch('/api/login', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'}).then(a => a.status)";
    page.is(login, &json!(200))?;
    page.is("fetch('/api/who').then(answer => answer.text())", &json!("alice"))?;
    page.value("window.got = []; window.source = new EventSource('/api/f/info'); source.onmessage = e => got.push(e.data); 0")?;
    page.is("source.readyState", &json!(1))?;
    for n in 0..3 {
        site.cluster.sql(&format!("select f('{n}')"))?;
    }
    page.is("got.join()", &json!("0,1,2"))?;
    wait_for(SOON, "one subscriber", || {
        let user = site.cluster.sql("select user_id from sse.subscribers")?;
        Ok((user == "alice").then_some(()))
    })
}
