//! `cargo xtask demo --check`: two people and a stranger use the chat over HTTP.
//!
//! Not for every rule of a call: `pg_test/tests/chat.rs` and its neighbours.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::PATIENCE;
use cluster::http::{Client, EventStream, Request, Response, StreamError};
use serde_json::{Value, json};

use super::{API, Chat, PAGE, USERS};

/// How soon a message must arrive. "At once" for a person; a busy machine gets some room.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The same as the page asks for.
const CHANNEL: &str = "TEST_CHANNEL";

/// A message that would break out of JSON, HTML or the stream if it could.
const AWKWARD: &str = "two\nlines, \r\n\r\ndata: x, \"quotes\", <b>, $1, \u{1f418}";

impl Chat {
    pub(super) fn check(&self) -> Result<()> {
        self.check_page().and_then(|()| self.check_chat()).with_context(|| self.log())?;
        println!("the chat works");
        Ok(())
    }

    fn check_page(&self) -> Result<()> {
        let types = ["text/html", "text/css", "text/javascript"];
        for (path, wanted) in ["/", "/chat.css", "/chat.js"].into_iter().zip(types) {
            let answer = self.client.get(path)?;
            let content_type = answer.header("content-type").unwrap_or("");
            ensure!(answer.status() == 200, "{path} answers {}: {}", answer.status(), answer.text());
            ensure!(content_type.starts_with(wanted), "{path} is sent as {content_type:?}");
        }
        let page = self.client.get("/")?.text();
        ensure!(PAGE[1..].iter().all(|file| page.contains(file)), "the page does not use {PAGE:?}");
        println!("  the page is served");
        Ok(())
    }

    fn check_chat(&self) -> Result<()> {
        let stranger = Person { client: self.client, name: "a stranger", session: None };
        stranger.is_refused()?;
        println!("  a stranger is refused, and so is a wrong password");

        let [alice, bob] = USERS.map(|(name, password)| Person::login(self.client, name, password));
        let (alice, bob) = (alice?, bob?);
        let mut streams = [alice.listen()?, bob.listen()?];
        println!("  alice and bob log in and listen");

        let started = Instant::now();
        alice.say("Hello, Bob")?;
        for stream in &mut streams {
            expect(stream, "alice", "Hello, Bob")?;
        }
        println!("  both hear what alice says ({:.1} ms)", started.elapsed().as_secs_f64() * 1000.0);
        bob.say(AWKWARD)?;
        for stream in &mut streams {
            expect(stream, "bob", AWKWARD)?;
        }
        println!("  both hear what bob says, unchanged");

        for person in [&alice, &bob] {
            let history = person.get("get-messages")?.json()?;
            let said = |entry: &Value| (entry["username"].clone(), entry["messageText"].clone());
            let said: Vec<_> =
                history.as_array().context("the history is no array")?.iter().map(said).collect();
            let wanted =
                [("alice", "Hello, Bob"), ("bob", AWKWARD)].map(|(who, what)| (json!(who), json!(what)));
            ensure!(said == wanted, "{} reads {history}", person.name);
        }
        println!("  both read the history");

        let answer = alice.post("logout", &json!({}))?;
        ensure!(
            (200..300).contains(&answer.status()),
            "logout answers {}: {}",
            answer.status(),
            answer.text()
        );
        let ended = streams[0].wait_for_end(PATIENCE);
        ensure!(
            ended.is_ok() || matches!(ended, Err(StreamError::Ended)),
            "alice's stream goes on: {ended:?}"
        );
        alice.is_refused()?;
        bob.say("Alone")?;
        expect(&mut streams[1], "bob", "Alone")?;
        println!("  alice logs out: her stream ends, her cookie is worth nothing; bob stays");
        Ok(())
    }
}

/// Somebody at a browser.
struct Person {
    client: Client,
    name: &'static str,
    /// The cookie, as `Cookie` sends it.
    session: Option<String>,
}

impl Person {
    fn login(client: Client, name: &'static str, password: &str) -> Result<Self> {
        let nobody = Self { client, name, session: None };
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

    fn listen(&self) -> Result<EventStream> {
        let mut stream =
            self.client.events_with(&self.request("GET", &format!("send-message/info?{CHANNEL}")))?;
        let ready = stream.next(PATIENCE)?;
        ensure!(ready.event == "sse.ready", "the first event of {} is {ready:?}", self.name);
        Ok(stream)
    }

    fn say(&self, text: &str) -> Result<()> {
        let answer = self.post("send-message", &json!({ "messageText": text }))?;
        ensure!(answer.status() == 204, "{} cannot speak: {} {}", self.name, answer.status(), answer.text());
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
        let request = Request::new(method, &format!("{API}/{routine}"))
            .header("Sec-Fetch-Site", "same-origin")
            .header("X-NpgsqlRest-ID", CHANNEL);
        match &self.session {
            Some(session) => request.header("Cookie", session),
            None => request,
        }
    }
}

/// The next event is this message.
fn expect(stream: &mut EventStream, who: &str, what: &str) -> Result<()> {
    let event = stream.next(AT_ONCE).with_context(|| format!("waiting for {what:?}"))?;
    let message: Value =
        serde_json::from_str(&event.data).with_context(|| format!("waiting for {what:?}, got {event:?}"))?;
    if message["username"] != who || message["message_text"] != what {
        bail!("waiting for {what:?} of {who}, got {event:?}");
    }
    Ok(())
}
