//! The mistakes of comments (C2.2): which are said, where, and in which words.
//!
//! Not for what is read (`annotation_grammar.rs`), nor for words that are nearly right
//! (`annotation_near_miss.rs`).
#![allow(clippy::unwrap_used)]

mod reading;

use reading::{FACTS, assert_mistake, mistakes, read};
use sse_proto::annotation::{Access, Annotation, RoutineFacts};
use sse_proto::scope::ScopeValue;

fn list(values: &[&str]) -> Vec<ScopeValue> {
    values.iter().map(|value| ScopeValue::new(value)).collect()
}

#[test]
fn two_lines_that_disagree_are_a_mistake_of_the_later_one() {
    for (first, second, word) in [
        ("@sse on info", "@sse_level notice", "@sse_level"),
        ("@sse_level notice", "@sse on info", "@sse"),
        ("@sse on info", "@sse on notice", "@sse"),
        ("@sse a", "@sse b", "@sse"),
        ("@sse", "@sse_subscribe b", "@sse_subscribe"),
        ("@authorize", "@anonymous", "@anonymous"),
        ("@anon", "@authorize a", "@authorize"),
        ("@authorize a", "@authorize b", "@authorize"),
        ("@authorize a", "@authorize", "@authorize"),
        ("HTTP GET", "HTTP POST", "HTTP"),
        ("HTTP", "HTTP POST", "HTTP"),
        ("HTTP /a", "HTTP /b", "HTTP"),
        ("HTTP /a", "@path /b", "@path"),
        ("@path /a", "HTTP /b", "HTTP"),
        ("@path /a", "@path /b", "@path"),
        ("@sse_scope all", "@sse_scope authorize", "@sse_scope"),
        ("@sse_topic a", "@sse_topic b", "@sse_topic"),
        ("@sse_event a", "@sse_event b", "@sse_event"),
        ("@sse_delivery commit", "@sse_delivery immediate", "@sse_delivery"),
    ] {
        assert_mistake(&format!("{first}\n{second}\n@sse_publish"), 2, word);
    }
    assert_eq!(read("HTTP /a\n@path /a").path.as_deref(), Some("/a"));
    assert_eq!(read("@sse\n@authorize a, b\n@authorize b, a").access, Access::Authorize(list(&["a", "b"])));
}

#[test]
fn a_missing_value_a_surplus_word_and_a_wrong_one_are_mistakes() {
    for (line, word) in [
        ("@sse on", "@sse"),
        ("@sse on debug", "debug"),
        ("@sse x notice", "notice"),
        ("@sse x on", "on"),
        ("@sse x on notice y", "on"),
        ("@sse on notice y", "@sse"),
        ("@sse Events", "Events"),
        ("@sse a//b", "a//b"),
        ("@sse /", "/"),
        ("@sse .", "."),
        ("@sse ../x", "../x"),
        ("@sse \"a", "\"a"),
        ("@sse_publish x", "x"),
        ("@sse_publish x on info", "x"),
        ("@sse_level", "@sse_level"),
        ("@sse_level = true", "@sse_level"),
        ("@sse_level debug", "debug"),
        ("@sse_level 1", "1"),
        ("@sse_level info notice", "notice"),
        ("@sse_scope", "@sse_scope"),
        ("@sse_scope nobody", "nobody"),
        ("@sse_scope calle", "calle"),
        ("@sse_scope caller a", "caller a"),
        ("@sse_scope all x", "all x"),
        ("@sse_scope authorize,", "authorize,"),
        ("@sse_event", "@sse_event"),
        ("@sse_event error", "error"),
        ("@sse_event sse.x", "sse.x"),
        ("@sse_event grün", "grün"),
        ("@sse_event \"a b\"", "a b"),
        ("@sse_topic", "@sse_topic"),
        ("@sse_topic a b", "b"),
        ("@sse_delivery", "@sse_delivery"),
        ("@sse_delivery later", "later"),
        ("@sse_snapshot f", "@sse_snapshot"),
        ("@anonymous x", "x"),
        ("@login yes", "yes"),
        ("@logout x", "x"),
        ("@user_parameters x", "x"),
        ("@user_context x", "x"),
        ("@path", "@path"),
        ("@path /a /b", "/b"),
        ("@path /A", "/A"),
        ("@path /healthz/", "/healthz"),
        ("@path //", "//"),
        ("@path /a/../b", "/a/../b"),
        ("@sse ..", ".."),
        ("@sse sub%2Fx", "sub%2Fx"),
    ] {
        let word = if line == "@path /healthz/" { "/healthz/" } else { word };
        assert_mistake(&format!("@sse_publish\n{line}"), 2, word);
    }
}

