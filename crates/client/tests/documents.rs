//! The documents for tools: whole (golden/), and what is in them.
//!
//! Not for whether they are what the standards ask for: `pg_test/tests/documents.rs`.
#![allow(clippy::unwrap_used)]

mod fixture;
#[path = "documents/more.rs"]
mod more;

use fixture::databases::{chat, everything, is_golden, tables};
use fixture::{BIGINT, Database, INT, TEXT, VOID};
use more::more;
use serde_json::Value;
use sse_client::{Kind, MAX_CLIENT_BYTES, Model, TooLarge, asyncapi, openapi};

/// Both documents.
fn documents(model: &Model) -> [String; 2] {
    [openapi(model, || {}).unwrap(), asyncapi(model, || {}).unwrap()]
}

fn parsed(database: &Database) -> [Value; 2] {
    documents(&database.model(None)).map(|document| serde_json::from_str(&document).unwrap())
}

fn are_golden(name: &str, database: &Database) {
    let [openapi, asyncapi] = documents(&database.model(None));
    is_golden(&format!("{name}.openapi.json"), &openapi);
    is_golden(&format!("{name}.asyncapi.json"), &asyncapi);
}

#[test]
fn the_documents_of_the_chat_are_as_their_golden_files() {
    are_golden("chat", &chat());
}

#[test]
fn documents_with_everything_are_as_their_golden_files() {
    are_golden("everything", &everything());
    are_golden("tables", &tables());
}

#[test]
fn documents_of_nothing_are_documents() {
    are_golden("nothing", &Database::new());
}

#[test]
fn documents_of_further_types_and_rules_are_as_their_golden_files() {
    are_golden("more", &more());
    let mut asking = more().model(Some("public"));
    asking.options.require_authentication = true;
    asking.options.token_parameter = Some("token".to_owned());
    asking.options.cookie_name = "__Host-s".to_owned();
    asking.options.execution_id_header = None;
    let [openapi, asyncapi] = documents(&asking);
    is_golden("asking.openapi.json", &openapi);
    is_golden("asking.asyncapi.json", &asyncapi);
}

// Attack: whoever may fetch a document learns what requests do not tell.
#[test]
fn what_no_request_tells_is_in_no_document() {
    let mut database = more();
    database.function("wrong", &[], (VOID, false), "HTTP POST\n@sse\n@authorise x");
    database.function("private", &[], (VOID, false), "HTTP POST");
    database.routines.last_mut().unwrap().signature.as_mut().unwrap().may_execute = false;
    for document in documents(&database.model(None)) {
        for hidden in
            ["wrong", "authorise", "private", "secret", "id:42", "only_publishes", "onlyPublishes", "hidden"]
        {
            assert!(!document.contains(hidden), "{hidden}: {document}");
        }
    }
}

/// Every name that tools make something of.
fn names(document: &Value) -> Vec<String> {
    let keys = |of: &Value| of.as_object().into_iter().flat_map(|of| of.keys().cloned()).collect::<Vec<_>>();
    let mut names = keys(&document["components"]["schemas"]);
    names.extend(keys(&document["components"]["messages"]));
    names.extend(keys(&document["channels"]));
    names.extend(keys(&document["operations"]));
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            names.push(format!("{method} {path} {}", operation["operationId"].as_str().unwrap()));
        }
    }
    names
}

#[test]
fn names_stay_when_something_is_added() {
    let mut database = everything();
    let before = parsed(&database);
    let place = database.define(900, "other", "place", Kind::Enum(vec!["here".into()]));
    database.function("other.save", &[("place", place, true)], (place, true), "HTTP GET /a\n@sse_publish");
    database.function("save", &[("other", INT, false)], (VOID, false), "HTTP POST /b\n@sse");
    database.function("save_events", &[("x", BIGINT, false)], (VOID, false), "HTTP POST /c");
    database.function("topic_x", &[], (VOID, false), "HTTP POST /d\n@sse_publish\n@sse_topic x");
    let after = parsed(&database);
    for (before, after) in before.iter().zip(&after) {
        let after = names(after);
        for name in names(before) {
            assert!(after.contains(&name), "{name}: {after:#?}");
        }
    }
    let after = names(&after[0]);
    for name in ["get /a otherSave", "post /b save2", "post /c publicSaveEvents", "OtherPlace"] {
        assert!(after.iter().any(|after| after == name), "{name}: {after:#?}");
    }
}

