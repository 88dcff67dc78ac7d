#![allow(clippy::unwrap_used)]

use super::*;
use proptest::option;
use proptest::prelude::*;

fn statement() -> impl Strategy<Value = Statement> {
    let parameter = (option::of(any::<String>()), any::<u32>(), any::<bool>());
    let key = (any::<String>(), any::<String>());
    let parts = (
        any::<String>(),
        proptest::collection::vec(parameter, 0..4),
        0..6_usize,
        proptest::collection::vec(any::<String>(), 0..3),
        proptest::collection::vec(key, 0..3),
        proptest::collection::vec((any::<u32>(), any::<bool>(), any::<u64>(), any::<bool>()), 0..3),
    );
    parts.prop_map(|(sql, parameters, answer, columns, keys, rows)| {
        let answers = [
            AnswerShape::Nothing,
            AnswerShape::Text,
            AnswerShape::Json,
            AnswerShape::Object,
            AnswerShape::Array,
            AnswerShape::ProcedureRow,
        ];
        let types =
            parameters.iter().map(|(_, oid, is_output)| ValueType { oid: *oid, is_output: *is_output });
        let types = types.collect();
        let parameters = parameters.into_iter().map(|(text, ..)| text).collect();
        let keys = keys.into_iter().fold(Keys::Kept, |within, (from, to)| {
            let other = Key { from: to.clone(), to: from.clone(), within: Keys::Kept };
            Keys::Row(vec![Key { from, to, within }, other])
        });
        let row =
            |(oid, is_routine, digest, is_argument)| RowVersion { oid, is_routine, digest, is_argument };
        let rows = rows.into_iter().map(row).collect();
        let labels = Vec::new();
        Statement { sql, parameters, types, labels, answer: answers[answer], columns, keys, rows }
    })
}

fn request(statement: &Statement) -> CallRequest<'_> {
    CallRequest {
        id: 7,
        timeout_ms: 30_000,
        label: "app.f",
        read_only: true,
        is_snapshot: false,
        settings: vec![("request.user_id", "42"), ("request.path", "")],
        statement: StatementRef::from(statement),
        caller: None,
        tells_begin: false,
    }
}

fn callers() -> impl Strategy<Value = Option<(bool, bool, String, String)>> {
    option::of((any::<bool>(), any::<bool>(), any::<String>(), "[^\\p{Cc}]{0,9}"))
}

/// Of call 7, as a frame gives it back: empty texts are absent.
fn caller(facts: &(bool, bool, String, String)) -> Caller<'_> {
    let (is_authenticated, has_made_id, user_id, execution_id) = facts;
    let text = |text: &'_ String| !text.is_empty();
    Caller {
        call: 7,
        is_authenticated: *is_authenticated,
        user_id: Some(user_id).filter(|given| text(given)).map(String::as_str),
        execution_id: Some(execution_id).filter(|given| text(given)).map(String::as_str),
        has_made_id: *has_made_id,
    }
}

fn answers() -> impl Strategy<Value = CallAnswer> {
    let done = (any::<u64>(), any::<Vec<u8>>(), any::<bool>())
        .prop_map(|(rows, body, is_null)| Outcome::Done { rows, body, is_null });
    let argument = option::of(any::<u32>());
    let failed = (any::<[u8; 5]>(), any::<String>(), any::<bool>(), any::<bool>(), argument).prop_map(
        |(sqlstate, message, raised, outdated, argument)| Outcome::Failed {
            sqlstate,
            message,
            raised,
            outdated,
            argument,
        },
    );
    let cut = (any::<u64>(), any::<u64>(), any::<Vec<u64>>());
    let cut = option::of(cut.prop_map(|(xmin, xmax, running)| Cut::new(xmin, xmax, running)));
    let ends = prop_oneof![Just(EventsEnd::NoEvents), Just(EventsEnd::Told), Just(EventsEnd::Untold)];
    (any::<u64>(), ends, cut, prop_oneof![done, failed]).prop_map(|(id, end, cut, outcome)| CallAnswer {
        id,
        end,
        cut,
        outcome,
    })
}

#[test]
fn a_count_that_lies_ends_with_the_frame() {
    let made = Statement {
        sql: "SELECT 1".to_owned(),
        parameters: vec![Some("x".to_owned())],
        types: vec![ValueType { oid: 25, is_output: false }],
        labels: Vec::new(),
        answer: AnswerShape::Text,
        columns: Vec::new(),
        keys: Keys::Kept,
        rows: Vec::new(),
    };
    let bytes = request(&made).encode().unwrap();
    // The count of the settings follows id, timeout, label and two flags.
    let at = 8 + 4 + 4 + "app.f".len() + 2;
    let mut lying = bytes.clone();
    lying[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(CallRequest::decode(&lying), Err(DecodeError::Truncated));
    assert_eq!(CallRequest::decode(&[bytes, vec![0]].concat()), Err(DecodeError::Trailing));
}

#[test]
fn a_frame_has_a_type_for_each_parameter_and_keys_as_deep_as_types_go() {
    let made = |types: usize, levels: usize| Statement {
        sql: String::new(),
        parameters: vec![None],
        types: vec![ValueType { oid: 25, is_output: true }; types],
        labels: Vec::new(),
        answer: AnswerShape::Nothing,
        columns: Vec::new(),
        keys: (0..levels).fold(Keys::Kept, |within, _| {
            Keys::Row(vec![Key { from: "a".to_owned(), to: "b".to_owned(), within }])
        }),
        rows: Vec::new(),
    };
    let decoded = |made: &Statement| CallRequest::decode(&request(made).encode().unwrap()).map(|_| ());
    assert_eq!(decoded(&made(1, MAX_LEVELS)), Ok(()));
    assert_eq!(decoded(&made(1, MAX_LEVELS + 1)), Ok(()));
    assert_eq!(decoded(&made(1, MAX_LEVELS + 2)), Err(DecodeError::Depth));
    assert_eq!(decoded(&made(0, 0)), Err(DecodeError::Types));
    assert_eq!(decoded(&made(2, 0)), Err(DecodeError::Types));
}

proptest! {
    #[test]
    fn a_request_comes_back_as_it_was(made in statement(), facts in callers()) {
        let request = CallRequest { caller: facts.as_ref().map(caller), ..request(&made) };
        let bytes = request.encode().unwrap();
        prop_assert_eq!(bytes.capacity(), bytes.len());
        prop_assert_eq!(CallRequest::decode(&bytes).unwrap(), request);
        for end in 0..bytes.len() {
            prop_assert!(CallRequest::decode(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn an_answer_comes_back_as_it_was(answer in answers()) {
        let bytes = answer.encode().unwrap();
        prop_assert_eq!(&[answer.encode_head().unwrap(), answer.tail().to_vec()].concat(), &bytes);
        prop_assert_eq!(CallAnswer::decode(bytes.clone()).unwrap(), answer);
        for end in 0..bytes.len() {
            prop_assert!(CallAnswer::decode(bytes[..end].to_vec()).is_err());
        }
    }

    #[test]
    fn any_bytes_are_judged(bytes in any::<Vec<u8>>(), at in any::<prop::sample::Index>(), byte in any::<u8>(), made in statement()) {
        let _ = CallRequest::decode(&bytes);
        let _ = CallAnswer::decode(bytes);
        let mut changed = request(&made).encode().unwrap();
        let at = at.index(changed.len());
        changed[at] = byte;
        if let Ok(decoded) = CallRequest::decode(&changed) {
            prop_assert_eq!(decoded.encode(), Ok(changed));
        }
    }
}
