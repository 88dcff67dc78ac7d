//! `sse.serve_client`: client and documents at the URL prefix follow the routines, their types and the
//! settings.
//!
//! Not for what is in them: `typescript_client.rs`, `documents.rs`; nor for how they are made:
//! `typescript_served.rs`; nor for who may fetch them: crates/gateway/tests/client_file.rs.

mod common;

use anyhow::{Result, ensure};
use common::calls::{Api, builder, start};
use common::served::{eventually, has};

const FILES: [(&str, &str); 3] = [
    ("client.ts", "sse.typescript_client()"),
    ("openapi.json", "sse.openapi()"),
    ("asyncapi.json", "sse.asyncapi()"),
];

#[test]
fn what_is_served_is_what_the_functions_return_and_follows_changes() -> Result<()> {
    let cluster = start(builder().setting("sse.serve_client", "on"))?;
    let api = Api::of(&cluster, "shop")?;
    api.sql(
        "create type mood as enum ('fine');
         create function moods() returns setof mood language sql as 'select ''fine''::shop.mood';
         create function feel(m mood) returns mood language sql as 'select m';
         comment on function feel(mood) is 'HTTP POST\n@sse\n@sse_snapshot moods'",
    )?;
    for (file, function) in FILES {
        let path = format!("/api/{file}");
        let served = eventually(&cluster, &path, "the routine", has("/api/shop/feel"))?;
        assert_eq!(served.trim_end(), cluster.sql(&format!("select {function}"))?.trim_end());
    }
    // A type: nothing of a routine itself has changed.
    api.sql("alter type mood add value 'so-so'")?;
    for (file, _) in FILES {
        eventually(&cluster, &format!("/api/{file}"), "the label", has("\"so-so\""))?;
    }
    // Attack: what has gone, or may not be called any more, is told by a document that is still there.
    api.sql("revoke execute on function feel(mood) from public")?;
    eventually(&cluster, "/api/openapi.json", "the call is gone", |_, text| {
        !text.contains("\"/api/shop/feel\"")
    })?;
    ensure!(api.http.get("/api/shop/feel")?.status() == 404);
    api.sql("comment on function feel(mood) is null")?;
    for (file, _) in FILES {
        eventually(&cluster, &format!("/api/{file}"), "all is gone", |_, text| !text.contains("shop"))?;
    }
    // Settings that they depend on, without a change of the catalog.
    api.sql("create function f(_user_id text) returns void language sql as ''; comment on function f(text) is 'HTTP POST'")?;
    eventually(&cluster, "/api/client.ts", "the parameter", has("userId"))?;
    cluster.reconfigure("sse.user_parameters", "on")?;
    eventually(&cluster, "/api/client.ts", "the parameter is gone", |status, text| {
        status == 200 && text.contains("function f(") && !text.contains("userId")
    })?;
    for (name, value, word) in [
        ("sse.cookie_name", "mine", "\"mine\""),
        ("sse.token_parameter", "token", "\"parameter\""),
        ("sse.execution_id_headers", "X-Job", "\"x-job\""),
    ] {
        cluster.reconfigure(name, value)?;
        eventually(&cluster, "/api/openapi.json", name, has(word))?;
    }
    cluster.reconfigure("sse.url_prefix", "/other")?;
    eventually(&cluster, "/other/openapi.json", "the other prefix", has("\"/other/call-ready\""))?;
    for (file, _) in FILES {
        ensure!(cluster.http()?.get(&format!("/api/{file}"))?.status() == 404);
    }
    cluster.reconfigure("sse.serve_client", "off")?;
    eventually(&cluster, "/other/asyncapi.json", "it is not served", |status, _| status == 404)?;
    cluster.reconfigure("sse.serve_client", "on")?;
    eventually(&cluster, "/other/client.ts", "it is served again", has("\"/other/shop/f\"")).map(drop)
}

#[test]
fn a_document_that_is_too_large_is_not_served_and_the_others_are() -> Result<()> {
    let cluster = start(builder().setting("sse.serve_client", "on"))?;
    let api = Api::of(&cluster, "large")?;
    // 6.5 MB of labels, and 2 MB of what describes routines.
    api.sql(
        "do $$ begin
             for n in 1 .. 99 loop
                 execute format('create type e%s as enum (%s)', n, (select string_agg(quote_literal(rpad(i::text, 63, 'x')), ',') from generate_series(1, 1000) as i));
                 execute format('create function e(e e%s) returns void language sql return null', n);
                 execute format('comment on function e(e%s) is %L', n, 'HTTP POST /e' || n);
             end loop;
             for n in 1 .. 400 loop
                 execute format('create function f%s() returns void language sql return null', n);
                 execute format('comment on function f%s() is %L', n, repeat('word ', 900) || E'\nHTTP POST');
             end loop;
         end $$",
    )?;
    eventually(&cluster, "/api/openapi.json", "it is too large", |status, text| {
        status == 503 && text.contains("sse.openapi('schema')")
    })?;
    eventually(&cluster, "/api/asyncapi.json", "there are no streams", has("\"channels\": {}"))?;
    ensure!(api.post("f400", &serde_json::json!({}))?.status() == 204);
    api.sql(
        "do $$ begin for n in 101 .. 400 loop execute format('drop function f%s()', n); end loop; end $$",
    )?;
    eventually(&cluster, "/api/openapi.json", "it is made again", has("/api/large/f100\"")).map(drop)
}
