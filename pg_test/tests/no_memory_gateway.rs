//! A gateway without memory: it ends and is started again, and no session of the cluster ends with it
//! (SAFETY.md, "When memory runs out").
//!
//! Not for large answers and requests, which are refused one by one: `unread_answers.rs`.

mod common;

use std::fs;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, wait_for};
use common::{Corner, SOON};

fn gateway(cluster: &Cluster) -> Result<u32> {
    cluster.sql("select coalesce(pid, 0) from sse.stat_gateway")?.parse().context("no pid")
}

/// Attack: as many streams as there is memory for, and more.
#[test]
fn a_gateway_without_memory_is_started_again_and_ends_no_session() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "short")?;
    corner.announcer("tell", "@sse")?;
    let mut session = corner.session()?;
    drop(corner.stream("tell/info")?);
    let pid = gateway(&cluster)?;
    // What it has, and a little more. By the server's own user, who may lower it.
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:")).context("no VmData")?;
    let kilobytes: u64 = data.trim().trim_end_matches(" kB").parse()?;
    let limit = (kilobytes + 256) << 10;
    cluster
        .sql(&format!("copy (select 1) to program 'cat > /dev/null; prlimit --pid {pid} --data={limit}'"))?;
    let path = corner.path("tell/info");
    let mut streams = Vec::new();
    let anew = wait_for(SOON * 2, "another gateway serves", || {
        streams.extend((0..50).map_while(|_| corner.http.events(&path).ok()));
        Ok(Some(gateway(&cluster)?).filter(|now| *now != 0 && *now != pid))
    });
    let anew = anew.with_context(|| cluster.log().unwrap_or_default())?;
    drop(streams);
    session.run("select 1")?.ok()?;
    wait_for(SOON, "a stream begins", || Ok(cluster.http()?.events(&path).ok()))?;
    assert_eq!(gateway(&cluster)?, anew);
    ensure!(!cluster.log()?.contains("terminating any other active server processes"), "{}", cluster.log()?);
    Ok(())
}