// Attack: a routine is named so that everybody's document is none any more.
#[test]
fn no_name_can_be_more_than_a_name() {
    let mut database = Database::new();
    let hostile = [
        "delete",
        "Problem",
        "SseItem",
        "a\nb",
        "x\"}, {\"",
        "../..",
        "~1/",
        "ÿ",
        "\u{202e}x",
        "größe",
        "$ref",
        "__proto__",
    ];
    for (of, name) in (1000..).zip(hostile) {
        database.define(of, name, name, Kind::Enum(vec![format!("{name}*/")]));
        database.function(name, &[(name, of, true)], (of, false), "");
        let comment =
            format!("{name}*/ <script>\u{202e}\n\nHTTP POST /x{of}\n@sse\n@sse_topic \"{of} {of}/~\"");
        database.routines.last_mut().unwrap().comment = comment;
    }
    let model = database.model(None);
    for document in documents(&model) {
        assert!(!document.contains('\u{202e}') && !document.contains("<script"), "{document}");
        let document: Value = serde_json::from_str(&document).unwrap();
        let components = document["components"].as_object().unwrap().values();
        let named = components.chain([&document["channels"], &document["operations"]]);
        for key in named.filter_map(Value::as_object).flat_map(|of| of.keys()) {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            assert!(!key.is_empty() && key.chars().all(is_plain), "{key:?}");
        }
        let text = document.to_string();
        for (at, _) in text.match_indices("\"$ref\":\"") {
            let target = text[at + 8..].split('"').next().unwrap().strip_prefix('#').unwrap();
            assert!(document.pointer(target).is_some(), "{target}");
        }
    }
    are_golden("names", &database);
}

// Attack: a type that is within itself makes a document without an end. Postgres does not let anybody make
// one, but a catalog may change while it is read.
#[test]
fn a_type_within_itself_is_named_and_not_written_out_for_ever() {
    let mut database = Database::new();
    database.define(402, "public", "_tree", Kind::Array(400));
    let tree = database.row(400, "tree", &[("value", INT, true), ("children", 402, false)]);
    database.define(410, "public", "a", Kind::Domain { base: 411, not_null: false });
    let circle = database.define(411, "public", "b", Kind::Domain { base: 410, not_null: false });
    let list = database.define(420, "public", "_c", Kind::Array(420));
    let given = [("t", tree, false), ("c", circle, true), ("l", list, true)];
    database.function("grow", &given, (tree, true), "HTTP POST");
    database.function("look", &given, (tree, false), "HTTP GET\n@sse_subscribe\n@sse_snapshot now");
    database.function("now", &[], (tree, false), "");
    let [openapi, asyncapi] = parsed(&database);
    for document in [&openapi, &asyncapi] {
        let children = &document["components"]["schemas"]["Tree"]["properties"]["children"];
        assert_eq!(children["items"]["anyOf"][0]["$ref"], "#/components/schemas/Tree", "{document}");
    }
}

// Attack: thousands of overloads of one path stop the routes of all.
#[test]
fn many_overloads_are_one_operation_in_linear_time() {
    let mut database = Database::new();
    for overload in 0..3_000 {
        let names: Vec<String> = (0..10).map(|n| format!("p{overload}x{n}")).collect();
        let given: Vec<_> = names.iter().map(|name| (name.as_str(), INT, false)).collect();
        database.function("many", &given, (TEXT, false), "HTTP GET");
        database.function("much", &given, (TEXT, false), "HTTP POST");
    }
    let model = database.model(None);
    let begun = std::time::Instant::now();
    let document: Value = serde_json::from_str(&openapi(&model, || {}).unwrap()).unwrap();
    // In quadratic time it would be minutes.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    let [get, post] = [("many", "get"), ("much", "post")]
        .map(|(path, method)| &document["paths"][format!("/api/{path}")][method]);
    assert_eq!(get["parameters"].as_array().unwrap().len(), 30_001);
    assert_eq!(get["parameters"][1]["required"], false);
    let bodies = &post["requestBody"]["content"]["application/json"]["schema"]["anyOf"];
    assert_eq!(bodies.as_array().unwrap().len(), 3_000);
}

