//! Comments that are each short enough, and too many: they cost their owner, and neither the gateway nor anybody else.

mod common;

use std::time::Duration;

use anyhow::Result;
use common::{Corner, wait_for_status};

/// Reads 64 MB of comments, in a build without optimisation.
const LONG: Duration = Duration::from_secs(180);

/// The attack: a role without rights but to create functions makes the gateway keep as much as it likes.
#[test]
fn one_owners_comments_are_read_up_to_64_mb_and_nobody_elses_are_left_out() -> Result<()> {
    let corner = Corner::new("hoard")?;
    corner.sql(
        "create role hoarder; grant usage, create on schema hoard to hoarder; set role hoarder;
         do $d$ begin for i in 1..1026 loop
           execute format('create function hoard.h%s() returns int language sql as ''select 1''', i);
           execute format('comment on function hoard.h%s() is %L', i, rpad(E'@sse_subscribe\\n', 65536, 'prose '));
         end loop; end $d$;
         reset role;
         create function hoard.other() returns int language sql as 'select 1'; comment on function hoard.other() is '@sse_subscribe'",
    )?;
    for (name, status) in [("other", 200), ("h1", 200), ("h1023", 200), ("h1024", 200), ("h1025", 404)] {
        wait_for_status(corner.http, &format!("/api/hoard/{name}/info"), status, LONG)?;
    }
    let mut session = corner.session()?;
    let problems = "select string_agg(routine::oid::regproc::text, ' ' order by routine::oid) from sse.endpoints where problem like '%64 MB%'";
    assert_eq!(session.run(problems)?.ok()?.text(), "h1025 h1026");
    // One less, and there is room for the next.
    session.run("comment on function hoard.h7() is null")?.ok()?;
    wait_for_status(corner.http, "/api/hoard/h1025/info", 200, LONG)?;
    wait_for_status(corner.http, "/api/hoard/h1026/info", 404, LONG)?;
    session.run("drop owned by hoarder; drop role hoarder")?.ok()?;
    Ok(())
}
