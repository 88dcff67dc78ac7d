//! What the comment of a routine says (contract section 2): one `@word` a line, `HTTP …` lines, and prose.
//!
//! Mistakes fail closed (C2.5): [`Annotation::parse`] gives an annotation only if the whole comment is free
//! of them. Where the contract leaves room, these are the rules:
//! - `@sse_topic` and its like (`Keyword::needs_sse`) without an `@sse`, `@sse_publish` or `@sse_subscribe`
//!   line would do nothing, so it is a mistake; with `@sse = false` it is none.
//! - In a comment without an `HTTP` or `@sse…` line only `@authorize` and `@anonymous` (and aliases) are
//!   read; all else there, misspelt or not, may be another tool's and has no effect.
//! - `@authorize` lines with different lists disagree. `@sse` asks for the URL of the level, so it disagrees
//!   with `@sse_subscribe chat`; a level that a line leaves out agrees with every level.
//! - Any value may stand in double quotes, as scope values do (C4.2).
//!
//! Not for what an annotation does: publishing, routes and calls read the parsed value.

mod bound;
mod http;
mod keyword;
mod line;
mod parse;
pub(crate) mod path;
pub(crate) mod problem;
mod snapshot;
mod stray;

pub use bound::{MAX_COMMENT_BYTES, MAX_PROBLEMS, Skim, too_long};
pub use http::{Http, Method};
pub use line::prose;
pub use problem::Problem;
pub use snapshot::SnapshotSource;

use std::collections::BTreeSet;

use crate::scope::{Scope, ScopeValue};
use crate::word::{Delivery, EventName, Level, Topic};

/// The facts about a routine by which its annotation is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutineFacts<'a> {
    /// Name of the routine's schema.
    pub schema: &'a str,
    /// Name of the routine, without arguments.
    pub name: &'a str,
    /// Function or procedure.
    pub kind: RoutineKind,
    /// Whether it is VOLATILE (`provolatile = 'v'`).
    pub volatile: bool,
    /// Whether it is PARALLEL SAFE (`proparallel = 's'`).
    pub parallel_safe: bool,
    /// Whether it has a parameter that `@user_parameters` would fill: `_user_id` and its like (C7.3).
    pub has_identity_parameters: bool,
}

/// What `CREATE` made the routine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoutineKind {
    /// A function, trigger functions included.
    Function,
    /// A procedure.
    Procedure,
}

/// Who may call a routine and open its stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// The comment does not say: anybody may, unless a setting asks everybody to authenticate.
    #[default]
    Unspecified,
    /// `@anonymous`
    Anonymous,
    /// `@authorize`: every authenticated subscriber when the list is empty, else those that one value names.
    /// An empty value matches nobody (C4.2) and stays in the list, so that the list does not become empty.
    Authorize(Vec<ScopeValue>),
}

/// Last part of the subscribe URL (C2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// The name of the level.
    Level,
    /// The one given: one or more parts of `a-z 0-9 - . _ ~`, perhaps with a slash in front.
    Given(String),
}

/// A comment without a mistake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotation {
    /// `@sse` or `@sse_publish`: what is raised below the routine is published.
    pub publish: bool,
    /// `@sse` or `@sse_subscribe`: there is a subscribe URL, with this segment.
    pub subscribe: Option<Segment>,
    /// Level of what is published, and by default the segment; see [`Annotation::level_or`].
    pub level: Option<Level>,
    /// `@sse_scope`; see [`Annotation::default_scope`].
    pub scope: Option<Scope>,
    /// `@sse_event`
    pub event: Option<EventName>,
    /// `@sse_topic`
    pub topic: Option<Topic>,
    /// `@sse_delivery`; see [`Annotation::delivery_or`].
    pub delivery: Option<Delivery>,
    /// `@sse_snapshot`: what its streams begin with.
    pub snapshot: Option<SnapshotSource>,
    /// `@authorize` or `@anonymous`
    pub access: Access,
    /// The `HTTP` line.
    pub http: Option<Http>,
    /// `@path`: begins with `/` and does not end with one. Equal to the path of the `HTTP` line where both
    /// are given.
    pub path: Option<String>,
    /// `@login`
    pub login: bool,
    /// `@logout`
    pub logout: bool,
    /// `@user_parameters`
    pub user_parameters: bool,
    /// `@user_context`
    pub user_context: bool,
}

