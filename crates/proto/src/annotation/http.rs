//! The `HTTP` line (C7.1): which lines are one, and what it says.
//!
//! A comment is written for people too, who use the word `HTTP`: `HTTP client of the billing service.` is
//! prose. A line is an `HTTP` line when it is the word alone, or is followed by a method or a path, or by
//! something that can only be meant as one. `HTTP` followed by one other word is a mistake if the comment has
//! other lines of ours.
//!
//! Not for calling a routine.

use super::RoutineFacts;
use super::path;
use super::problem::Problem;
use crate::near_miss;
use std::fmt;

/// A method with which a routine can be called (C7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

impl Method {
    /// Parses a method without regard to ASCII case, like every keyword of a comment.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];
        all.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(word))
    }

    /// The method as it stands in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an `HTTP` line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// The method, if the line names one; else see [`Http::method`].
    pub method: Option<Method>,
    /// The base path, if the line gives one; begins with `/` and does not end with one.
    pub path: Option<String>,
}

impl Http {
    /// The method the routine is called with: the one given, else GET for routines that are not VOLATILE or
    /// are named `get_…`, else POST (C7.1).
    pub fn method(&self, facts: &RoutineFacts<'_>) -> Method {
        let reads = !facts.volatile || facts.name.get(..4).is_some_and(|n| n.eq_ignore_ascii_case("get_"));
        self.method.unwrap_or(if reads { Method::Get } else { Method::Post })
    }
}

/// How surely a line is an `HTTP` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    Prose,
    /// A mistake in a comment that has other lines of ours, else prose.
    Perhaps,
    Certain,
}

/// Judges a line by its words.
pub(super) fn likeness(line: &str) -> Likeness {
    let mut words = words(line);
    if !words.next().is_some_and(|word| word.eq_ignore_ascii_case("HTTP")) {
        return Likeness::Prose;
    }
    let Some(second) = words.next() else { return Likeness::Certain };
    let third = words.next();
    let is_shouted = second.bytes().all(|b| b.is_ascii_uppercase());
    let looks_like_method = is_shouted
        && (near_method(second).is_some()
            || ["HEAD", "OPTIONS", "TRACE", "CONNECT", "QUERY"].contains(&second));
    // `POST\n@login` in one line: a comment literal without the `E` that its escapes need.
    let leading = &second[..second.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(second.len())];
    match () {
        () if second.starts_with('/') || third.is_some_and(|w| w.starts_with('/')) => Likeness::Certain,
        () if Method::parse(leading).is_some() || looks_like_method => Likeness::Certain,
        () if third.is_none() => Likeness::Perhaps,
        () => Likeness::Prose,
    }
}

/// Whether a line is surely an `HTTP` line, without comparing words: `HTTP` alone, or followed by a method or
/// path.
pub(super) fn is_plainly_one(line: &str) -> bool {
    let mut words = words(line);
    words.next().is_some_and(|word| word.eq_ignore_ascii_case("HTTP"))
        && words.next().is_none_or(|second| second.starts_with('/') || Method::parse(second).is_some())
}

/// Reads an `HTTP` line.
pub(super) fn parse(number: usize, line: &str) -> Result<Http, Problem> {
    let problem = |word: &str, message: &str| Problem::new(number, word, message);
    let mut http = Http::default();
    let mut words = words(line).skip(1).peekable();
    if let Some(word) = words.next_if(|word| !word.starts_with('/')) {
        let method = Method::parse(word).ok_or_else(|| {
            let message = "not a method: expected \"HTTP\", \"HTTP METHOD\" or \"HTTP [METHOD] /path\" \
                 with GET, POST, PUT, PATCH or DELETE";
            problem(word, message).with_nearest(near_method(word))
        })?;
        http.method = Some(method);
    }
    if let Some(word) = words.next() {
        if !word.starts_with('/') {
            return Err(problem(word, "expected a path that begins with \"/\", or nothing"));
        }
        http.path = Some(path::parse_path(word).map_err(|error| problem(word, &error.to_string()))?);
    }
    match words.next() {
        Some(word) => Err(problem(word, "nothing may follow the path of an \"HTTP\" line")),
        None => Ok(http),
    }
}

fn near_method(word: &str) -> Option<&'static str> {
    let near = |method: &&str| near_miss::within(word, method, 1);
    near_miss::nearest(word, ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().filter(near))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(crate::scope::is_separator).filter(|word| !word.is_empty())
}
