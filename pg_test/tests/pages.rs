//! The pages of `docs/`: every block of SQL, every command with what it prints, and every line of
//! postgresql.conf, run in the order of the page, on a server of its own.
//!
//! A block with the word `excerpt` after its language is left out; `cargo xtask test` has a rule for the
//! rest (crates/xtask/src/docs/rules.rs). `=>` is a statement for psql, whose output has to have the lines of
//! the page in their order. `$` is a command: its output has to begin with the lines of the page, where they
//! are given; one that goes on (a stream) may be given them by what comes later on the page. Ids, dates and
//! times differ. A line `…` stands for any lines, and a command with `…` in it is not run.
//!
//! Not for pages in a browser (recipes_pages.rs), proxies (proxies.rs) and clients in JavaScript.

#[path = "pages/block.rs"]
mod block;
mod common;
#[path = "pages/output.rs"]
mod output;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use block::{Block, blocks, steps};
use cluster::{Cluster, PATIENCE, Session, wait_for, workspace_root};
use common::calls::builder;
use output::{begins, difference, has_lines, normal};
use tempfile::TempDir;

/// What a page needs that is not on it.
#[derive(Default)]
struct Setup {
    settings: &'static [(&'static str, &'static str)],
    /// Before the first block.
    before: String,
    /// A file of the checkout, for psql.
    script: Option<&'static str>,
    /// After the last block, for the streams that are open.
    after: &'static str,
}

/// Its example needs pgcrypto.
const CHAT: &str = "chat.md";

fn setup(page: &str) -> Setup {
    const NEWS: &str = "create table news (id int generated always as identity, title text);";
    let with = |before: &str| Setup { before: before.to_owned(), ..Setup::default() };
    match page {
        "annotations.md" => with(
            "create function news_added() returns trigger language plpgsql as 'begin return null; end';
             create function f(t text) returns void language plpgsql as 'begin end'",
        ),
        "publishing.md" => with(&format!(
            "{NEWS} create function big() returns void language plpgsql
                 as $$ begin raise info '%', repeat('x', 1100000); end $$;
             comment on function big() is '@sse_publish'",
        )),
        "calls.md" => with(
            "create table notes (owner text); create schema shop;
             create table shop.users (id int, name text, roles text[], password_hash text);
             create function shop.crypt(text, text) returns text language sql as 'select $1';
             create function buy(_item_id int) returns void language plpgsql
                 as $$ begin raise exception using message = 'this item is sold out', errcode = 'PT404'; end $$;
             comment on function buy(int) is 'HTTP POST'",
        ),
        CHAT => Setup {
            settings: &[("sse.call_role", "chat"), ("sse.user_parameters", "on")],
            script: Some("examples/chat/setup.sql"),
            ..Setup::default()
        },
        "snapshots.md" => Setup { after: "update visits set n = n + 1", ..Setup::default() },
        "streams.md" => Setup {
            after: "select f('plain'); select f(repeat('x', 2000000)); select paid(); select f(E'one\\ntwo\\nthree')",
            ..with(
                "create function f(t text) returns void language plpgsql as $$ begin raise info '%', t; end $$;
                 comment on function f(text) is '@sse';
                 create function paid() returns void language plpgsql as $$ begin raise info 'paid'; end $$;
                 comment on function paid() is E'@sse_publish\\n@sse_event order.paid'",
            )
        },
        "typescript.md" => Setup { settings: &[("sse.serve_client", "on")], ..Setup::default() },
        "who-may-hear.md" => Setup {
            after: "insert into notification (user_id, body) values (42, 'for alice')",
            ..with("create function change_my_profile() returns void language sql as ''")
        },
        _ => Setup::default(),
    }
}

#[test]
fn every_block_of_the_documentation_does_what_the_page_says() -> Result<()> {
    blocks_do_what_is_said(|page| page != CHAT)
}

#[test]
fn every_block_of_the_page_about_the_chat_does_what_the_page_says() -> Result<()> {
    if !common::has_extension("pages", "pgcrypto")? {
        return Ok(());
    }
    blocks_do_what_is_said(|page| page == CHAT)
}

fn blocks_do_what_is_said(is_meant: impl Fn(&str) -> bool) -> Result<()> {
    let docs = workspace_root().join("docs");
    let only = std::env::var("PG_SSE_PAGE").ok();
    let mut wrong = Vec::new();
    for path in pages(&docs)? {
        let name = path.strip_prefix(&docs)?.to_string_lossy().into_owned();
        if !is_meant(&name) || only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let blocks = blocks(&fs::read_to_string(&path)?);
        if !blocks.is_empty() {
            wrong.extend(
                Stand::new(&name)?.run(&blocks)?.into_iter().map(|what| format!("docs/{name}:{what}")),
            );
        }
    }
    ensure!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n\n"));
    Ok(())
}

