//! The SQL around a routine, and what kind of answer it makes (C7.4, C7.5). That Postgres takes it and gives
//! what is wanted is tested with a server, in `pg_test`.

#![allow(clippy::unwrap_used)]

#[path = "call/fixture.rs"]
mod fixture;

use fixture::{function, post, procedure, result};
use sse_proto::call::{AnswerShape, ResultType, Shape, failure_status, failure_title, tells_message};
use sse_proto::route::Call;

fn returning(result: ResultType) -> Call {
    let mut call = function("");
    call.signature.result = result;
    call
}

#[test]
fn every_shape_has_its_answer() {
    for (shape, is_set, answer) in [
        (Shape::Void, false, AnswerShape::Nothing),
        (Shape::Void, true, AnswerShape::Nothing),
        (Shape::Scalar, false, AnswerShape::Text),
        (Shape::Scalar, true, AnswerShape::Array),
        (Shape::Json, false, AnswerShape::Json),
        (Shape::Json, true, AnswerShape::Array),
        (Shape::Array, false, AnswerShape::Json),
        (Shape::Array, true, AnswerShape::Array),
        (Shape::Composite, false, AnswerShape::Object),
        (Shape::Composite, true, AnswerShape::Array),
    ] {
        let columns: &[&str] = if shape == Shape::Composite { &["a"] } else { &[] };
        let made = post(&returning(result(shape, is_set, columns)), "").unwrap();
        assert_eq!((made.answer, made.columns.len()), (answer, 0), "{shape:?} {is_set}");
    }
}

#[test]
fn keys_are_camel_case_unless_two_would_be_alike() {
    let columns = ["user_id", "a_b", "_a_b", "Weird Name", "t", "q\""];
    let set = post(&returning(result(Shape::Composite, true, &columns)), "").unwrap().sql;
    assert_eq!(
        set,
        "SELECT pg_catalog.row_to_json(t.*)::pg_catalog.text FROM (SELECT r.* FROM \"app\".\"f\"() \
         AS r(\"userId\", \"a_b\", \"_a_b\", \"weird Name\", \"t\", \"q\"\"\")) AS t"
    );
    let one = post(&returning(result(Shape::Composite, false, &columns[..2])), "").unwrap().sql;
    assert_eq!(
        one,
        "SELECT pg_catalog.row_to_json(t.*)::pg_catalog.text FROM (SELECT (s.v).\"user_id\" AS \"userId\", \
         (s.v).\"a_b\" AS \"aB\" FROM (SELECT \"app\".\"f\"() AS v OFFSET 0) AS s WHERE s.v IS DISTINCT FROM NULL) AS t"
    );
}

#[test]
fn a_login_gives_one_row_with_the_names_of_sql() {
    for (shape, is_set) in [(Shape::Composite, true), (Shape::Composite, false), (Shape::Scalar, false)] {
        let columns: &[&str] = if shape == Shape::Scalar { &["user_id"] } else { &["user_id", "user_name"] };
        let call = Call { login: true, ..returning(result(shape, is_set, columns)) };
        let made = post(&call, "").unwrap();
        assert_eq!(made.answer, AnswerShape::Object);
        assert!(made.sql.contains("\"user_id\"") && !made.sql.contains("userId"), "{}", made.sql);
        assert!(made.sql.ends_with("WHERE NOT (t.* IS NULL)"), "{}", made.sql);
    }
    let call = Call { login: true, ..procedure("inout user_id int4 =, out user_name text") };
    assert_eq!(post(&call, "").unwrap().columns, ["user_id", "user_name"]);
}

#[test]
fn a_procedure_answers_with_its_outputs_or_with_nothing() {
    let made = post(&procedure("in a int4 =, inout some_number int4 =, out the_other text"), "").unwrap();
    assert_eq!(
        (made.answer, made.columns),
        (AnswerShape::ProcedureRow, vec!["someNumber".to_owned(), "theOther".to_owned()])
    );
    let made = post(&procedure("in a int4 ="), "").unwrap();
    assert_eq!((made.sql.as_str(), made.answer), ("CALL \"app\".\"f\"()", AnswerShape::Nothing));
}

#[test]
fn a_strict_routine_with_null_answers_nothing() {
    let mut call = function("in a int4, in tags _text =");
    call.signature.result = result(Shape::Scalar, true, &[]);
    for (body, strict, answer) in [
        (r#"{"a": null}"#, true, AnswerShape::Nothing),
        (r#"{"a": 1, "tags": null}"#, true, AnswerShape::Nothing),
        (r#"{"a": 1, "tags": [null]}"#, true, AnswerShape::Array),
        (r#"{"a": null}"#, false, AnswerShape::Array),
    ] {
        call.signature.strict = strict;
        assert_eq!(post(&call, body).unwrap().answer, answer, "{body} {strict}");
    }
}

#[test]
fn a_failure_has_the_status_of_its_sqlstate() {
    for (sqlstate, raised, status) in [
        ("P0001", true, 400),
        ("P0001", false, 500),
        ("P0004", true, 400),
        ("P0004", false, 500),
        ("P0002", true, 500),
        ("40001", false, 409),
        ("40P01", true, 409),
        ("25006", false, 500),
        ("PT404", true, 404),
        ("PT404", false, 500),
        ("PT400", true, 400),
        ("PT599", true, 599),
        ("PT399", true, 500),
        ("PT600", true, 500),
        ("PT200", true, 500),
        ("PT4+4", true, 500),
        ("PTABC", true, 500),
        ("22P02", false, 400),
        ("22023", true, 400),
        ("23505", false, 409),
        ("23514", true, 409),
        ("28000", false, 401),
        ("42501", false, 403),
        ("42883", false, 500),
        ("53300", false, 503),
        ("57014", false, 504),
        ("57P01", false, 500),
        ("XX000", false, 500),
        ("MY001", true, 500),
    ] {
        let code: [u8; 5] = sqlstate.as_bytes().try_into().unwrap();
        assert_eq!(failure_status(&code, raised), status, "{sqlstate} {raised}");
        assert!(!failure_title(&code, true).is_empty());
        let own = raised && (sqlstate.starts_with("P000") || sqlstate.starts_with("PT")) && status != 500;
        assert_eq!(tells_message(&code, raised), own, "{sqlstate} {raised}");
    }
    assert_eq!(failure_title(b"42501", false), "not allowed");
    assert_eq!(failure_title(b"25006", true), "this routine writes, and its GET may not");
    assert_eq!(
        failure_title(b"25006", false),
        failure_title(b"XX000", false),
        "it read only for another reason"
    );
}
