#![allow(clippy::unwrap_used)]
use super::path::canonical;
use super::*;
use crate::scope::ScopeValue;
use proptest::prelude::*;

fn routine(oid: u32, schema: &str, name: &str, comment: &str) -> Routine {
    Routine::new(oid, schema, name, comment)
}

/// The oids of routines with a problem.
fn problems(table: &RouteTable) -> Vec<u32> {
    table.endpoints().filter(|endpoint| !endpoint.problems.is_empty()).map(|endpoint| endpoint.oid).collect()
}

fn build(routines: &[Routine]) -> (RouteTable, Vec<u32>) {
    let table = RouteTable::build(routines, "/api", Level::Info);
    let problems = problems(&table);
    (table, problems)
}

fn paths(table: &RouteTable) -> Vec<(&str, u32)> {
    table.iter().map(|route| (route.path.as_str(), route.oid)).collect()
}

#[test]
fn a_subscribe_url_is_made_as_documented() {
    for (schema, name, comment, url) in [
        ("example_8", "send_message", "@sse", "/api/example-8/send-message/info"),
        ("public", "send_message", "@sse", "/api/send-message/info"),
        ("Public", "x", "@sse", "/api/public/x/info"),
        ("public", "Send Message", "@sse", "/api/send-message/info"),
        ("public", "a\"b", "@sse", "/api/ab/info"),
        ("public", "größe", "@sse", "/api/gr%C3%B6%C3%9Fe/info"),
        ("public", "GRÖSSE", "@sse", "/api/gr%C3%B6sse/info"),
        ("public", "a/b?c#d%e", "@sse", "/api/a%2Fb%3Fc%23d%25e/info"),
        ("public", "a.b~c-d", "@sse", "/api/a.b~c-d/info"),
        ("s", "f", "@sse my_events", "/api/s/f/my_events"),
        ("s", "f", "@sse /live", "/api/s/f/live"),
        ("s", "f", "@sse live/now/", "/api/s/f/live/now"),
        ("s", "f", "@sse /api/s/f/live", "/api/s/f/live"),
        ("s", "f", "@sse /api/s/fx/live", "/api/s/f/api/s/fx/live"),
        ("s", "f", "@sse on notice", "/api/s/f/notice"),
        ("s", "f", "@sse_level warning\n@sse", "/api/s/f/warning"),
        ("s", "f", "@sse chat on warning", "/api/s/f/chat"),
        ("s", "f", "HTTP POST /chat\n@sse", "/chat/info"),
        ("s", "f", "HTTP /chat/\n@sse", "/chat/info"),
        ("s", "f", "@path chat/room\n@sse x", "/chat/room/x"),
        ("s", "f", "@path /\n@sse x", "/x"),
    ] {
        let (table, problems) = build(&[routine(1, schema, name, comment)]);
        assert_eq!((paths(&table), problems), (vec![(url, 1)], vec![]), "{schema}.{name}: {comment:?}");
        assert_eq!(table.endpoint(1).unwrap().url.as_deref(), Some(url));
    }
}

#[test]
fn the_prefix_is_the_first_part_of_a_derived_url() {
    for (prefix, url) in
        [("", "/s/f/info"), ("/", "/s/f/info"), ("/api", "/api/s/f/info"), ("a/b/", "/a/b/s/f/info")]
    {
        let table = RouteTable::build(&[routine(1, "s", "f", "@sse")], prefix, Level::Info);
        assert_eq!(paths(&table), [(url, 1)], "{prefix:?}");
    }
}

#[test]
fn the_default_level_is_the_default_segment() {
    let table = RouteTable::build(&[routine(1, "s", "f", "@sse")], "/api", Level::Notice);
    assert_eq!(paths(&table), [("/api/s/f/notice", 1)]);
}

