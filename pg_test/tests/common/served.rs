//! The files that `sse.serve_client` has at the URL prefix, as they come to be.
//!
//! Not for what is in them: that is in the tests.

use anyhow::Result;
use cluster::{Cluster, PATIENCE, wait_for};

/// Waits until a GET of this path has such a status and text, and returns the text.
pub(crate) fn eventually(
    cluster: &Cluster,
    path: &str,
    what: &str,
    is_so: impl Fn(u16, &str) -> bool,
) -> Result<String> {
    let http = cluster.http()?;
    wait_for(PATIENCE, what, || {
        let answer = http.get(path)?;
        let text = answer.text();
        Ok(is_so(answer.status(), &text).then_some(text))
    })
}

/// The file is there, and has this word.
pub(crate) fn has(word: &str) -> impl Fn(u16, &str) -> bool + '_ {
    move |status, text| status == 200 && text.contains(word)
}
