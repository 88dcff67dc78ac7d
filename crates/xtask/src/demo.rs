//! `cargo xtask demo`: examples/chat on a throwaway cluster, for people, or with `--check` for a machine.
//!
//! Not for a server that is to stay: everything is gone when it ends.

mod check;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::http::Client;
use cluster::{Account, Cluster, Install, PATIENCE, Profile, Scratch, wait_for, workspace_root};

use crate::build;
use crate::packages::{self, Purpose};

/// The files of the page.
const PAGE: [&str; 3] = ["index.html", "chat.css", "chat.js"];

/// Where the application's routines are.
const API: &str = "/api/example-8";

/// The users that chat.sql makes, with their passwords.
const USERS: [(&str, &str); 2] = [("alice", "password123"), ("bob", "password456")];

/// Runs the demo until Ctrl-C, or the check to its end.
///
/// # Errors
/// Something on the way fails; the end of the server's log is in the message where it helps.
pub(crate) fn run(check: bool, port: u16, pg_config: Option<&Path>) -> Result<()> {
    let pg = packages::ensure(pg_config, Purpose::BuildAndRun)?;
    println!("{}", pg.version);
    let extension = build::extension(&pg, Profile::Test)?;
    // From here on there is something to remove, so signals are caught.
    let (sender, stop) = channel();
    ctrlc::set_handler(move || sender.send(()).unwrap_or_default()).context("cannot catch signals")?;
    let install = Install::of(&pg)?;
    install.put(&extension)?;
    let chat = Chat::start(Arc::new(install), port)?;
    if check {
        return chat.check();
    }
    chat.tell();
    chat.serve(&stop)
}

/// The application, running.
struct Chat {
    cluster: Cluster,
    client: Client,
    _www: Scratch,
}

impl Chat {
    fn start(install: Arc<Install>, port: u16) -> Result<Self> {
        let example = workspace_root().join("examples/chat");
        // A copy, because the server's account may not be able to read the checkout.
        let www = Scratch::create(&Account::for_servers()?)?;
        for file in PAGE {
            fs::copy(example.join(file), www.path().join(file))
                .with_context(|| format!("examples/chat/{file}"))?;
        }
        let cluster = Cluster::builder()
            .install(install)
            .setting("sse.port", port)
            .setting("sse.static_root", www.path().display())
            .setting("sse.call_role", "chat")
            .setting("sse.user_parameters", "on")
            .setting("sse.jwt_secret", secret()?)
            .start()?;
        install_sql(&cluster, &example.join("setup.sql"))?;
        let client = cluster.http()?;
        let chat = Self { cluster, client, _www: www };
        chat.wait_for_calls().with_context(|| chat.log())?;
        Ok(chat)
    }

    /// The call workers start once the role is there.
    fn wait_for_calls(&self) -> Result<()> {
        let path = format!("{API}/get-messages");
        wait_for(PATIENCE, "calls are taken", || Ok((self.client.get(&path)?.status() == 401).then_some(())))
    }

    fn tell(&self) {
        let psql = self.cluster.install().original().bindir.join("psql");
        let [alice, bob] = USERS.map(|(name, password)| format!("{name} / {password}"));
        println!(
            "\nopen     {}\n         as {alice}, and in a private window as {bob}\n\n\
             look     {} -h {} -U postgres -c 'table example_8.messages'\n\n\
             Ctrl-C stops the server and removes everything.",
            self.client.url("/"),
            psql.display(),
            self.cluster.home().display(),
        );
    }

    fn serve(&self, stop: &Receiver<()>) -> Result<()> {
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(Duration::from_millis(500)) {
            ensure!(self.cluster.is_running(), "the server has ended by itself:\n{}", self.cluster.log()?);
        }
        println!("\nstopped, removed");
        Ok(())
    }

    fn log(&self) -> String {
        format!("the server's log:\n{}", self.cluster.log().unwrap_or_default())
    }
}

/// Runs a script in the way that its first lines describe. Any output means that it failed.
fn install_sql(cluster: &Cluster, script: &Path) -> Result<()> {
    let mut psql = cluster.psql();
    let output = psql.args(["-X", "-q", "-f"]).arg(script).output().context("cannot run psql")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.is_empty(), "{} got {said}", script.display());
    Ok(())
}

/// A key for the sessions of this run.
fn secret() -> Result<String> {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("/dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
