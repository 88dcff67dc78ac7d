//! Differential tests of capture (C3.1, C3.2): two clusters of one installation, one stock, one with pg_sse
//! preloaded, run the same SQL. What the client sees and what the server log says must be equal line by line,
//! and the events that the second one sends must be the expected ones.
//!
//! A test has a schema, an execution id and an `application_name` of its own name, so tests share a [`Pair`]
//! and run side by side. After a test's script a routine that is not annotated raises something, which must
//! become neither an event nor a log line: [`EPILOGUE`] looks for an activation or a threshold that was left
//! behind.
//!
//! Not for what only pg_sse does (its own warnings, its own functions): such SQL belongs in [`Case::setup`].

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};
use cluster::http::{Client, EventStream};
use cluster::{Builder, Cluster, LogMark, PATIENCE, Reply, Session, SessionOptions};

/// `%a` tells the tests apart, `%p` and `%P` a session's parallel workers (their `%a` is empty).
const LOG_LINE_PREFIX: &str = "[%a,%p,%P] ";

/// In both clusters: a role without privileges, and the routine whose stream all tests listen on.
const FURNITURE: &str = "
    create role alice login;
    create function public.probe(message text) returns void language plpgsql
        as $f$ begin raise info '%', message; end $f$;
    comment on function public.probe(text) is '@sse';";

/// Names the session in the log, even if it logs nothing else: two logs without it are equal, and prove
/// nothing.
const PROLOGUE: &str = "do $$ begin raise log 'prologue'; end $$;\n";

/// Client and log show whether a threshold stayed lowered, the events whether an activation was left behind.
const EPILOGUE: &str = "\nrollback;\nshow log_min_messages;\n\
    do $$ begin raise info 'epilogue'; raise notice 'epilogue'; raise warning 'epilogue'; end $$;\n";

/// What varies between two runs: the digits after these words.
const VARYING: [&str; 13] = [
    "pid ",
    "PID ",
    "PID=",
    "process ",
    "Process ",
    "relation ",
    "duration: ",
    "transaction ",
    "pg_temp_",
    "pg_toast_",
    "OID ",
    "oid ",
    "__PLTcl_proc_",
];

/// Two clusters, equal but for the preload.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) stock: Cluster,
    pub(crate) preloaded: Cluster,
    http: Client,
}

impl Pair {
    /// The one that the tests of a binary share; ends with the process.
    pub(crate) fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<std::result::Result<Pair, String>> = OnceLock::new();
        let pair =
            SHARED.get_or_init(|| Self::start(|builder| builder).map_err(|error| format!("{error:#}")));
        pair.as_ref().map_err(|error| anyhow!("no clusters: {error}"))
    }

    /// For a test that changes a server, or needs other settings.
    pub(crate) fn start(customize: impl Fn(Builder) -> Builder) -> Result<Self> {
        let builder = || customize(Cluster::builder()).setting("log_line_prefix", LOG_LINE_PREFIX);
        // The line about a forgotten annotation is one that a stock server's log does not have (C3.7).
        let preloaded = builder().setting("sse.warn_unbound", "off").start()?;
        Self::of(builder().stock().start()?, preloaded)
    }

    /// Of two clusters that the test has made itself, with [`Self::log_line_prefix`].
    pub(crate) fn of(stock: Cluster, preloaded: Cluster) -> Result<Self> {
        stock.sql(FURNITURE)?;
        preloaded.sql(FURNITURE)?;
        let http = preloaded.http()?;
        Ok(Self { stock, preloaded, http })
    }

    /// The setting that [`Self::of`] wants.
    pub(crate) fn log_line_prefix() -> (&'static str, &'static str) {
        ("log_line_prefix", LOG_LINE_PREFIX)
    }

    /// A test. `name` is one word, unique in the test binary.
    pub(crate) fn case(&self, name: &str) -> Case<'_> {
        Case { pair: self, name: name.to_owned(), setup: String::new(), options: String::new() }
    }

    /// A stream of the preloaded cluster, read up to `sse.ready`.
    pub(crate) fn events(&self, target: &str) -> Result<EventStream> {
        self.http.events(target)?.begun()
    }

    /// Runs SQL in both and compares nothing; an error in either is an error.
    pub(crate) fn both(&self, sql: &str) -> Result<()> {
        self.stock.sql(sql).context("in the stock cluster")?;
        self.preloaded.sql(sql).context("in the preloaded cluster").map(drop)
    }
}

/// [`Pair::case`] of the shared pair.
pub(crate) fn case(name: &str) -> Result<Case<'static>> {
    Ok(Pair::shared()?.case(name))
}

