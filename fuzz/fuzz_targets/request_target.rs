//! Any request target, on its way from hyper to a routine: never a panic, nothing beyond the documented
//! limits, and a path and a query that somebody has encoded, however they did it, come back as they were.
#![no_main]

use std::path::Component;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use http::{Request, StatusCode, Uri};
use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode;
use sse_gateway::fuzzing::{static_path, target_problem};
use sse_proto::query::{MAX_TOPICS, Query, TokenParameter};
use sse_proto::route::{RouteTable, Routine};
use sse_proto::word::{ExecutionId, Level, MAX_LABEL_BYTES, Topic};

/// Bytes, as documented: beyond it 414.
const MAX_TARGET_BYTES: usize = 8 << 10;

static ROUTES: LazyLock<RouteTable> = LazyLock::new(|| {
    let routines: Vec<Routine> = [
        ("public", "plain", "@sse"),
        ("example_8", "Send Message", "@sse on warning"),
        ("public", "größe_ß", "@sse größte"),
        ("数", "\"x\" %41 /?#", "@sse"),
        ("a", "given", "@sse live\n@path /given/path~1"),
        ("a", "root", "@sse x\n@path /"),
    ]
    .iter()
    .zip(16384..)
    .map(|((schema, name, comment), oid)| Routine::new(oid, *schema, *name, *comment))
    .collect();
    let table = RouteTable::build(&routines, "api", Level::Info);
    assert!(table.iter().count() >= 5, "{table:?}");
    table
});

static PARAMETER: LazyLock<Option<TokenParameter>> =
    LazyLock::new(|| TokenParameter::parse("access_token").expect("a name"));

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Any(&'a [u8]),
    Encoded { route: u8, style: Vec<u8>, slash: bool, pairs: Vec<(Name, &'a [u8])> },
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Id,
    Topic,
    LastEventId,
    PolyfillsLastEventId,
    HubsLastEventId,
    HeadersLastEventId,
    Token,
    Other,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Topic => "topic",
            Self::LastEventId => "last_event_id",
            Self::PolyfillsLastEventId => "lastEventId",
            Self::HubsLastEventId => "lastEventID",
            Self::HeadersLastEventId => "Last-Event-ID",
            Self::Token => "access_token",
            Self::Other => "x",
        }
    }

    fn is_last_event_id(self) -> bool {
        !matches!(self, Self::Id | Self::Topic | Self::Token | Self::Other)
    }
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Any(bytes) => any(bytes),
    Input::Encoded { route, style, slash, pairs } => {
        let mut style = Style { bytes: style, at: 0 };
        encoded(route, &mut style, slash, &pairs);
    }
});

fn any(bytes: &[u8]) {
    // As hyper reads it.
    let Ok(uri) = Uri::try_from(bytes) else { return };
    let Some(uri) = let_in(uri, bytes.len()) else { return };
    let (path, query) = (uri.path(), uri.query().unwrap_or(""));
    if let Some(route) = ROUTES.find(path) {
        let path = path.strip_suffix('/').unwrap_or(path);
        assert!(decoded(path) == decoded(&route.path), "{path:?} is not {:?}", route.path);
    }
    if let Some(relative) = static_path(path) {
        let is_visible = |part: Component<'_>| match part {
            Component::Normal(name) => !name.as_encoded_bytes().starts_with(b"."),
            _ => false,
        };
        assert!(relative.components().all(is_visible), "{path:?} names {relative:?}");
        assert!(!relative.as_os_str().as_encoded_bytes().contains(&0));
    }
    if let Ok(query) = Query::parse(query, PARAMETER.as_ref()) {
        let is_label = |text: &str| (1..=MAX_LABEL_BYTES).contains(&text.len());
        assert!(
            query.topics.len() <= MAX_TOPICS && query.topics.iter().all(|topic| is_label(topic.as_str()))
        );
        assert!(query.execution_id.is_none_or(|id| is_label(id.as_str())));
        assert!(query.last_event_id.is_none_or(|id| (1..=MAX_TARGET_BYTES).contains(&id.len())));
        assert!(query.token.is_none_or(|token| (1..=MAX_TARGET_BYTES).contains(&token.len())));
    }
}