impl Annotation {
    /// Reads a comment. `None`: there is nothing of ours in it.
    ///
    /// # Errors
    /// The mistakes of the comment (C2.1, C2.2, C2.5), in the order of its lines; never an empty list. Of
    /// more than [`MAX_PROBLEMS`] only that many, and one that says so. A comment that is ours and longer
    /// than [`MAX_COMMENT_BYTES`] is one mistake, and is not read.
    pub fn parse(comment: &str) -> Result<Option<Self>, Vec<Problem>> {
        if comment.len() <= MAX_COMMENT_BYTES {
            return parse::parse(comment);
        }
        if Skim::new(comment.as_bytes()).look_at_all() { Err(vec![too_long()]) } else { Ok(None) }
    }

    /// Mistakes that show only together with the routine: a publisher must not be PARALLEL SAFE, because
    /// publishing is a side effect (C2.5).
    pub fn check(&self, facts: &RoutineFacts<'_>) -> Vec<Problem> {
        if !(self.publish && facts.parallel_safe) {
            return Vec::new();
        }
        let message =
            "a routine that publishes has a side effect: expected PARALLEL UNSAFE or PARALLEL RESTRICTED";
        vec![Problem::new(0, "PARALLEL SAFE", message)]
    }

    /// What deserves a WARNING at COMMENT although the routine works (C7.3, last sentence): a callable
    /// `@authorize` routine with identity parameters and no `@user_parameters`. Not for use while the setting
    /// `sse.user_parameters` is on.
    pub fn advice(&self, facts: &RoutineFacts<'_>) -> Option<Problem> {
        let asks_identity = matches!(self.access, Access::Authorize(_)) && self.http.is_some();
        if !asks_identity || !facts.has_identity_parameters || self.user_parameters {
            return None;
        }
        let message = "the routine has parameters for the caller's identity (such as _user_id), but they come from the request, like any other: expected \"@user_parameters\" in the comment, or sse.user_parameters on";
        Some(Problem::new(0, "@authorize", message))
    }

    /// Whether the routine publishes or has a subscribe URL.
    pub fn is_sse(&self) -> bool {
        self.publish || self.subscribe.is_some()
    }

    /// The level that counts; `default` is the setting `sse.default_level`.
    pub fn level_or(&self, default: Level) -> Level {
        self.level.unwrap_or(default)
    }

    /// The delivery that counts; `default` is the setting `sse.default_delivery`.
    pub fn delivery_or(&self, default: Delivery) -> Delivery {
        self.delivery.unwrap_or(default)
    }

    /// The scope of events whose hint gives none: the annotation's, else the routine's `@authorize` rule,
    /// else `all` (C4.2, last sentence).
    pub fn default_scope(&self) -> Scope {
        match (&self.scope, &self.access) {
            (Some(scope), _) => scope.clone(),
            (None, Access::Authorize(values)) if values.is_empty() => Scope::Authorize(Vec::new()),
            (None, Access::Authorize(values)) => Scope::authorize(values.clone()),
            (None, Access::Unspecified | Access::Anonymous) => Scope::All,
        }
    }

    /// The base path that the comment gives, if it gives one (C2.3).
    pub fn given_path(&self) -> Option<&str> {
        self.http.as_ref().and_then(|http| http.path.as_deref()).or(self.path.as_deref())
    }
}

impl Access {
    /// Whether both ask the same of a subscriber: the order of a list does not count, and a comment without a
    /// rule asks as little as `@anonymous`.
    pub fn same_rule(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Authorize(ours), Self::Authorize(theirs)) => {
                let [ours, theirs] = [ours, theirs].map(|list| list.iter().collect::<BTreeSet<_>>());
                ours == theirs
            }
            (Self::Authorize(_), _) | (_, Self::Authorize(_)) => false,
            _ => true,
        }
    }
}
