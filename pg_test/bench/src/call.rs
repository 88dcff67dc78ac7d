//! What is called, and the requests for it. Both sides have the same URLs.
//!
//! Not for sending them: requests.rs.

/// See the head of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    One,
    Ten,
    Procedure,
    /// From here on: the six functions of a public comparison (public.sql).
    Minimal,
    Types,
    Post,
    Nested,
    Large,
    Parameters,
}

/// As a browser's page sends them.
const HEADERS: &str =
    "Host: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\nSec-Fetch-Site: same-origin\r\n";

/// One row of 23 columns, from sixteen parameters.
const TYPES: &str = "/api/perf-test?rows=1&label=a%20label%20of%20some%20length&whole=1234567890\
    &big=9223372036854770000&exact=12345.6789&single=123.45&double=123456.789012&flag=true&day=2026-01-15\
    &moment=2026-01-15T10:30:00&instant=2026-01-15T10:30:00Z&key=6f1b9a52-3c1d-4a6e-9b57-0d2f4c8e7a10\
    &document=%7B%22key%22%3A%22value%22%7D&binary=%7B%22key%22%3A%22value%22%7D\
    &numbers=1&numbers=2&numbers=3&words=a&words=b&words=c";

const PARAMETERS: &str = "/api/perf-many-params?aText=the%20first&aInt=123&aFlag=true&aExact=123.456\
    &bText=the%20second&bInt=456&bFlag=false&bExact=789.012&cText=the%20third&cInt=789&cFlag=true&cExact=345.678\
    &dText=the%20fourth&dInt=12&dFlag=false&dExact=901.234&eText=the%20fifth&eInt=345&eFlag=true&eExact=567.89";

const PAYLOAD: &str =
    r#"{"rows":10,"payload":{"item":"a lamp","price":{"amount":17,"of":2},"tags":[1,2,3,4,5]}}"#;

impl Call {
    pub(crate) const ALL: [Self; 9] = [
        Self::One,
        Self::Ten,
        Self::Procedure,
        Self::Minimal,
        Self::Types,
        Self::Post,
        Self::Nested,
        Self::Large,
        Self::Parameters,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "one row",
            Self::Ten => "ten rows",
            Self::Procedure => "procedure",
            Self::Minimal => "minimal",
            Self::Types => "23 columns",
            Self::Post => "body, 10 rows",
            Self::Nested => "nested, 100 rows",
            Self::Large => "100 kB",
            Self::Parameters => "20 parameters",
        }
    }

    /// Whether it is of the public comparison.
    pub(crate) fn is_public(self) -> bool {
        !matches!(self, Self::One | Self::Ten | Self::Procedure)
    }

    /// The `number`th request.
    pub(crate) fn request(self, number: u32, buffer: &mut Vec<u8>) {
        let id = number.wrapping_mul(7919) % 9_000 + 1;
        let text = match self {
            Self::One => get(&format!("/api/get-one?id={id}")),
            Self::Ten => get(&format!("/api/get-ten?id={id}")),
            Self::Procedure => {
                let note = "a note of some length, as people write them";
                post("/api/add-note", &format!("{{\"itemId\":{id},\"note\":\"{note}\"}}"))
            }
            Self::Minimal => get("/api/perf-minimal"),
            Self::Types => get(TYPES),
            Self::Post => post("/api/perf-post", PAYLOAD),
            Self::Nested => get("/api/perf-nested?rows=100&depth=3"),
            Self::Large => get("/api/perf-large-payload?kilobytes=100"),
            Self::Parameters => get(PARAMETERS),
        };
        buffer.clear();
        buffer.extend_from_slice(text.as_bytes());
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{HEADERS}\r\n")
}

fn post(target: &str, body: &str) -> String {
    let kind = "Content-Type: application/json";
    format!("POST {target} HTTP/1.1\r\n{HEADERS}{kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