fn encoded(route: u8, style: &mut Style, slash: bool, pairs: &[(Name, &[u8])]) {
    let route = ROUTES.iter().nth(usize::from(route) % ROUTES.iter().count()).expect("there are some");
    let path = format!("{}{}", style.path(&route.path), if slash { "/" } else { "" });
    let mut query = Vec::new();
    for (name, value) in pairs {
        query.push(format!("{}={}", style.form(name.text().as_bytes()), style.form(value)));
    }
    let query = query.join("&");
    let target = if pairs.is_empty() { path } else { format!("{path}?{query}") };
    let Ok(uri) = Uri::try_from(target.as_str()) else {
        assert!(target.len() > MAX_TARGET_BYTES, "{target:?} is a target");
        return;
    };
    let Some(uri) = let_in(uri, target.len()) else { return };
    assert_eq!(ROUTES.find(uri.path()), Some(route), "{}", uri.path());
    let parsed = Query::parse(uri.query().unwrap_or(""), PARAMETER.as_ref());
    let [(Name::Other, b"")] = pairs else {
        assert_eq!(parsed.ok(), asked_for(pairs), "{query}");
        return;
    };
    // All of it is the execution id: the name and the = at its end.
    let whole = ExecutionId::parse(&format!("{}=", Name::Other.text())).ok();
    assert_eq!(parsed.ok().and_then(|parsed| parsed.execution_id), whole);
}

/// `None`: refused for its length, as it must be and only then.
fn let_in(uri: Uri, len: usize) -> Option<Uri> {
    let request = Request::builder().uri(uri).body(()).expect("a request");
    match target_problem(&request) {
        Some(status) => assert_eq!((status, len > MAX_TARGET_BYTES), (StatusCode::URI_TOO_LONG, true)),
        None => {
            let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
            assert!(target <= MAX_TARGET_BYTES);
            return Some(request.into_parts().0.uri);
        }
    }
    None
}

/// C4.4, C4.5 and C6.4, written down a second time; `None` is a 400.
fn asked_for(pairs: &[(Name, &[u8])]) -> Option<Query> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).ok();
    let values = |is_wanted: fn(Name) -> bool| {
        pairs.iter().filter(move |(name, _)| is_wanted(*name)).map(|(_, value)| *value)
    };
    let mut query = Query::default();
    for id in values(|name| name == Name::Id).filter(|id| !id.is_empty()) {
        let id = ExecutionId::parse(&text(id)?).ok()?;
        if query.execution_id.replace(id.clone()).is_some_and(|before| before != id) {
            return None;
        }
    }
    let last_event_id = values(Name::is_last_event_id).filter(|id| !id.is_empty()).last();
    query.last_event_id = last_event_id.map(<[u8]>::to_vec);
    let mut tokens = values(|name| name == Name::Token);
    if let Some(token) = tokens.next() {
        query.token = Some(text(token)?).filter(|token| !token.is_empty());
    }
    if tokens.next().is_some() {
        return None;
    }
    let topics = pairs.iter().filter(|(name, value)| *name == Name::Topic && !value.is_empty());
    if topics.clone().count() > MAX_TOPICS {
        return None;
    }
    for (_, value) in topics {
        let topic = Topic::parse(&text(value)?).ok()?;
        if !query.topics.contains(&topic) {
            query.topics.push(topic);
        }
    }
    Some(query)
}

fn decoded(text: &str) -> Vec<u8> {
    percent_decode(text.as_bytes()).collect()
}

/// How a client encodes: which characters that need no encoding, in which case, and which blank.
struct Style {
    bytes: Vec<u8>,
    at: usize,
}

impl Style {
    fn next(&mut self) -> u8 {
        self.at += 1;
        self.bytes.get(self.at.checked_rem(self.bytes.len()).unwrap_or(0)).copied().unwrap_or(0)
    }

    fn escape(&mut self, byte: u8) -> String {
        if self.next() & 2 == 0 { format!("%{byte:02X}") } else { format!("%{byte:02x}") }
    }

    /// The same path (RFC 3986 §6.2.2): unreserved characters may be encoded, digits have either case.
    fn path(&mut self, path: &str) -> String {
        let mut out = String::new();
        let mut bytes = path.bytes();
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                let digits = [bytes.next(), bytes.next()].into_iter().flatten().collect();
                let digits = String::from_utf8(digits).expect("a URL");
                let digits = if self.next() & 1 == 0 { digits } else { digits.to_lowercase() };
                out.push_str(&format!("%{digits}"));
            } else if byte != b'/' && self.next() & 1 == 1 {
                out.push_str(&self.escape(byte));
            } else {
                out.push(char::from(byte));
            }
        }
        out
    }

    fn form(&mut self, bytes: &[u8]) -> String {
        let mut out = String::new();
        for byte in bytes {
            let is_plain = byte.is_ascii_alphanumeric() || b"-._~*".contains(byte);
            match (is_plain, self.next() & 1) {
                (true, 0) => out.push(char::from(*byte)),
                (_, 1) if *byte == b' ' => out.push('+'),
                _ => out.push_str(&self.escape(*byte)),
            }
        }
        out
    }
}
