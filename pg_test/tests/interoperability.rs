//! Clients of others read our streams: the programs of docs/interoperability.md as they stand there, curl,
//! and a crate that is built apart. Each gets the same messages, of which every one is hard on somebody, by
//! an open stream, through heartbeats, and after the end of the stream; and some of them through the
//! documented proxies.
//!
//! Not for the package of ours: `client_js.rs`.

mod common;
#[path = "interoperability/reader.rs"]
mod reader;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use cluster::http::Client;
use cluster::{
    Account, Cluster, PATIENCE, Proxy, Scratch, find_program, has_node, node_package, skip, workspace_root,
};
use common::SOON;
use common::browser::Browser;
use common::calls;
use common::proxy;
use common::recipe::block;
use common::relay::Relay;
use reader::{Reader, Seen};
use serde_json::json;

const FILE: &str = env!("CARGO_CRATE_NAME");

/// The address in the programs of the page.
const DOCUMENTED: &str = "http://localhost:8080/api/news-added/info";

/// Without a name, and what a client has to make of it.
fn messages() -> Vec<(String, String)> {
    let texts = [
        "plain",
        "",
        " ",
        " one blank in front",
        "one\ntwo\n\nfour",
        "one\r\ntwo\rthree",
        "\nfirst and last line are empty\n",
        "\r",
        "id: 7",
        "event: x\ndata: y\nretry: 1\n: comment",
        "data: {\"a\": 1}\n\ndata: another event?",
        ":",
        "\u{feff}a byte order mark",
        "grün, 日本語, 🦀, e\u{301}, \u{200d}",
        "\u{85}\u{2028}\u{2029}\u{b}\u{c}\u{1c} are no line ends",
        "{\"text\": \"a \\n b\", \"n\": 1.50}",
        "tab\tand \u{7f}",
    ];
    let long = "0123456789abcdef".repeat(6400);
    texts
        .iter()
        .map(|text| (*text).to_owned())
        .chain([long])
        .map(|text| (text.clone(), lines(&text)))
        .collect()
}

/// With LF between lines.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// A text in SQL.
fn literal(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('\'', "''").replace('\n', "\\n").replace('\r', "\\r");
    format!("E'{text}'")
}

/// A server with heartbeats each second.
fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| {
        let builder = calls::builder()
            .setting("sse.heartbeat_interval", "1s")
            .setting("sse.retry", "200ms")
            .setting("sse.trusted_proxies", "127.0.0.1");
        calls::start(builder).unwrap_or_else(|error| panic!("no cluster: {error:#}"))
    })
}

/// The routines whose events one client reads, in a schema of their own, and what is between.
struct Source {
    name: &'static str,
    relay: Relay,
}

impl Source {
    /// `server` is the gateway or something in front of it.
    fn new(name: &'static str, server: Client) -> Result<Self> {
        let routine = |routine: &str, comment: &str| {
            format!(
                "create function {name}.{routine}(t text) returns void language plpgsql
                     as $$ begin raise info '%', t; end $$;
                 comment on function {name}.{routine}(text) is E'{comment}\\n@sse_topic {name}';"
            )
        };
        let (say, note) = (routine("say", "@sse"), routine("note", "@sse_publish\\n@sse_event note"));
        shared().sql(&format!("create schema {name}; {say} {note}"))?;
        let source = Self { name, relay: Relay::to(server.address())? };
        common::wait_for_status(shared().http()?, &source.path(), 200, SOON)?;
        Ok(source)
    }

    fn path(&self) -> String {
        format!("/api/{}/say/info", self.name.replace('_', "-"))
    }

    fn url(&self) -> String {
        self.relay.http.url(&self.path())
    }

    /// Publishes everything, and says what has to arrive: name and data.
    fn publish(&self) -> Result<Vec<(String, String)>> {
        let name = self.name;
        let (mut sql, mut wanted) = (String::new(), Vec::new());
        for (text, data) in messages() {
            sql.push_str(&format!("select {name}.say({0}); select {name}.note({0});\n", literal(&text)));
            wanted.extend([("message".to_owned(), data.clone()), ("note".to_owned(), data)]);
        }
        shared().sql(&sql)?;
        Ok(wanted)
    }

    /// The whole way of one client, which makes `data` of what a browser makes of a message.
    fn is_read_by(&self, reader: &Reader, data: fn(&str) -> String) -> Result<()> {
        let ready = reader.next()?;
        ensure!(ready.0 == "sse.ready" && ready.1 == "{}", "the first event is {ready:?}");
        let mut ids = Vec::new();
        let mut reads = |what: &str| -> Result<()> {
            for (number, (name, wanted)) in self.publish()?.into_iter().enumerate() {
                let (found, text, id) =
                    reader.next_payload().with_context(|| format!("{what}, event {number}"))?;
                let wanted = data(&wanted);
                ensure!(
                    (&found, &text) == (&name, &wanted),
                    "{what}, event {number}: {found} {:?}, and not {name} {:?}",
                    shortened(&text),
                    shortened(&wanted)
                );
                ensure!(!id.is_empty() && !ids.contains(&id), "{what}, event {number}: the id {id:?}");
                ids.push(id);
            }
            Ok(())
        };
        reads("live")?;
        // Heartbeats come to all streams.
        let mut control = shared().http()?.events(&self.path())?;
        for _ in 0..2 {
            control.next_comment(SOON)?;
        }
        reads("behind heartbeats")?;
        self.relay.end_streams();
        reads("behind the end of the stream")?;
        self.relay.cut();
        reads("behind a connection that was cut")
    }
}

