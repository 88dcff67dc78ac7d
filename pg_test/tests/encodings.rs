//! The data of an event is the message, unchanged, whatever characters it has and whatever the database's
//! encoding is (C3.2, C6.3).

mod common;

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::OnceLock;

use anyhow::Result;
use cluster::Cluster;
use cluster::http::{EventStream, Request};
use common::{Corner, SOON, figure};

/// What a browser makes of the data lines: the line ends become LF, and nothing else changes.
fn as_received(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn quoted(text: &str) -> String {
    let inside: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\U{:08x}", c as u32) })
        .collect();
    format!("E'{inside}'")
}

#[test]
fn every_payload_arrives_as_it_was_raised() -> Result<()> {
    let corner = Corner::new("payloads")?;
    let mut stream = corner.announced("f", "@sse")?;
    let mut session = corner.session_with("-c client_min_messages=error")?;
    for payload in [
        "",
        " ",
        "  leading and trailing  ",
        ":",
        ": no comment",
        "\u{feff}begins with a BOM",
        "a\u{feff}b",
        "\t",
        "100% {} %s %%",
        "\u{1f600} grün \u{10ffff} \u{200b}\u{202e}",
        "\u{1}\u{1b}[0m\u{7f}",
        "\\n no line end",
        "'quotes\" and `ticks`",
        "{\"a\": [1, null]}",
        "\u{2028}\u{2029}\u{85}",
        "line\ttab\u{b}\u{c}form feed",
    ] {
        session.run(&format!("select f({})", quoted(payload)))?.ok()?;
        assert_eq!(stream.next_payload(SOON)?.data, payload, "{payload:?}");
    }
    Ok(())
}

// Attack: a payload opens fields or events of its own.
#[test]
fn a_payload_with_line_ends_opens_no_field_and_no_event() -> Result<()> {
    let corner = Corner::new("injection")?;
    let mut stream = corner.announced("f", "@sse")?;
    let mut session = corner.session_with("-c client_min_messages=error")?;
    let id = |stream: &EventStream| stream.last_event_id().to_owned();
    for payload in [
        "a\nb",
        "a\rb",
        "a\r\nb",
        "a\n\nb",
        "a\r\n\r\nb",
        "\n",
        "\r",
        "\r\n",
        "\n\r",
        "a\n",
        "\na",
        "a\n\r\nb",
        "data: x\n\nevent: y\ndata: z\n\n",
        "id: 7\nid: 8",
        "x\nevent: sse.gap\ndata: {}",
        "x\n\n\n\nretry: 1\n\n",
        "x\r:comment\r\rid: evil",
    ] {
        let before = id(&stream);
        session.run(&format!("select f({})", quoted(payload)))?.ok()?;
        session.run("select f('next')")?.ok()?;
        let event = stream.next_payload(SOON)?;
        assert_eq!((event.event.as_str(), event.data), ("message", as_received(payload)), "{payload:?}");
        assert!(event.id != before && !event.id.contains("evil"), "{payload:?}: {}", event.id);
        assert_eq!(stream.next_payload(SOON)?.data, "next", "{payload:?} is one event");
    }
    assert!(!stream.bytes().contains(&b'\r'), "line ends are LF");
    Ok(())
}

#[test]
fn a_megabyte_arrives_whole() -> Result<()> {
    let corner = Corner::new("megabyte")?;
    let mut stream = corner.announced("f", "@sse")?;
    let mut session = corner.session_with("-c client_min_messages=error")?;
    // ä is two bytes; every hundredth character is a line end.
    session.run("select f(repeat(repeat('ä', 99) || E'\\n', 5242))")?.ok()?;
    let data = stream.next_payload(SOON)?.data;
    assert_eq!(data.len(), 5242 * 199);
    assert_eq!(data, format!("{}\n", "ä".repeat(99)).repeat(5242));
    Ok(())
}

fn latin1() -> &'static Cluster {
    static LATIN1: OnceLock<Cluster> = OnceLock::new();
    LATIN1.get_or_init(|| match Cluster::builder().encoding("LATIN1").start() {
        Ok(cluster) => cluster,
        Err(error) => panic!("no LATIN1 cluster: {error:#}"),
    })
}

fn sql_ascii() -> &'static Cluster {
    static SQL_ASCII: OnceLock<Cluster> = OnceLock::new();
    SQL_ASCII.get_or_init(|| match Cluster::builder().encoding("SQL_ASCII").start() {
        Ok(cluster) => cluster,
        Err(error) => panic!("no SQL_ASCII cluster: {error:#}"),
    })
}

#[test]
fn a_latin1_database_sends_utf8() -> Result<()> {
    let corner = Corner::of(latin1(), "latin")?;
    corner.announcer("f", "@sse")?;
    corner.announcer("\"grün\"", "Grün, größer.\n@sse")?;
    let mut stream = corner.stream("gr%C3%BCn/info")?;
    corner.sql("select f('äöü ß'); select \"grün\"('é'); select sse.publish('ÿ')")?;
    assert_eq!(stream.next_data(3, SOON)?, ["äöü ß", "é", "ÿ"]);
    assert_eq!(corner.sql("select sse.url('\"grün\"(text)')")?, "/api/latin/gr%C3%BCn/info");
    assert_eq!(figure(latin1(), "stat_ring", "replaced_characters_total")?, 0);
    Ok(())
}

