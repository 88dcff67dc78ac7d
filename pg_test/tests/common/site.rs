//! A cluster whose gateway speaks TLS, and the programs that ask it: curl and OpenSSL.
//!
//! Not for browsers: `browser`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result};
use cluster::http::{Client, KeyKind, Transport, make_certificate};
use cluster::{Cluster, PATIENCE, find_program, wait_for};

use super::calls;

/// A cluster whose gateway speaks TLS, and where its files are.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) http: Client,
}

impl Site {
    /// With calls, a login and a stream. It begins in plain HTTP, and a reload makes it TLS.
    pub(crate) fn start() -> Result<Self> {
        let cluster = calls::builder().transport(Transport::Plain);
        let cluster = calls::start(cluster.setting("sse.port", cluster::lasting_port()?))?;
        cluster.sql(
            "create function login() returns table (user_id text) language sql as $$ select 'alice' $$;
             comment on function login() is E'HTTP POST\n@login\n@anonymous';
             create function logout() returns void language sql as '';
             comment on function logout() is E'HTTP POST\n@logout';
             create function who() returns text language sql stable
                 as $$ select current_setting('request.user_id', true) $$;
             comment on function who() is 'HTTP GET';
             create function f(t text) returns void language plpgsql as $$ begin raise info '%', t; end $$;
             comment on function f(text) is '@sse'",
        )?;
        let http = cluster.http()?;
        let site = Self { cluster, http };
        site.renew(KeyKind::Curve)?;
        site.cluster.configure("sse.tls_certificate_file", &site.certificate().to_string_lossy())?;
        site.cluster.reconfigure("sse.tls_private_key_file", &site.key().to_string_lossy())?;
        site.answers()?;
        Ok(site)
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.cluster.home().join("site.crt")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.cluster.home().join("site.key")
    }

    /// Another certificate with another key, each put in its place as a whole.
    pub(crate) fn renew(&self, kind: KeyKind) -> Result<()> {
        let (certificate, key) = (self.cluster.home().join("new.crt"), self.cluster.home().join("new.key"));
        make_certificate(&certificate, &key, kind)?;
        for (new, place) in [(certificate, self.certificate()), (key, self.key())] {
            self.cluster.install().account().give(&new)?;
            fs::rename(new, place)?;
        }
        Ok(())
    }

    /// Waits until the port speaks TLS with the present certificate.
    pub(crate) fn answers(&self) -> Result<()> {
        wait_for(PATIENCE, "an answer over TLS", || {
            let answer = self.curl(&["-s"], "/healthz")?;
            Ok((text(&answer) == "{\"status\":\"pass\"}").then_some(()))
        })
        .with_context(|| self.cluster.log().unwrap_or_default())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.http.address().port())
    }

    /// Which trusts the certificate.
    pub(crate) fn curl(&self, arguments: &[&str], path: &str) -> Result<Output> {
        Ok(self.curl_command(arguments, path)?.output()?)
    }

    pub(crate) fn curl_command(&self, arguments: &[&str], path: &str) -> Result<Command> {
        let mut curl = Command::new(find_program("curl").context("no curl")?);
        curl.arg("--cacert").arg(self.certificate()).args(["--max-time", "60"]).args(arguments);
        curl.arg(self.url(path));
        Ok(curl)
    }

    /// A handshake by OpenSSL with these options: what it says.
    pub(crate) fn s_client(&self, arguments: &[&str]) -> Result<Output> {
        let mut openssl = Command::new(find_program("openssl").context("no openssl")?);
        openssl.arg("s_client").arg("-connect").arg(self.http.address().to_string());
        openssl.args(arguments).stdin(Stdio::null());
        Ok(openssl.output()?)
    }

    /// Waits for a line of the log that was not there at the mark.
    pub(crate) fn says(&self, mark: cluster::LogMark, line: &str) -> Result<()> {
        self.cluster.wait_for_log(mark, line).map(drop)
    }
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A program whose lines are read as they come; it ends with the test.
pub(crate) struct Lines {
    process: Child,
    pub(crate) lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Lines {
    pub(crate) fn of(mut command: Command) -> Result<Self> {
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let lines = BufReader::new(process.stdout.take().context("no output")?).lines();
        Ok(Self { process, lines })
    }

    /// The next line.
    pub(crate) fn next(&mut self) -> Result<String> {
        Ok(self.lines.next().context("it ended")??)
    }

    /// Reads up to this line. The programs give up by themselves after a minute.
    pub(crate) fn wait_for(&mut self, wanted: &str) -> Result<()> {
        for line in &mut self.lines {
            if line? == wanted {
                return Ok(());
            }
        }
        anyhow::bail!("it ended without {wanted:?}")
    }
}
