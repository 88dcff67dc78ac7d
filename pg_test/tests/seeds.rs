//! The SQL of NpgsqlRest's guides about publishing runs here as it stands: no WARNING, and what it raises is published.
//!
//! Their scopes reach nobody until there are identities, so "published" is seen by the ids: every event takes one. That
//! needs a cluster in which nobody else publishes.

mod common;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::Cluster;
use cluster::http::EventStream;
use common::{Corner, SOON};

/// The sequence in an event's id, which subscribers must not look at and a test may.
fn sequence(id: &str) -> Result<u64> {
    let (_, sequence) = id.split_once('-').context("not an id")?;
    Ok(u64::from_str_radix(sequence, 16)?)
}

/// How many events were published between two marks.
fn published(corner: &Corner, stream: &mut EventStream, sql: &str) -> Result<u64> {
    let mut mark = || -> Result<u64> {
        corner.sql("select sse.publish('mark')")?;
        sequence(&stream.next_payload(SOON)?.id)
    };
    let before = mark()?;
    let reply = corner.run(sql)?.ok()?;
    ensure!(reply.texts("WARNING").is_empty(), "{:?}", reply.messages);
    Ok(mark()? - before - 1)
}

const CHAT: &str = "
create table users (user_id int primary key generated always as identity, username text not null unique, password_hash text not null);
insert into users (username, password_hash) values ('alice', 'x'), ('bob', 'y');
create table messages (
  message_id int primary key generated always as identity,
  user_id int not null references users(user_id),
  username text not null,
  message_text text not null,
  created_at timestamptz not null default now()
);
create function login(_username text, _password text)
returns table (scheme text, user_id int, user_name text)
language sql
security definer
as $$
  select 'cookies', u.user_id, u.username from users u where u.username = _username and u.password_hash = _password;
$$;
comment on function login(text, text) is '
HTTP POST
@login
@anonymous';
create procedure send_message(
    _message_text text,
    _user_id text = null,
    _user_name text = null
)
language plpgsql
as $$
declare
    _message_id int;
    _created_at timestamptz;
begin
    insert into messages (user_id, username, message_text)
    values (_user_id::int, _user_name, _message_text)
    returning message_id, created_at into _message_id, _created_at;
    raise info '%', json_build_object(
        'message_id', _message_id,
        'user_id', _user_id::int,
        'username', _user_name,
        'message_text', _message_text,
        'created_at', _created_at
    );
end;
$$;
comment on procedure send_message(text, text, text) is '
HTTP POST
@authorize
@sse
@sse_scope authorize';
create function logout() returns void language sql as '';
comment on function logout() is '
HTTP POST
@logout';
create function get_messages() returns setof messages language sql as $$ select * from messages order by created_at asc; $$;
comment on function get_messages() is '
HTTP GET
@authorize';";

#[test]
fn the_chat_of_the_tutorial_is_created_without_warnings_and_publishes() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "example_8")?;
    corner.announcer("own", "@sse")?;
    let mut stream = corner.stream("own/info")?;
    assert_eq!(published(&corner, &mut stream, CHAT)?, 0);
    assert_eq!(published(&corner, &mut stream, "call send_message('Hello', '1', 'alice')")?, 1);
    assert_eq!(
        corner.sql("select sse.url('send_message(text, text, text)')")?,
        "/api/example-8/send-message/info"
    );
    assert_eq!(corner.status("send-message/info?TEST_CHANNEL")?, 401, "its stream is for the authenticated");
    assert_eq!(
        corner.sql("select scope from sse.endpoints where url like '/api/example-8/send-%'")?,
        "authorize"
    );
    assert_eq!(corner.sql("select count(*) from sse.endpoints where problem is not null and routine::text like 'example_8.%'")?, "0");
    Ok(())
}

#[test]
fn the_guides_annotations_and_hints_mean_what_it_says() -> Result<()> {
    let corner = Corner::new("guide")?;
    let mut session = corner.session()?;
    session
        .run("create table messages (message_id int generated always as identity, message_text text)")?
        .ok()?;
    for (comment, url, scope) in [
        (
            "HTTP POST\n@authorize\n@user_parameters\n@sse\n@sse_scope authorize",
            "/api/guide/p/info",
            "authorize",
        ),
        ("@sse\n@sse_scope all", "/api/guide/p/info", "all"),
        ("@sse\n@sse_scope authorize admin, manager", "/api/guide/p/info", "authorize admin, manager"),
        ("@sse\n@sse_scope matching", "/api/guide/p/info", "matching"),
        ("@sse my_events on notice", "/api/guide/p/my_events", "all"),
        ("@sse\n@sse_events_level notice", "/api/guide/p/notice", "all"),
    ] {
        session.run("drop procedure if exists p(text, text, text); create procedure p(_t text, _user_id text = null, _user_name text = null) language plpgsql as $f$ begin raise info '%', _t; end $f$")?.ok()?;
        let reply = session.run(&format!("comment on procedure p(text, text, text) is '{comment}'"))?.ok()?;
        let row = session.run("select coalesce(url, '') || '|' || coalesce(scope, '') from sse.endpoints where routine = 'guide.p(text,text,text)'::regprocedure")?.ok()?;
        ensure!(reply.messages.is_empty(), "{comment:?}: {:?}", reply.messages);
        assert_eq!(row.value(), Some(format!("{url}|{scope}").as_str()), "{comment:?}");
    }
    Ok(())
}

#[test]
fn publish_and_subscribe_apart_as_in_the_guide() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "apart")?;
    corner.announcer("own", "@sse")?;
    let mut stream = corner.stream("own/info")?;
    let created = "
        create procedure user_events_subscribe()
        language plpgsql as $$ begin perform 1; end; $$;
        comment on procedure user_events_subscribe() is '
HTTP GET
@authorize
@sse
@sse_scope authorize';
        create procedure update_user_roles(_target_user_id int, _roles text[])
        language plpgsql as $$
        begin
          raise info 'roles updated'
            using hint = format('authorize %s', _target_user_id);
        end;
        $$;
        comment on procedure update_user_roles(int, text[]) is '
HTTP POST
@authorize manager
@sse
@sse_scope authorize';";
    assert_eq!(published(&corner, &mut stream, created)?, 0);
    assert_eq!(
        corner.sql("select sse.url('user_events_subscribe()')")?,
        "/api/apart/user-events-subscribe/info"
    );
    assert_eq!(published(&corner, &mut stream, "call update_user_roles(42, '{a,b}')")?, 1);
    Ok(())
}

#[test]
fn a_hint_of_the_guide_replaces_the_annotations_scope_for_one_event() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "replaces")?;
    corner.announcer("own", "@sse")?;
    let mut stream = corner.stream("own/info")?;
    let sql = "
        create procedure alerts() language plpgsql as $$
        begin
          raise notice 'Admin alert: server load high' using hint = 'authorize admin';
          raise notice 'System maintenance in 5 minutes' using hint = 'all';
          raise notice 'Regular update...';
        end $$;
        comment on procedure alerts() is '
@sse on notice
@sse_scope authorize';";
    assert_eq!(published(&corner, &mut stream, sql)?, 0);
    corner.sql("call alerts(); select sse.publish('end')")?;
    assert_eq!(stream.next_data(2, Duration::from_secs(5))?, ["System maintenance in 5 minutes", "end"]);
    Ok(())
}
