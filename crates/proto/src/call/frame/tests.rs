#![allow(clippy::unwrap_used)]

use super::*;
use proptest::option;
use proptest::prelude::*;

type Parts =
    (String, Vec<Option<String>>, Option<(String, Vec<Option<String>>)>, Vec<usize>, usize, Vec<String>);

fn statement() -> impl Strategy<Value = Statement> {
    let texts = || proptest::collection::vec(option::of(any::<String>()), 0..4);
    let parts = (
        any::<String>(),
        texts(),
        option::of((any::<String>(), texts())),
        proptest::collection::vec(0..8_usize, 1..3),
        0..6_usize,
        proptest::collection::vec(any::<String>(), 0..3),
    );
    parts.prop_map(|(sql, parameters, convert, converted, answer, columns): Parts| {
        let answers = [
            AnswerShape::Nothing,
            AnswerShape::Text,
            AnswerShape::Json,
            AnswerShape::Object,
            AnswerShape::Array,
            AnswerShape::ProcedureRow,
        ];
        let convert = convert.filter(|_| !parameters.is_empty());
        let converted = if convert.is_some() {
            converted.iter().map(|n| n % parameters.len()).collect()
        } else {
            Vec::new()
        };
        Statement { sql, parameters, convert, converted, answer: answers[answer], columns }
    })
}

fn request(statement: &Statement) -> CallRequest<'_> {
    CallRequest {
        id: 7,
        timeout_ms: 30_000,
        label: "app.f",
        read_only: true,
        settings: vec![("request.user_id", "42"), ("request.path", "")],
        statement: StatementRef::from(statement),
    }
}

fn answers() -> impl Strategy<Value = CallAnswer> {
    let done = (any::<u64>(), any::<Vec<u8>>(), any::<bool>())
        .prop_map(|(rows, body, is_null)| Outcome::Done { rows, body, is_null });
    let failed = (any::<[u8; 5]>(), any::<String>(), any::<bool>())
        .prop_map(|(sqlstate, message, raised)| Outcome::Failed { sqlstate, message, raised });
    (any::<u64>(), prop_oneof![done, failed]).prop_map(|(id, outcome)| CallAnswer { id, outcome })
}

#[test]
fn a_count_that_lies_ends_with_the_frame() {
    let made = Statement {
        sql: "SELECT 1".to_owned(),
        parameters: vec![Some("x".to_owned())],
        convert: None,
        converted: Vec::new(),
        answer: AnswerShape::Text,
        columns: Vec::new(),
    };
    let bytes = request(&made).encode();
    // The count of the settings stands behind id, timeout, label and flag.
    let at = 8 + 4 + 8 + "app.f".len() + 1;
    let mut lying = bytes.clone();
    lying[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(CallRequest::decode(&lying).is_err());
    assert_eq!(CallRequest::decode(&[bytes, vec![0]].concat()), Err(FrameError::Trailing));
}

#[test]
fn a_conversion_replaces_parameters_that_exist() {
    let mut made = Statement {
        sql: String::new(),
        parameters: vec![None],
        convert: Some((String::new(), Vec::new())),
        converted: vec![0],
        answer: AnswerShape::Nothing,
        columns: Vec::new(),
    };
    let decoded = |made: &Statement| CallRequest::decode(&request(made).encode()).map(|_| ());
    assert_eq!(decoded(&made), Ok(()));
    made.converted = vec![1];
    assert_eq!(decoded(&made), Err(FrameError::Converted));
    made.converted = Vec::new();
    assert_eq!(decoded(&made), Err(FrameError::Converted));
}

proptest! {
    #[test]
    fn a_request_comes_back_as_it_was(made in statement()) {
        let bytes = request(&made).encode();
        prop_assert_eq!(CallRequest::decode(&bytes).unwrap(), request(&made));
        for end in 0..bytes.len() {
            prop_assert!(CallRequest::decode(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn an_answer_comes_back_as_it_was(answer in answers()) {
        let bytes = answer.encode();
        prop_assert_eq!(CallAnswer::decode(&bytes).unwrap(), answer);
        for end in 0..bytes.len() {
            prop_assert!(CallAnswer::decode(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn any_bytes_are_judged(bytes in any::<Vec<u8>>(), at in any::<prop::sample::Index>(), byte in any::<u8>(), made in statement()) {
        let _ = (CallRequest::decode(&bytes), CallAnswer::decode(&bytes));
        let mut changed = request(&made).encode();
        let at = at.index(changed.len());
        changed[at] = byte;
        if let Ok(decoded) = CallRequest::decode(&changed) {
            prop_assert_eq!(decoded.encode(), changed);
        }
    }
}
