//! `cargo xtask demo`: examples/feed on a throwaway cluster, for a person, or with `--check` for a machine.
//!
//! Not for a server that is to stay: everything is gone when it ends.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::http::{Client, EventStream};
use cluster::{Account, Cluster, Install, PATIENCE, Profile, Scratch, workspace_root};

use crate::build;
use crate::packages::{self, Purpose};

/// How soon an inserted row must be there. "At once" for a person; a busy machine gets some room.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Rows of one transaction in the check: more than one batch of anything.
const MANY: usize = 1000;

/// Runs the demo until Ctrl-C, or the check to its end.
///
/// # Errors
/// Something on the way fails; the end of the server's log is in the message where it helps.
pub(crate) fn run(check: bool, port: u16, pg_config: Option<&Path>) -> Result<()> {
    let pg = packages::ensure(pg_config, Purpose::BuildAndRun)?;
    println!("{}", pg.version);
    let extension = build::extension(&pg, Profile::Dev)?;
    // From here on there is something to remove, so the signals are caught.
    let (sender, stop) = channel();
    ctrlc::set_handler(move || sender.send(()).unwrap_or_default()).context("cannot catch signals")?;
    let install = Install::of(&pg)?;
    install.put(&extension)?;
    let feed = Feed::start(Arc::new(install), port)?;
    if check {
        return feed.check();
    }
    feed.tell()?;
    feed.serve(&stop)
}

/// The application, running.
struct Feed {
    cluster: Cluster,
    client: Client,
    /// The path of its stream.
    stream: String,
    _www: Scratch,
}

impl Feed {
    fn start(install: Arc<Install>, port: u16) -> Result<Self> {
        let example = workspace_root().join("examples/feed");
        // A copy, because the checkout may lie where the server's account cannot look.
        let www = Scratch::create(&Account::for_servers()?)?;
        fs::copy(example.join("index.html"), www.path().join("index.html"))
            .context("examples/feed/index.html")?;
        let cluster = Cluster::builder()
            .install(install)
            .setting("sse.port", port)
            .setting("sse.static_root", www.path().display())
            .start()?;
        let feed = fs::read_to_string(example.join("feed.sql")).context("examples/feed/feed.sql")?;
        let reply = cluster.session()?.run(&feed)?.ok().context("examples/feed/feed.sql")?;
        ensure!(reply.messages.is_empty(), "examples/feed/feed.sql got {}", reply.messages[0]);
        let client = cluster.http()?;
        let stream =
            cluster.sql("select url from sse.endpoints where routine::text like 'newsletter_added%'")?;
        ensure!(stream.starts_with('/'), "sse.endpoints has no URL for newsletter_added: {stream:?}");
        Ok(Self { cluster, client, stream, _www: www })
    }

    fn tell(&self) -> Result<()> {
        let psql = self.cluster.install().original().bindir.join("psql");
        println!(
            "\nopen     {}\n\n\
             insert   {} -h {} -U postgres -c \"insert into newsletters (title, content) values ('Hello', 'from psql')\"\n\n\
             listen   curl -N {}\n\n\
             Ctrl-C stops the server and removes everything.",
            self.client.url("/"),
            psql.display(),
            self.cluster.home().display(),
            self.client.url(&self.stream),
        );
        Ok(())
    }

    fn serve(&self, stop: &Receiver<()>) -> Result<()> {
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(Duration::from_millis(500)) {
            ensure!(self.cluster.is_running(), "the server has ended by itself:\n{}", self.cluster.log()?);
        }
        println!("\nstopped, removed");
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let result = self.check_page().and_then(|()| self.check_events());
        result.with_context(|| format!("the server's log:\n{}", self.cluster.log().unwrap_or_default()))
    }

    /// The page is served and listens where the stream is.
    fn check_page(&self) -> Result<()> {
        let page = self.client.get("/")?;
        ensure!(page.status() == 200, "the page answers {}: {}", page.status(), page.text());
        let content_type = page.header("content-type").unwrap_or("");
        ensure!(content_type.starts_with("text/html"), "the page is sent as {content_type:?}");
        let wanted = format!("new EventSource(\"{}\")", self.stream);
        ensure!(page.text().contains(&wanted), "the page does not say {wanted}");
        println!("  the page is served");
        Ok(())
    }

    fn check_events(&self) -> Result<()> {
        let mut stream = self.client.events(&self.stream)?;
        let ready = stream.next(PATIENCE)?;
        ensure!(ready.event == "sse.ready", "the first event is {ready:?}");

        let started = Instant::now();
        self.insert("'Hello'")?;
        expect(&mut stream, "Hello")?;
        println!(
            "  an inserted row arrives ({:.0} ms with psql's start)",
            started.elapsed().as_secs_f64() * 1000.0
        );

        let awkward = "two\nlines, \r\n\r\ndata: x, \"quotes\", \u{1f418}";
        self.insert(&format!("$${awkward}$$"))?;
        expect(&mut stream, awkward)?;
        println!("  an awkward one arrives unchanged");

        self.cluster.sql("begin; insert into newsletters (title) values ('never'); rollback")?;
        self.cluster.sql(&format!(
            "insert into newsletters (title) select 'row ' || n from generate_series(1, {MANY}) n"
        ))?;
        for number in 1..=MANY {
            expect(&mut stream, &format!("row {number}"))?;
        }
        println!("  {MANY} rows of one transaction arrive in order, one rolled back does not");
        Ok(())
    }

    fn insert(&self, title: &str) -> Result<()> {
        self.cluster.sql(&format!("insert into newsletters (title) values ({title})"))?;
        Ok(())
    }
}

/// The next event is a row with this title.
fn expect(stream: &mut EventStream, title: &str) -> Result<()> {
    let event = stream.next(AT_ONCE).with_context(|| format!("waiting for the row {title:?}"))?;
    let row: serde_json::Value = serde_json::from_str(&event.data)
        .with_context(|| format!("waiting for the row {title:?}, got {event:?}"))?;
    if row["title"] != title {
        bail!("waiting for the row {title:?}, got {event:?}");
    }
    Ok(())
}
