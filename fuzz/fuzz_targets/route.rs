//! Any routines make a table whose URLs are URLs and are found; any request path is answered without a panic.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sse_proto::annotation::RoutineKind;
use sse_proto::route::{RouteTable, Routine};
use sse_proto::word::Level;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    prefix: &'a str,
    routines: Vec<(u32, &'a str, &'a str, Comment<'a>)>,
    path: &'a str,
}

#[derive(Arbitrary, Debug)]
enum Comment<'a> {
    Sse,
    Segment(&'a str),
    Path(&'a str),
    Http(&'a str),
    Any(&'a str),
}

fuzz_target!(|input: Input<'_>| {
    let routines: Vec<Routine> = input
        .routines
        .iter()
        .map(|(oid, schema, name, comment)| Routine {
            oid: *oid,
            schema: (*schema).to_owned(),
            name: (*name).to_owned(),
            kind: if oid % 2 == 0 { RoutineKind::Function } else { RoutineKind::Procedure },
            volatile: true,
            parallel_safe: oid % 7 == 0,
            has_identity_parameters: oid % 5 == 0,
            comment_is_too_long: oid % 11 == 0,
            signature: None,
            comment: match comment {
                Comment::Sse => "@sse".to_owned(),
                Comment::Segment(segment) => format!("@sse {segment}"),
                Comment::Path(path) => format!("@sse\n@path {path}"),
                Comment::Http(path) => format!("HTTP GET /{path}\n@sse on warning"),
                Comment::Any(text) => (*text).to_owned(),
            },
        })
        .collect();
    // `sse.url_prefix` is checked when it is set; here it is any of those that pass.
    let is_allowed = |c: &char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '.' | '_' | '~' | '/');
    let prefix: String = input.prefix.chars().filter(is_allowed).collect();
    let table = RouteTable::build(&routines, &prefix, Level::Info);
    assert!(table.endpoints().all(|endpoint| routines.iter().any(|routine| routine.oid == endpoint.oid)));
    for route in table.iter() {
        let path = &route.path;
        assert!(
            path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()),
            "{path:?} is no path"
        );
        assert!(
            !path.bytes().any(|byte| matches!(byte, b'?' | b'#' | b'"' | b'<' | b'>')),
            "{path:?} is no path"
        );
        assert_eq!(table.find(path).map(|found| &found.path), Some(path));
        assert_eq!(table.find(&format!("{path}/")).map(|found| &found.path), Some(path));
        assert!(routines.iter().any(|routine| routine.oid == route.oid));
    }
    if let Some(found) = table.find(input.path) {
        assert!(table.iter().any(|route| route.path == found.path));
    }
});