/// As it is.
fn same(data: &str) -> String {
    data.to_owned()
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

/// A program of the page, for Node, beside the packages; the address is ours.
fn node_program(source: &Source, index: usize) -> Result<Option<Command>> {
    if !has_node() {
        skip(FILE, "Node with npm")?;
        return Ok(None);
    }
    let folder = node_package("pg_test/node_interop")?.join("dist");
    fs::create_dir_all(&folder)?;
    let program = folder.join(format!("{}.mjs", source.name));
    fs::write(&program, with_address(&block("../interoperability.md", "js", index)?, source)?)?;
    let mut node = cluster::node()?;
    node.arg(program);
    Ok(Some(node))
}

fn with_address(program: &str, source: &Source) -> Result<String> {
    ensure!(program.contains(DOCUMENTED), "it reads from elsewhere");
    Ok(program.replace(DOCUMENTED, &source.url()))
}

/// The program of the page for Python, with its packages.
fn python_program(source: &Source) -> Result<Option<Command>> {
    const PACKAGES: [&str; 2] = ["httpx==0.28.1", "httpx-sse==0.4.3"];
    let has_pip = |python: &PathBuf| {
        Command::new(python).args(["-m", "pip", "--version"]).output().is_ok_and(|said| said.status.success())
    };
    let Some(python) = find_program("python3").filter(has_pip) else {
        skip(FILE, "Python with pip")?;
        return Ok(None);
    };
    static PACKAGES_FOLDER: OnceLock<Result<tempfile::TempDir, String>> = OnceLock::new();
    let folder = PACKAGES_FOLDER.get_or_init(|| {
        let install = || -> Result<tempfile::TempDir> {
            let folder = tempfile::tempdir()?;
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
            let said = pip.arg(folder.path()).args(PACKAGES).output()?;
            ensure!(said.status.success(), "pip install: {}", String::from_utf8_lossy(&said.stderr));
            Ok(folder)
        };
        install().map_err(|error| format!("{error:#}"))
    });
    let folder = folder.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
    let program = folder.path().join(format!("{}.py", source.name));
    fs::write(&program, with_address(&block("../interoperability.md", "python", 0)?, source)?)?;
    let mut command = Command::new(python);
    command.arg(program).env("PYTHONPATH", folder.path()).env("PYTHONIOENCODING", "utf-8");
    Ok(Some(command))
}

fn reads_it_all(name: &'static str, index: usize, data: fn(&str) -> String) -> Result<()> {
    let source = Source::new(name, shared().http()?)?;
    let Some(program) = node_program(&source, index)? else { return Ok(()) };
    source.is_read_by(&Reader::of(program)?, data)
}

#[test]
fn npm_eventsource_reads_every_event_once_and_unchanged() -> Result<()> {
    reads_it_all("npm_eventsource", 0, same)
}

#[test]
fn npm_eventsource_parser_reads_every_event_once_and_unchanged() -> Result<()> {
    reads_it_all("npm_parser", 1, same)
}

#[test]
fn npm_event_source_polyfill_reads_every_event_once_and_unchanged() -> Result<()> {
    reads_it_all("npm_polyfill", 2, same)
}

/// It takes an empty first line for no data yet, and decodes each line as a text of its own.
#[test]
fn npm_fetch_event_source_reads_every_event_once_but_for_empty_first_lines_and_byte_order_marks() -> Result<()>
{
    reads_it_all("npm_fetch", 3, |data| data.trim_start_matches(['\n', '\u{feff}']).to_owned())
}

#[test]
fn python_httpx_sse_reads_every_event_once_and_unchanged() -> Result<()> {
    let source = Source::new("httpx", shared().http()?)?;
    let Some(program) = python_program(&source)? else { return Ok(()) };
    source.is_read_by(&Reader::of(program)?, same)
}

#[test]
fn curl_reads_every_event_once_and_unchanged() -> Result<()> {
    let Some(curl) = find_program("curl") else { return skip(FILE, "curl") };
    let source = Source::new("curl", shared().http()?)?;
    source.is_read_by(&Reader::curl(curl, source.url()), same)
}

#[test]
fn rust_eventsource_client_reads_every_event_once_and_unchanged() -> Result<()> {
    let source = Source::new("rust_client", shared().http()?)?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace_root().join("target"), PathBuf::from);
    let mut build = cluster::cargo();
    build.args(["build", "--quiet", "--locked", "--manifest-path"]);
    build.arg(workspace_root().join("pg_test/rust_interop/Cargo.toml"));
    let target = target.join("rust_interop");
    let built = build.env("CARGO_TARGET_DIR", &target).output()?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut program = Command::new(target.join("debug/rust-interop"));
    program.arg(source.url());
    source.is_read_by(&Reader::of(program)?, same)
}

