//! Clients as they are written, whole (golden/), and the names in them. To accept a change of the golden
//! files: `UPDATE_GOLDEN=1 cargo test -p sse-client`.
//!
//! Not for whether they compile and run: `pg_test/tests/typescript_client.rs`.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::fs;
use std::path::Path;

use fixture::databases::{chat, everything, is_golden, tables};
use fixture::{Database, INT, TEXT, VOID};
use sse_client::{Kind, MAX_CLIENT_BYTES, Model, TooLarge, typescript};
use sse_proto::call::Mode;

fn client(database: &Database) -> String {
    typescript(&database.model(None), || {}).unwrap()
}

/// A client without the code that is the same in all: in its place stands from which file it is, which
/// `tables.ts` alone has whole.
fn without_runtime(client: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/runtime");
    let mut rest = client.to_owned();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        rest = rest.replace(&fs::read_to_string(&path).unwrap(), &format!("// runtime/{name}\n"));
    }
    rest
}

#[test]
fn the_client_of_the_chat_is_as_its_golden_file() {
    is_golden("chat.ts", &without_runtime(&client(&chat())));
}

#[test]
fn a_client_with_everything_is_as_its_golden_file() {
    is_golden("everything.ts", &without_runtime(&client(&everything())));
}

#[test]
fn the_client_of_tables_that_tell_their_changes_is_as_its_golden_file() {
    is_golden("tables.ts", &client(&tables()));
}

#[test]
fn a_client_of_nothing_is_a_module() {
    is_golden("nothing.ts", &client(&Database::new()));
}

#[test]
fn what_is_left_out_is_not_in_it() {
    let mut database = chat();
    for routine in &mut database.routines {
        if let Some(signature) = &mut routine.signature {
            signature.may_execute = false;
        }
    }
    database.function("wrong", &[], (VOID, false), "HTTP POST\n@sse\n@authorise x");
    let client = client(&database);
    assert!(!client.contains("getMessages") && !client.contains("export function sendMessage"), "{client}");
    assert!(client.contains("createSendMessageEventSource") && !client.contains("wrong"), "{client}");
}

/// The exported names and the first lines of what has them.
fn exports(client: &str) -> Vec<&str> {
    client.lines().filter(|line| line.starts_with("export ")).collect()
}

#[test]
fn names_stay_when_something_is_added() {
    let mut database = chat();
    let before = client(&database);
    database.function("other.send_message", &[("x", INT, true)], (VOID, false), "HTTP POST\n@sse");
    database.function("send_message", &[("other", INT, false)], (VOID, false), "HTTP PUT");
    database.function("create_send_message_event_source", &[], (VOID, false), "HTTP POST");
    database.function("get_messages", &[("since", INT, false)], (VOID, false), "HTTP GET\n@authorize");
    let after = client(&database);
    let after: Vec<&str> = exports(&after);
    for export in exports(&before) {
        assert!(after.contains(&export), "{export}");
    }
    for name in [
        "export function otherSendMessage(",
        "export function createOtherSendMessageEventSource(",
        "export function sendMessage2(",
        "export function publicCreateSendMessageEventSource(",
        "export function getMessages2(",
    ] {
        assert!(after.iter().any(|export| export.starts_with(name)), "{name}: {after:#?}");
    }
}

#[test]
fn a_schema_alone_has_its_own_names() {
    let mut database = chat();
    database.function("other.send_message", &[], (VOID, false), "HTTP POST");
    let client = typescript(&database.model(Some("other")), || {}).unwrap();
    assert!(client.contains("export function sendMessage("), "{client}");
    assert!(!client.contains("getMessages"), "{client}");
}