/// One comparison.
#[derive(Clone, Debug)]
pub(crate) struct Case<'a> {
    pair: &'a Pair,
    name: String,
    setup: String,
    options: String,
}

/// What both clusters answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// What the client saw: statements, results, messages with all fields.
    pub(crate) client: String,
    /// What the server log says of it.
    pub(crate) log: String,
}

impl<'a> Case<'a> {
    /// SQL that makes what the script needs; not compared, as superuser, in the test's own schema.
    pub(crate) fn setup(mut self, sql: &str) -> Self {
        self.setup.push_str(sql);
        self
    }

    /// Further `PGOPTIONS`.
    pub(crate) fn options(mut self, options: &str) -> Self {
        self.options.push_str(options);
        self
    }

    /// [`Self::answer`], for a test that wants nothing more of it.
    pub(crate) fn emits(&self, script: &str, events: &[&str]) -> Result<()> {
        self.answer(script, events).map(drop)
    }

    /// Runs the script in both clusters through psql, and compares.
    pub(crate) fn answer(&self, script: &str, events: &[&str]) -> Result<Answer> {
        self.prepare()?;
        let watch = Watch::start(self)?;
        let script = format!("{PROLOGUE}{script}{EPILOGUE}");
        let stock = self.run(&self.pair.stock, &script)?;
        let preloaded = self.run(&self.pair.preloaded, &script)?;
        compare("what the client sees", &stock, &preloaded)?;
        let log = watch.finish(events).map_err(|error| anyhow!("{error:#}\nthe client saw:\n{preloaded}"))?;
        Ok(Answer { client: preloaded, log })
    }

    /// Runs `act` with sessions of its own in both clusters, compares, and returns the log.
    pub(crate) fn acts(&self, act: impl FnOnce(&Self) -> Result<()>, events: &[&str]) -> Result<String> {
        self.prepare()?;
        let watch = Watch::start(self)?;
        act(self)?;
        watch.finish(events)
    }

    /// A session in each cluster, for [`Self::acts`].
    pub(crate) fn session(&self) -> Result<Twin> {
        let options = SessionOptions { options: self.pg_options(), ..SessionOptions::default() };
        let mut twin = Twin {
            stock: self.pair.stock.session_with(&options)?,
            preloaded: self.pair.preloaded.session_with(&options)?,
        };
        twin.run(&format!("set application_name = '{}'", self.name))?;
        twin.run(PROLOGUE)?;
        Ok(twin)
    }

    fn prepare(&self) -> Result<()> {
        let name = &self.name;
        let start =
            format!("create schema {name}; grant all on schema {name} to public; set search_path = {name};");
        self.pair.both(&format!("{start}\n{}", self.setup)).context("setup")
    }

    fn pg_options(&self) -> String {
        format!("-c search_path={0},public -c sse.execution_id={0} {1}", self.name, self.options)
    }

    fn run(&self, cluster: &Cluster, script: &str) -> Result<String> {
        let mut psql = cluster.psql();
        psql.env("PGAPPNAME", &self.name).env("PGOPTIONS", self.pg_options());
        Ok(masked(&cluster.script_by(psql, script)?))
    }
}

/// A session in each cluster: the same statements, the same replies.
#[derive(Debug)]
pub(crate) struct Twin {
    pub(crate) stock: Session,
    pub(crate) preloaded: Session,
}

impl Twin {
    /// Runs the SQL in both, compares, and returns the reply. An error of the SQL is in the reply.
    pub(crate) fn run(&mut self, sql: &str) -> Result<Reply> {
        self.send(sql)?;
        self.wait()
    }

    /// [`Session::send`] in both.
    pub(crate) fn send(&mut self, sql: &str) -> Result<()> {
        self.stock.send(sql)?;
        self.preloaded.send(sql)
    }

    /// [`Session::wait`] in both, and compares.
    pub(crate) fn wait(&mut self) -> Result<Reply> {
        let (stock, preloaded) = (self.stock.wait(PATIENCE)?, self.preloaded.wait(PATIENCE)?);
        compare("a reply", &masked(&format!("{stock:#?}")), &masked(&format!("{preloaded:#?}")))?;
        Ok(preloaded)
    }
}

/// Listens on the preloaded cluster, and remembers where the logs were.
struct Watch<'a> {
    case: &'a Case<'a>,
    stream: EventStream,
    stock: LogMark,
    preloaded: LogMark,
}

impl<'a> Watch<'a> {
    fn start(case: &'a Case<'a>) -> Result<Self> {
        let pair = case.pair;
        let stream = pair.events(&format!("/api/probe/info?{}", case.name))?;
        Ok(Self { case, stream, stock: pair.stock.log_mark()?, preloaded: pair.preloaded.log_mark()? })
    }

