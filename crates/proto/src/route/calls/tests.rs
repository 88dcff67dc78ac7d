#![allow(clippy::unwrap_used)]

use super::*;
use crate::call::{Mode, Parameter, ResultType, Shape, TypeKind};
use crate::word::Level;

fn signature(shape: Shape, columns: &[&str]) -> Signature {
    let columns = columns.iter().map(|&column| column.to_owned()).collect();
    Signature {
        rows: Vec::new(),
        parameters: Vec::new(),
        result: ResultType { shape, is_set: false, columns, kinds: Vec::new() },
        strict: false,
        may_execute: true,
        owner_may_issue_tokens: true,
    }
}

fn routine(oid: u32, name: &str, comment: &str) -> Routine {
    // Overloads that a request can tell apart.
    let signature = Some(Signature {
        rows: Vec::new(),
        parameters: vec![Parameter {
            name: format!("p{oid}"),
            ..parameter("pg_catalog.text", Mode::In, TypeKind::Scalar)
        }],
        ..signature(Shape::Scalar, &[])
    });
    Routine { signature, ..Routine::new(oid, "s", name, comment) }
}

fn table(routines: &[Routine]) -> RouteTable {
    RouteTable::build(routines, "/api", Level::Info)
}

fn oids(table: &RouteTable, path: &str, method: Method) -> Vec<u32> {
    table
        .find_calls(path)
        .into_iter()
        .flat_map(|point| point.of_method(method))
        .map(|call| call.oid)
        .collect()
}

#[test]
fn a_call_is_found_at_its_path_with_one_slash_more_and_nowhere_else() {
    let table =
        table(&[routine(1, "größe~", "HTTP"), routine(2, "g", "HTTP PUT /v1/x"), routine(3, "h", "HTTP /")]);
    for (path, found) in [
        ("/api/s/gr%C3%B6%C3%9Fe~", true),
        ("/api/s/gr%c3%b6%c3%9fe%7E/", true),
        ("/v1/x", true),
        ("/v1/x/", true),
        ("/v1/x//", false),
        ("/v1/X", false),
        ("/v1/x/info", false),
        ("/", true),
        ("", false),
        ("/api", false),
    ] {
        assert_eq!(table.find_calls(path).is_some(), found, "{path}");
    }
    assert_eq!(table.call_points().count(), 3);
}

#[test]
fn a_path_has_calls_of_several_methods_and_overloads() {
    let table = table(&[
        routine(4, "a", "HTTP GET /m"),
        routine(3, "b", "HTTP POST /m\n@authorize x\n@user_parameters"),
        routine(2, "b", "HTTP POST /m\n@authorize x"),
        routine(1, "c", "HTTP DELETE /m\n@logout"),
    ]);
    assert_eq!(oids(&table, "/m", Method::Post), [2, 3]);
    assert_eq!(oids(&table, "/m", Method::Get), [4]);
    assert_eq!(oids(&table, "/m", Method::Put), [0; 0]);
    assert_eq!(table.find_calls("/m").unwrap().allow(), "GET, HEAD, POST, DELETE, OPTIONS");
    let point = table.find_calls("/m").unwrap();
    assert!(point.calls.iter().any(|call| call.oid == 3 && call.user_parameters));
    assert!(point.calls.iter().any(|call| call.oid == 1 && call.logout));
}

#[test]
fn get_reads_only_unless_the_comment_says_get() {
    let stable = |oid, name, comment| Routine { volatile: false, ..routine(oid, name, comment) };
    let table = table(&[
        stable(1, "a", "HTTP"),
        stable(2, "b", "HTTP GET"),
        stable(3, "c", "HTTP POST"),
        routine(4, "get_d", "HTTP /d"),
        routine(5, "e", "HTTP"),
    ]);
    let found =
        |path| table.find_calls(path).unwrap().calls.iter().map(|c| (c.method, c.read_only)).next().unwrap();
    assert_eq!(found("/api/s/a"), (Method::Get, true));
    assert_eq!(found("/api/s/b"), (Method::Get, false));
    assert_eq!(found("/api/s/c"), (Method::Post, false));
    assert_eq!(found("/d"), (Method::Get, true));
    assert_eq!(found("/api/s/e"), (Method::Post, false));
}

fn parameter(type_name: &str, mode: Mode, kind: TypeKind) -> Parameter {
    Parameter {
        name: "a".to_owned(),
        mode,
        type_oid: 25,
        type_name: type_name.to_owned(),
        kind,
        has_default: false,
    }
}

