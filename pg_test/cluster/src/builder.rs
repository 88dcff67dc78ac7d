//! The properties of a cluster, set before it is started.
//!
//! Not for changing a running one: [`Cluster::configure`] does that.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use test_http::{KeyKind, Transport, Trust, make_certificate};

use crate::account::Account;
use crate::cluster::Cluster;
use crate::install::Install;
use crate::scratch::Scratch;

/// What the cluster's `shared_preload_libraries` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preload {
    /// `pg_sse`, and the gateway listens on a free port.
    PgSse,
    /// Nothing: Postgres as it comes. The extension's files are not even looked for.
    Stock,
    /// This list, with the extension's files installed; its settings as with [`Preload::PgSse`].
    Libraries(String),
}

/// Collects the properties of a [`Cluster`]. Defaults: UTF-8, locale C, no TCP, no fsync, pg_sse preloaded
/// and created, its gateway with the transport that the environment wants ([`Transport::of_environment`]).
#[derive(Clone, Debug)]
pub struct Builder {
    install: Option<Arc<Install>>,
    preload: Preload,
    creates_extension: bool,
    settings: Vec<(String, String)>,
    encoding: String,
    has_priority: bool,
    transport: Option<Transport>,
    under: Vec<OsString>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            install: None,
            preload: Preload::PgSse,
            creates_extension: true,
            settings: Vec::new(),
            encoding: "UTF8".to_owned(),
            has_priority: false,
            transport: None,
            under: Vec::new(),
        }
    }
}

impl Builder {
    /// Uses another installation than [`Install::shared`].
    pub fn install(mut self, install: Arc<Install>) -> Self {
        self.install = Some(install);
        self
    }

    /// Sets what is preloaded.
    pub fn preload(mut self, preload: Preload) -> Self {
        self.preload = preload;
        self
    }

    /// Short for [`Preload::Stock`].
    pub fn stock(self) -> Self {
        self.preload(Preload::Stock)
    }

    /// Leaves `CREATE EXTENSION pg_sse` to the test.
    pub fn without_extension(mut self) -> Self {
        self.creates_extension = false;
        self
    }

    /// Adds a line to postgresql.conf. A later line of the same name wins, also over the defaults.
    pub fn setting(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// The encoding of all databases, as initdb names it: `LATIN1`, `SQL_ASCII`.
    pub fn encoding(mut self, encoding: &str) -> Self {
        encoding.clone_into(&mut self.encoding);
        self
    }

    /// Permits the server to put itself before other work, as far as [`Account::may_permit_priority`].
    pub fn priority(mut self) -> Self {
        self.has_priority = true;
        self
    }

    /// What the gateway speaks, whatever the environment wants.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Runs the server by another program, with these arguments before the server's own.
    pub fn under(mut self, program: &Path, arguments: impl IntoIterator<Item = OsString>) -> Self {
        self.under = std::iter::once(program.as_os_str().to_owned()).chain(arguments).collect();
        self
    }

    /// Makes the data directory, starts the server, waits until it takes connections, creates the extension.
    ///
    /// # Errors
    /// Any of it fails; the end of the server's log is in the message.
    pub fn start(self) -> Result<Cluster> {
        let creates_extension = self.creates_extension && self.preload != Preload::Stock;
        let cluster = self.prepare()?;
        cluster.start()?;
        if creates_extension {
            cluster.sql("create extension pg_sse")?;
        }
        Ok(cluster)
    }

    /// Makes the data directory without starting the server.
    pub fn prepare(self) -> Result<Cluster> {
        let install = match self.install.clone() {
            Some(install) => install,
            None => Install::shared()?,
        };
        if self.preload != Preload::Stock {
            install.ensure_extension()?;
        }
        let account = install.account().clone();
        let home = Scratch::create(&account)?;
        let data = home.path().join("data");
        let initdb_arguments = [format!("--encoding={}", self.encoding), "--locale=C".to_owned()];
        copy_data(&install.template(&initdb_arguments)?, &data)?;
        append_settings(&data, &self.all_settings(home.path()))?;
        let trust = match self.transport.map_or_else(Transport::of_environment, Ok)? {
            Transport::Tls if self.may_speak_tls() => Some(self.make_secure(home.path(), &account)?),
            _ => None,
        };
        home.close_to_others(&account)?;
        Ok(Cluster::new(install, home, self.has_priority, trust, self.under))
    }

    /// A test that says itself what there is of TLS is about that.
    fn may_speak_tls(&self) -> bool {
        self.preload != Preload::Stock && !self.settings.iter().any(|(name, _)| name.starts_with("sse.tls_"))
    }

    /// Gives the gateway a certificate of its own.
    fn make_secure(&self, home: &Path, account: &Account) -> Result<Trust> {
        let [certificate, key] = TLS_FILES.map(|(_, file)| home.join(file));
        make_certificate(&certificate, &key, KeyKind::Curve)?;
        account.give(&certificate)?;
        account.give(&key)?;
        append_settings(&home.join("data"), &tls_settings(home))?;
        Trust::in_file(&certificate)
    }

    fn all_settings(&self, home: &Path) -> Vec<(String, String)> {
        let mut settings = vec![
            ("listen_addresses".to_owned(), String::new()),
            ("unix_socket_directories".to_owned(), home.display().to_string()),
            ("port".to_owned(), crate::cluster::PORT.to_string()),
            ("fsync".to_owned(), "off".to_owned()),
        ];
        let libraries = match &self.preload {
            Preload::Stock => None,
            Preload::PgSse => Some("pg_sse".to_owned()),
            Preload::Libraries(list) => Some(list.clone()),
        };
        if let Some(libraries) = libraries {
            settings.push(("shared_preload_libraries".to_owned(), libraries));
            settings.push(("sse.port".to_owned(), "0".to_owned()));
        }
        settings.extend(self.settings.iter().cloned());
        settings
    }
}

/// Settings, and the files in the folder of a cluster that they name.
const TLS_FILES: [(&str, &str); 2] =
    [("sse.tls_certificate_file", "gateway.crt"), ("sse.tls_private_key_file", "gateway.key")];

pub(crate) fn tls_settings(home: &Path) -> [(String, String); 2] {
    TLS_FILES.map(|(name, file)| (name.to_owned(), home.join(file).display().to_string()))
}

/// Adds lines to postgresql.conf.
pub(crate) fn append_settings(data: &Path, settings: &[(String, String)]) -> Result<()> {
    let mut lines = String::new();
    for (name, value) in settings {
        if value.contains('\n') {
            bail!("postgresql.conf has no way to write a line break: {name}");
        }
        let quoted = value.replace('\\', r"\\").replace('\'', "''");
        writeln!(lines, "{name} = '{quoted}'")?;
    }
    let path = data.join("postgresql.conf");
    let mut file = OpenOptions::new().append(true).open(&path).context("postgresql.conf is missing")?;
    std::io::Write::write_all(&mut file, lines.as_bytes())?;
    Ok(())
}

/// `cp -a` keeps owner and mode, and clones where the file system can.
fn copy_data(template: &Path, data: &Path) -> Result<()> {
    let output = Command::new("cp").arg("-a").arg(template).arg(data).output().context("cannot run cp")?;
    if !output.status.success() {
        bail!("cannot copy the data directory: {}", String::from_utf8_lossy(&output.stderr));
    }
    fs::metadata(data.join("PG_VERSION")).context("the copied data directory is not whole")?;
    Ok(())
}
