//! The chats of NpgsqlRest's guides over HTTP, as two signed-in people and a stranger use them: the
//! tutorial's as examples/chat has it, the guide's, and the guide's "splitting publish from subscribe".
//!
//! Not for what the guides say about publishing alone: `seeds.rs`.

mod common;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use cluster::http::{Client, EventStream, Request, Response};
use cluster::{Builder, Cluster, PATIENCE, StopMode, wait_for, workspace_root};
use common::calls::told;
use common::tokens::{SECRET, is_quiet};
use common::{SOON, cookie_name, has_extension};
use serde_json::{Value, json};

const CHANNEL: &str = "TEST_CHANNEL";

fn example(file: &str) -> PathBuf {
    workspace_root().join("examples/chat").join(file)
}

/// With the settings of the documentation.
fn builder() -> Builder {
    Cluster::builder()
        .setting("sse.call_role", "chat")
        .setting("sse.user_parameters", "on")
        .setting("sse.jwt_secret", SECRET)
}

/// examples/chat, installed as its documentation says.
fn tutorial() -> Result<Cluster> {
    let cluster = builder().start()?;
    let output = cluster.psql().args(["-X", "-q", "-f"]).arg(example("setup.sql")).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.is_empty(), "setup.sql: {said}");
    ready(&cluster, "/api/example-8/get-messages")?;
    Ok(cluster)
}

/// Waits until calls are served; this call answers only authenticated users.
fn ready(cluster: &Cluster, path: &str) -> Result<()> {
    let http = cluster.http()?;
    wait_for(PATIENCE, "calls are taken", || Ok((http.get(path)?.status() == 401).then_some(())))
        .with_context(|| cluster.log().unwrap_or_default())
}

/// Somebody at a browser with the page of an application open.
struct Person {
    http: Client,
    base: &'static str,
    cookie: Option<String>,
}

impl Person {
    fn stranger(http: Client, base: &'static str) -> Self {
        Self { http, base, cookie: None }
    }

    fn login(http: Client, base: &'static str, name: &str, password: &str) -> Result<Self> {
        let stranger = Self::stranger(http, base);
        let answer = stranger.post("login", &json!({ "username": name, "password": password }))?;
        ensure!(answer.status() == 200, "{}", told(&answer));
        let token = answer.head.cookie(cookie_name(http)).context("no cookie")?;
        Ok(Self { cookie: Some(format!("{}={token}", cookie_name(http))), ..stranger })
    }

    fn get(&self, routine: &str) -> Result<Response> {
        self.http.request(&self.request("GET", routine))
    }

    fn post(&self, routine: &str, body: &Value) -> Result<Response> {
        self.http.request(&self.request("POST", routine).json(body))
    }

    fn say(&self, text: &str) -> Result<()> {
        let answer = self.post("send-message", &json!({ "messageText": text }))?;
        ensure!(answer.status() == 204, "{}", told(&answer));
        Ok(())
    }

    fn listen(&self, stream: &str) -> Result<EventStream> {
        self.http.events_with(&self.request("GET", stream))?.begun()
    }

    fn request(&self, method: &str, routine: &str) -> Request {
        let request = Request::new(method, &format!("{}/{routine}", self.base))
            .header("Sec-Fetch-Site", "same-origin")
            .header("X-NpgsqlRest-ID", CHANNEL);
        match &self.cookie {
            Some(cookie) => request.header("Cookie", cookie),
            None => request,
        }
    }
}

fn heard(stream: &mut EventStream) -> Result<Value> {
    Ok(serde_json::from_str(&stream.next(SOON)?.data)?)
}

const TUTORIAL_BASE: &str = "/api/example-8";

