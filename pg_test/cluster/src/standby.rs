//! Servers that follow another one: made of a running cluster, kept up to date by physical replication, and
//! promoted; and the old primary becomes the standby of the new one.
//!
//! All of it goes through the primary's socket, so no port is taken but that of the gateway.
//!
//! Not for what a standby serves.

use std::fmt::Write;
use std::fs;
use std::sync::Arc;

use anyhow::{Result, ensure};
use test_http::PATIENCE;

use crate::cluster::{Cluster, PORT};

impl Cluster {
    /// A standby of this server, which must be running, or be a standby itself. It is not started yet; its
    /// settings are those of this server, with what [`Cluster::configure`] adds. Removed when it is dropped,
    /// as any cluster is.
    pub fn standby(&self) -> Result<Self> {
        let standby = Self::builder().install(Arc::clone(self.install())).prepare()?;
        fs::remove_dir_all(standby.data_dir())?;
        let mut backup = self.install().account().command(&self.install().program("pg_basebackup"));
        backup
            .args(["-U", "postgres", "-c", "fast", "-X", "stream", "-R", "-p"])
            .arg(PORT.to_string())
            .arg("-h")
            .arg(self.home())
            .arg("-D")
            .arg(standby.data_dir());
        let output = backup.current_dir("/").output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        standby.configure("unix_socket_directories", &standby.home().display().to_string())?;
        standby.configure_transport()?;
        Ok(standby)
    }

    /// Waits until this standby has replayed everything that its primary has written by now.
    ///
    /// # Errors
    /// One of them does not run, or it takes longer than [`PATIENCE`].
    pub fn wait_for_replay(&self, primary: &Self) -> Result<()> {
        let written = primary.sql("select pg_current_wal_insert_lsn()")?;
        let replayed = format!("select pg_last_wal_replay_lsn() >= '{written}'");
        self.comes_to(PATIENCE, "the standby has replayed it", &replayed, "t")
    }

    /// Makes this standby a primary.
    pub fn promote(&self) -> Result<()> {
        let promoted = self.sql("select pg_promote()")?;
        ensure!(promoted == "t", "{}", self.log_tail());
        Ok(())
    }

    /// Makes this server a standby of another one, or a cascading one of a standby, from its next start on.
    /// One that runs is a standby already, and looks there after a reload.
    pub fn follow(&self, upstream: &Self) -> Result<()> {
        self.receive_from(&format!("host={} port={PORT} user=postgres", upstream.home().display()))
    }

    /// Cuts this standby, which runs, off from what it follows, and waits until it receives nothing any more.
    pub fn follow_nobody(&self) -> Result<()> {
        self.receive_from("host=/nowhere")?;
        self.reload()?;
        let receivers = "select count(*) from pg_stat_wal_receiver";
        self.comes_to(PATIENCE, "it receives nothing", receivers, "0")
    }

    fn receive_from(&self, connection: &str) -> Result<()> {
        // Where pg_basebackup has written it, too: the last line wins.
        let (conf, signal) = ("postgresql.auto.conf", "standby.signal");
        let mut settings = fs::read_to_string(self.data_dir().join(conf))?;
        writeln!(settings, "primary_conninfo = '{connection}'")?;
        fs::write(self.data_dir().join(conf), settings)?;
        fs::write(self.data_dir().join(signal), "")?;
        self.install().account().give(&self.data_dir().join(signal))
    }

    /// Takes out of this server, which was a primary and is stopped or killed, what the new one has not
    /// (pg_rewind). Its settings are the new one's then, and it needs [`Cluster::follow`].
    pub fn rewind_to(&self, primary: &Self) -> Result<()> {
        // Without it the control file still has the old timeline, and nothing seems to be left to do.
        primary.sql("checkpoint")?;
        let mut rewind = self.install().account().command(&self.install().program("pg_rewind"));
        rewind.arg("-D").arg(self.data_dir()).arg("--source-server");
        rewind.arg(format!("host={} port={PORT} user=postgres dbname=postgres", primary.home().display()));
        let output = rewind.current_dir("/").output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.configure("unix_socket_directories", &self.home().display().to_string())?;
        self.configure_transport()
    }
}
