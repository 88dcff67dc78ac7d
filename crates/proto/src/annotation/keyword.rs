//! The words of C2.2, their aliases, and which other words are near misses of them (C2.5).
//!
//! Not for what follows a word.

use crate::near_miss;

/// An annotation, whichever alias it was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Sse,
    Publish,
    Subscribe,
    Level,
    Scope,
    Event,
    Topic,
    Delivery,
    Snapshot,
    Authorize,
    Anonymous,
    Login,
    Logout,
    UserParameters,
    UserContext,
    Path,
}

impl Keyword {
    /// `word` with its `@`, without regard to ASCII case.
    pub(super) fn parse(word: &str) -> Option<Self> {
        WORDS.iter().find(|(w, _)| w.eq_ignore_ascii_case(word)).map(|(_, keyword)| *keyword)
    }

    /// What a problem says when the word is followed by too much or too little.
    pub(super) fn usage(self) -> &'static str {
        match self {
            Self::Sse => "expected \"@sse [segment] [on level]\"",
            Self::Publish => "expected \"@sse_publish [on level]\"",
            Self::Subscribe => "expected \"@sse_subscribe [segment] [on level]\"",
            Self::Level => "expected one level: \"info\", \"notice\" or \"warning\"",
            Self::Scope => {
                "expected a scope: \"all\", \"matching\", \"caller\" or \"authorize\" with an optional list"
            }
            Self::Event => "expected one event name",
            Self::Topic => "expected one topic, in double quotes if it has a blank or comma",
            Self::Delivery => "expected \"commit\" or \"immediate\"",
            Self::Snapshot => "expected \"@sse_snapshot function [as name]\"",
            Self::Authorize => "expected an optional list of users and roles",
            Self::Anonymous | Self::Login | Self::Logout | Self::UserParameters | Self::UserContext => {
                "expected nothing after it"
            }
            Self::Path => "expected one path",
        }
    }

    /// Whether the word says something about events, and so means nothing without `@sse`, `@sse_publish` or
    /// `@sse_subscribe`.
    pub(super) fn needs_sse(self) -> bool {
        match self {
            Self::Level | Self::Scope | Self::Event | Self::Topic | Self::Delivery | Self::Snapshot => true,
            Self::Sse | Self::Publish | Self::Subscribe => false,
            Self::Authorize | Self::Anonymous | Self::Login | Self::Logout => false,
            Self::UserParameters | Self::UserContext | Self::Path => false,
        }
    }
}

/// The nearest word (with its `@`) that `word` (with an `@` too) is a near miss of.
pub(super) fn near(word: &str) -> Option<&'static str> {
    let within_limit = |w: &&'static str| near_miss::within(word, w, near_miss::limit_of(w));
    near_miss::nearest(word, spellings().filter(within_limit))
}

/// The nearest word of all, near or not.
pub(super) fn nearest_sse(word: &str) -> Option<&'static str> {
    near_miss::nearest(word, spellings().filter(|w| begins_with_sse(w)))
}

/// C2.5: every word that begins like this is ours.
pub(super) fn begins_with_sse(word: &str) -> bool {
    word.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("@sse"))
}

/// Every word of C2.2 with its `@`.
pub(super) fn spellings() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(word, _)| *word)
}

const WORDS: &[(&str, Keyword)] = &[
    ("@sse", Keyword::Sse),
    ("@sse_path", Keyword::Sse),
    ("@sse_events_path", Keyword::Sse),
    ("@sse_publish", Keyword::Publish),
    ("@sse_events_publish", Keyword::Publish),
    ("@sse_subscribe", Keyword::Subscribe),
    ("@sse_events_subscribe", Keyword::Subscribe),
    ("@sse_level", Keyword::Level),
    ("@sse_events_level", Keyword::Level),
    ("@sse_scope", Keyword::Scope),
    ("@sse_events_scope", Keyword::Scope),
    ("@sse_event", Keyword::Event),
    ("@sse_topic", Keyword::Topic),
    ("@sse_delivery", Keyword::Delivery),
    ("@sse_snapshot", Keyword::Snapshot),
    ("@authorize", Keyword::Authorize),
    ("@authorized", Keyword::Authorize),
    ("@requires_authorization", Keyword::Authorize),
    ("@anonymous", Keyword::Anonymous),
    ("@allow_anonymous", Keyword::Anonymous),
    ("@allow_anon", Keyword::Anonymous),
    ("@anon", Keyword::Anonymous),
    ("@login", Keyword::Login),
    ("@signin", Keyword::Login),
    ("@logout", Keyword::Logout),
    ("@signout", Keyword::Logout),
    ("@user_parameters", Keyword::UserParameters),
    ("@user_params", Keyword::UserParameters),
    ("@user_context", Keyword::UserContext),
    ("@path", Keyword::Path),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_documented_and_known_to_the_fuzzers() {
        let places = [
            ("`", "docs/annotations.md", include_str!("../../../../docs/annotations.md")),
            ("`", "docs/contract.md", include_str!("../../../../docs/contract.md")),
            ("\"", "fuzz/dict/annotation.dict", include_str!("../../../../fuzz/dict/annotation.dict")),
            ("\"", "fuzz/dict/route.dict", include_str!("../../../../fuzz/dict/route.dict")),
        ];
        for word in spellings() {
            for (quote, name, text) in places {
                let is_there = [quote, " "].iter().any(|end| text.contains(&format!("{quote}{word}{end}")));
                assert!(is_there, "{word} is not in {name}");
            }
        }
    }
}
