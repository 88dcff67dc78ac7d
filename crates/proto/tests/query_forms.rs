//! The query string of a stream URL, in its three forms, and what is answered with 400.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sse_proto::query::{MAX_TOPICS, Query, QueryError, TokenParameter, TokenParameterError};
use sse_proto::word::{ExecutionId, LabelError, MAX_LABEL_BYTES, Topic};

fn parse(query: &str) -> Result<Query, QueryError> {
    Query::parse(query, None)
}

fn parse_with_token(query: &str) -> Result<Query, QueryError> {
    Query::parse(query, TokenParameter::parse("access_token").unwrap().as_ref())
}

fn id(query: &str) -> Result<Option<String>, QueryError> {
    parse(query).map(|query| query.execution_id.map(|id| id.as_str().to_owned()))
}

fn topics(query: &str) -> Vec<String> {
    parse(query).unwrap().topics.iter().map(|topic| topic.as_str().to_owned()).collect()
}

#[test]
fn a_query_that_is_a_word_is_the_execution_id_whole() {
    for (query, expected) in [
        ("", None),
        ("TEST_CHANNEL", Some("TEST_CHANNEL")),
        ("a%20b+c", Some("a b+c")),
        ("%E2%82%AC", Some("€")),
        ("100%", Some("100%")),
        ("%zz", Some("%zz")),
        ("a%26id%3Db", Some("a&id=b")),
        ("dGVzdA==", Some("dGVzdA==")),
        ("TEST_CHANNEL=", Some("TEST_CHANNEL=")),
        ("ID", Some("ID")),
        ("lasteventid", Some("lasteventid")),
    ] {
        assert_eq!(id(query), Ok(expected.map(str::to_owned)), "{query:?}");
        let Query { topics, last_event_id, token, .. } = parse(query).unwrap();
        assert_eq!((topics, last_event_id, token), (Vec::new(), None, None), "{query:?}");
    }
}

// A cache buster, an advertiser's mark, a token under another name: the stream would silently hear nothing.
#[test]
fn parameters_with_other_names_are_ignored() {
    for query in [
        "_=1",
        "fbclid=IwAR",
        "access_token=t",
        "token=abc",
        "a=b&c=d",
        "a&b",
        "&",
        "=x",
        "ID=a",
        "Topic=t",
        "ids=a",
        "topic[]=t",
        "last-event-id=1-1",
        "x=%FF",
        "a=b=",
        "=x=",
    ] {
        assert_eq!(parse(query), Ok(Query::default()), "{query:?}");
    }
}

#[test]
fn a_parameter_of_ours_makes_all_of_it_parameters() {
    for (query, expected) in [
        ("id=a", Some("a")),
        ("id=a+b", Some("a b")),
        ("id=a%2Bb", Some("a+b")),
        ("%69d=a", Some("a")),
        ("id=a=b", Some("a=b")),
        ("id=", None),
        ("id", None),
        ("id=a&x=y", Some("a")),
        ("x=y&id=a", Some("a")),
        ("&&id=a&", Some("a")),
        ("CHANNEL&id=a", Some("a")),
        ("CHANNEL&topic=t", None),
        ("CHANNEL&topic", None),
        ("CHANNEL&last_event_id=", None),
        // What is not ours may be anything.
        ("id=a&x=%FF&x=1&x=2", Some("a")),
        ("id=a&id=a", Some("a")),
        ("id=&id=a&id", Some("a")),
    ] {
        assert_eq!(id(query), Ok(expected.map(str::to_owned)), "{query:?}");
    }
}

#[test]
fn topics_are_gathered_and_each_counts_once() {
    for (query, expected) in [
        ("topic=a", &["a"][..]),
        ("topic=a&topic=b", &["a", "b"]),
        ("topic=b&id=x&topic=a&topic=b", &["b", "a"]),
        ("topic=a&topic=A", &["a", "A"]),
        ("topic=a,b", &["a,b"]),
        ("topic=a+b&topic=public.orders", &["a b", "public.orders"]),
        ("topic=&topic", &[]),
        ("topic=&topic=a", &["a"]),
    ] {
        assert_eq!(topics(query), expected, "{query:?}");
    }
}

