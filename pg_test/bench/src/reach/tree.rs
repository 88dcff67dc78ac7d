//! A primary and its standbys, all with one `sse.durability`, and what is published there.
//!
//! Not for who reads it: `line.rs` and `standbys.rs`.

use std::iter;

use anyhow::{Context, Result};
use cluster::{Cluster, PATIENCE, wait_for};

use crate::marker;
use crate::publisher::Publisher;

/// The stream of what [`PUBLISH`] publishes.
pub(super) const PUBLISHED: &str = "/api/raise-all/notice";

/// The stream of what [`WRITE`] publishes.
pub(super) const WRITTEN: &str = "/api/write-all/notice";

/// Events alone.
pub(super) const PUBLISH: &str = "select raise_all($1)";

/// Events, each with a row that has its number.
pub(super) const WRITE: &str = "select write_all($1)";

/// The number of an event begins at the sixth byte of its marker.
const SCHEMA: &str = "
    create role app login;
    create table told (number bigint);
    create index on told (number);
    create table plain (a int);
    create table bulk (a bigint, b text);
    grant select, insert on told, plain to app;
    create function raise_all(messages text[]) returns void language plpgsql as $$
    declare message text; begin
        foreach message in array messages loop raise notice '%', message; end loop;
    end $$;
    comment on function raise_all(text[]) is '@sse on notice';
    create function write_all(messages text[]) returns void language plpgsql as $$
    declare message text; begin
        foreach message in array messages loop
            insert into told values (substr(message, 6, 10)::bigint);
            raise notice '%', message;
        end loop;
    end $$;
    comment on function write_all(text[]) is '@sse on notice';
";

/// `sse.durability` of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    Memory,
    Wal,
}

impl Durability {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Wal => "wal",
        }
    }
}

/// See the head of this file.
pub(super) struct Tree {
    pub(super) durability: Durability,
    pub(super) primary: Cluster,
    /// Those that are stopped, too.
    pub(super) standbys: Vec<Cluster>,
}

impl Tree {
    /// Starts a primary and one standby. WAL is flushed on both, and the log of a load is kept, so that a
    /// standby which is behind does not lose it.
    pub(super) fn start(durability: Durability) -> Result<Self> {
        let primary = Cluster::builder()
            .setting("sse.durability", durability.name())
            .setting("fsync", "on")
            .setting("autovacuum", "off")
            .setting("wal_keep_size", "2GB")
            .setting("wal_retrieve_retry_interval", "100ms")
            .setting("max_worker_processes", 16)
            .start()?;
        primary.sql(SCHEMA)?;
        let mut tree = Self { durability, primary, standbys: Vec::new() };
        tree.add_standby()?;
        Ok(tree)
    }

    /// Makes one more, and starts it.
    pub(super) fn add_standby(&mut self) -> Result<()> {
        let standby = self.primary.standby()?;
        standby.start()?;
        standby.wait_for_replay(&self.primary)?;
        self.standbys.push(standby);
        Ok(())
    }

    /// The servers that have streams: the primary, then its standbys as far as they run.
    pub(super) fn servers(&self) -> impl Iterator<Item = &Cluster> {
        let standbys = self.standbys.iter().filter(|standby| standby.is_running());
        let serving = standbys.filter(move |_| self.durability == Durability::Wal);
        iter::once(&self.primary).chain(serving)
    }

    /// A session of the primary that publishes by this statement.
    pub(super) fn publisher(&self, statement: &str) -> Result<Publisher> {
        Publisher::sql(self.primary.home(), statement)
    }

    /// Waits until each server has both streams, and has told everything that was published before: whoever
    /// comes then hears nothing of it.
    pub(super) fn settle(&self) -> Result<()> {
        let mut streams = Vec::new();
        for server in self.servers() {
            let client = server.http()?;
            for path in [WRITTEN, PUBLISHED] {
                streams.push(wait_for(PATIENCE, "the stream", || Ok(client.events(path).ok()))?);
            }
        }
        let word = format!("settled {}", marker::now());
        self.primary.sql(&format!("select raise_all(array['{word}'])"))?;
        // Each second one is of what was published by this.
        for stream in streams.iter_mut().skip(1).step_by(2) {
            while stream.next_payload(PATIENCE)?.data != word {}
        }
        Ok(())
    }

    /// Where the log of the primary ends, in bytes.
    pub(super) fn end_of_log(&self) -> Result<u64> {
        let bytes = self.primary.sql("select pg_current_wal_insert_lsn() - '0/0'")?;
        bytes.parse().with_context(|| format!("not a position: {bytes}"))
    }
}
