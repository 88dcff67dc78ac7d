//! What the black-box tests of `pg_test/tests/` share.
//!
//! The tests themselves use [`cluster`]; here is only what is about pg_sse and not about PostgreSQL: comparing a server
//! that has pg_sse with one that has not.
//!
//! Not for helpers of a single test file: those live there.

#![forbid(unsafe_code)]

use anyhow::{Result, bail};
use cluster::{Builder, Cluster};

/// Two servers that differ in nothing but the preloaded library. What is true of one must be true of the other (C3.2):
/// a script is run against both, and what the client sees and what the server logs must be equal, line by line.
#[derive(Debug)]
pub struct Pair {
    /// Postgres as it comes.
    pub stock: Cluster,
    /// With pg_sse preloaded and created.
    pub preloaded: Cluster,
}

/// What one script gave, on both servers alike.
#[derive(Clone, Debug)]
pub struct Same {
    /// What the client saw.
    pub client: String,
    /// What the server logged.
    pub log: String,
}

impl Pair {
    /// Two servers with stock settings.
    ///
    /// # Errors
    /// One does not start.
    pub fn start() -> Result<Self> {
        Self::start_with(|builder| builder)
    }

    /// Two servers, both changed in the same way.
    ///
    /// # Errors
    /// One does not start.
    pub fn start_with(change: impl Fn(Builder) -> Builder) -> Result<Self> {
        // No times and process ids in the log, and no lines that come whenever they like.
        let comparable = || {
            let quiet = Cluster::builder().setting("log_line_prefix", "").setting("log_checkpoints", "off");
            change(quiet.setting("autovacuum", "off"))
        };
        Ok(Self { stock: comparable().stock().start()?, preloaded: comparable().start()? })
    }

    /// Runs a script against both in database `postgres`.
    ///
    /// # Errors
    /// The first line that differs, of what the client sees or of the log.
    pub fn compare(&self, script: &str) -> Result<Same> {
        let expected = run(&self.stock, script)?;
        let found = run(&self.preloaded, script)?;
        difference("client", &expected.client, &found.client)?;
        difference("server log", &expected.log, &found.log)?;
        Ok(found)
    }
}

fn run(cluster: &Cluster, script: &str) -> Result<Same> {
    let mark = cluster.log_mark()?;
    let client = cluster.script(script)?;
    Ok(Same { client, log: cluster.log_since(mark)? })
}

fn difference(what: &str, stock: &str, preloaded: &str) -> Result<()> {
    if stock == preloaded {
        return Ok(());
    }
    let (expected, found): (Vec<&str>, Vec<&str>) = (stock.lines().collect(), preloaded.lines().collect());
    let same = expected.iter().zip(&found).take_while(|(one, other)| one == other).count();
    let line = |lines: &[&str]| lines.get(same).map_or("(nothing)".to_owned(), |line| format!("{line:?}"));
    bail!(
        "the {what} differs in line {}:\n  stock:     {}\n  preloaded: {}\n--- stock ---\n{stock}\n--- preloaded ---\n{preloaded}",
        same + 1,
        line(&expected),
        line(&found),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_equal_is_equal_and_the_first_difference_is_named() {
        difference("client", "a\nb\n", "a\nb\n").unwrap();
        let error = difference("client", "a\nb\n", "a\nc\n").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("\"b\"") && error.contains("\"c\""), "{error}");
        assert!(difference("server log", "", "x\n").unwrap_err().to_string().contains("(nothing)"));
    }

    #[test]
    fn a_pair_agrees_on_ordinary_sql_and_sees_what_differs() {
        let pair = Pair::start().unwrap();
        let same = pair.compare("select 1 as a;\nselect 1/0;\n").unwrap();
        assert!(same.client.contains("ERROR:  22012") && same.log.contains("division by zero"), "{same:?}");
        let error =
            pair.compare("select name from pg_available_extensions where installed_version is not null;");
        assert!(error.unwrap_err().to_string().contains("pg_sse"));
    }
}
