//! Capture: what an annotation costs the session that calls a PL/pgSQL routine, which raises nothing, or
//! whose RAISE becomes an event.
//!
//! The same routine is called with its annotation and without, and on a server without pg_sse. There also as
//! SECURITY DEFINER: Postgres takes the same way around such a routine as around an annotated one
//! (fmgr.c, `fmgr_security_definer`), so no library that looks at the calls of a routine costs less.
//!
//! A figure is the time of one statement with many calls, by the server's clock, in a session that stays. The
//! gateway is stopped while events are raised, so that nothing but the session's own work is measured; it
//! takes them before the next turn.
//!
//! Not for what many sessions cost each other (commits.rs), nor for what becomes of events (fanout.rs).

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, PATIENCE, Session, SessionOptions, wait_for};

use crate::ground::Ground;
use crate::report::{Chapter, Metric};
use crate::scale::{Scale, Size};

const COST: Metric = Metric { name: "time per call", unit: "ns", is_compared: true };

/// Who is called, and where: the name in the table, the beginning of the function's name, whether on the
/// server with pg_sse. The first is what the others are compared with.
const SIDES: [(&str, &str, bool); 4] = [
    ("not annotated", "plain", true),
    ("annotated", "annotated", true),
    ("without pg_sse", "plain", false),
    ("without pg_sse, SECURITY DEFINER", "definer", false),
];

/// A routine, and a statement that calls FUNCTION for N times and answers how many nanoseconds a call took.
struct Load {
    row: &'static str,
    comment: &'static str,
    body: &'static str,
    statement: &'static str,
    /// How many of the sides.
    sides: usize,
    /// Whether a call of the annotated routine is an event.
    raises: bool,
}

const NOTHING: &str = "begin return i; end";
const RAISE: &str = "begin raise notice '%', repeat('x', 200); return i; end";

const IN_ONE_SELECT: &str = "
    select extract(epoch from clock_timestamp() - statement_timestamp())::float8 * 1e9 / N, count(FUNCTION(i))
    from generate_series(1, N) i";

const BY_PERFORM: &str = "
    do $$ declare begun timestamptz := clock_timestamp(); begin
        for i in 1 .. N loop perform FUNCTION(i); end loop;
        perform set_config('bench.spent',
            (extract(epoch from clock_timestamp() - begun)::float8 * 1e9 / N)::text, false);
    end $$;
    select current_setting('bench.spent')";

const COMMIT_ALONE: &str = "
    do $$ declare begun timestamptz; begin
        perform count(FUNCTION(i)) from generate_series(1, N) i;
        begun := clock_timestamp();
        commit;
        perform set_config('bench.spent',
            (extract(epoch from clock_timestamp() - begun)::float8 * 1e9 / N)::text, false);
    end $$;
    select current_setting('bench.spent')";

const LOADS: [Load; 5] = [
    Load {
        row: "raises nothing, in one SELECT",
        comment: "@sse",
        body: NOTHING,
        statement: IN_ONE_SELECT,
        sides: 4,
        raises: false,
    },
    Load {
        row: "raises nothing, by PERFORM",
        comment: "@sse",
        body: NOTHING,
        statement: BY_PERFORM,
        sides: 4,
        raises: false,
    },
    Load {
        row: "RAISE of 200 bytes, sent at once",
        comment: "@sse on notice\n@sse_delivery immediate",
        body: RAISE,
        statement: IN_ONE_SELECT,
        sides: 3,
        raises: true,
    },
    Load {
        row: "RAISE of 200 bytes, kept until the commit",
        comment: "@sse on notice",
        body: RAISE,
        statement: IN_ONE_SELECT,
        sides: 3,
        raises: true,
    },
    Load {
        row: "the COMMIT of such, for each",
        comment: "@sse on notice",
        body: RAISE,
        statement: COMMIT_ALONE,
        sides: 2,
        raises: true,
    },
];

/// How much is measured.
struct Extent {
    rounds: usize,
    /// In one statement.
    calls: u32,
    /// In one statement, of routines that raise: an event takes some 300 bytes, and all of them fit into half
    /// of the ring and of `sse.max_transaction_size`.
    raises: u32,
}

impl Extent {
    fn of(size: Size) -> Self {
        match size {
            Size::Smoke => Self { rounds: 1, calls: 2000, raises: 500 },
            Size::Quick => Self { rounds: 7, calls: 200_000, raises: 20_000 },
            Size::Full => Self { rounds: 21, calls: 400_000, raises: 40_000 },
        }
    }
}