    /// Compares logs and events, and returns the log.
    fn finish(mut self, events: &[&str]) -> Result<String> {
        let Case { pair, name, .. } = self.case;
        let stock = LogPart::of(&pair.stock.log_since(self.stock)?, name);
        let preloaded = LogPart::of(&pair.preloaded.log_since(self.preloaded)?, name);
        let got = self.events_until_now()?;
        if got != events {
            bail!("the events are {got:#?}, expected {events:#?}\nthe log:\n{}", preloaded.own);
        }
        compare("the server log", &stock.own, &preloaded.own)?;
        // Above LOG, an empty log is what the test must show.
        let is_mute = ["fatal", "panic"]
            .iter()
            .any(|level| self.case.options.contains(&format!("log_min_messages={level}")));
        if !is_mute && !stock.own.lines().any(|line| line.starts_with("LOG: ") && line.ends_with("prologue"))
        {
            bail!("the sessions of {name} are not in the logs, which proves nothing:\n{}", stock.own);
        }
        compare("the log of parallel workers", &stock.of_workers, &preloaded.of_workers)?;
        Ok(preloaded.own)
    }

    /// All subscribers see one order, so nothing older comes after an event that is published now.
    fn events_until_now(&mut self) -> Result<Vec<String>> {
        let name = &self.case.name;
        let end = format!("end of {name}");
        let sql = format!("set sse.execution_id = '{name}'; select public.probe('{end}')");
        self.case.pair.preloaded.sql(&sql)?;
        let mut got = Vec::new();
        loop {
            let event = self.stream.next(PATIENCE).with_context(|| format!("after {got:?}"))?;
            if event.data == end {
                return Ok(got);
            }
            // An event that has a name shows it: `name: data`.
            got.push(if event.event == "message" {
                event.data
            } else {
                format!("{}: {}", event.event, event.data)
            });
        }
    }
}

/// The lines of one test.
struct LogPart {
    own: String,
    /// Sorted, because workers run side by side. Lines of siblings that an error stops are left out, because
    /// they come or not by chance.
    of_workers: String,
}

impl LogPart {
    fn of(log: &str, name: &str) -> Self {
        let mut pids = BTreeSet::new();
        let (mut own, mut of_workers) = (String::new(), Vec::new());
        for entry in entries(log) {
            let Some((application, pid, leader, text)) = split_prefix(&entry) else { continue };
            if application == name {
                pids.insert(pid.to_owned());
                let _ = writeln!(own, "{}", masked(text));
            } else if pids.contains(leader) && !text.contains("terminating ") {
                of_workers.push(masked(text));
            }
        }
        of_workers.sort();
        Self { own, of_workers: of_workers.join("\n") }
    }
}

/// Lines with those that continue them.
fn entries(log: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in log.lines() {
        match entries.last_mut() {
            Some(entry) if !line.starts_with('[') => {
                entry.push('\n');
                entry.push_str(line);
            }
            _ => entries.push(line.to_owned()),
        }
    }
    entries
}

/// Application name, process, leader, and the rest.
fn split_prefix(entry: &str) -> Option<(&str, &str, &str, &str)> {
    let (prefix, text) = entry.strip_prefix('[')?.split_once("] ")?;
    let mut fields = prefix.split(',');
    Some((fields.next()?, fields.next()?, fields.next()?, text))
}

fn masked(text: &str) -> String {
    let mut result = text.to_owned();
    for word in VARYING {
        let mut parts = result.split(word);
        let mut masked = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            masked.push_str(word);
            masked.push_str(if rest.len() < part.len() { "#" } else { "" });
            masked.push_str(rest);
        }
        result = masked;
    }
    result
}

/// The first difference, with the lines before it.
fn compare(what: &str, stock: &str, preloaded: &str) -> Result<()> {
    if stock == preloaded {
        return Ok(());
    }
    let (stock, preloaded): (Vec<_>, Vec<_>) = (stock.lines().collect(), preloaded.lines().collect());
    let same = stock.iter().zip(&preloaded).take_while(|(a, b)| a == b).count();
    let part = |lines: &[&str], from: usize, count: usize| {
        lines.iter().skip(from).take(count).copied().collect::<Vec<_>>().join("\n")
    };
    let before = same.saturating_sub(8);
    bail!(
        "{what} differs in line {}:\n{}\n--- stock:\n{}\n--- preloaded:\n{}",
        same + 1,
        part(&stock, before, same - before),
        part(&stock, same, 8),
        part(&preloaded, same, 8)
    )
}