// Attack: the comments of one path take gigabytes, or the time of all, and nobody can end it.
#[test]
fn the_prose_of_many_overloads_is_looked_at_as_far_as_it_is_shown() {
    let mut database = Database::new();
    for overload in 0..500 {
        let name = format!("p{overload}");
        database.function("many", &[(&name, INT, false)], (TEXT, false), "HTTP GET\n@sse_publish");
        database.function("much", &[(&name, INT, false)], (TEXT, false), "HTTP POST");
    }
    let prose = "a\n".repeat(32 << 10);
    let begun = std::time::Instant::now();
    let model = database.model_with(None, |_| Some(&prose));
    assert!(model.routines.iter().all(|routine| routine.docs.len() == 4096 && routine.docs.ends_with('…')));
    let mut calls = 0;
    let document: Value = serde_json::from_str(&openapi(&model, || calls += 1).unwrap()).unwrap();
    for (path, method) in [("many", "get"), ("much", "post")] {
        let description = &document["paths"][format!("/api/{path}")][method]["description"];
        assert_eq!(description.as_str().map(str::len), Some(4096));
    }
    // Once for each routine, and for its parameters and its answer.
    assert!(calls >= 3 * 1_000, "{calls}");
    // Five hundred descriptions, one for each message, are within the bound.
    let document = asyncapi(&model, || {}).unwrap();
    assert!(document.len() > 500 * 4096, "{}", document.len());
    // All of the 33 million lines would take longer.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn a_login_can_be_refused_and_a_problem_names_the_argument() {
    let [openapi, asyncapi] = parsed(&chat());
    let refused = |name: &str| openapi["paths"][format!("/api/{name}")]["post"]["responses"].get("429");
    assert_eq!(refused("login").unwrap()["$ref"], "#/components/responses/TooManyLogins");
    assert_eq!(refused("logout"), None);
    let answer = &openapi["components"]["responses"]["TooManyLogins"];
    assert_eq!(answer["headers"]["Retry-After"]["$ref"], "#/components/headers/RetryAfter");
    for document in [openapi, asyncapi] {
        let problem = &document["components"]["schemas"]["Problem"];
        assert_eq!(problem["properties"]["parameter"]["type"], "string");
        assert!(!problem["required"].as_array().unwrap().contains(&"parameter".into()), "{problem}");
    }
}

#[test]
fn a_document_of_8_mb_is_made_and_a_larger_one_is_refused() {
    let of_labels = |bytes: usize| -> Model {
        let mut database = Database::new();
        let mood = database.define(200, "public", "mood", Kind::Enum(vec!["x".repeat(bytes)]));
        database.function("live", &[], (VOID, false), "@sse\n@sse_snapshot moods");
        database.function("moods", &[], (mood, true), "");
        database.model(None)
    };
    for which in [0, 1] {
        let made = |model: &Model| match which {
            0 => openapi(model, || {}),
            _ => asyncapi(model, || {}),
        };
        let rest = made(&of_labels(0)).unwrap().len();
        for (bytes, is_made) in
            [(MAX_CLIENT_BYTES - 1, true), (MAX_CLIENT_BYTES, true), (MAX_CLIENT_BYTES + 1, false)]
        {
            let made = made(&of_labels(bytes - rest)).map(|document| document.len());
            assert_eq!(made, if is_made { Ok(bytes) } else { Err(TooLarge) });
        }
    }
}

#[test]
fn prose_describes_and_long_prose_is_cut() {
    let mut database = Database::new();
    let comment = format!("Short.\n\n{}\n\nHTTP POST\n@sse", "long ".repeat(2000));
    database.function("f", &[], (VOID, false), &comment);
    let [openapi, asyncapi] = parsed(&database);
    let operation = &openapi["paths"]["/api/f"]["post"];
    assert_eq!(operation["summary"], "Short.");
    let description = operation["description"].as_str().unwrap();
    assert!(description.starts_with("Short.\n\nlong long") && description.ends_with('…'), "{description}");
    assert!(description.len() <= 4096, "{}", description.len());
    assert_eq!(asyncapi["channels"]["f"]["description"], operation["description"]);
}

#[test]
fn of_overloads_a_parameter_is_required_that_each_asks_for() {
    let [openapi, _] = parsed(&more());
    let find = &openapi["paths"]["/api/find"]["get"];
    let required: Vec<(&str, bool)> = find["parameters"].as_array().unwrap()[1..]
        .iter()
        .map(|parameter| (parameter["name"].as_str().unwrap(), parameter["required"].as_bool().unwrap()))
        .collect();
    assert_eq!(required, [("id", true), ("name", false)]);
    assert_eq!(find["description"], "By id.\n\nBy id and name.");
    let content: Vec<&String> = find["responses"]["200"]["content"].as_object().unwrap().keys().collect();
    assert_eq!(content, ["text/plain", "application/json"]);
}

