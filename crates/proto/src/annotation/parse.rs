//! Reads a comment line by line into an [`Annotation`], or into the list of its mistakes.
//!
//! The order of lines never matters (C2.1), so two passes go over the comment: once to see whether it is ours
//! at all, which decides what counts as a mistake (C2.5), and once to read it.
//!
//! Not for the shape of a line (`line`) and not for prose (`stray`).

use super::bound::{self, MAX_PROBLEMS};
use super::keyword::{self, Keyword};
use super::line::{Content, Line, Value, lines};
use super::path::{parse_path, parse_segment};
use super::problem::Problem;
use super::snapshot::{self, NotASource, SnapshotSource};
use super::{Access, Annotation, Segment, http, stray};
use crate::near_miss;
use crate::scope::{self, Scope, ScopeError, Word};
use crate::word::{Delivery, EventName, LabelError, Level, Topic};

pub(super) fn parse(comment: &str) -> Result<Option<Annotation>, Vec<Problem>> {
    let is_ours = lines(comment).any(|line| line.is_ours());
    let mut reader = Reader::default();
    for line in lines(comment) {
        let Err(problem) = reader.read(&line, is_ours) else { continue };
        if reader.problems.len() == MAX_PROBLEMS {
            reader.problems.push(bound::and_more(line.number));
            return Err(reader.problems);
        }
        reader.problems.push(problem);
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    annotation: Annotation,
    /// Whether anything of the comment counted.
    anything: bool,
    /// Whether there is an `@sse`, `@sse_publish` or `@sse_subscribe` line, be it wrong or `= false`.
    has_main: bool,
    /// The lines that mean nothing without such a line, with their words.
    dependents: Vec<(usize, String)>,
    said: Said,
    problems: Vec<Problem>,
}

/// The line in which each thing was said first; its value is in the annotation.
#[derive(Default)]
struct Said {
    segment: usize,
    level: usize,
    scope: usize,
    event: usize,
    topic: usize,
    delivery: usize,
    snapshot: usize,
    access: usize,
    login: usize,
    logout: usize,
    http: usize,
    path: usize,
}

/// A word of ours and the line it stands in.
#[derive(Clone, Copy)]
struct Place<'a> {
    line: usize,
    word: &'a str,
    keyword: Keyword,
}

impl Reader {
    fn read(&mut self, line: &Line<'_>, is_ours: bool) -> Result<(), Problem> {
        match line.content {
            Content::Annotation(keyword, word, value) => {
                let place = Place { line: line.number, word, keyword };
                if is_ours || matches!(keyword, Keyword::Authorize | Keyword::Anonymous) {
                    return self.annotation(place, value);
                }
                Ok(())
            }
            Content::Http(_) if is_ours => self.http(line),
            Content::Other(word) if is_ours => {
                self.has_main |= keyword::begins_with_sse(word) && stray::resembles_main(word);
                stray::judge_other(line, word)
            }
            Content::Prose if is_ours => stray::judge_prose(line),
            Content::Http(_) | Content::Other(_) | Content::Prose => Ok(()),
        }
    }