// Long because it is one story, as the tutorial tells it.
#[test]
fn the_tutorials_chat_runs_over_http() -> Result<()> {
    if !has_extension(env!("CARGO_CRATE_NAME"), "pgcrypto")? {
        return Ok(());
    }
    let cluster = tutorial()?;
    assert_eq!(cluster.sql("select problem from sse.endpoints where problem is not null")?, "");
    let http = cluster.http()?;
    let stranger = Person::stranger(http, TUTORIAL_BASE);
    let alice = Person::login(http, TUTORIAL_BASE, "alice", "password123")?;
    let bob = Person::login(http, TUTORIAL_BASE, "bob", "password456")?;

    // The stranger is refused everywhere.
    assert_eq!(
        stranger.post("login", &json!({ "username": "alice", "password": "password456" }))?.status(),
        401
    );
    assert_eq!(stranger.get("get-messages")?.status(), 401);
    assert_eq!(stranger.post("send-message", &json!({ "messageText": "psst" }))?.status(), 401);
    assert_eq!(stranger.get("send-message/info?TEST_CHANNEL")?.status(), 401);

    // Both listen, one to the channel and one to everything; a third stream is of another channel.
    let mut alices = alice.listen("send-message/info?TEST_CHANNEL")?;
    let mut bobs = bob.listen("send-message/info")?;
    let mut others = bob.listen("send-message/info?team-123")?;
    alice.say("Hello, Bob")?;
    bob.say("Hello, Alice; this is \u{1f418}\nand \"that\"")?;
    for stream in [&mut alices, &mut bobs] {
        let first = heard(stream)?;
        assert_eq!((&first["user_id"], &first["username"]), (&json!(1), &json!("alice")));
        assert_eq!(first["message_text"], "Hello, Bob");
        let second = heard(stream)?;
        assert_eq!((&second["user_id"], &second["username"]), (&json!(2), &json!("bob")));
        assert_eq!(second["message_text"], "Hello, Alice; this is \u{1f418}\nand \"that\"");
    }
    let elsewhere = bob.request("POST", "send-message").json(&json!({ "messageText": "to the team" }));
    let mut elsewhere = elsewhere;
    elsewhere.headers.retain(|(name, _)| name != "X-NpgsqlRest-ID");
    assert_eq!(http.request(&elsewhere.header("X-NpgsqlRest-ID", "team-123"))?.status(), 204);
    assert_eq!(heard(&mut others)?["message_text"], "to the team", "nothing of the other channel before it");

    // The history, as the front end reads it.
    let history = alice.get("get-messages")?;
    ensure!(history.header("content-type").is_some_and(|value| value.starts_with("application/json")));
    let history = history.json()?;
    let first = &history[0];
    let keys: Vec<&String> = first.as_object().context("an object")?.keys().collect();
    assert_eq!(keys, ["messageId", "userId", "username", "messageText", "createdAt"]);
    assert_eq!((&first["userId"], &first["messageText"]), (&json!(1), &json!("Hello, Bob")));
    let created = first["createdAt"].as_str().context("createdAt")?;
    ensure!(
        created.contains('T') && created.len() >= 25,
        "ISO 8601 with a zone of hours and minutes: {created}"
    );
    assert_eq!(history.as_array().map(Vec::len), Some(3));

    // Nobody can write in another's name, and nobody can write an empty message.
    for body in [
        json!({ "messageText": "x", "userId": "2" }),
        json!({ "messageText": "x", "userName": "bob" }),
        json!({}),
        json!({ "message": "x" }),
    ] {
        assert_eq!(alice.post("send-message", &body)?.status(), 400, "{body}");
    }
    assert_eq!(alice.post("send-message", &json!({ "messageText": null }))?.status(), 409, "not null");
    assert_eq!(cluster.sql("select count(*) from example_8.messages")?, "3");

    // The role of the calls sees messages and no passwords.
    let mut session = cluster.session()?;
    session.run("set role chat")?.ok()?;
    ensure!(session.run("select * from example_8.users")?.error().is_some());

    // After logging out the stream ends and the cookie is worthless; the other user stays.
    assert_eq!(alice.post("logout", &json!({}))?.status() / 100, 2);
    alices.wait_for_end(SOON)?;
    assert_eq!((alice.get("get-messages")?.status(), bob.get("get-messages")?.status()), (401, 200));
    assert_eq!(alice.post("send-message", &json!({ "messageText": "x" }))?.status(), 401);
    Ok(())
}

#[test]
fn the_chat_goes_on_after_a_restart_with_the_same_sessions() -> Result<()> {
    if !has_extension(env!("CARGO_CRATE_NAME"), "pgcrypto")? {
        return Ok(());
    }
    let cluster = tutorial()?;
    let alice = Person::login(cluster.http()?, TUTORIAL_BASE, "alice", "password123")?;
    alice.say("before")?;
    let mut stream = alice.listen("send-message/info?TEST_CHANNEL")?;
    cluster.restart(StopMode::Fast)?;
    let _ = stream.wait_for_end(SOON);
    ready(&cluster, "/api/example-8/get-messages")?;
    let alice = Person { http: cluster.http()?, ..alice };
    // A browser comes back with the id of what it saw last, is told that something may be missing, and reads
    // the history.
    let request = alice
        .request("GET", "send-message/info?TEST_CHANNEL")
        .header("Last-Event-ID", stream.last_event_id());
    let mut stream = alice.http.events_with(&request)?;
    ensure!(stream.next(SOON)?.event == "sse.ready");
    ensure!(stream.next(SOON)?.event == "sse.gap");
    alice.say("after")?;
    assert_eq!(heard(&mut stream)?["message_text"], "after");
    assert_eq!(alice.get("get-messages")?.json()?.as_array().map(Vec::len), Some(2));
    Ok(())
}

/// The guide's SQL, word for word; its `users` are left to the reader.
const GUIDE: [&str; 5] = [
    "create table messages (
message_id int primary key generated always as identity,
user_id int not null,
username text not null,
message_text text not null,
created_at timestamptz not null default now()
);",
    "create procedure send_message(
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
-- broadcast the new message to all connected, authorized clients
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
@user_parameters
@sse
@sse_scope authorize';",
    "create function get_messages()