#[test]
fn the_page_of_sql_has_every_function_and_view_and_who_may_use_it() -> Result<()> {
    let cluster = common::shared();
    let may = |kind: &str, privilege: &str, name: &str| {
        format!(
            "case when has_{kind}_privilege('nobody_special', {name}, '{privilege}') then 'everybody'
                  when has_{kind}_privilege('pg_monitor', {name}, '{privilege}') then '`pg_monitor`' else 'granted' end"
        )
    };
    cluster.sql("create role nobody_special")?;
    let there = cluster.sql(&format!(
        "select string_agg(line, E'\\n' order by line collate \"C\") from (
             select format('`sse.%s(%s)` | %s', proname, pg_get_function_identity_arguments(oid), {}) as line
               from pg_proc where pronamespace = 'sse'::regnamespace and proname not like '\\_%'
             union all
             select format('`sse.%s` | %s', relname, {})
               from pg_class where relnamespace = 'sse'::regnamespace and relkind in ('r', 'v', 'm')
                and relname not like '\\_%') as all_of_them",
        may("function", "execute", "oid"),
        may("table", "select", "oid"),
    ))?;
    let page = fs::read_to_string(workspace_root().join("docs/sql.md"))?;
    let mut told: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter(|row| row.starts_with("`sse.") && row.matches(" | ").count() == 2)
        .filter_map(|row| row.rsplit_once(" | ").map(|(cells, _)| cells))
        .collect();
    told.sort_unstable();
    assert_eq!(told, there.lines().collect::<Vec<_>>(), "docs/sql.md and the catalog");
    let columns = cluster.sql(
        "select string_agg(attname, ' ' order by attnum) from pg_attribute
          where attrelid = 'sse.endpoints'::regclass and attnum > 0",
    )?;
    let (_, of_endpoints) = page.split_once("### sse.endpoints").context("no columns")?;
    for column in columns.split(' ') {
        ensure!(
            of_endpoints.contains(&format!("\n| `{column}` |")),
            "sse.endpoints.{column} is not described"
        );
    }
    Ok(())
}

