//! What a routine must have to be a candidate for a path, seen without parsing its comment.
//!
//! For looking up one routine among thousands. A routine has one of the given paths only if it is named like
//! one of [`Traits::names`], or its name has other characters than ASCII letters, digits, `_`, `-`, blank and
//! `"`, or its comment has both words of one of [`Traits::words`]. So too many routines may be found, and
//! never too few.
//!
//! Not for deciding who has a path: that is the table's.

use std::collections::BTreeSet;

use super::endpoint::Endpoint;
use super::{Known, Parsed, Routine};
use crate::word::Level;

/// What candidates for some paths have: one of these names, or one of these pairs of words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// `schema/name` of routines from whose names the paths may be made, as written in a path.
    pub names: BTreeSet<String>,
    /// Pairs of words, both of which a comment that gives one of the paths has.
    pub words: BTreeSet<(String, String)>,
}

impl Traits {
    /// The traits for all paths of these routines.
    pub fn of(routines: &[Routine], url_prefix: &str, default_level: Level) -> Self {
        let mut traits = Self::default();
        let parsed: Vec<Parsed> = routines.iter().map(Routine::parse).collect();
        let known = routines.iter().zip(&parsed).map(|(routine, parsed)| Known { routine, parsed });
        for endpoint in known.filter_map(|known| Endpoint::of(known, url_prefix, default_level)) {
            for path in endpoint.url.iter().chain(endpoint.call.as_ref().map(|(_, path)| path)) {
                traits.add(path, url_prefix);
            }
        }
        traits
    }

    /// Whether no other routine is a candidate.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.words.is_empty()
    }

    fn add(&mut self, path: &str, url_prefix: &str) {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let prefix: Vec<&str> = url_prefix.split('/').filter(|part| !part.is_empty()).collect();
        if let Some([name, rest @ ..]) = parts.strip_prefix(prefix.as_slice()) {
            self.names.insert(format!("public/{name}"));
            if let [second, ..] = rest {
                self.names.insert(format!("{name}/{second}"));
            }
        }
        // A base path that a comment gives is the whole path of a call. Of a stream it is a part of it, at a
        // slash, and what follows stands in the comment, too, unless it is the name of the level.
        let word = |part: Option<&&str>| part.copied().unwrap_or("/").to_owned();
        let (first, last) = (parts.first(), parts.last());
        self.words.insert((word(first), word(last)));
        if last.is_some_and(|last| Level::parse(last).is_some()) {
            let before = parts.len().checked_sub(2).and_then(|at| parts.get(at));
            // If it stands alone, the level's name follows the path `/`.
            self.words.insert((word(first.filter(|_| before.is_some())), word(before)));
        }
    }
}