#[test]
fn a_change_of_a_row_has_the_columns_that_the_triggers_show() {
    let [openapi, asyncapi] = parsed(&tables());
    for document in [&openapi, &asyncapi] {
        let schemas = &document["components"]["schemas"];
        let columns = &schemas["TodoLiveColumns"];
        assert_eq!(columns["required"], serde_json::json!(["id", "title", "is_done"]), "names of SQL");
        assert_eq!(columns["properties"]["id"]["format"], "int32");
        let change = &schemas["TodoLiveChange"]["properties"];
        assert_eq!(change["key"]["properties"].as_object().unwrap().keys().collect::<Vec<_>>(), ["id"]);
        assert_eq!(change["new"]["anyOf"][0]["$ref"], "#/components/schemas/TodoLiveColumns");
        // Of the key only what the trigger lists is always in `new` and `old`; a row within is anything.
        let stock = &schemas["StockLiveColumns"];
        assert_eq!(stock["required"], serde_json::json!(["place"]));
        assert_eq!(stock["properties"]["place"], serde_json::json!({}));
        assert_eq!(schemas["LogLiveChange"]["properties"]["key"], serde_json::json!({ "type": "null" }));
        // One for the table, whoever tells it.
        assert_eq!(schemas.get("TodoSqlChange"), None);
    }
    let items = |path: &str| {
        let answer = &openapi["paths"][path]["get"]["responses"]["200"];
        answer["content"]["text/event-stream"]["itemSchema"].to_string()
    };
    for path in ["/api/todo-live/info", "/api/todo-sql/info", "/api/todo-alone/info"] {
        assert!(items(path).contains("schemas/TodoLiveChange"), "{}", items(path));
    }
    let of_alone = &asyncapi["channels"]["todoAlone"]["messages"]["change"]["$ref"];
    assert_eq!(of_alone, "#/components/messages/todoAlone.change");
    let message = &asyncapi["components"]["messages"]["todoAlone.change"];
    assert_eq!(message["payload"]["$ref"], "#/components/schemas/TodoLiveChange");
    assert_eq!(message["headers"]["properties"]["event"]["enum"][0], "insert");
}

// Attack: thousands of streams begin with one snapshot of a thousand columns, and stop the routes of all.
#[test]
fn a_snapshot_that_thousands_of_streams_share_is_looked_at_once() {
    let of_streams = |streams: usize| {
        let mut database = Database::new();
        database.function("state", &[], (2249, true), "");
        let names: Vec<String> = (0..1_600).map(|n| format!("c{n}")).collect();
        let out: Vec<_> = names.iter().map(|name| (name.as_str(), INT)).collect();
        database.outputs(sse_proto::call::Mode::Table, &out);
        for stream in 0..streams {
            database.function(&format!("s{stream}"), &[], (VOID, false), "@sse\n@sse_snapshot state");
        }
        let model = database.model(None);
        let begun = std::time::Instant::now();
        // Each stream has it in its own place, so the document is soon too large.
        assert_eq!(openapi(&model, || {}), Err(TooLarge));
        begun.elapsed()
    };
    of_streams(1_000);
    let (some, many) = (of_streams(1_000), of_streams(8_000));
    assert!(many < 3 * some, "{some:?} for a thousand, {many:?} for eight thousand");
}

// NULL is no argument of such a function: it is not run.
#[test]
fn what_a_strict_function_is_given_is_never_null() {
    let mut database = Database::new();
    let given = [("a", INT, false), ("b", TEXT, true)];
    for (name, strict) in [("strictly", true), ("loosely", false)] {
        let routine = database.function(name, &given, (TEXT, false), "HTTP POST");
        routine.signature.as_mut().unwrap().strict = strict;
    }
    let [openapi, _] = parsed(&database);
    let of = |name: &str| {
        let body = &openapi["paths"][format!("/api/{name}")]["post"]["requestBody"];
        let properties = &body["content"]["application/json"]["schema"]["properties"];
        [properties["a"]["type"].clone(), properties["b"]["type"].clone()]
    };
    assert_eq!(of("strictly"), ["integer", "string"]);
    assert_eq!(of("loosely").map(|of| of[1].clone()), ["null", "null"]);
    let client = sse_client::typescript(&database.model(None), || {}).unwrap();
    assert!(client.contains("StrictlyRequest {\n    a: number;\n    b?: string;\n"), "{client}");
    assert!(client.contains("LooselyRequest {\n    a: number | null;\n    b?: string | null;\n"), "{client}");
}
