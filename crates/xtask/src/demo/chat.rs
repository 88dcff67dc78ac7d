//! `cargo xtask demo --check`: two people, an admin and a stranger use the chat over HTTP.
//!
//! Not for every rule of a call: `pg_test/tests/chat.rs` and its neighbours.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::PATIENCE;
use cluster::http::{Client, EventStream, Request, Response, StreamError};
use example::User;
use serde_json::{Value, json};

/// Where the application's routines are.
const API: &str = "/api/example-8";

/// How soon a message must arrive. "At once" for a person; a busy machine gets some room.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The same as the page asks for.
const CHANNEL: &str = "general";

/// A message that would break out of JSON, HTML or the stream if it could.
const AWKWARD: &str = "two\nlines, \r\n\r\ndata: x, \"quotes\", <b>, $1, \u{1f418}";

/// Everybody says and hears what is for them, and nothing else.
pub(super) fn check(client: Client, users: &[User]) -> Result<()> {
    let stranger = Person { client, name: "a stranger".to_owned(), session: None };
    stranger.is_refused()?;
    println!("  a stranger is refused, and so is a wrong password");

    let people: Vec<Person> = users.iter().map(|user| Person::login(client, user)).collect::<Result<_>>()?;
    let [alice, bob, carol] = &people[..] else { bail!("not three users: {users:?}") };
    let mut streams = [alice.listen(CHANNEL)?, bob.listen(CHANNEL)?, carol.listen("team")?];
    println!("  alice, bob and carol log in and listen");

    let started = Instant::now();
    alice.say("Hello, Bob")?;
    for stream in &mut streams[..2] {
        expect(stream, "message_text", "Hello, Bob")?;
    }
    println!("  both hear what alice says ({:.1} ms)", started.elapsed().as_secs_f64() * 1000.0);
    bob.say(AWKWARD)?;
    for stream in &mut streams[..2] {
        expect(stream, "message_text", AWKWARD)?;
    }
    println!("  both hear what bob says, unchanged");

    alice.done("send-private", &json!({ "to": "bob", "messageText": "to bob alone" }))?;
    bob.done("report", &json!({ "messageId": 1 }))?;
    // The first that carol hears: nothing of the other channel, and nothing that is for bob.
    expect(&mut streams[2], "reported_by", "bob")?;
    expect(&mut streams[1], "message_text", "to bob alone")?;
    expect(&mut streams[0], "message_text", "to bob alone")?;
    bob.say("Still there?")?;
    for stream in &mut streams[..2] {
        expect(stream, "message_text", "Still there?")?;
    }
    println!("  bob alone hears what is for him, the admin alone the report");

    for person in [alice, bob] {
        let wanted = ["Hello, Bob", AWKWARD, "Still there?"];
        ensure!(person.reads("get-messages")? == wanted, "{} reads another history", person.name);
        ensure!(person.reads("get-channel?channel=general")? == wanted, "{}'s channel", person.name);
        ensure!(person.reads("get-private")? == ["to bob alone"], "{}'s private messages", person.name);
    }
    let nothing: [&str; 0] = [];
    ensure!(carol.reads("get-channel?channel=team")? == nothing, "another channel's messages");
    ensure!(carol.reads("get-private")? == nothing, "others' private messages");
    println!("  everybody reads the history, and nobody another's");

    alice.done("logout", &json!({}))?;
    let ended = streams[0].wait_for_end(PATIENCE);
    ensure!(ended.is_ok() || matches!(ended, Err(StreamError::Ended)), "alice's stream goes on: {ended:?}");
    alice.is_refused()?;
    bob.say("Alone")?;
    expect(&mut streams[1], "message_text", "Alone")?;
    println!("  alice logs out: her stream ends, her cookie is worth nothing; bob stays");
    Ok(())
}

/// Somebody at a browser.
struct Person {
    client: Client,
    name: String,
    /// The cookie, as `Cookie` sends it.
    session: Option<String>,
}

impl Person {
    fn login(client: Client, user: &User) -> Result<Self> {
        let User { name, password, .. } = user;
        let nobody = Self { client, name: name.clone(), session: None };
        let answer = nobody.post("login", &json!({ "username": name, "password": password }))?;
        ensure!(answer.status() == 200, "{name} cannot log in: {} {}", answer.status(), answer.text());
        let token = answer.head.cookie("sse_session").context("the login sets no cookie")?;
        Ok(Self { session: Some(format!("sse_session={token}")), ..nobody })
    }

    fn is_refused(&self) -> Result<()> {
        let answers = [
            ("reads the history", self.get("get-messages")?.status()),
            ("speaks", self.post("send-message", &json!({ "messageText": "psst" }))?.status()),
            ("logs in", self.post("login", &json!({ "username": "alice", "password": "guess" }))?.status()),
            ("listens", self.get(&format!("send-message/info?{CHANNEL}"))?.status()),
        ];
        for (what, status) in answers {
            ensure!(status == 401, "{} {what}, and the answer is {status}", self.name);
        }
        Ok(())
    }

    fn listen(&self, channel: &str) -> Result<EventStream> {
        let mut stream =
            self.client.events_with(&self.request("GET", &format!("send-message/info?{channel}")))?;
        let ready = stream.next(PATIENCE)?;
        ensure!(ready.event == "sse.ready", "the first event of {} is {ready:?}", self.name);
        Ok(stream)
    }

    fn say(&self, text: &str) -> Result<()> {
        let request = self.request("POST", "send-message").header("X-NpgsqlRest-ID", CHANNEL);
        let answer = self.client.request(&request.json(&json!({ "messageText": text })))?;
        ensure!(answer.status() == 204, "{} cannot speak: {} {}", self.name, answer.status(), answer.text());
        Ok(())
    }

    /// The texts of a history.
    fn reads(&self, routine: &str) -> Result<Vec<String>> {
        let history = self.get(routine)?.json()?;
        let rows = history.as_array().with_context(|| format!("{routine}: {history}"))?;
        Ok(rows.iter().map(|row| row["messageText"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Calls what returns nothing.
    fn done(&self, routine: &str, body: &Value) -> Result<()> {
        let answer = self.post(routine, body)?;
        ensure!(matches!(answer.status(), 200..300), "{routine}: {} {}", answer.status(), answer.text());
        Ok(())
    }

    fn get(&self, routine: &str) -> Result<Response> {
        self.client.request(&self.request("GET", routine))
    }

    fn post(&self, routine: &str, body: &Value) -> Result<Response> {
        self.client.request(&self.request("POST", routine).json(body))
    }

    /// With the headers that a browser would send from the chat's own page.
    fn request(&self, method: &str, routine: &str) -> Request {
        let request =
            Request::new(method, &format!("{API}/{routine}")).header("Sec-Fetch-Site", "same-origin");
        match &self.session {
            Some(session) => request.header("Cookie", session),
            None => request,
        }
    }
}

/// The next event has this text.
fn expect(stream: &mut EventStream, member: &str, wanted: &str) -> Result<()> {
    let event = stream.next(AT_ONCE).with_context(|| format!("waiting for {wanted:?}"))?;
    let found: Value = serde_json::from_str(&event.data)
        .with_context(|| format!("waiting for {wanted:?}, got {event:?}"))?;
    ensure!(found[member] == wanted, "waiting for {wanted:?}, got {event:?}");
    Ok(())
}
