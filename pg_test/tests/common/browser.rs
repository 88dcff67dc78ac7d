//! A real browser, driven over a pipe (Chrome DevTools Protocol): what a page of the documentation shows, and
//! what it does when somebody presses its buttons.
//!
//! The pipe and not a port: nobody else can connect to it, and the browser ends when its test does.
//!
//! Not for browsers other than Chromium.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use cluster::{PATIENCE, find_program, skip, wait_for};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The browser reads commands from descriptor 3 and writes to 4; a shell puts our pipes there.
const START: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#;

/// One browser at a time: a few side by side, on two cores, are slower than one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// Ends with the test.
pub(crate) struct Browser {
    process: Child,
    wire: RefCell<Wire>,
    _profile: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Browser {
    /// `None` where there is no Chromium and the test `file` is to be skipped. Whatever a page asks
    /// (`prompt`) gets this answer.
    pub(crate) fn start(file: &str, answer: &str) -> Result<Option<Self>> {
        Self::start_with(file, answer, &[])
    }

    /// The same, and it takes the certificate of this site, which no authority has signed.
    pub(crate) fn trusting(file: &str, answer: &str, certificate: &Path) -> Result<Option<Self>> {
        let hash = format!("--ignore-certificate-errors-spki-list={}", key_hash(certificate)?);
        Self::start_with(file, answer, &[&hash])
    }

    fn start_with(file: &str, answer: &str, arguments: &[&str]) -> Result<Option<Self>> {
        let Some(program) = find_program("chromium").or_else(|| find_program("google-chrome")) else {
            skip(file, "chromium")?;
            return Ok(None);
        };
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let profile = tempfile::tempdir()?;
        let mut process = Command::new("/bin/sh")
            .args(["-c", START])
            .arg(program)
            // Tests may run as root, where Chromium has no sandbox; it sees our own pages alone.
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
            .args(arguments)
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let input = process.stdin.take().context("no pipe to the browser")?;
        let output = process.stdout.take().context("no pipe from the browser")?;
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { break };
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let wire =
            RefCell::new(Wire { input, messages, last: 0, answer: answer.to_owned(), thrown: Vec::new() });
        Ok(Some(Self { process, wire, _profile: profile, _turn: turn }))
    }

    /// A new tab. All tabs share cookies and storage, as those of one person do.
    pub(crate) fn open(&self, url: &str) -> Result<Tab<'_>> {
        let mut wire = self.wire.borrow_mut();
        let target = wire.call(None, "Target.createTarget", &json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = wire.call(None, "Target.attachToTarget", &attach)?;
        let session = attached["sessionId"].as_str().context("no session")?.to_owned();
        for domain in ["Page.enable", "Runtime.enable"] {
            wire.call(Some(&session), domain, &json!({}))?;
        }
        wire.call(Some(&session), "Page.navigate", &json!({ "url": url }))?;
        Ok(Tab { browser: self, session })
    }

    /// What scripts threw and did not catch, in all tabs so far.
    pub(crate) fn thrown(&self) -> Vec<String> {
        self.wire.borrow().thrown.clone()
    }
}

/// The digest of a certificate's public key, as Chromium wants it.
fn key_hash(certificate: &Path) -> Result<String> {
    let pipe = "openssl x509 -pubkey -noout -in \"$0\" | openssl pkey -pubin -outform der \
                | openssl dgst -sha256 -binary | openssl base64";
    let output = Command::new("/bin/sh").args(["-c", pipe]).arg(certificate).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

pub(crate) struct Tab<'a> {
    browser: &'a Browser,
    session: String,
}

impl Tab<'_> {
    /// Comes back when the new page is there.
    pub(crate) fn reload(&self) -> Result<()> {
        self.value("window.isOld = true")?;
        self.call("Page.reload", &json!({}))?;
        self.is("!window.isOld && document.readyState === 'complete'", &json!(true))
    }

    /// The value of an expression in the page, as JSON; a promise is waited for.
    pub(crate) fn value(&self, script: &str) -> Result<Value> {
        let asked = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", &asked)?;
        ensure!(answer.get("exceptionDetails").is_none(), "{script}: {answer}");
        Ok(answer["result"]["value"].take())
    }

    /// Presses the button, as soon as the page is there, that many times without a pause.
    pub(crate) fn press(&self, times: usize) -> Result<()> {
        self.is("document.readyState === 'complete' && !!document.querySelector('button')", &json!(true))?;
        let script = format!("for (let n = 0; n < {times}; n++) document.querySelector('button').click()");
        self.value(&script).map(drop)
    }

    /// Waits until the text of all elements that fit the selector is this one.
    pub(crate) fn shows(&self, selector: &str, wanted: &str) -> Result<()> {
        let script =
            format!("[...document.querySelectorAll('{selector}')].map(e => e.textContent).join('|')");
        self.is(&script, &json!(wanted))
    }

    /// Waits until the expression has this value.
    pub(crate) fn is(&self, script: &str, wanted: &Value) -> Result<()> {
        let mut found = Value::Null;
        wait_for(PATIENCE, script, || {
            // While the page loads there may be no element yet.
            found = self.value(script).unwrap_or_default();
            Ok((found == *wanted).then_some(()))
        })
        .with_context(|| format!("wanted {wanted}, found {found}; thrown: {:?}", self.browser.thrown()))
    }

    fn call(&self, method: &str, arguments: &Value) -> Result<Value> {
        self.browser.wire.borrow_mut().call(Some(&self.session), method, arguments)
    }
}

struct Wire {
    input: ChildStdin,
    messages: Receiver<Value>,
    last: u64,
    answer: String,
    thrown: Vec<String>,
}

impl Wire {
    fn call(&mut self, session: Option<&str>, method: &str, arguments: &Value) -> Result<Value> {
        let id = self.send(session, method, arguments)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            let mut message =
                self.messages.recv_timeout(rest).with_context(|| format!("{method}: no answer"))?;
            if message["id"] == id {
                if let Some(error) = message.get("error") {
                    bail!("{method}: {error}");
                }
                return Ok(message["result"].take());
            }
            self.take_event(&message)?;
        }
    }

    fn send(&mut self, session: Option<&str>, method: &str, arguments: &Value) -> Result<u64> {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": arguments });
        if let Some(session) = session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.input.write_all(&bytes)?;
        self.input.flush()?;
        Ok(self.last)
    }

    fn take_event(&mut self, message: &Value) -> Result<()> {
        if message["method"] == "Runtime.exceptionThrown" {
            self.thrown.push(message["params"]["exceptionDetails"].to_string());
        }
        if message["method"] == "Page.javascriptDialogOpening" {
            let answer = json!({ "accept": true, "promptText": self.answer });
            self.send(message["sessionId"].as_str(), "Page.handleJavaScriptDialog", &answer)?;
        }
        Ok(())
    }
}
