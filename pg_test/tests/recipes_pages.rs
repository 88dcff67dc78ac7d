//! The pages of `docs/recipes/`, as they stand there, in a browser.
//!
//! A page is written into a frame of [`DRIVER`], a page of the same server, which says what a person would
//! see in the frame whenever that changes, and does in it what the test wants. Both go the way of everything
//! here: a call, and an event.
//!
//! Not for what else the recipes promise: `recipes.rs`, `recipes_calls.rs`.

mod common;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use cluster::{Account, Cluster, PATIENCE, Scratch, find_program, skip, wait_for};
use common::calls::{builder, start};
use common::recipe::{block, set_up};
use tempfile::TempDir;

/// `prompt` is what the page's person answers. The page is written instead of loaded, so that it is there
/// before the page's script runs.
const DRIVER: &str = r#"<!doctype html>
<meta charset="utf-8">
<body>
<script>
  let frame, seen, told = Promise.resolve();
  const post = (url, body) =>
    fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const tell = text => { told = told.then(() => post("/api/tell", { text })).catch(error => console.error(error)); };
  async function load(name) {
    const page = await (await fetch("/page.html")).text();
    frame?.remove();
    frame = document.body.appendChild(document.createElement("iframe"));
    frame.contentWindow.prompt = () => name;
    frame.contentWindow.alert = tell;
    frame.contentWindow.onerror = message => tell("error: " + message);
    frame.contentDocument.open();
    frame.contentDocument.write(page);
    frame.contentDocument.close();
  }
  setInterval(() => {
    const page = frame?.contentDocument?.body;
    if (!page) return;
    const bars = [...page.querySelectorAll("progress")].map(bar => `[${bar.value}]`);
    const text = [page.innerText, ...bars].join(" ").replace(/\s+/g, " ").trim();
    if (text !== seen) tell(seen = text);
  }, 20);
  const orders = new EventSource("/api/driver/info?topic=driver");
  orders.onmessage = event => {
    const [what, value] = JSON.parse(event.data);
    if (what === "load") load(value);
    if (what === "click") frame.contentDocument.querySelector(value).click();
    if (what === "type") frame.contentDocument.querySelector("input").value = value;
  };
  orders.addEventListener("sse.ready", () => tell("ready"));
</script>
"#;

/// What [`DRIVER`] needs of the database.
const DRIVER_SQL: &str = "
    create table told (id int generated always as identity, text text);
    create function tell(_text text) returns void language sql security definer
        as 'insert into told (text) values (_text)';
    comment on function tell(text) is 'HTTP POST';
    create function driver() returns void language sql as '';
    comment on function driver() is '@sse_subscribe';";

