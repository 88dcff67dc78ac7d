//! The server that everything is measured on: pg_sse with its defaults, as far as the number of streams
//! allows.
//!
//! Not for what is measured.

use anyhow::Result;
use cluster::Cluster;

/// Both functions send the payloads of one statement; they differ in how.
const SCHEMA: &str = "
    create role app login;
    create function raise_all(messages text[]) returns void language plpgsql as $$
    declare message text; begin
        foreach message in array messages loop raise notice '%', message; end loop;
    end $$;
    comment on function raise_all(text[]) is '@sse on notice';
    create function notify_all(messages text[]) returns void language plpgsql as $$
    declare message text; begin
        foreach message in array messages loop perform pg_notify('bench', message); end loop;
    end $$;
";

/// A running server.
pub(crate) struct Ground {
    pub(crate) cluster: Cluster,
}

impl Ground {
    /// Starts one with these settings besides.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Result<Self> {
        let mut builder = Cluster::builder()
            .setting("sse.max_connections", 20_000)
            .setting("max_connections", 200)
            .setting("autovacuum", "off");
        for (name, value) in settings {
            builder = builder.setting(name, value);
        }
        let cluster = builder.start()?;
        cluster.sql(SCHEMA)?;
        let ground = Self { cluster };
        // The stream exists as soon as the gateway has read the function's comment.
        let client = ground.cluster.http()?;
        cluster::wait_for(cluster::PATIENCE, "the stream", || {
            Ok(client.events("/api/raise-all/notice").ok())
        })?;
        Ok(ground)
    }

    /// The process that holds the streams.
    pub(crate) fn gateway(&self) -> Result<u32> {
        Ok(self.cluster.sql("select pid from sse.stat_gateway")?.trim().parse()?)
    }
}
