//! A comment, routine or schema that changes under open streams: a page that comes back as browsers do hears
//! each event of its URL once, by the old rule or the new one (C2.4, C4.5, C6.4).
//!
//! Not for how a stream is ended: the gateway's own tests have that.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail, ensure};
use cluster::http::{Client, EventStream, StreamError};
use cluster::{Cluster, PATIENCE, Session, wait_for};
use common::calls::{self, ROLE};
use common::{SOON, announcer, status};

/// A page: it opens its stream again whenever that ends, with the last id that it was told.
struct Page {
    http: Client,
    path: String,
    stream: EventStream,
    returns: usize,
}

impl Page {
    fn open(http: Client, path: &str) -> Result<Self> {
        let stream = http.events(path)?.begun()?;
        Ok(Self { http, path: path.to_owned(), stream, returns: 0 })
    }

    /// The next event that is not `sse.ready`.
    fn next(&mut self) -> Result<(String, String)> {
        loop {
            match self.stream.next(SOON) {
                Ok(event) if event.event == "sse.ready" => {}
                Ok(event) => return Ok((event.event, event.data)),
                Err(StreamError::Ended) => {
                    let last = self.stream.last_event_id().to_owned();
                    self.stream = self.http.events_after(&self.path, &last)?;
                    self.returns += 1;
                }
                Err(error) => bail!("{error:?}"),
            }
        }
    }

    /// Reads to the end of the test: the numbers that came, and how often the page came back. `heard` is the
    /// last number so far. Gaps are numbers, too.
    fn read(mut self, heard: Arc<AtomicU32>) -> JoinHandle<Result<(Vec<u32>, usize)>> {
        thread::spawn(move || {
            let mut numbers = Vec::new();
            loop {
                let (name, data) = self.next()?;
                match name.as_str() {
                    "message" if data == "f end" => return Ok((numbers, self.returns)),
                    "message" if data.starts_with("f ") => numbers.push(data[2..].parse()?),
                    "message" => {}
                    "sse.gap" => numbers.push(GAP),
                    _ => bail!("{name}: {data}"),
                }
                heard.store(numbers.last().copied().unwrap_or_default(), Ordering::Relaxed);
            }
        })
    }
}

/// Stands among the numbers that a page has heard.
const GAP: u32 = u32::MAX;

fn comment(routine: &str, topic: &str) -> String {
    format!("comment on function {routine}(text) is E'@sse live\\n@sse_topic {topic}'")
}

fn prepare(session: &mut Session) -> Result<()> {
    let sql = format!(
        "create schema s; set search_path = s, public; {}; {}; {}",
        announcer("f", "@sse live"),
        // Its events are those of a page's old topic, and come between those of the new one.
        announcer("g", "@sse_publish\n@sse_topic one"),
        announcer("still", "@sse live\n@sse_topic still"),
    );
    session.run(&sql)?.ok().map(drop)
}

fn changes() -> [String; 6] {
    let again = announcer("f", "@sse live\n@sse_topic four").replace('\'', "''");
    [
        comment("f", "one"),
        comment("f", "two"),
        "comment on function f(text) is '@sse live'".to_owned(),
        format!(
            "begin; alter function f(text) rename to h; {}; alter function h(text) rename to f; commit",
            comment("h", "three")
        ),
        format!("do $d$ begin drop function s.f(text); execute '{again}'; end $d$"),
        format!(
            "begin; alter schema s rename to other; {}; alter schema other rename to s; commit",
            comment("other.f", "five")
        ),
    ]
}