    /// Takes one annotation in. Long because it has one arm for each word.
    fn annotation(&mut self, place: Place<'_>, value: Value<'_>) -> Result<(), Problem> {
        let is_main = matches!(place.keyword, Keyword::Sse | Keyword::Publish | Keyword::Subscribe);
        self.has_main |= is_main;
        let text = match value {
            Value::Given(text) => text,
            Value::Absent => return Ok(()),
            Value::Malformed => return Err(place.misused()),
        };
        if place.keyword.needs_sse() {
            self.dependents.push((place.line, place.word.to_owned()));
        }
        if let Some(word) = stray::second_annotation(text) {
            return Err(Problem::new(place.line, word, "expected one annotation per line"));
        }
        self.anything = true;
        match place.keyword {
            Keyword::Sse | Keyword::Publish | Keyword::Subscribe => self.main(place, text),
            Keyword::Level => {
                let level = place.level(&place.one_word(text)?)?;
                place.agree(&mut self.annotation.level, &mut self.said.level, level)
            }
            Keyword::Scope => {
                let scope = place.scope(text)?;
                place.agree(&mut self.annotation.scope, &mut self.said.scope, scope)
            }
            Keyword::Event => {
                let word = place.one_word(text)?;
                let event =
                    EventName::parse(&word).map_err(|error| place.label(&word, "event name", error))?;
                place.agree(&mut self.annotation.event, &mut self.said.event, event)
            }
            Keyword::Topic => {
                let word = place.one_word(text)?;
                let topic = Topic::parse(&word).map_err(|error| place.label(&word, "topic", error))?;
                place.agree(&mut self.annotation.topic, &mut self.said.topic, topic)
            }
            Keyword::Delivery => {
                let word = place.one_word(text)?;
                let delivery = Delivery::parse(&word).ok_or_else(|| {
                    let nearest = near_miss::plausible(&word, Delivery::WORDS);
                    place
                        .problem(&word, "not a delivery: expected \"commit\" or \"immediate\"")
                        .with_nearest(nearest)
                })?;
                place.agree(&mut self.annotation.delivery, &mut self.said.delivery, delivery)
            }
            Keyword::Snapshot => {
                let source = place.source(text)?;
                place.agree(&mut self.annotation.snapshot, &mut self.said.snapshot, source)
            }
            Keyword::Authorize => {
                let values = scope::values(text).map_err(|error| place.problem(text, &error.to_string()))?;
                self.access(place, Access::Authorize(values))
            }
            Keyword::Anonymous => {
                place.no_word(text)?;
                self.access(place, Access::Anonymous)
            }
            Keyword::Login if self.annotation.logout => {
                Err(disagreement(place.line, place.word, self.said.logout))
            }
            Keyword::Logout if self.annotation.login => {
                Err(disagreement(place.line, place.word, self.said.login))
            }
            Keyword::Login => {
                self.said.login = place.line;
                place.no_word(text).map(|()| self.annotation.login = true)
            }
            Keyword::Logout => {
                self.said.logout = place.line;
                place.no_word(text).map(|()| self.annotation.logout = true)
            }
            Keyword::UserParameters => place.no_word(text).map(|()| self.annotation.user_parameters = true),
            Keyword::UserContext => place.no_word(text).map(|()| self.annotation.user_context = true),
            Keyword::Path => {
                let word = place.one_word(text)?;
                let path = parse_path(&word).map_err(|error| place.problem(&word, &error.to_string()))?;
                self.path(place.line, place.word, &path)?;
                self.annotation.path = Some(path);
                Ok(())
            }
        }
    }

    /// `@sse [segment] [on level]`, `@sse_publish [on level]`, `@sse_subscribe [segment] [on level]`.
    fn main(&mut self, place: Place<'_>, text: &str) -> Result<(), Problem> {
        let words = place.words(text)?;
        let is_on = |word: &Word| !word.quoted && word.text.eq_ignore_ascii_case("on");
        let (segment, level) = match words.as_slice() {
            [] => (None, None),
            [on, level] if is_on(on) => (None, Some(level)),
            [on, ..] if is_on(on) => return Err(place.misused()),
            [segment] => (Some(segment), None),
            [segment, on, level] if is_on(on) => (Some(segment), Some(level)),
            [_, surplus, ..] => return Err(place.problem(&surplus.text, place.keyword.usage())),
        };
        if let (Keyword::Publish, Some(segment)) = (place.keyword, segment) {
            let message = "a routine that only publishes has no URL and takes no segment: expected \
                 \"@sse_publish [on level]\", or \"@sse [segment]\" for both";
            return Err(place.problem(&segment.text, message));
        }
        if let Some(level) = level {
            let level = place.level(&level.text)?;
            place.agree(&mut self.annotation.level, &mut self.said.level, level)?;
        }
        self.annotation.publish |= place.keyword != Keyword::Subscribe;
        if place.keyword == Keyword::Publish {
            return Ok(());
        }
        let segment = match segment {
            None => Segment::Level,
            Some(word) => Segment::Given(
                parse_segment(&word.text).map_err(|error| place.problem(&word.text, &error.to_string()))?,
            ),
        };
        place.agree(&mut self.annotation.subscribe, &mut self.said.segment, segment)
    }

    fn access(&mut self, place: Place<'_>, access: Access) -> Result<(), Problem> {
        if self.said.access == 0 {
            self.said.access = place.line;
            self.annotation.access = access;
            return Ok(());
        }
        if self.annotation.access.same_rule(&access) {
            return Ok(());
        }
        Err(disagreement(place.line, place.word, self.said.access))
    }

    fn http(&mut self, line: &Line<'_>) -> Result<(), Problem> {
        self.anything = true;
        let parsed = http::parse(line.number, line.text)?;
        if let Some(path) = &parsed.path {
            self.path(line.number, "HTTP", path)?;
        }
        match &self.annotation.http {
            Some(first) if first != &parsed => Err(disagreement(line.number, "HTTP", self.said.http)),
            Some(_) => Ok(()),
            None => {
                self.said.http = line.number;
                self.annotation.http = Some(parsed);
                Ok(())
            }
        }
    }

    /// A base path, be it from `@path` or from the `HTTP` line: they must be equal.
    fn path(&mut self, line: usize, word: &str, path: &str) -> Result<(), Problem> {
        match self.annotation.given_path() {
            Some(first) if first != path => Err(disagreement(line, word, self.said.path)),
            Some(_) => Ok(()),
            None => {
                self.said.path = line;
                Ok(())
            }
        }
    }

