//! Checks the built site: every link of every page leads to a file, and to a place in it, that is there.
//!
//! Beside the check of the sources (`rules.rs`), because what counts is what mdBook made of them.
//!
//! Not for links to elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::book::{files_below, resolve};

/// All pages in one, with anchors of its own, and what is shown for a page that is not there, whose links
/// begin at the root of a site.
const NOT_CHECKED: [&str; 2] = ["print.html", "404.html"];

/// Every link that leads nowhere, one line each.
pub(super) fn dead_links(site: &Path) -> Result<Vec<String>> {
    let mut pages: BTreeMap<String, String> = BTreeMap::new();
    let mut files = BTreeSet::new();
    for file in files_below(site)? {
        let path = file.strip_prefix(site)?.to_string_lossy().into_owned();
        if path.ends_with(".html") && !NOT_CHECKED.contains(&path.as_str()) {
            pages.insert(path.clone(), fs::read_to_string(&file).with_context(|| path.clone())?);
        }
        files.insert(path);
    }
    let mut found = Vec::new();
    for (path, text) in &pages {
        for target in values(text, "href").chain(values(text, "src")) {
            if target.contains(':') || target.starts_with("//") {
                continue;
            }
            let to = resolve(path, target);
            if !files.contains(&to) {
                found.push(format!("{path}: {target} leads nowhere"));
                continue;
            }
            let Some((_, anchor)) = target.split_once('#') else { continue };
            let has_it = |page: &String| anchor.is_empty() || values(page, "id").any(|id| id == anchor);
            if pages.get(&to).is_some_and(|page| !has_it(page)) {
                found.push(format!("{path}: {to} has no #{anchor}"));
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The values of an attribute, in tags alone: what pages show of HTML is text.
fn values<'a>(html: &'a str, attribute: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let begin = format!(" {attribute}=\"");
    let tags = html.split('<').skip(1).map(|tag| tag.split('>').next().unwrap_or(tag));
    tags.filter_map(move |tag| tag.split_once(&begin)?.1.split_once('"').map(|(value, _)| value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_dead_link_of_the_site_is_found() {
        let site = tempfile::tempdir().unwrap();
        fs::create_dir(site.path().join("docs")).unwrap();
        let page = r##"<h2 id="here">x</h2><a href="#here"></a><a href="#gone"></a><a href="../index.html#top"></a>
                       <a href="b.html"></a><img src="c.png">&lt;a href="text"&gt;<a href="https://example.com/x"></a>"##;
        fs::write(site.path().join("docs/a.html"), page).unwrap();
        fs::write(site.path().join("index.html"), r#"<p id="top">"#).unwrap();
        assert_eq!(
            dead_links(site.path()).unwrap(),
            [
                "docs/a.html: b.html leads nowhere",
                "docs/a.html: c.png leads nowhere",
                "docs/a.html: docs/a.html has no #gone"
            ]
        );
    }
}