#[test]
fn an_execution_id_of_a_latin1_database_is_compared_as_utf8() -> Result<()> {
    let corner = Corner::of(latin1(), "latin_id")?;
    corner.announcer("f", "@sse")?;
    let path = corner.path("f/info");
    let mut stream = corner.http.events(&format!("{path}?gr%C3%BCn"))?;
    latin1().sql("set sse.execution_id = 'blau'; select latin_id.f('other')")?;
    latin1().sql("set sse.execution_id = 'grün'; select latin_id.f('same')")?;
    latin1().sql("select sse.publish('argument', execution_id => 'grün')")?;
    let mut received = Vec::new();
    while received.len() < 2 {
        let data = stream.next_payload(SOON)?.data;
        assert_ne!(data, "other");
        if ["same", "argument"].contains(&data.as_str()) {
            received.push(data);
        }
    }
    assert_eq!(received, ["same", "argument"]);
    Ok(())
}

#[test]
fn a_problem_in_a_latin1_database_is_said_in_its_encoding() -> Result<()> {
    let corner = Corner::of(latin1(), "latin_problem")?;
    corner.announcer("f", "")?;
    let reply = corner.run("comment on function f(text) is E'@sse\\n@sse_level größer'")?.ok()?;
    assert!(reply.texts("WARNING").iter().any(|text| text.contains("größer")), "{:?}", reply.messages);
    Ok(())
}

#[test]
fn bytes_that_are_no_utf8_are_replaced_and_counted() -> Result<()> {
    let corner = Corner::of(sql_ascii(), "ascii")?;
    let mut stream = corner.announced("f", "@sse")?;
    let mut session = corner.session_with("-c client_min_messages=error")?;
    // A client that asks for UTF-8 gets an error for bytes that are none, with or without pg_sse.
    session.run("set client_encoding = 'SQL_ASCII'")?.ok()?;
    session.run("select f('gr\u{fc}n')")?.ok()?;
    assert_eq!(stream.next_payload(SOON)?.data, "grün", "what is UTF-8 by chance stays");
    assert_eq!(figure(sql_ascii(), "stat_ring", "replaced_characters_total")?, 0);
    session.run("select f(E'a\\xff\\xfe\\xc3(b')")?.ok()?;
    assert_eq!(stream.next_payload(SOON)?.data, "a\u{fffd}\u{fffd}\u{fffd}(b");
    assert_eq!(figure(sql_ascii(), "stat_ring", "replaced_characters_total")?, 3);
    session.run("select sse.publish(E'\\xe4')")?.ok()?;
    assert_eq!(stream.next_payload(SOON)?.data, "\u{fffd}");
    Ok(())
}

#[test]
fn a_comment_with_bytes_that_are_no_utf8_still_annotates() -> Result<()> {
    let corner = Corner::of(sql_ascii(), "ascii_comment")?;
    corner.announcer("f", "")?;
    corner.sql("comment on function f(text) is E'gr\\xfcn\\n@sse'")?;
    let mut stream = corner.stream("f/info")?;
    corner.sql("select f('x')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "x");
    Ok(())
}

// A header with a character that the encoding of the database does not have fails the call before it has
// begun.
#[test]
fn a_latin1_database_is_called_with_any_header() -> Result<()> {
    let cluster = common::calls::start(common::calls::builder().encoding("LATIN1"))?;
    cluster.sql(
        "create function header(name text) returns text language sql as
             $$ select current_setting('request.headers')::json ->> name $$;
         comment on function header(text) is 'HTTP GET'",
    )?;
    let http = cluster.http()?;
    let ask = |path: &str, referer: &str| {
        let answer = http.request(&Request::get(path).header("Referer", referer))?;
        Ok::<_, anyhow::Error>((answer.status(), answer.text()))
    };
    let (path, value) = ("/api/header?name=referer", "http://x/\u{e9}");
    assert_eq!(ask(path, value)?, (200, value.to_owned()));
    // This database's JSON functions cannot read it; a caller that does not use them notices nothing.
    assert_eq!(ask("/api/call-ready", "http://x/\u{20ac}")?, (204, String::new()));
    Ok(())
}

/// postgresql.conf is read by the postmaster, which has no database and so no encoding; every session
/// inherits what it keeps.
#[test]
fn a_byte_that_is_not_utf8_in_postgresql_conf_makes_no_session_forget_its_encoding() -> Result<()> {
    let cluster = Cluster::builder().encoding("LATIN1").without_extension().prepare()?;
    let mut conf = OpenOptions::new().append(true).open(cluster.data_dir().join("postgresql.conf"))?;
    conf.write_all(b"sse.schemas = 'conf, caf\xe9'\n")?;
    cluster.start()?;
    cluster.sql("create extension pg_sse")?;
    let corner = Corner::of(&cluster, "conf")?;
    let mut stream = corner.announced("f", "@sse")?;
    corner.sql("select f('café'); select f('ü')")?;
    assert_eq!(stream.next_data(2, SOON)?, ["café", "ü"]);
    assert_eq!(figure(&cluster, "stat_ring", "replaced_characters_total")?, 0);
    Ok(())
}