#[test]
fn a_url_has_sixty_four_topics_and_not_one_more() {
    for (count, taken) in [(63, true), (64, true), (65, false)] {
        let different: Vec<String> = (0..count).map(|number| format!("topic=t{number}")).collect();
        for query in [different.join("&"), vec!["topic=t"; count].join("&")] {
            let expected = if taken { Ok(()) } else { Err(QueryError::TooManyTopics) };
            assert_eq!(parse(&query).map(|_| ()), expected, "{count}");
        }
    }
    assert!(parse(&vec!["topic="; 10_000].join("&")).is_ok());
}

#[test]
fn an_id_and_a_topic_hold_two_hundred_bytes_and_not_one_more() {
    for (length, taken) in
        [(MAX_LABEL_BYTES - 1, true), (MAX_LABEL_BYTES, true), (MAX_LABEL_BYTES + 1, false)]
    {
        let long = "x".repeat(length);
        let expected = |error: fn(LabelError) -> QueryError| {
            if taken { Ok(()) } else { Err(error(LabelError::TooLong)) }
        };
        assert_eq!(parse(&long).map(|_| ()), expected(QueryError::Whole), "{length}");
        assert_eq!(parse(&format!("id={long}")).map(|_| ()), expected(QueryError::ExecutionId), "{length}");
        assert_eq!(parse(&format!("topic={long}")).map(|_| ()), expected(QueryError::Topic), "{length}");
        // It is the decoded bytes that count.
        assert_eq!(parse(&"%78".repeat(length)).is_ok(), taken, "{length}");
    }
}

#[test]
fn two_ids_are_refused_and_two_tokens_even_if_they_are_the_same() {
    for (query, error) in [
        ("id=a&id=b", QueryError::IdTwice),
        ("id=a&id=A", QueryError::IdTwice),
        ("id=a&topic=t&%69d=a+", QueryError::IdTwice),
        ("id=&id=a&id=b", QueryError::IdTwice),
        ("access_token=a&access_token=a", QueryError::TokenTwice),
    ] {
        assert_eq!(parse_with_token(query), Err(error), "{query:?}");
    }
}

#[test]
fn a_label_that_is_no_text_is_refused() {
    // Attack: bytes that a lossy decoder would make equal, and line breaks that would open a field or a log
    // line.
    for (query, error) in [
        ("%FF", QueryError::NotUtf8),
        ("a%C3", QueryError::NotUtf8),
        ("id=%FF", QueryError::NotUtf8),
        ("id=%ED%A0%80", QueryError::NotUtf8),
        ("topic=%C0%AF", QueryError::NotUtf8),
        ("topic=a&access_token=%FF", QueryError::NotUtf8),
        ("a%0Ab", QueryError::Whole(LabelError::Character)),
        ("id=a%0D%0Ab", QueryError::ExecutionId(LabelError::Character)),
        ("id=%00", QueryError::ExecutionId(LabelError::Character)),
        ("topic=a%0Adata:%20x", QueryError::Topic(LabelError::Character)),
    ] {
        assert_eq!(parse_with_token(query), Err(error), "{query:?}");
    }
}

#[test]
fn last_event_id_is_bytes_that_need_not_be_text() {
    for (query, expected) in [
        ("last_event_id=1-2f", Some(&b"1-2f"[..])),
        ("last_event_id=%FF&id=x", Some(&[0xff])),
        ("last_event_id=", None),
        ("last_event_id", None),
        ("id=x", None),
        ("lastEventId=1-2f", Some(b"1-2f")),
        ("lastEventID=1-2f", Some(b"1-2f")),
        ("Last-Event-ID=1-2f", Some(b"1-2f")),
        // The last one that is written counts.
        ("last_event_id=1-1&last_event_id=1-2", Some(b"1-2")),
        ("last_event_id=1-1&topic=t&lastEventId=1-2&last_event_id=", Some(b"1-2")),
        ("Last-Event-ID=1-3&last_event_id=1-1", Some(b"1-1")),
        ("lasteventid=1-2f", None),
    ] {
        assert_eq!(parse(query).unwrap().last_event_id.as_deref(), expected, "{query:?}");
    }
}