/// One browser at a time: a few side by side, on two cores, are slower than one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// A browser with the page of one recipe, and the server that it came from.
struct Page {
    cluster: Cluster,
    browser: Child,
    _site: Scratch,
    _profile: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

impl Page {
    /// Opens the page of a recipe, as a person who answers every question with `name`. `None`: there is no
    /// browser.
    fn open(recipe: &str, name: &str) -> Result<Option<Self>> {
        let Some(chromium) = find_program("chromium") else {
            skip(env!("CARGO_CRATE_NAME"), "chromium")?;
            return Ok(None);
        };
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let (site, profile) = (Scratch::create(&Account::for_servers()?)?, TempDir::new()?);
        fs::write(site.path().join("page.html"), block(recipe, "html")?)?;
        fs::write(site.path().join("index.html"), DRIVER)?;
        let cluster = start(builder().setting("sse.static_root", site.path().display()))?;
        set_up(&cluster, recipe)?;
        cluster.sql(DRIVER_SQL)?;
        let http = cluster.http()?;
        common::wait_for_status(http, "/api/driver/info", 200, PATIENCE)?;
        let browser = Command::new(chromium)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("http://localhost:{}/", http.address().port()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let page = Self { cluster, browser, _site: site, _profile: profile, _turn: turn };
        page.shows("ready")?;
        page.reload(name)?;
        Ok(Some(page))
    }

    fn reload(&self, name: &str) -> Result<()> {
        self.order("load", name)
    }

    fn click(&self, selector: &str) -> Result<()> {
        self.order("click", selector)
    }

    fn order(&self, what: &str, value: &str) -> Result<()> {
        let order = format!("jsonb_build_array('{what}', '{value}')::text");
        self.cluster.sql(&format!("select sse.publish({order}, topic => 'driver')"))?;
        Ok(())
    }

    /// Waits until the page shows this text, whatever it showed before.
    fn shows(&self, text: &str) -> Result<()> {
        let last = || self.cluster.sql("select text from told order by id desc limit 1");
        let shown = wait_for(PATIENCE, text, || Ok((last()? == text).then_some(())));
        shown.with_context(|| format!("it shows: {:?}", self.all()))
    }

    /// All that the page has shown so far.
    fn all(&self) -> Result<String> {
        self.cluster.sql("select string_agg(text, ' | ' order by id) from told")
    }
}

#[test]
fn the_counters_page_shows_the_value_and_counts_up() -> Result<()> {
    let Some(page) = Page::open("counter.md", "")? else { return Ok(()) };
    page.shows("+1 0")?;
    page.click("button")?;
    page.shows("+1 1")?;
    page.cluster.sql("update counter set n = 41")?;
    page.shows("+1 41")?;
    page.reload("")?;
    page.shows("+1 41")
}

#[test]
fn the_tables_page_shows_its_rows_and_every_change_of_them() -> Result<()> {
    let Some(page) = Page::open("table.md", "")? else { return Ok(()) };
    page.cluster.sql("insert into todo (title) values ('write'), ('read')")?;
    page.shows("write read")?;
    page.cluster.sql("update todo set is_done = true where id = 1")?;
    page.shows("done: write read")?;
    page.cluster.sql("update todo set id = default where id = 1")?;
    page.shows("read done: write")?;
    page.cluster.sql("delete from todo where title = 'read'")?;
    page.shows("done: write")?;
    page.reload("")?;
    page.cluster.sql("insert into todo (title) values ('again')")?;
    page.shows("done: write again")
}

#[test]
fn the_badges_page_shows_how_many_are_unread_and_reads_them() -> Result<()> {
    let Some(page) = Page::open("badge.md", "alice")? else { return Ok(()) };
    page.shows("Unread: 0")?;
    page.cluster
        .sql("insert into message (receiver, body) values ('alice', 'a'), ('bob', 'b'), ('alice', 'c')")?;
    page.shows("Unread: 2")?;
    page.reload("bob")?;
    page.shows("Unread: 1")?;
    page.click("button")?;
    page.shows("Unread: 0")?;
    page.reload("alice")?;
    page.shows("Unread: 2")
}

#[test]
fn the_jobs_page_shows_its_progress_also_after_a_reload_and_its_end() -> Result<()> {
    let Some(page) = Page::open("job.md", "")? else { return Ok(()) };
    page.shows("Report [0]")?;
    page.click("button")?;
    wait_for(PATIENCE, "progress", || Ok(page.all()?.contains("Report [10]").then_some(())))?;
    page.reload("")?;
    page.shows("Report done [100]")?;
    ensure!(page.all()?.contains("Report [98]"), "{}", page.all()?);
    page.reload("")?;
    page.shows("Report done [100]")
}

#[test]
fn the_answers_page_shows_it_word_by_word() -> Result<()> {
    let Some(page) = Page::open("tokens.md", "")? else { return Ok(()) };
    page.shows("Ask")?;
    page.order("type", "and why is that so?")?;
    page.click("button")?;
    page.shows("Ask You asked: and why is that so?")?;
    ensure!(page.all()?.contains("Ask You asked: and why |"), "{}", page.all()?);
    Ok(())
}
