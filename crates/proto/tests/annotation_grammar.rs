//! The grammar of comments (C2.1, C2.2, C7.1): what is read, in which forms, and which mistakes are said.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sse_proto::annotation::{Access, Annotation, Http, Method, Problem, RoutineFacts, RoutineKind, Segment};
use sse_proto::scope::{Scope, ScopeValue};
use sse_proto::word::{Delivery, EventName, Level, Topic};

fn read(comment: &str) -> Annotation {
    Annotation::parse(comment).unwrap_or_else(|p| panic!("{comment:?}: {p:?}")).unwrap_or_default()
}

fn sse() -> Annotation {
    Annotation { publish: true, subscribe: Some(Segment::Level), ..Annotation::default() }
}

fn given(segment: &str) -> Option<Segment> {
    Some(Segment::Given(segment.to_owned()))
}

fn list(values: &[&str]) -> Vec<ScopeValue> {
    values.iter().map(|value| ScopeValue::new(value)).collect()
}

/// Line and word of each mistake; a comment must have at least one.
fn mistakes(comment: &str) -> Vec<(usize, String)> {
    let problems = Annotation::parse(comment).expect_err(comment);
    assert!(problems.is_sorted_by_key(|p| p.line), "{comment:?}");
    problems.into_iter().map(|p| (p.line, p.word)).collect()
}

fn assert_mistake(comment: &str, line: usize, word: &str) {
    assert_eq!(mistakes(comment), [(line, word.to_owned())], "{comment:?}");
}

#[test]
fn prose_and_other_tools_words_are_no_annotation() {
    for comment in [
        "",
        "\n \t\r\n",
        "Sends a message.",
        "sse",
        "authorize",
        "HTTP client of the billing service",
        "HTTP client",
        "HTTPS only",
        "http errors are retried",
        "@omit create,update\n@deprecated use other()",
        "@param x text\n@path {string} x\n@login\n@authorise",
        "@sse = false",
        "See @sse for details",
        "@http GET",
    ] {
        assert_eq!(Annotation::parse(comment), Ok(None), "{comment:?}");
    }
}

#[test]
fn every_word_and_alias_has_its_effect() {
    let publish = Annotation { publish: true, ..Annotation::default() };
    let subscribe = Annotation { subscribe: Some(Segment::Level), ..Annotation::default() };
    let http = Annotation { http: Some(Http::default()), ..Annotation::default() };
    let with = |base: &Annotation, change: fn(&mut Annotation)| {
        let mut annotation = base.clone();
        change(&mut annotation);
        annotation
    };
    let cases: Vec<(&[&str], &str, Annotation)> = vec![
        (&["@sse", "@sse_path", "@sse_events_path"], "", sse()),
        (&["@sse_publish", "@sse_events_publish"], "", publish),
        (&["@sse_subscribe", "@sse_events_subscribe"], "", subscribe),
        (
            &["@sse_level notice", "@sse_events_level Notice"],
            "\n@sse",
            with(&sse(), |a| a.level = Some(Level::Notice)),
        ),
        (
            &["@sse_scope authorize x", "@sse_events_scope authorize x"],
            "\n@sse",
            with(&sse(), |a| a.scope = Some(Scope::Authorize(list(&["x"])))),
        ),
        (&["@sse_event new:row"], "\n@sse", with(&sse(), |a| a.event = EventName::parse("new:row").ok())),
        (&["@sse_topic News"], "\n@sse", with(&sse(), |a| a.topic = Topic::parse("News").ok())),
        (&["@sse_delivery immediate"], "\n@sse", with(&sse(), |a| a.delivery = Some(Delivery::Immediate))),
        (
            &["@authorize", "@authorized", "@requires_authorization"],
            "\nHTTP",
            with(&http, |a| a.access = Access::Authorize(vec![])),
        ),
        (
            &["@anonymous", "@allow_anonymous", "@allow_anon", "@anon"],
            "\nHTTP",
            with(&http, |a| a.access = Access::Anonymous),
        ),
        (&["@login", "@signin"], "\nHTTP", with(&http, |a| a.login = true)),
        (&["@logout", "@signout"], "\nHTTP", with(&http, |a| a.logout = true)),
        (&["@user_parameters", "@user_params"], "\nHTTP", with(&http, |a| a.user_parameters = true)),
        (&["@user_context"], "\nHTTP", with(&http, |a| a.user_context = true)),
        (&["@path /a/b", "@path a/b/"], "\nHTTP", with(&http, |a| a.path = Some("/a/b".to_owned()))),
    ];
    for (spellings, rest, annotation) in cases {
        for spelling in spellings {
            assert_eq!(read(&format!("{spelling}{rest}")), annotation, "{spelling}");
            let (word, value) = spelling.split_once(' ').unwrap_or((spelling, ""));
            let loud = format!("Prose.\r\n\t{}  {value} \r{rest}", word.to_uppercase());
            assert_eq!(read(&loud), annotation, "{loud:?}");
        }
    }
}

