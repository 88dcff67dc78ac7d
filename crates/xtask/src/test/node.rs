//! The step for packages of npm: each is installed by its lock file, and its own `npm test` runs. Before the
//! black-box tests, which run some of them against a server.
//!
//! Not for where they are installed: `cluster::node_package`.

use anyhow::Result;
use cluster::{has_node, node_package, npm, skip, workspace_root};

use super::steps::{Outcome, Run};
use super::tally::Tally;
use crate::progress;

/// What the black-box tests run: installed, and nothing to test in them.
const TOOLS: [&str; 4] =
    ["pg_test/node", "pg_test/node_documents", "pg_test/browsers", "pg_test/node_interop"];

/// The packages with tests of their own. One that is not there yet is left out.
const PACKAGES: [&str; 1] = ["clients/js"];

/// Where the checkout is, for packages that look at files of it: they are tested in a copy.
const ROOT: &str = "PG_SSE_ROOT";

impl Run {
    /// Where neither Node nor a way to install it is, the tests that need it fail or are skipped by name; so
    /// are these.
    pub(super) fn node(&mut self) -> Result<Outcome> {
        if !has_node() {
            skip("node", "Node with npm")?;
            let skipped = vec!["node: there is no Node with npm (1)".to_owned()];
            return Ok(Outcome {
                tally: Tally { skipped: 1, ..Tally::default() },
                skipped,
                ..Outcome::none()
            });
        }
        for package in TOOLS {
            node_package(package)?;
        }
        let mut outcome = Outcome::passed();
        let root = workspace_root();
        for package in PACKAGES.iter().filter(|package| root.join(package).join("package.json").is_file()) {
            let folder = node_package(package)?;
            let mut tests = npm()?;
            tests.arg("test").current_dir(folder).env("CI", "true").env(ROOT, root);
            let tested = progress::run(&format!("npm test in {package}"), tests)?;
            outcome.tally.add(Tally::one(tested.status.success()));
            if !tested.status.success() {
                outcome.output.push_str(&tested.text());
            }
        }
        Ok(outcome)
    }
}
