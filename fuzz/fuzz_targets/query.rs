//! Any text as the query string of a stream URL: refused, or what the same query written out anew says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sse_proto::query::{MAX_TOPICS, Query, TokenParameter};
use sse_proto::word::MAX_LABEL_BYTES;

fuzz_target!(|texts: (&str, &str)| {
    let (name, query) = texts;
    let parameter = TokenParameter::parse(name).unwrap_or_default();
    let parsed = match Query::parse(query, parameter.as_ref()) {
        Ok(parsed) => parsed,
        Err(error) => {
            let _ = error.to_string();
            return;
        }
    };
    assert!(parsed.topics.len() <= MAX_TOPICS);
    assert!(parsed.topics.iter().all(|topic| (1..=MAX_LABEL_BYTES).contains(&topic.as_str().len())));
    assert!(parsed.execution_id.iter().all(|id| (1..=MAX_LABEL_BYTES).contains(&id.as_str().len())));
    assert_ne!(parsed.token.as_deref(), Some(""));
    assert!(parsed.token.is_none() || parameter.is_some(), "a token was read without its setting");
    assert_ne!(parsed.last_event_id.as_deref(), Some(&b""[..]));

    let mut pairs = vec!["topic=".to_owned()];
    let mut add = |name: &str, value: &[u8]| pairs.push(format!("{name}={}", encode(value)));
    if let Some(id) = &parsed.execution_id {
        add("id", id.as_str().as_bytes());
    }
    for topic in &parsed.topics {
        add("topic", topic.as_str().as_bytes());
    }
    if let Some(id) = &parsed.last_event_id {
        add("last_event_id", id);
    }
    if let (Some(token), Some(parameter)) = (&parsed.token, &parameter) {
        add(parameter.as_str(), token.as_bytes());
    }
    assert_eq!(Query::parse(&pairs.join("&"), parameter.as_ref()), Ok(parsed));
});

fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02x}")).collect()
}