#[test]
fn sse_takes_a_segment_and_a_level_in_that_order() {
    for (line, segment, level) in [
        ("@sse", Some(Segment::Level), None),
        ("@sse on notice", Some(Segment::Level), Some(Level::Notice)),
        ("@sse ON Warning", Some(Segment::Level), Some(Level::Warning)),
        ("@sse my_events", given("my_events"), None),
        ("@sse my_events on notice", given("my_events"), Some(Level::Notice)),
        ("@sse,my_events,\ton ,notice", given("my_events"), Some(Level::Notice)),
        ("@sse a/b~c.d-e/", given("a/b~c.d-e"), None),
        ("@sse /team", given("/team"), None),
        ("@sse \"on\"", given("on"), None),
        ("@sse notice", given("notice"), None),
        ("@sse_subscribe x on info", given("x"), Some(Level::Info)),
        ("@sse_publish on notice", None, Some(Level::Notice)),
    ] {
        let annotation = read(line);
        assert_eq!((annotation.subscribe, annotation.level), (segment, level), "{line}");
    }
}

#[test]
fn a_value_may_be_assigned() {
    for (assigned, spaced) in [
        ("@sse = true", "@sse"),
        ("@sse=TRUE", "@sse"),
        ("@sse =on notice", "@sse on notice"),
        ("@sse = chat on notice", "@sse chat on notice"),
        ("@sse\n@sse_level=notice", "@sse\n@sse_level notice"),
        ("@sse\n@sse_scope = authorize a, b", "@sse\n@sse_scope authorize a, b"),
        ("@sse\n@sse_scope = false", "@sse"),
        ("@sse = False\n@sse_publish", "@sse_publish"),
        ("@sse\n@authorize = true", "@sse\n@authorize"),
        ("@sse\n@authorize = false", "@sse"),
        ("@sse\n@authorize = a,b", "@sse\n@authorize a b"),
        ("@sse\n@authorize = \"true\"", "@sse\n@authorize true"),
        ("@sse\n@sse_snapshot = false", "@sse"),
        ("@sse\n@sse_snapshot = S.F as x", "@sse\n@sse_snapshot s.f AS x"),
        ("HTTP\n@login = true\n@path = /x", "HTTP\n@login\n@path /x"),
    ] {
        assert_eq!(read(assigned), read(spaced), "{assigned}");
    }
    for line in ["@sse =", "@sse = = x", "@sse == x", "@sse = true x", "@sse = false x", "@sse ,", "@sse = ,"]
    {
        assert_mistake(line, 1, "@sse");
    }
}

#[test]
fn what_is_switched_off_leaves_its_details_without_complaint() {
    let annotation = read("@sse = false\n@sse_level notice\n@sse_topic t");
    assert!(!annotation.is_sse() && annotation.level == Some(Level::Notice));
}