    fn finish(mut self) -> Result<Option<Annotation>, Vec<Problem>> {
        if !self.has_main {
            let message =
                "does nothing alone: expected an \"@sse\", \"@sse_publish\" or \"@sse_subscribe\" line too";
            let alone = |(line, word): &(usize, String)| {
                Problem::new(*line, word, message).with_nearest(Some("@sse"))
            };
            self.problems.extend(self.dependents.iter().take(MAX_PROBLEMS + 1).map(alone));
        }
        if self.annotation.snapshot.is_some()
            && self.annotation.publish
            && self.annotation.subscribe.is_none()
        {
            let message = "a routine without a URL has no streams that could begin with a snapshot: expected \"@sse\" or \"@sse_subscribe\"";
            self.problems.push(Problem::new(self.said.snapshot, "@sse_snapshot", message));
        }
        // A stable sort: the mistakes of one line stay in the order in which they were found.
        self.problems.sort_by_key(|problem| problem.line);
        if let Some(first_beyond) = self.problems.get(MAX_PROBLEMS) {
            let more = bound::and_more(first_beyond.line);
            self.problems.truncate(MAX_PROBLEMS);
            self.problems.push(more);
        }
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        Ok(self.anything.then_some(self.annotation))
    }
}

impl Place<'_> {
    fn problem(&self, word: &str, message: &str) -> Problem {
        Problem::new(self.line, word, message)
    }

    /// The word is followed by too much or too little.
    fn misused(&self) -> Problem {
        self.problem(self.word, self.keyword.usage())
    }

    fn label(&self, word: &str, noun: &str, error: LabelError) -> Problem {
        self.problem(word, &format!("not a valid {noun}: {error}"))
    }

    fn words(&self, mut text: &str) -> Result<Vec<Word>, Problem> {
        let mut words = Vec::new();
        loop {
            match scope::next_word(&mut text) {
                Ok(Some(word)) => words.push(word),
                Ok(None) => return Ok(words),
                Err(error) => return Err(self.problem(text, &error.to_string())),
            }
        }
    }

    fn one_word(&self, text: &str) -> Result<String, Problem> {
        let mut words = self.words(text)?.into_iter();
        match (words.next(), words.next()) {
            (None, _) => Err(self.misused()),
            (Some(_), Some(surplus)) => Err(self.problem(&surplus.text, self.keyword.usage())),
            (Some(word), None) => Ok(word.text),
        }
    }

    fn no_word(&self, text: &str) -> Result<(), Problem> {
        if text.is_empty() { Ok(()) } else { Err(self.problem(text, self.keyword.usage())) }
    }

    fn level(&self, word: &str) -> Result<Level, Problem> {
        Level::parse(word).ok_or_else(|| {
            let message = "not a level: expected \"info\", \"notice\" or \"warning\"";
            self.problem(word, message).with_nearest(near_miss::plausible(word, Level::WORDS))
        })
    }

    fn scope(&self, text: &str) -> Result<Scope, Problem> {
        Scope::parse(text).map_err(|error| match error {
            ScopeError::Empty => self.misused(),
            ScopeError::Unknown => {
                let word = text.split(scope::is_separator).next().unwrap_or(text);
                let nearest = near_miss::plausible(word, Scope::WORDS);
                self.problem(word, &error.to_string()).with_nearest(nearest)
            }
            _ => self.problem(text, &error.to_string()),
        })
    }

    fn source(&self, text: &str) -> Result<SnapshotSource, Problem> {
        snapshot::parse(text).map_err(|error| match error {
            NotASource::Usage(None) => self.misused(),
            NotASource::Usage(Some(word)) => self.problem(&word, self.keyword.usage()),
            NotASource::Name(word) => {
                let message = "not a name of a function: expected it without arguments and parentheses, in double quotes where SQL asks for them";
                self.problem(&word, message)
            }
            NotASource::Event(word, error) => {
                self.problem(&word, &format!("not a valid event name: {error}"))
            }
        })
    }

    /// Takes a value. If there is one already, the same is fine and another is a mistake (C2.1).
    fn agree<T: PartialEq>(&self, slot: &mut Option<T>, said: &mut usize, value: T) -> Result<(), Problem> {
        match slot {
            Some(first) if *first != value => Err(disagreement(self.line, self.word, *said)),
            Some(_) => Ok(()),
            None => {
                *slot = Some(value);
                *said = self.line;
                Ok(())
            }
        }
    }
}

fn disagreement(line: usize, word: &str, first: usize) -> Problem {
    Problem::new(line, word, format!("disagrees with line {first}: expected one of the two"))
}
