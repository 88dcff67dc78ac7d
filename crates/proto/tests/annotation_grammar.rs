//! The grammar of comments (C2.1, C2.2, C7.1): what is read, in which forms, and which mistakes are said.
#![allow(clippy::unwrap_used)]

mod reading;

use proptest::prelude::*;
use reading::{FACTS, assert_mistake, read};
use sse_proto::annotation::{Access, Annotation, Http, Method, Problem, RoutineFacts, Segment};
use sse_proto::scope::{Scope, ScopeValue};
use sse_proto::word::{Delivery, EventName, Level, Topic};

fn sse() -> Annotation {
    Annotation { publish: true, subscribe: Some(Segment::Level), ..Annotation::default() }
}

fn given(segment: &str) -> Option<Segment> {
    Some(Segment::Given(segment.to_owned()))
}

fn list(values: &[&str]) -> Vec<ScopeValue> {
    values.iter().map(|value| ScopeValue::new(value)).collect()
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