#[test]
fn a_token_is_read_only_under_the_name_of_the_setting() {
    for (query, token, execution_id) in [
        ("access_token=ey.J-_", Some("ey.J-_"), None),
        ("access_token=", None, None),
        ("access_token", None, None),
        ("access_token=t&id=x", Some("t"), Some("x")),
        ("token=t", None, None),
        ("ACCESS_TOKEN=t", None, None),
    ] {
        let parsed = parse_with_token(query).unwrap();
        assert_eq!(parsed.token.as_deref(), token, "{query:?}");
        assert_eq!(parsed.execution_id.as_ref().map(ExecutionId::as_str), execution_id, "{query:?}");
    }
    let unread = parse("id=x&access_token=t").unwrap();
    assert_eq!(unread.token, None);
}

#[test]
fn a_token_never_shows() {
    let query = parse_with_token("access_token=hunter2").unwrap();
    assert!(!format!("{query:?}").contains("hunter2"), "{query:?}");
    let Err(error) = parse_with_token("access_token=hunter2&access_token=hunter2") else { panic!() };
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    // A token that is all of the query string is a long execution id: the answer must not repeat it.
    let Err(error) = parse(&"hunter2".repeat(40)) else { panic!() };
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn the_token_parameter_cannot_take_the_place_of_another() {
    for (name, expected) in [
        ("", Ok(None)),
        ("token", Ok(Some("token"))),
        ("access_token", Ok(Some("access_token"))),
        ("x-a.b_9", Ok(Some("x-a.b_9"))),
        ("id", Err(TokenParameterError::Reserved)),
        ("topic", Err(TokenParameterError::Reserved)),
        ("last_event_id", Err(TokenParameterError::Reserved)),
        ("lastEventId", Err(TokenParameterError::Reserved)),
        ("lastEventID", Err(TokenParameterError::Reserved)),
        ("Last-Event-ID", Err(TokenParameterError::Reserved)),
        ("last-event-id", Ok(Some("last-event-id"))),
        ("a b", Err(TokenParameterError::Character)),
        ("a&b", Err(TokenParameterError::Character)),
        ("a=b", Err(TokenParameterError::Character)),
        ("é", Err(TokenParameterError::Character)),
        ("a\n", Err(TokenParameterError::Character)),
    ] {
        let parsed = TokenParameter::parse(name);
        let parsed =
            parsed.as_ref().map(|name| name.as_ref().map(TokenParameter::as_str)).map_err(|error| *error);
        assert_eq!(parsed, expected, "{name:?}");
    }
    for (length, taken) in [(63, true), (64, true), (65, false)] {
        assert_eq!(TokenParameter::parse(&"t".repeat(length)).is_ok(), taken, "{length}");
    }
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

proptest! {
    #[test]
    fn any_text_is_refused_or_read_within_the_limits(query in "[%a-f0-9&=+ tidopc_]{0,300}") {
        if let Ok(query) = parse(&query) {
            prop_assert!(query.topics.len() <= MAX_TOPICS);
        }
    }

    #[test]
    fn what_is_encoded_is_what_is_read(
        id in "\\PC{0,40}",
        wanted in prop::collection::vec("\\PC{0,20}", 0..8),
        noise in "[a-h]{1,3}",
    ) {
        let mut query = format!("{noise}={}&id={}", encode(&id), encode(&id));
        for topic in &wanted {
            query = format!("{query}&topic={}", encode(topic));
        }
        let parsed = parse(&query).unwrap();
        prop_assert_eq!(parsed.execution_id, ExecutionId::parse(&id).ok());
        let mut expected: Vec<Topic> = Vec::new();
        for topic in wanted.iter().filter_map(|topic| Topic::parse(topic).ok()) {
            if !expected.contains(&topic) {
                expected.push(topic);
            }
        }
        prop_assert_eq!(parsed.topics, expected);
        prop_assert_eq!(parse(&encode(&id)).unwrap().execution_id, ExecutionId::parse(&id).ok());
        prop_assert_eq!(parse(&format!("{noise}={}", encode(&format!("{id}x")))), Ok(Query::default()));
    }
}