#[test]
fn what_cannot_be_called_says_why_and_keeps_its_stream() {
    let of = |change: fn(&mut Signature)| {
        let mut signature = signature(Shape::Scalar, &["user_id"]);
        change(&mut signature);
        signature
    };
    let cases: [(&str, Signature, &str); 8] = [
        ("HTTP", of(|s| s.result.shape = Shape::Record), "RETURNS TABLE"),
        ("HTTP", of(|s| s.result.shape = Shape::Pseudo), "pseudo-type"),
        (
            "HTTP",
            of(|s| s.parameters = vec![parameter("pg_catalog.anyelement", Mode::In, TypeKind::Pseudo)]),
            "anyelement",
        ),
        ("HTTP", of(|s| s.may_execute = false), "GRANT EXECUTE"),
        ("HTTP\n@login", of(|s| s.owner_may_issue_tokens = false), "sse.issue_token"),
        ("HTTP\n@login", of(|s| s.result.columns.clear()), "claims"),
        ("HTTP\n@login", of(|s| s.result.shape = Shape::Void), ""),
        ("HTTP", of(|s| s.parameters = vec![parameter("x", Mode::Table, TypeKind::Pseudo)]), ""),
    ];
    for (comment, signature, said) in cases {
        let routine = Routine { signature: Some(signature), ..routine(1, "f", &format!("{comment}\n@sse")) };
        let table = RouteTable::build(&[routine], "/api", Level::Info);
        let endpoint = table.endpoint(1).unwrap();
        let told: String = endpoint.call_problems.iter().map(|problem| problem.to_string()).collect();
        assert!(told.contains(said) && told.is_empty() == said.is_empty(), "{comment}: {told}");
        assert_eq!(table.find_calls("/api/s/f").is_none(), !said.is_empty(), "{comment} {said}");
        assert_eq!(endpoint.call.is_none(), !said.is_empty());
        assert_eq!((endpoint.problems.len(), endpoint.url.as_deref()), (0, Some("/api/s/f/info")));
    }
}

#[test]
fn a_routine_whose_signature_was_not_read_is_shown_and_not_called() {
    let table = table(&[Routine { signature: None, ..routine(1, "f", "HTTP") }]);
    assert!(table.find_calls("/api/s/f").is_none());
    let endpoint = table.endpoint(1).unwrap();
    assert_eq!(endpoint.call, Some((Method::Post, "/api/s/f".to_owned())));
    assert_eq!((endpoint.problems.len(), endpoint.call_problems.len()), (0, 0));
}

#[test]
fn a_mistake_in_the_comment_stops_calls_too() {
    let table = table(&[routine(1, "f", "HTTP\n@authorise"), routine(2, "g", "HTTP\n@login\n@logout")]);
    assert!(table.call_points().next().is_none());
    assert!(table.endpoints().all(|endpoint| !endpoint.problems.is_empty()));
}

/// Attack: `@anonymous` on one overload opens the others.
#[test]
fn overloads_that_disagree_on_access_cannot_be_called() {
    for (one, other, agree) in [
        ("HTTP /m\n@authorize a b", "HTTP POST /m\n@authorize b a", true),
        ("HTTP /m", "HTTP /m\n@anonymous", true),
        ("HTTP /m\n@authorize", "HTTP /m\n@anonymous", false),
        ("HTTP /m\n@authorize a", "HTTP /m\n@authorize b", false),
        ("HTTP /m\n@logout", "HTTP /m", false),
        ("HTTP /m\n@authorize", "HTTP PUT /m\n@anonymous", true),
    ] {
        let table = table(&[routine(1, "f", one), routine(2, "f", other)]);
        let callable = table.find_calls("/m").map_or(0, |point| point.calls.len());
        assert_eq!(callable, if agree { 2 } else { 0 }, "{one:?} {other:?}");
        let problems = table.endpoints().filter(|endpoint| !endpoint.call_problems.is_empty()).count();
        assert_eq!(problems, if agree { 0 } else { 2 });
    }
    // One that cannot be called anyway has no say.
    let mut other = routine(2, "f", "HTTP /m\n@anonymous");
    other.signature.as_mut().unwrap().may_execute = false;
    let table = table(&[routine(1, "f", "HTTP /m\n@authorize"), other]);
    assert_eq!(oids(&table, "/m", Method::Post), [1]);
}

#[test]
fn of_two_names_for_one_call_the_older_keeps_it() {
    let table = table(&[routine(2, "g", "HTTP /m"), routine(1, "f", "HTTP /m")]);
    assert_eq!(oids(&table, "/m", Method::Post), [1]);
    assert_eq!(table.endpoints().filter(|endpoint| !endpoint.problems.is_empty()).count(), 1);
}

// Attack: overloads by the hundred, each with as long a list as there may be: nobody's routes would be new
// meanwhile.
#[test]
fn the_rules_of_hundreds_of_overloads_are_compared_in_no_time() {
    let values: Vec<String> = (0..1000).map(|n| format!("role:r{n}")).collect();
    let comment = format!("HTTP\n@authorize {}", values.join(", "));
    let routines: Vec<Routine> = (1..=300).map(|oid| routine(oid, "f", &comment)).collect();
    let parsed: Vec<_> = routines.iter().map(Routine::parse).collect();
    let known: Vec<_> =
        routines.iter().zip(&parsed).map(|(routine, parsed)| Known { routine, parsed }).collect();
    let began = std::time::Instant::now();
    let table = RouteTable::of(&known, "/api", Level::Info);
    let took = began.elapsed();
    assert_eq!(oids(&table, "/api/s/f", Method::Post).len(), 300);
    assert!(took < std::time::Duration::from_secs(2), "{took:?}");
}