#[test]
fn a_detail_without_its_annotation_is_said() {
    for line in
        ["@sse_level info", "@sse_scope all", "@sse_event e", "@sse_topic t", "@sse_events_scope authorize"]
    {
        assert_mistake(&format!("HTTP\n{line}"), 2, line.split(' ').next().unwrap());
        assert!(Annotation::parse(&format!("{line}\n@sse_subscribe")).is_ok(), "{line}");
    }
    // One slip is said once.
    assert_mistake("@sse_level info\n@sse_publsh", 2, "@sse_publsh");
}

#[test]
fn all_mistakes_are_said_in_the_order_of_lines() {
    let found = mistakes("@sse_level loud\nprose\r\n@authorise\r\r@sse_scope some\n@login x");
    let words = [(1, "loud"), (1, "@sse_level"), (3, "@authorise"), (5, "some"), (5, "@sse_scope"), (6, "x")];
    assert_eq!(found, words.map(|(line, word)| (line, word.to_owned())));
}

#[test]
fn a_problem_names_line_word_expectation_and_nearest_word() {
    for (comment, text) in [
        (
            "HTTP\n@authorise admin",
            "line 2: \"@authorise\": unknown annotation: expected one of pg_sse's words; \
             the nearest valid word is \"@authorize\"",
        ),
        (
            "@sse on notise",
            "line 1: \"notise\": not a level: expected \"info\", \"notice\" or \"warning\"; \
             the nearest valid word is \"notice\"",
        ),
        ("@sse\n@authorize\n@anon", "line 3: \"@anon\": disagrees with line 2: expected one of the two"),
        (
            "@sse_scope all",
            "line 1: \"@sse_scope\": does nothing alone: expected an \"@sse\", \"@sse_publish\" or \
             \"@sse_subscribe\" line too; the nearest valid word is \"@sse\"",
        ),
        (
            "@sse\n@sse_snapshot f()",
            "line 2: \"f()\": not a name of a function: expected it without arguments and parentheses, in double quotes \
             where SQL asks for them",
        ),
        ("@sse\n@sse_snapshot f as", "line 2: \"as\": expected \"@sse_snapshot function [as name]\""),
        (
            "@sse\n@sse_snapshot f as error",
            "line 2: \"error\": not a valid event name: \"error\", \"open\" and names \
             that begin with \"sse.\" are reserved",
        ),
        (
            "@sse\n@sse_snapshot f\n@sse_snapshot g",
            "line 3: \"@sse_snapshot\": disagrees with line 2: expected one of the two",
        ),
    ] {
        assert_eq!(Annotation::parse(comment).unwrap_err()[0].to_string(), text);
    }
}

#[test]
fn a_publisher_must_not_be_parallel_safe() {
    let safe = RoutineFacts { parallel_safe: true, ..FACTS };
    for (comment, count) in [("@sse", 1), ("@sse_publish", 1), ("@sse_subscribe", 0), ("HTTP", 0)] {
        assert_eq!(read(comment).check(&safe).len(), count, "{comment}");
        assert_eq!(read(comment).check(&FACTS), [], "{comment}");
    }
}

#[test]
fn identity_parameters_that_nothing_fills_deserve_advice() {
    let facts = RoutineFacts { has_identity_parameters: true, ..FACTS };
    assert!(read("HTTP\n@authorize").advice(&facts).is_some());
    for comment in ["HTTP", "HTTP\n@authorize\n@user_params", "@sse\n@authorize"] {
        assert_eq!(read(comment).advice(&facts), None, "{comment}");
    }
    assert_eq!(read("HTTP\n@authorize").advice(&FACTS), None);
}
