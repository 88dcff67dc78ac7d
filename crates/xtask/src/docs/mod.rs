//! `cargo xtask docs`: the documentation as a site, checked, in `target/site`.
//!
//! Not for what the pages say.

mod book;
mod html;
mod llms;
mod page;
mod rules;
mod site;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use cluster::workspace_root;

use book::Book;
pub(crate) use page::Page;
pub(crate) use rules::violations;

/// Checks the pages, builds the site and checks it. Returns its folder.
///
/// # Errors
/// A page breaks a rule, a link leads nowhere, or mdBook cannot be had.
pub(crate) fn build() -> Result<PathBuf> {
    let root = workspace_root();
    let broken = violations(root)?;
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    let book = Book::read(root)?;
    let site = site::build(root, &book)?;
    for (name, text) in [("llms.txt", llms::list(&book)), ("llms-full.txt", llms::full(&book))] {
        fs::write(site.join(name), text).context(name)?;
    }
    let dead = html::dead_links(&site)?;
    ensure!(dead.is_empty(), "{}", dead.join("\n"));
    Ok(site)
}

/// Builds the site and says where it is.
pub(crate) fn run() -> Result<()> {
    let site = build()?;
    println!("the site is in {}; begin with index.html", site.display());
    Ok(())
}