returns setof messages
language sql as $$
select * from messages order by created_at asc;
$$;
comment on function get_messages() is '
HTTP GET
@authorize';",
    "-- subscribe-only: clients connect here, body never executes
create procedure user_events_subscribe()
language plpgsql as $$ begin perform 1; end; $$;
comment on procedure user_events_subscribe() is '
HTTP GET
@authorize
@sse
@sse_scope authorize';",
    "-- emitter: a privileged action that notifies the affected user
create procedure update_user_roles(_target_user_id int, _roles text[])
language plpgsql as $$
begin
-- ... perform the role update ...
raise info 'roles updated'
using hint = format('authorize %s', _target_user_id);
end;
$$;
comment on procedure update_user_roles(int, text[]) is '
HTTP POST
@authorize manager
@sse
@sse_scope authorize';",
];

/// What the guide leaves to its reader: users and a login.
const GUIDE_LOGIN: &str = "
    create function login(username text, password text) returns table (user_id int, user_name text, user_roles text)
    language sql stable as $$
        select * from (values (1, 'alice', 'staff'), (2, 'bob', 'manager')) users (user_id, user_name, user_roles)
         where user_name = username and password = 'x' $$;
    comment on function login(text, text) is 'HTTP POST\n@login\n@anonymous';
    grant select, insert on messages to chat;";

fn guide() -> Result<Cluster> {
    // Its annotation is @user_parameters, not the setting.
    let cluster = Cluster::builder()
        .without_extension()
        .setting("sse.call_role", "chat")
        .setting("sse.jwt_secret", SECRET)
        .start()?;
    let mut session = cluster.session()?;
    session.run("create role chat login; create extension pg_sse")?.ok()?;
    for script in GUIDE {
        is_quiet(session.run(script)?)?;
    }
    is_quiet(session.run(GUIDE_LOGIN)?)?;
    assert_eq!(cluster.sql("select problem from sse.endpoints where problem is not null")?, "");
    ready(&cluster, "/api/get-messages")?;
    Ok(cluster)
}

#[test]
fn the_guides_chat_runs_over_http() -> Result<()> {
    let cluster = guide()?;
    let http = cluster.http()?;
    let (alice, bob) = (Person::login(http, "/api", "alice", "x")?, Person::login(http, "/api", "bob", "x")?);
    let stranger = Person::stranger(http, "/api");
    for status in [
        stranger.get("get-messages")?.status(),
        stranger.post("send-message", &json!({ "messageText": "psst" }))?.status(),
        stranger.get("send-message/info")?.status(),
    ] {
        assert_eq!(status, 401);
    }
    let mut streams = [alice.listen("send-message/info")?, bob.listen("send-message/info")?];
    alice.say("Hello!")?;
    for stream in &mut streams {
        let message = heard(stream)?;
        assert_eq!((&message["username"], &message["message_text"]), (&json!("alice"), &json!("Hello!")));
    }
    let history = bob.get("get-messages")?.json()?;
    assert_eq!((&history[0]["messageText"], &history[0]["userId"]), (&json!("Hello!"), &json!(1)));
    assert_eq!(alice.post("send-message", &json!({ "messageText": "x", "userId": "2" }))?.status(), 400);
    Ok(())
}

/// "When a manager calls update_user_roles, only the targeted user's connection receives the event."
#[test]
fn publish_and_subscribe_apart_run_over_http() -> Result<()> {
    let cluster = guide()?;
    let http = cluster.http()?;
    let (alice, manager) =
        (Person::login(http, "/api", "alice", "x")?, Person::login(http, "/api", "bob", "x")?);
    let stranger = Person::stranger(http, "/api");
    let path = "user-events-subscribe/info";
    assert_eq!(stranger.get(path)?.status(), 401);
    let (mut alices, mut managers) = (alice.listen(path)?, manager.listen(path)?);
    let update = |who: &Person, target: i32| -> Result<u16> {
        Ok(who.post("update-user-roles", &json!({ "targetUserId": target, "roles": ["a", "b"] }))?.status())
    };
    assert_eq!((update(&stranger, 1)?, update(&alice, 2)?), (401, 403));
    assert_eq!((update(&manager, 1)?, update(&manager, 2)?), (204, 204));
    manager.say("to all")?;
    // One for each: after it comes what is for both.
    for stream in [&mut alices, &mut managers] {
        assert_eq!(stream.next_data(1, SOON)?, ["roles updated"]);
        assert_eq!(heard(stream)?["message_text"], json!("to all"));
    }
    // The subscribe-only routine can be called, too; it does nothing.
    assert_eq!(
        (alice.get("user-events-subscribe")?.status(), stranger.get("user-events-subscribe")?.status()),
        (204, 401)
    );
    Ok(())
}