#[test]
fn chromium_reads_every_event_once_and_unchanged() -> Result<()> {
    let Some(browser) = Browser::start(FILE, "")? else { return Ok(()) };
    let source = Source::new("chromium", shared().http()?)?;
    // Any page of the same origin will do.
    let tab = browser.open(&source.relay.http.url("/healthz"))?;
    tab.is("document.readyState", &json!("complete"))?;
    tab.value(&format!(
        "window.seen = []; window.stream = new EventSource('{}');
         for (const name of ['message', 'note', 'sse.gap'])
             stream.addEventListener(name, e => seen.push([e.type, e.data, e.lastEventId]));
         new Promise(done => stream.addEventListener('sse.ready', () => done(true)))",
        source.path()
    ))?;
    let mut wanted = source.publish()?;
    for interruption in [None, Some(Relay::end_streams as fn(&Relay)), Some(Relay::cut)] {
        if let Some(interrupt) = interruption {
            interrupt(&source.relay);
            wanted.extend(source.publish()?);
        }
        tab.is("seen.length", &json!(wanted.len()))?;
    }
    let seen: Vec<Seen> = serde_json::from_value(tab.value("seen")?)?;
    for ((found, wanted), number) in seen.iter().zip(&wanted).zip(0..) {
        ensure!((&found.0, &found.1) == (&wanted.0, &wanted.1), "event {number}: {:?}", shortened(&found.1));
    }
    Ok(())
}

#[test]
fn htmx_shows_html_events_and_what_users_wrote_stays_text() -> Result<()> {
    let Some(browser) = Browser::start(FILE, "")? else { return Ok(()) };
    if !has_node() {
        return skip(FILE, "Node with npm");
    }
    let packages = node_package("pg_test/node_interop")?.join("node_modules");
    let pages = Scratch::create(&Account::for_servers()?)?;
    for (from, to) in [("htmx.org/dist/htmx.js", "htmx.js"), ("htmx-ext-sse/sse.js", "sse.js")] {
        fs::write(pages.path().join(to), fs::read(packages.join(from)).with_context(|| from.to_owned())?)?;
    }
    fs::write(pages.path().join("index.html"), block("../interoperability.md", "html", 0)?)?;
    let cluster = calls::start(calls::builder().setting("sse.static_root", pages.path().display()))?;
    common::recipe::run(&cluster, &block("../interoperability.md", "sql", 0)?)?;
    let http = cluster.http()?;
    common::wait_for_status(http, "/api/note-added/info", 200, SOON)?;
    let tab = browser.open(&format!("http://localhost:{}/", http.address().port()))?;
    cluster.comes_to(PATIENCE, "the page listens", "select count(*) from sse.subscribers", "1")?;
    let mut shown = Vec::new();
    for text in
        ["plain", "<img src=x onerror=\"document.title='taken'\">", "one\n\ntwo & \"three\"", "grün 🦀"]
    {
        cluster.sql(&format!("insert into note (body) values ({})", literal(text)))?;
        shown.push(text);
        tab.shows("li", &shown.join("|"))?;
    }
    ensure!(tab.value("document.title")? != "taken", "a script of a user ran");
    assert_eq!(browser.thrown(), [""; 0]);
    Ok(())
}

/// What comes through a proxy comes as it does without one, to clients in three languages.
fn through(proxy: &Proxy, [by_node, by_python, by_curl]: [&'static str; 3]) -> Result<()> {
    let source = Source::new(by_node, proxy.http)?;
    if let Some(program) = node_program(&source, 0)? {
        source.is_read_by(&Reader::of(program)?, same).context("npm eventsource")?;
    }
    let source = Source::new(by_python, proxy.http)?;
    if let Some(program) = python_program(&source)? {
        source.is_read_by(&Reader::of(program)?, same).context("httpx-sse")?;
    }
    let source = Source::new(by_curl, proxy.http)?;
    if let Some(curl) = find_program("curl") {
        source.is_read_by(&Reader::curl(curl, source.url()), same).context("curl")?;
    }
    Ok(())
}

#[test]
fn clients_read_every_event_once_and_unchanged_through_nginx() -> Result<()> {
    let Some(proxy) = proxy::documented_nginx(FILE, shared().http()?.address())? else { return Ok(()) };
    through(&proxy, ["nginx_node", "nginx_python", "nginx_curl"])
}

#[test]
fn clients_read_every_event_once_and_unchanged_through_caddy() -> Result<()> {
    let Some(proxy) = proxy::documented_caddy(FILE, shared().http()?.address())? else { return Ok(()) };
    through(&proxy, ["caddy_node", "caddy_python", "caddy_curl"])
}

#[test]
fn clients_read_every_event_once_and_unchanged_through_haproxy() -> Result<()> {
    let Some(proxy) = proxy::documented_haproxy(FILE, shared().http()?.address())? else { return Ok(()) };
    through(&proxy, ["haproxy_node", "haproxy_python", "haproxy_curl"])
}