/// Measures all of it.
///
/// # Errors
/// Something on the way fails, or an event is missing.
pub(crate) fn run(scale: &Scale) -> Result<Chapter> {
    let extent = Extent::of(scale.size);
    let mut bench = Bench::start()?;
    // Plans, caches and memory are there then.
    bench.round(0, &Extent { calls: 1000, raises: 1000, ..extent }, None)?;
    let title = "Capture: calls of a PL/pgSQL routine";
    let mut chapter =
        Chapter::new("capture", title, SIDES[0].0).with_heads(["the routine", "which one"]).by_difference();
    for round in 0..extent.rounds {
        bench.round(round, &extent, Some(&mut chapter))?;
    }
    let events = bench.finish()?;
    chapter.note(format!(
        "{} rounds of {} calls each, {} where something is raised; {events} events were raised, and the gateway has taken each of them.",
        extent.rounds, extent.calls, extent.raises
    ));
    Ok(chapter)
}

struct Bench {
    ground: Ground,
    /// On the server with pg_sse, and on the one without.
    with: Session,
    without: Session,
    _stock: Cluster,
    /// Raised so far.
    events: u64,
}

impl Bench {
    fn start() -> Result<Self> {
        let ground = Ground::start(&[("sse.ring_size", "64MB")])?;
        let stock = Cluster::builder().stock().setting("autovacuum", "off").start()?;
        for (number, load) in LOADS.iter().enumerate() {
            for (function, also) in [("plain", ""), ("annotated", ""), ("definer", "security definer")] {
                let make = format!(
                    "create function {function}_{number}(i int) returns int language plpgsql {also} as $f$ {} $f$",
                    load.body
                );
                ground.cluster.sql(&make)?;
                stock.sql(&make)?;
            }
            let comment = format!("comment on function annotated_{number}(int) is '{}'", load.comment);
            ground.cluster.sql(&comment)?;
        }
        let options = "-c client_min_messages=warning -c jit=off".to_owned();
        let options = SessionOptions { options, ..SessionOptions::default() };
        Ok(Self {
            with: ground.cluster.session_with(&options)?,
            without: stock.session_with(&options)?,
            ground,
            _stock: stock,
            events: 0,
        })
    }

    /// Each side of each load once; none is always first.
    fn round(&mut self, round: usize, extent: &Extent, mut chapter: Option<&mut Chapter>) -> Result<()> {
        for (number, load) in LOADS.iter().enumerate() {
            let times = if load.raises { extent.raises } else { extent.calls };
            for turn in 0..load.sides {
                let (side, function, is_ours) = SIDES[(turn + round) % load.sides];
                let statement = load.statement.replace("FUNCTION", &format!("{function}_{number}"));
                let statement = statement.replace('N', &times.to_string());
                let sends = load.raises && function == "annotated";
                let spent =
                    if sends { self.send(&statement, times)? } else { self.time(&statement, is_ours)? };
                if let Some(chapter) = chapter.as_deref_mut() {
                    chapter.add(load.row, side, COST, spent);
                }
            }
        }
        Ok(())
    }

    /// A statement that raises events, while the gateway is stopped.
    fn send(&mut self, statement: &str, events: u32) -> Result<f64> {
        let stopped = self.ground.cluster.freeze(self.ground.gateway()?)?;
        let spent = self.time(statement, true)?;
        drop(stopped);
        self.events += u64::from(events);
        self.ground.cluster.comes_to(
            PATIENCE,
            "the gateway takes the events",
            "select used_bytes from sse.stat_ring",
            "0",
        )?;
        Ok(spent)
    }

    /// What the statement says that it took.
    fn time(&mut self, statement: &str, is_ours: bool) -> Result<f64> {
        let session = if is_ours { &mut self.with } else { &mut self.without };
        let reply = session.run(statement)?.ok()?;
        Ok(reply.value().context("no time")?.parse()?)
    }

    /// How many events there were, when the gateway has counted them all: once a second it says how many.
    fn finish(self) -> Result<u64> {
        let count = || -> Result<u64> {
            Ok(self.ground.cluster.sql("select events_total from sse.stat_gateway")?.trim().parse()?)
        };
        wait_for(PATIENCE, "the gateway's count", || Ok((count()? >= self.events).then_some(())))?;
        let lost =
            self.ground.cluster.sql("select dropped_total + out_of_memory_total from sse.stat_ring")?;
        ensure!(lost == "0" && count()? == self.events, "{lost} of {} events are lost", self.events);
        Ok(self.events)
    }
}