#[test]
fn authorize_takes_values_as_a_scope_does() {
    for (line, values) in [
        ("@authorize", &[][..]),
        ("@authorize a", &["a"]),
        ("@authorize a, b c", &["a", "b", "c"]),
        ("@authorize,a", &["a"]),
        ("@authorize a,", &["a"]),
        ("@authorize id:42 Role:admin", &["id:42", "role:admin"]),
        ("@authorize \"role:sales team\", name:\"O \"\"B\"\"\"", &["role:sales team", "name:O \"B\""]),
        ("@authorize \"\"", &[""]),
    ] {
        assert_eq!(read(line).access, Access::Authorize(list(values)), "{line}");
    }
    assert_mistake("@authorize ,", 1, "@authorize");
    assert_mistake("@authorize \"a", 1, "\"a");
    assert_mistake("@authorize role: admin", 1, "role: admin");
}

#[test]
fn without_a_scope_events_follow_the_authorize_rule() {
    for (comment, scope) in [
        ("@sse", Scope::All),
        ("@sse\n@anonymous", Scope::All),
        ("@sse\n@authorize", Scope::Authorize(vec![])),
        ("@sse\n@authorize a", Scope::Authorize(list(&["a"]))),
        ("@sse\n@authorize \"\"", Scope::Nobody),
        ("@sse\n@authorize a\n@sse_scope all", Scope::All),
        ("@sse\n@sse_scope matching", Scope::Matching),
        ("@sse\n@sse_scope caller", Scope::Caller),
        ("@sse\n@authorize a\n@sse_scope Caller", Scope::Caller),
    ] {
        assert_eq!(read(comment).default_scope(), scope, "{comment:?}");
    }
}

#[test]
fn level_and_delivery_fall_back_to_the_settings() {
    assert_eq!(read("@sse").level_or(Level::Warning), Level::Warning);
    assert_eq!(read("@sse on info").level_or(Level::Warning), Level::Info);
    assert_eq!(read("@sse").delivery_or(Delivery::Immediate), Delivery::Immediate);
    assert_eq!(read("@sse\n@sse_delivery COMMIT").delivery_or(Delivery::Immediate), Delivery::Commit);
}

#[test]
fn an_http_line_has_a_method_and_a_path_both_optional() {
    for (line, method, path) in [
        ("HTTP", None, None),
        ("http", None, None),
        ("HTTP GET", Some(Method::Get), None),
        ("Http post", Some(Method::Post), None),
        ("HTTP\tPUT", Some(Method::Put), None),
        ("HTTP PATCH /a", Some(Method::Patch), Some("/a")),
        ("HTTP DELETE /a/b/", Some(Method::Delete), Some("/a/b")),
        ("HTTP /a_b.c~d-1", None, Some("/a_b.c~d-1")),
        ("HTTP /", None, Some("/")),
    ] {
        assert_eq!(read(line).http, Some(Http { method, path: path.map(str::to_owned) }), "{line}");
    }
}

#[test]
fn a_mistake_in_an_http_line_is_said() {
    for (line, word) in [
        ("HTTP PSOT", "PSOT"),
        ("HTTP HEAD", "HEAD"),
        ("HTTP fetch /x", "fetch"),
        ("HTTP GET x", "x"),
        ("HTTP GET a url", "a"),
        ("HTTP GET /x y", "y"),
        ("HTTP /x GET", "GET"),
        ("HTTP GET /X", "/X"),
        ("HTTP GET /{id}", "/{id}"),
        ("HTTP GET /a//b", "/a//b"),
        ("HTTP GET /a/../b", "/a/../b"),
        ("HTTP /healthz", "/healthz"),
        ("HTTP POST\\n@authorize", "POST\\n@authorize"),
    ] {
        assert_mistake(line, 1, word);
    }
    assert_mistake("HTTP client\n@sse", 1, "client");
    assert_eq!(read("HTTP client of the billing service\n@sse"), sse());
}

#[test]
fn the_method_follows_the_routine_where_the_line_gives_none() {
    let facts = |name, volatile| RoutineFacts { name, volatile, ..FACTS };
    let http = |comment| read(comment).http.unwrap();
    for (comment, name, volatile, method) in [
        ("HTTP", "send", true, Method::Post),
        ("HTTP", "send", false, Method::Get),
        ("HTTP", "get_all", true, Method::Get),
        ("HTTP", "getter", true, Method::Post),
        ("HTTP PUT", "get_all", false, Method::Put),
    ] {
        assert_eq!(http(comment).method(&facts(name, volatile)), method, "{comment} {name} {volatile}");
    }
}