#[test]
fn a_page_hears_every_event_of_its_url_whatever_becomes_of_its_topic() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let http = cluster.http()?;
    let mut session = cluster.session()?;
    prepare(&mut session)?;
    let mut still = Page::open(http, "/api/s/still/live")?;
    let (mut pages, mut heard, mut number) = (Vec::new(), Vec::new(), 0);
    let come = |first, heard: &mut Vec<Arc<AtomicU32>>| -> Result<_> {
        let last = Arc::<AtomicU32>::default();
        heard.push(Arc::clone(&last));
        Ok((first, Page::open(http, "/api/s/f/live")?.read(last)))
    };
    pages.push(come(1, &mut heard)?);
    for change in &changes() {
        session.run(change)?.ok().context(change.clone())?;
        pages.push(come(number + 1, &mut heard)?);
        for _ in 0..20 {
            number += 1;
            session.run(&format!("select f('f {number}'), g('g')"))?.ok()?;
        }
        // The next change comes when this one is known to all.
        wait_for(PATIENCE, change, || {
            Ok(heard.iter().all(|heard| heard.load(Ordering::Relaxed) == number).then_some(()))
        })
        .with_context(|| format!("{number} events; heard so far: {heard:?}"))?;
    }
    session.run("select f('f end')")?.ok()?;
    let mut returns = 0;
    for (first, page) in pages {
        let (numbers, returned) = page.join().map_err(|_| anyhow::anyhow!("a page has panicked"))??;
        returns += returned;
        ensure!(
            numbers == (first..=number).collect::<Vec<_>>(),
            "the page from {first} on heard {numbers:?}"
        );
    }
    ensure!(returns >= changes().len(), "the pages came back {returns} times");
    session.run("select still('x')")?.ok()?;
    ensure!(still.next()?.1 == "x" && still.returns == 0, "a page of another routine was touched");
    Ok(())
}

// The gateway never sees the topics in between.
#[test]
fn a_page_is_told_by_a_gap_what_changes_in_quick_succession_hide_from_it() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let http = cluster.http()?;
    let mut session = cluster.session()?;
    prepare(&mut session)?;
    let page = Page::open(http, "/api/s/f/live")?.read(Arc::default());
    let mut number = 0;
    for topic in 0..40 {
        session.run(&comment("f", &format!("t{topic}")))?.ok()?;
        for _ in 0..5 {
            number += 1;
            session.run(&format!("select f('f {number}')"))?.ok()?;
        }
    }
    session.run("select f('f end')")?.ok()?;
    let (numbers, _) = page.join().map_err(|_| anyhow::anyhow!("the page has panicked"))??;
    let mut last = 0;
    for (place, n) in numbers.iter().enumerate().filter(|(_, n)| **n != GAP) {
        let is_told = place > 0 && numbers[place - 1] == GAP;
        ensure!(*n == last + 1 || is_told && *n > last, "{n} after {last}: {numbers:?}");
        last = *n;
    }
    Ok(())
}

#[test]
fn a_page_begins_anew_when_its_snapshot_is_another_one() -> Result<()> {
    let cluster = calls::start(calls::builder())?;
    let http = cluster.http()?;
    cluster.sql(&format!(
        "create function one() returns text language sql as $$ select 'state one' $$;
         create function two() returns text language sql as $$ select 'state two' $$;
         grant execute on function one(), two() to {ROLE}; {}",
        announcer("f", "@sse live\n@sse_topic t")
    ))?;
    let mut page = Page::open(http, "/api/f/live")?;
    for (snapshot, expected) in [
        ("one", ("message", "state one")),
        ("two", ("message", "state two")),
        ("two as state", ("state", "state two")),
    ] {
        cluster.sql(&format!(
            "comment on function f(text) is E'@sse live\\n@sse_topic t\\n@sse_snapshot {snapshot}'"
        ))?;
        let (name, data) = page.next().context(snapshot)?;
        ensure!((name.as_str(), data.as_str()) == expected, "{snapshot}: {name} {data}");
    }
    // Neither the function's body nor what is not heard here matters.
    cluster.sql(
        "create or replace function two() returns text language sql as $$ select 'changed' $$;
         comment on function f(text) is E'@sse live on notice\\n@sse_topic t\\n@sse_snapshot two as state';
         comment on function f(text) is E'@sse live\\n@sse_topic t\\n@sse_snapshot two as state\\n@sse_scope all'",
    )?;
    let before = page.returns;
    cluster.sql("select f('x')")?;
    ensure!(page.next()? == ("message".to_owned(), "x".to_owned()) && page.returns == before);
    Ok(())
}

// Attack: whoever may not open a stream any more goes on listening.
#[test]
fn an_authorize_line_ends_the_streams_of_those_whom_it_leaves_out() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let http = cluster.http()?;
    cluster.sql(&announcer("f", "@sse live"))?;
    let mut page = Page::open(http, "/api/f/live")?;
    cluster.sql("comment on function f(text) is E'@sse live\\n@authorize\\n@sse_scope all'")?;
    ensure!(page.stream.wait_for_end(SOON)?.is_empty());
    ensure!(status(http, "/api/f/live")? == 401);
    Ok(())
}