/// The pages, sorted.
fn pages(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(pages(&path)?);
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A server for one page.
struct Stand {
    cluster: Cluster,
    session: Session,
    folder: TempDir,
    environment: BTreeMap<String, String>,
    after: &'static str,
    /// What goes on, with what it has to print until the page ends.
    running: Vec<Running>,
}

struct Running {
    line: usize,
    process: Child,
    output: PathBuf,
    wanted: Vec<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Stand {
    fn new(page: &str) -> Result<Self> {
        let Setup { settings, before, script, after } = setup(page);
        let builder = settings.iter().fold(builder(), |builder, (name, value)| builder.setting(name, value));
        let cluster = builder.start()?;
        cluster.sql("create role app login; create extension pg_sse")?;
        if let Some(script) = script {
            let output =
                cluster.psql().args(["-X", "-q", "-f"]).arg(workspace_root().join(script)).output()?;
            ensure!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let mut session = cluster.session()?;
        session.run(&before)?.ok().with_context(|| format!("before {page}"))?;
        cluster.comes_to(PATIENCE, "calls are taken", "select calls from sse.stat_gateway", "ready")?;
        let environment = BTreeMap::new();
        Ok(Self { cluster, session, folder: tempfile::tempdir()?, environment, after, running: Vec::new() })
    }

    /// Everything that is not as the page says.
    fn run(mut self, blocks: &[Block]) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for block in blocks {
            let done = match block.language.as_str() {
                "sql" => self.sql(&block.text),
                "conf" => self.configuration(&block.text),
                _ => self.console(block),
            };
            if let Err(error) = done {
                wrong.push(format!("{}: {error:#}", block.line));
            }
        }
        self.session.run(self.after)?.ok()?;
        for running in std::mem::take(&mut self.running) {
            let mut found = Vec::new();
            let seen = wait_for(PATIENCE, "a stream brings what the page says", || {
                found = printed(&running.output)?;
                Ok(begins(&running.wanted, &found).then_some(()))
            });
            if seen.is_err() {
                wrong.push(format!("{}: {}", running.line, difference(&running.wanted, &found)));
            }
        }
        Ok(wrong)
    }

    /// No error, no WARNING, and no routine with a problem.
    fn sql(&mut self, sql: &str) -> Result<()> {
        // The harness has it.
        let sql = sql.replace("CREATE ROLE app LOGIN;", "");
        let reply = self.session.run(&sql)?.ok()?;
        ensure!(reply.texts("WARNING").is_empty(), "{:?}", reply.texts("WARNING"));
        let problems =
            self.cluster.sql("select routine, problem from sse.endpoints where problem is not null")?;
        ensure!(problems.is_empty(), "{problems}");
        Ok(())
    }

    /// Each line names a setting, and has a value that it takes.
    fn configuration(&mut self, text: &str) -> Result<()> {
        for line in text.lines() {
            let line = line.split(" #").next().unwrap_or_default().trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line.split_once('=').with_context(|| format!("no setting: {line}"))?;
            let sql = format!("alter system set {} = {}; alter system reset {0}", name.trim(), value.trim());
            for statement in sql.split("; ") {
                self.session.run(statement)?.ok().with_context(|| line.to_owned())?;
            }
        }
        Ok(())
    }

    fn console(&mut self, block: &Block) -> Result<()> {
        for step in steps(&block.text)? {
            let step_wanted: Vec<String> = step.output.iter().map(|line| normal(line)).collect();
            if step.prompt == "=>" {
                self.statement(&step.command, &step.output)?;
            } else if !step.command.contains('…') {
                self.command(block.line, &step.command, step_wanted)?;
            }
        }
        Ok(())
    }

    fn statement(&self, sql: &str, wanted: &[String]) -> Result<()> {
        let output = self.cluster.psql().args(["-X", "-c", sql]).output()?;
        let found = [output.stderr, output.stdout].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        has_lines(wanted, &found.concat()).with_context(|| sql.to_owned())
    }

    fn command(&mut self, line: usize, command: &str, wanted: Vec<String>) -> Result<()> {
        let port = self.cluster.http()?.address().port();
        let command = command.replace("localhost:8080", &format!("localhost:{port}"));
        let is_word = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if let Some((name, value)) = command.split_once('=').filter(|(name, _)| is_word(name)) {
            self.environment.insert(name.to_owned(), value.to_owned());
            return Ok(());
        }
        if command.contains("$TOKEN_OF_42") {
            let token = self.cluster.sql("select sse.issue_token('42')")?;
            self.environment.insert("TOKEN_OF_42".to_owned(), token);
        }
        let is_in_background = command.ends_with('&');
        let mut script = command.trim_end_matches('&').to_owned();
        if wanted.is_empty() && !script.contains(" -f") {
            // Nothing says what it must print, so that it must at least be no error.
            script = script.replace("curl ", "curl --fail-with-body ");
        }
        if !script.contains('|') && script.starts_with("curl ") {
            script.insert_str(0, "exec ");
        }
        let output = self.folder.path().join(format!("output-{}", self.running.len()));
        let errors = self.folder.path().join("errors");
        let mut process = self.shell(&script)?;
        process.stdout(File::create(&output)?).stderr(File::create(&errors)?);
        let mut process = process.spawn()?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = process.try_wait()? {
                break status;
            }
            let found = printed(&output)?;
            let is_open = found.iter().any(|line| line == "event: sse.ready");
            if is_open && (is_in_background || wanted.is_empty() || begun.elapsed() > common::SOON / 10) {
                self.running.push(Running { line, process, output, wanted });
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let _ = process.kill();
                let _ = process.wait();
                bail!("{command}\ndoes not end: {}", found.join("\n"));
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        let said = fs::read_to_string(&errors)?;
        if command.starts_with("psql ") {
            return has_lines(&wanted, &format!("{said}{}", fs::read_to_string(&output)?)).context(command);
        }
        let found = printed(&output)?;
        ensure!(status.success() || !wanted.is_empty(), "{command}\n{}\n{said}", found.join("\n"));
        ensure!(begins(&wanted, &found), "{command}\n{}\n{said}", difference(&wanted, &found));
        Ok(())
    }

    fn shell(&self, script: &str) -> Result<Command> {
        let psql = self.cluster.psql();
        let programs = Path::new(psql.get_program()).parent().context("no folder of psql")?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("/bin/sh");
        for (name, value) in psql.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.args(["-c", script]).current_dir(self.folder.path()).stdin(Stdio::null());
        shell.env("PATH", format!("{}:{path}", programs.display())).envs(&self.environment);
        Ok(shell)
    }
}

/// What a command has printed so far, with ids and times made equal.
fn printed(file: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(file)?;
    Ok(text.lines().map(|line| normal(line.trim_end())).collect())
}
