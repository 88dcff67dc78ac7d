//! The recipes of `docs/recipes/`, as they stand there.

use std::fs;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, workspace_root};

/// The first block of this language in a recipe.
pub(crate) fn block(recipe: &str, language: &str) -> Result<String> {
    let path = workspace_root().join("docs/recipes").join(recipe);
    let page = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (_, rest) = page.split_once(&format!("```{language}\n")).context("no such block")?;
    Ok(rest.split_once("\n```").context("the block has no end")?.0.to_owned())
}

/// Runs the SQL of a recipe, which must not warn.
pub(crate) fn set_up(cluster: &Cluster, recipe: &str) -> Result<()> {
    let reply = cluster.session()?.run(&block(recipe, "sql")?)?.ok()?;
    ensure!(reply.texts("WARNING").is_empty(), "{recipe}: {:?}", reply.texts("WARNING"));
    Ok(())
}