// Attack: a routine is named so that its name does something in everybody's client.
#[test]
fn no_name_can_be_more_than_a_name() {
    let mut database = Database::new();
    for name in [
        "delete",
        "promise",
        "constructor",
        "__proto__",
        "a\nb",
        "x(){}",
        "x\"; alert(1); \"",
        "api_call",
        "fetch",
        "ÿ",
        "\u{202e}x",
    ] {
        let label = format!("{name}*/");
        let of = u32::try_from(name.len()).unwrap() + 1000 + u32::from(name.as_bytes()[0]);
        database.define(of, name, name, Kind::Enum(vec![label]));
        database.function(name, &[(name, of, true)], (of, false), "HTTP POST /x\n*/");
        database.routines.last_mut().unwrap().comment = format!("{name}*/\n\nHTTP POST /x{of}");
    }
    let client = client(&database);
    let functions: Vec<&str> = client.lines().filter(|line| line.starts_with("export function")).collect();
    assert_eq!(functions.len(), 1 + 11, "{functions:#?}");
    for function in functions {
        let name = function.trim_start_matches("export function ").split('(').next().unwrap();
        assert!(name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$'), "{function}");
        assert!(!["delete", "api_call"].contains(&name), "{function}");
    }
    assert!(!client.contains('\u{202e}'));
    is_golden("names.ts", &without_runtime(&client));
}

// Attack: two members of one name make everybody's client fail.
#[test]
fn a_member_is_in_an_object_once_whatever_parameters_are_called() {
    let mut database = Database::new();
    database.function("g", &[("", INT, false), ("$1", TEXT, true)], (VOID, false), "HTTP POST");
    database.function("f", &[], (2249, false), "HTTP POST");
    database.outputs(Mode::Out, &[("", INT), ("column1", TEXT), ("b", INT)]);
    let client = client(&database);
    let declared = |name: &str| {
        let begin = client.find(&format!("export interface {name} {{")).unwrap();
        let (declared, _) = client[begin..].split_once("}\n").unwrap();
        declared.lines().skip(1).map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(declared("GRequest"), ["$1: number | null;"]);
    assert_eq!(declared("FResponse"), ["column1: string | null;", "b: number | null;"]);
}

#[test]
fn a_client_of_8_mb_is_made_and_a_larger_one_is_refused() {
    let of_labels = |bytes: usize| -> Model {
        let mut database = Database::new();
        let mood = database.define(200, "public", "mood", Kind::Enum(vec!["x".repeat(bytes)]));
        database.function("moods", &[], (mood, true), "HTTP GET");
        database.model(None)
    };
    let rest = typescript(&of_labels(0), || {}).unwrap().len();
    for (bytes, is_made) in
        [(MAX_CLIENT_BYTES - 1, true), (MAX_CLIENT_BYTES, true), (MAX_CLIENT_BYTES + 1, false)]
    {
        let made = typescript(&of_labels(bytes - rest), || {}).map(|client| client.len());
        assert_eq!(made, if is_made { Ok(bytes) } else { Err(TooLarge) });
    }
}

// Attack: whoever has routines gives them so long comments that the client of everybody is too large.
#[test]
fn the_prose_of_a_routine_is_4_kb_of_a_client() {
    for (bytes, wanted) in [(4095, 4095), (4096, 4096), (4097, 4094), (60_000, 4094)] {
        for annotations in ["HTTP POST", "@sse", "HTTP POST\n@sse"] {
            let mut database = Database::new();
            let comment = format!("{}\n{annotations}", "~".repeat(bytes));
            database.function("f", &[], (VOID, false), &comment);
            let client = client(&database);
            let is_cut = client.contains("~…\n");
            assert_eq!(client.matches('~').count() + usize::from(is_cut), wanted, "{bytes} {annotations}");
            assert_eq!(is_cut, bytes > 4096, "{bytes} {annotations}");
        }
    }
    let mut database = Database::new();
    for name in 0..300 {
        let comment = format!("{}HTTP POST", "~\n".repeat(30_000));
        database.function(&format!("f{name}"), &[], (VOID, false), &comment);
    }
    let client = client(&database);
    assert_eq!(client.matches("/api/f299").count(), 2, "{}", client.len());
}
