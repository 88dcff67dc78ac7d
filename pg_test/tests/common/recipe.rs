//! The recipes of `docs/recipes/`: their SQL in a server, and their pages where a browser finds them, both as
//! they stand in the documents.
//!
//! Not for what a recipe promises: that is in the tests.

use std::fs;

use anyhow::{Context, Result, ensure};
use cluster::{Account, Builder, Cluster, Scratch, lasting_port, workspace_root};

use super::calls;

/// A block of this language in a recipe, counted from 0.
pub(crate) fn block(recipe: &str, language: &str, index: usize) -> Result<String> {
    let path = workspace_root().join("docs/recipes").join(recipe);
    let page = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let rest = page.split(&format!("```{language}\n")).nth(index + 1).context("no such block")?;
    Ok(rest.split_once("\n```").context("the block has no end")?.0.to_owned())
}

/// Runs SQL of a recipe, which must not warn, and leaves no routine with a problem.
pub(crate) fn run(cluster: &Cluster, sql: &str) -> Result<()> {
    let reply = cluster.session()?.run(sql)?.ok()?;
    ensure!(reply.texts("WARNING").is_empty(), "{:?}", reply.texts("WARNING"));
    let problems = cluster.sql("select routine, problem from sse.endpoints where problem is not null")?;
    ensure!(problems.is_empty(), "{problems}");
    Ok(())
}

/// A server with recipes, and their pages at `/counter.html` and so on.
pub(crate) struct Stand {
    pub(crate) cluster: Cluster,
    _pages: Scratch,
}

impl Stand {
    pub(crate) fn of(recipe: &str) -> Result<Self> {
        Self::with(&[recipe], calls::builder())
    }

    pub(crate) fn with(recipes: &[&str], builder: Builder) -> Result<Self> {
        let pages = Scratch::create(&Account::for_servers()?)?;
        for recipe in recipes {
            fs::write(pages.path().join(file_of(recipe)), block(recipe, "html", 0)?)?;
        }
        // Pages know one port: the gateway comes back to it.
        let builder =
            builder.setting("sse.static_root", pages.path().display()).setting("sse.port", lasting_port()?);
        let cluster = calls::start(builder)?;
        for recipe in recipes {
            run(&cluster, &block(recipe, "sql", 0)?)?;
        }
        Ok(Self { cluster, _pages: pages })
    }

    /// The address of a page, at the name that the documents use.
    pub(crate) fn page(&self, recipe: &str) -> Result<String> {
        let port = self.cluster.http()?.address().port();
        Ok(format!("http://localhost:{port}/{}", file_of(recipe)))
    }
}

/// Of the page; a recipe may be in another folder.
fn file_of(recipe: &str) -> String {
    recipe.rsplit('/').next().unwrap_or(recipe).replace(".md", ".html")
}
