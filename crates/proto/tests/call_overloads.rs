//! Which of several overloads a request means (C7.3).

#![allow(clippy::unwrap_used)]

#[path = "call/fixture.rs"]
mod fixture;

use fixture::{function, result, signature};
use sse_proto::call::{ArgumentError, Given, Shape, UserParameters, statement};
use sse_proto::route::{Call, RouteTable, Routine};
use sse_proto::word::Level;

fn chosen(calls: &[Call], body: &str) -> Result<u32, ArgumentError> {
    let given = Given::Body(body.as_bytes());
    statement(calls.iter(), &given, &UserParameters::default(), false).map(|(call, _)| call.oid)
}

fn overloads(declarations: &[&str]) -> Vec<Call> {
    let numbered = declarations.iter().zip(0..);
    numbered.map(|(declaration, oid)| Call { oid, ..function(declaration) }).collect()
}

#[test]
fn an_overload_is_chosen_by_the_names_given() {
    let calls = overloads(&[
        "",
        "in a int4",
        "in a int4, in b int4",
        "in b text",
        "in c int4, in d int4 =, in e int4 =",
    ]);
    for (body, oid) in [
        ("{}", 0),
        (r#"{"a": 1}"#, 1),
        (r#"{"b": 1, "a": 1}"#, 2),
        (r#"{"b": "x"}"#, 3),
        (r#"{"c": 1}"#, 4),
        (r#"{"c": 1, "e": 1}"#, 4),
    ] {
        assert_eq!(chosen(&calls, body), Ok(oid), "{body}");
    }
    assert_eq!(chosen(&calls, r#"{"a": 1, "c": 1}"#), Err(ArgumentError::NoOverload));
    assert_eq!(chosen(&calls, r#"{"x": 1}"#), Err(ArgumentError::Unknown("x".to_owned())));
    assert_eq!(chosen(&[], "{}"), Err(ArgumentError::NoOverload));
}

#[test]
fn of_overloads_that_fit_the_one_with_the_fewest_defaults_is_meant_unless_postgres_cannot_tell() {
    let calls = overloads(&["in a int4, in b int4 =, in c int4 =", "in a text, in b int4 ="]);
    assert_eq!(chosen(&calls, r#"{"a": 1}"#), Ok(1));
    assert_eq!(chosen(&calls, r#"{"a": 1, "c": 1}"#), Ok(0));
    // As many defaults: nothing says which.
    let calls = overloads(&["in a int4, in b int4 =", "in a text, in c int4 ="]);
    assert_eq!(chosen(&calls, r#"{"a": 1}"#), Err(ArgumentError::Ambiguous));
    // The same types: Postgres says "is not unique".
    let calls = overloads(&["in a int4", "in a int4, in b int4 ="]);
    assert_eq!(chosen(&calls, r#"{"a": 1}"#), Err(ArgumentError::Ambiguous));
    assert_eq!(chosen(&calls, r#"{"a": 1, "b": 1}"#), Ok(1));
}

/// The oids that can be called, and those with a problem.
fn settled(declarations: &[&str]) -> (Vec<u32>, Vec<u32>) {
    let routine = |(oid, declaration): (u32, &&str)| {
        let comment = declaration.strip_prefix('@').map_or("HTTP POST", |_| "HTTP POST\n@user_parameters");
        let signature = signature(declaration.trim_start_matches('@'), result(Shape::Scalar, false, &[]));
        Routine { signature: Some(signature), ..Routine::new(oid, "app", "f", comment) }
    };
    let routines: Vec<Routine> = (1..).zip(declarations).map(routine).collect();
    let table = RouteTable::build(&routines, "/api", Level::Info);
    assert!(table.endpoints().all(|endpoint| endpoint.problems.is_empty()), "its streams would be gone");
    let calls = table.find_calls("/api/app/f").map_or(&[][..], |point| &point.calls);
    let has_problem =
        |oid: &u32| table.endpoint(*oid).is_some_and(|endpoint| !endpoint.call_problems.is_empty());
    (calls.iter().map(|call| call.oid).collect(), (1..=routines.len() as u32).filter(has_problem).collect())
}

#[test]
fn of_overloads_that_no_request_can_tell_apart_the_oldest_is_called_and_the_later_have_a_problem() {
    for (declarations, called, problems) in [
        (&["in id int4", "in id uuid"][..], &[1][..], &[2][..]),
        (&["in id uuid", "in id int4", "in id text"], &[1], &[2, 3]),
        (&["in a int4, in b text", "in b int4, in a text"], &[1], &[2]),
        (&["in a int4, in b int4 =", "in a text, in b text ="], &[1], &[2]),
        (&["in a int4 =, in b int4 =", "in b text =, in a text ="], &[1], &[2]),
        (&["", "", "in a int4"], &[1, 3], &[2]),
        (&["in - int4", "in - text"], &[1], &[2]),
        (&["in a int4, out x int4", "in a text"], &[1], &[2]),
        (&["@in _user_id int4, in a int4", "@in a text"], &[1], &[2]),
        // The second alone takes `a` alone, but the first could be called before the second was there.
        (&["in a int4, in b int4", "in a text, in b text ="], &[1], &[2]),
        (&["in a int4, in b int4 =", "in a text, in b text"], &[1], &[2]),
        // Some request tells them apart.
        (&["in a int4", "in b int4"], &[1, 2], &[]),
        (&["in a int4", "in a text, in b int4"], &[1, 2], &[]),
        (&["in a int4", "in a text, in b int4 ="], &[1, 2], &[]),
        (&["in user_id int4", "in _user_id text"], &[1, 2], &[]),
        (&["in _user_id int4", "@in _user_id int4"], &[1, 2], &[]),
        // Postgres cannot say whether `f(a => 1)` is the one or the other: the one is never called.
        (&["in a int4", "in a int4, in b int4 ="], &[1, 2], &[1]),
        (&["in a int4, in b int4 =", "in a int4"], &[1, 2], &[2]),
    ] {
        assert_eq!(settled(declarations), (called.to_vec(), problems.to_vec()), "{declarations:?}");
    }
}

#[test]
fn overloads_are_compared_up_to_a_bound() {
    for (count, compared) in [(99, true), (100, true), (101, false)] {
        let (called, problems) = settled(&vec!["in a int4"; count]);
        assert_eq!((called.len() == 1, problems.len() == count - 1), (compared, compared), "{count}");
    }
    for (optional, compared) in [(5, true), (6, true), (7, false)] {
        let others: String = (1..optional).map(|n| format!(", in p{n} int4 =")).collect();
        // With `b` it is not told from the first, without from the second.
        let (first, second) = (format!("in a text =, in b text{others}"), format!("in a uuid{others}"));
        let (_, problems) = settled(&[&first, &second, &format!("in a int4, in b int4 ={others}")]);
        assert_eq!(problems, if compared { vec![3] } else { vec![] }, "{optional}");
        let (called, problems) = settled(&[&others[2..], &others[2..]]);
        assert_eq!((called, problems), (vec![1], vec![2]), "{optional}");
    }
}

// Attack: overloads by the hundred, made so that comparing them takes long: nobody's routes would be new
// meanwhile.
#[test]
fn a_hundred_overloads_of_a_hundred_parameters_are_compared_in_no_time() {
    // Three of nine are required, so that none stands in for another but its twin.
    let ways = (0..1_u32 << 9).filter(|way| way.count_ones() == 3).take(50);
    let overload = |way: u32| {
        let common: String = (0..90).map(|n| format!("in parameter_{n} type_{way}, ")).collect();
        let own = (0..9).map(|n| format!("in x{n} type_{way}{}", if way >> n & 1 == 1 { "" } else { " =" }));
        format!("{common}{}", own.collect::<Vec<_>>().join(", "))
    };
    let once: Vec<String> = ways.map(overload).collect();
    let twice: Vec<&str> = once.iter().chain(&once).map(String::as_str).collect();
    let began = std::time::Instant::now();
    let (called, problems) = settled(&twice);
    let took = began.elapsed();
    assert_eq!((called, problems), ((1..=50).collect(), (51..=100).collect()));
    assert!(took < std::time::Duration::from_secs(2), "{took:?}");
}