#[test]
fn the_order_of_lines_and_their_repetition_do_not_matter() {
    let lines =
        ["@sse chat on notice", "HTTP POST /x", "@authorize a, b", "@sse_topic t", "@sse_level notice"];
    let expected = read(&lines.join("\n"));
    for turn in 0..lines.len() {
        let mut turned = [lines, lines].concat();
        turned.rotate_left(turn);
        assert_eq!(read(&turned.join("\n")), expected);
        turned.reverse();
        assert_eq!(read(&turned.join("\n")), expected);
    }
    assert_eq!(read("@sse_publish\n@sse_subscribe"), sse());
    assert_eq!(read("@sse\n@sse_publish\n@sse_subscribe\n@sse_path"), sse());
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
    ] {
        let word = if line == "@path /healthz/" { "/healthz/" } else { word };
        assert_mistake(&format!("@sse_publish\n{line}"), 2, word);
    }
}

#[test]
fn a_topic_with_a_blank_stands_in_double_quotes() {
    assert_eq!(read("@sse\n@sse_topic \"a, b\"").topic, Topic::parse("a, b").ok());
}

#[test]
fn a_label_in_a_comment_holds_up_to_its_limit() {
    for (length, fits) in [(199, true), (200, true), (201, false)] {
        for word in ["@sse_topic", "@sse_event"] {
            let comment = format!("@sse\n{word} {}", "x".repeat(length));
            assert_eq!(Annotation::parse(&comment).is_ok(), fits, "{word} {length}");
        }
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

const FACTS: RoutineFacts<'static> = RoutineFacts {
    schema: "s",
    name: "f",
    kind: RoutineKind::Function,
    volatile: true,
    parallel_safe: false,
    has_identity_parameters: false,
};

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

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "@(sse|sse_level|sse_scope|authorize|anon|path|login|sse_topic)[ ,=]{0,2}(on|notice|all|true|false|authorize|a|\"x y\")?( on info)?",
        1 => "HTTP( GET| POST)?( /[a-z]{1,3})?",
        1 => "[@a-zA-Z\"=,. \t\u{a0}_-]{0,20}",
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn parsing_is_total_and_each_problem_is_one_printable_line(lines in proptest::collection::vec(line(), 0..6)) {
        for problem in Annotation::parse(&lines.join("\n")).err().unwrap_or_default() {
            prop_assert!(!problem.to_string().contains(char::is_control), "{problem}");
        }
    }

    #[test]
    fn turning_the_lines_changes_nothing(lines in proptest::collection::vec(line(), 0..6), turn in 0usize..6) {
        let mut turned = lines.clone();
        turned.rotate_left(turn.min(lines.len()));
        let (before, after) = (Annotation::parse(&lines.join("\n")), Annotation::parse(&turned.join("\n")));
        match (before, after) {
            (Ok(Some(mut a)), Ok(Some(mut b))) => {
                // The list of two agreeing `@authorize` lines may come from either.
                prop_assert!(a.access.same_rule(&b.access));
                (a.access, b.access) = (Access::Unspecified, Access::Unspecified);
                prop_assert_eq!(a, b);
            }
            (Ok(None), Ok(None)) | (Err(_), Err(_)) => {}
            (a, b) => prop_assert!(false, "{a:?} {b:?}"),
        }
    }

    #[test]
    fn a_comment_with_a_mistake_never_gives_an_annotation(lines in proptest::collection::vec(line(), 0..4)) {
        let comment = format!("{}\n@sse_nonsense", lines.join("\n"));
        let problems: Vec<Problem> = Annotation::parse(&comment).unwrap_err();
        prop_assert!(problems.iter().any(|p| p.word == "@sse_nonsense"));
    }
}