#[test]
fn a_request_finds_its_stream_by_the_exact_path() {
    let (table, _) = build(&[routine(1, "s", "größe~", "@sse")]);
    for (path, found) in [
        ("/api/s/gr%C3%B6%C3%9Fe~/info", true),
        ("/api/s/gr%C3%B6%C3%9Fe~/info/", true),
        ("/api/s/gr%c3%b6%c3%9fe%7E/%69nfo", true),
        ("/api/s/größe~/info", true),
        ("/api/s/gr%C3%B6%C3%9Fe~/info//", false),
        ("/api/s/gr%C3%B6%C3%9Fe~/INFO", false),
        ("/api/s/gr%C3%B6%C3%9Fe~", false),
        ("/api/s%2Fgr%C3%B6%C3%9Fe~/info", false),
        ("/api/s/gr%C3%B6%C3%9Fe~/info%", false),
        ("/api/s/gr%C3%B6%C3%9Fe~/info%2", false),
        ("/", false),
        ("", false),
    ] {
        assert_eq!(table.find(path).is_some(), found, "{path}");
    }
}

#[test]
fn publishers_and_prose_have_no_subscribe_url() {
    let (table, problems) = build(&[
        routine(1, "s", "f", "@sse_publish"),
        routine(2, "s", "g", "just prose"),
        routine(3, "s", "h", "HTTP GET"),
    ]);
    assert!(table.iter().next().is_none() && problems.is_empty());
    assert!(table.endpoint(1).is_some() && table.endpoint(2).is_none());
    assert_eq!(table.endpoint(3).unwrap().call, Some((Method::Get, "/api/s/h".to_owned())));
    assert_eq!(table.endpoints().map(|e| e.oid).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn a_routine_with_a_problem_has_no_url_and_takes_none() {
    let mut parallel_safe = routine(2, "s", "f_x", "HTTP\n@sse");
    parallel_safe.parallel_safe = true;
    let all = [
        routine(1, "s", "f x", "@sse\n@authorise"),
        parallel_safe,
        routine(3, "s", "f-x", "@sse"),
        routine(4, "s", ".", "@sse"),
        routine(5, "s", "\"", "@sse"),
        routine(6, "..", "f", "HTTP"),
        routine(7, "s", "..", "@sse\n@path /dots"),
        routine(8, "s", ".", "@sse_publish"),
    ];
    let (table, problems) = build(&all);
    assert_eq!(paths(&table), [("/api/s/f-x/info", 3), ("/dots/info", 7)]);
    assert_eq!(problems, [1, 2, 4, 5, 6]);
    for oid in problems {
        let endpoint = table.endpoint(oid).unwrap();
        assert!(endpoint.url.is_none() && endpoint.call.is_none() && !endpoint.problems.is_empty());
    }
}

#[test]
fn the_older_of_two_names_keeps_a_url_whatever_the_order_they_are_read_in() {
    let mut all = vec![
        routine(30, "s", "a_b", "@sse"),
        routine(10, "s", "a-b", "@sse"),
        routine(20, "public", "x", "@path /api/s/a-b\n@sse"),
    ];
    for _ in 0..all.len() {
        let (table, problems) = build(&all);
        assert_eq!((paths(&table), problems), (vec![("/api/s/a-b/info", 10)], vec![20, 30]));
        let said = table.endpoint(20).unwrap().problems[0].to_string();
        assert!(said.contains("/api/s/a-b/info") && said.contains("s.a-b"), "{said}");
        all.rotate_left(1);
    }
}

#[test]
fn a_stream_and_a_call_never_share_a_url() {
    let call = |oid| routine(oid, "s", "call", "HTTP GET /x/info");
    let stream = |oid| routine(oid, "s", "stream", "@path /x\n@sse");
    assert_eq!(build(&[call(1), stream(2)]).1, [2]);
    assert_eq!(build(&[call(2), stream(1)]).1, [2]);
}

#[test]
fn calls_of_different_methods_stand_side_by_side_at_one_path() {
    for (method, problems) in [("GET", vec![2]), ("POST", vec![])] {
        let all = [routine(1, "s", "a", "HTTP GET /m"), routine(2, "s", "b", &format!("HTTP {method} /m"))];
        assert_eq!(build(&all).1, problems, "{method}");
    }
}

#[test]
fn overloads_share_one_url() {
    let all = [
        routine(2, "s", "f", "HTTP\n@sse\n@authorize b, a"),
        routine(1, "s", "f", "HTTP\n@sse\n@authorize a, b"),
        routine(3, "s", "f", "@sse_publish"),
    ];
    let (table, problems) = build(&all);
    assert_eq!((paths(&table), problems), (vec![("/api/s/f/info", 1)], vec![]));
    let values = vec![ScopeValue::new("a"), ScopeValue::new("b")];
    assert_eq!(table.find("/api/s/f/info").unwrap().access, Access::Authorize(values));
}

/// Attack: an overload without `@authorize` opens the stream of the one that has it.
#[test]
fn overloads_that_disagree_on_access_or_topic_have_no_url() {
    for other in [
        "@sse",
        "@sse\n@anonymous",
        "@sse\n@authorize b",
        "@sse\n@authorize",
        "@sse\n@authorize a\n@sse_topic t",
    ] {
        let all = [
            routine(1, "s", "f", "@sse\n@authorize a"),
            routine(2, "s", "f", other),
            routine(3, "s", "f", "@sse\n@authorize a"),
            routine(4, "s", "F", "@sse"),
        ];
        let (table, problems) = build(&all);
        assert_eq!((paths(&table), problems), (vec![], vec![1, 2, 3, 4]), "{other:?}");
    }
}

#[test]
fn an_overload_on_another_segment_has_its_own_rule() {
    let all = [routine(1, "s", "f", "@sse\n@authorize a"), routine(2, "s", "f", "@sse open\n@anonymous")];
    let (table, problems) = build(&all);
    assert_eq!((paths(&table), problems), (vec![("/api/s/f/info", 1), ("/api/s/f/open", 2)], vec![]));
}

#[test]
fn a_reserved_path_is_taken_by_nobody() {
    let all = [
        routine(1, "s", "f", "@path /\n@sse healthz"),
        routine(2, "public", "healthz", "HTTP GET"),
        routine(3, "public", "healthz", "@sse"),
    ];
    let table = RouteTable::build(&all, "", Level::Info);
    assert_eq!(paths(&table), [("/healthz/info", 3)]);
    assert_eq!(problems(&table), [1, 2]);
}

#[test]
fn a_route_carries_the_topic_and_access_of_its_routine() {
    let (table, _) = build(&[routine(1, "s", "f", "@sse\n@sse_topic news\n@authorize")]);
    let route = table.find("/api/s/f/info").unwrap();
    assert_eq!(route.topic.as_ref().map(Topic::as_str), Some("news"));
    assert_eq!(route.access, Access::Authorize(vec![]));
}

proptest! {
    #[test]
    fn every_url_is_canonical_and_found_again(schema in ".{1,8}", name in ".{1,8}") {
        let (table, problems) = build(&[routine(1, &schema, &name, "@sse")]);
        prop_assert_eq!(table.iter().count() + problems.len(), 1);
        for route in table.iter() {
            prop_assert!(route.path.bytes().all(|b| b.is_ascii_graphic()), "{}", route.path);
            prop_assert_eq!(&canonical(&route.path), &route.path);
            prop_assert_eq!(table.find(&route.path), Some(route));
            prop_assert!(!route.path.split('/').any(|part| part == "." || part == ".."));
        }
    }

    #[test]
    fn looking_up_any_path_is_safe(path in "[/%a-fé2.]{0,12}") {
        let (table, _) = build(&[routine(1, "s", "f", "@sse")]);
        prop_assert!(table.find(&path).is_none());
    }
}
