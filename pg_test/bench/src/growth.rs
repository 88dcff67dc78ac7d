//! Growth: how the cost of an event changes when one thing becomes more and everything else stays. The
//! exponent is the slope on logarithmic axes: 1 is in proportion, 0 is no change.
//!
//! Not for comparisons: all of it is pg_sse.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cluster::PATIENCE;

use crate::crowd::Crowd;
use crate::drive::{self, Load, Served};
use crate::ground::Ground;
use crate::publisher::Publisher;
use crate::report::{Chapter, Metric};
use crate::scale::{Scale, Size};

const COST: Metric = Metric { name: "gateway's CPU per event", unit: "µs", is_compared: false };
const RATE: Metric = Metric { name: "events", unit: "1/s", is_compared: false };
const VISIBLE: Metric = Metric { name: "a new URL is there after", unit: "ms", is_compared: false };

/// Between two new URLs. Those that follow each other at once are read together, after a tenth of a second,
/// and after a reading of many routines there is a pause of three times its work.
const BETWEEN_URLS: Duration = Duration::from_secs(2);

const EVENT: usize = 200;
const PATH: &str = "/api/raise-all/notice";

const STREAMS: &str = "streams";
const SIZE: &str = "bytes of an event, 20 streams";
const PUBLISHERS: &str = "publishers, 10 streams";
const TOPICS: &str = "topics, event for one stream";
const USERS: &str = "users, event for one of them";
const ROUTINES: &str = "annotated routines, 10 streams";
const THREADS: &str = "threads, 2,000 streams";

/// What grows, with the names of its curves, in the order of the pictures.
pub(crate) const DIMENSIONS: [(&str, &str); 7] = [
    ("streams", STREAMS),
    ("size", SIZE),
    ("publishers", PUBLISHERS),
    ("topics", TOPICS),
    ("users", USERS),
    ("routines", ROUTINES),
    ("threads", THREADS),
];

/// The most of each; powers of ten below it are measured, too.
struct Most {
    streams: u32,
    size: u32,
    publishers: u32,
    topics: u32,
    users: u32,
    routines: u32,
}

impl Most {
    fn new(size: Size) -> Self {
        match size {
            Size::Smoke => {
                Self { streams: 10, size: 1000, publishers: 2, topics: 10, users: 10, routines: 10 }
            }
            Size::Quick => Self {
                streams: 3000,
                size: 100_000,
                publishers: 16,
                topics: 10_000,
                users: 1000,
                routines: 1000,
            },
            Size::Full => Self {
                streams: 18_000,
                size: 1_000_000,
                publishers: 64,
                topics: 60_000,
                users: 10_000,
                routines: 10_000,
            },
        }
    }
}

/// Who may be asked for by a token in the URL, and events that are for one alone.
const SCHEMA: &str = "
    create function raise_topic(messages text[]) returns void language plpgsql as $$
    declare message text; begin
        foreach message in array messages loop perform sse.publish(message, topic => 't0'); end loop;
    end $$;
    create function raise_user(messages text[]) returns void language plpgsql as $$
    declare message text; begin
        foreach message in array messages loop perform sse.publish(message, scope => 'authorize id:u0'); end loop;
    end $$;
    grant execute on function sse.publish to app;
";

/// Measures all of it.
///
/// # Errors
/// An event is lost, doubled or out of order.
pub(crate) fn run(scale: &Scale) -> Result<Chapter> {
    let mut chapter = Chapter::new("growth", "Growth: what an event costs when one thing becomes more", "")
        .with_heads(["what grows", "to"]);
    let most = Most::new(scale.size);
    let turn = (scale.turn, scale.rounds.div_ceil(2));
    let ground = Ground::start(&[])?;
    let bench = Bench::new(&ground, turn);
    for streams in steps(10, most.streams.min(scale.most_streams)) {
        bench.crowd(&mut chapter, STREAMS, streams, streams, EVENT)?;
    }
    for size in steps(50, most.size) {
        bench.crowd(&mut chapter, SIZE, size, 20, size as usize)?;
    }
    let mut publishers = 1;
    while publishers <= most.publishers {
        bench.publishers(&mut chapter, publishers)?;
        publishers *= if scale.size == Size::Full { 2 } else { 4 };
    }
    drop(ground);
    // With keys, a quarter of the streams is kept for those who have a token.
    let settings = [
        ("sse.jwt_secret", "only for the bench, thirty-two bytes and more"),
        ("sse.token_parameter", "token"),
    ];
    let ground = Ground::start(&settings)?;
    ground.cluster.sql(SCHEMA)?;
    let bench = Bench::new(&ground, turn);
    for topics in steps(1, most.topics) {
        bench.topics(&mut chapter, topics)?;
    }
    let tokens = bench.tokens(most.users)?;
    for users in steps(1, most.users) {
        bench.users(&mut chapter, users, &tokens)?;
    }
    for routines in steps(10, most.routines) {
        bench.routines(&mut chapter, routines)?;
    }
    drop(ground);
    for threads in [1, 2] {
        let ground = Ground::start(&[("sse.threads", &threads.to_string())])?;
        let bench = Bench::new(&ground, turn);
        let streams = most.streams.min(2000);
        bench.crowd(&mut chapter, THREADS, threads, streams, EVENT)?;
    }
    exponents(&mut chapter);
    Ok(chapter)
}

/// `first`, ten times that, … and the most.
fn steps(first: u32, most: u32) -> Vec<u32> {
    let powers = std::iter::successors(Some(first), |step| step.checked_mul(10));
    powers.take_while(|&step| step < most).chain([most]).collect()
}

struct Bench<'a> {
    ground: &'a Ground,
    turn: Duration,
    rounds: usize,
}

impl<'a> Bench<'a> {
    fn new(ground: &'a Ground, (turn, rounds): (Duration, usize)) -> Self {
        Self { ground, turn, rounds }
    }

    fn served(&self) -> Result<Served> {
        Ok(Served { server: self.ground.gateway()?, postmaster: self.ground.cluster.postmaster_pid()? })
    }

    fn publisher(&self, function: &str) -> Result<Publisher> {
        Publisher::sql(self.ground.cluster.home(), &format!("select {function}($1)"))
    }

    fn connect(&self, streams: u32, publishers: usize, path: impl Fn(u32) -> String) -> Result<Crowd> {
        Crowd::connect_each(self.ground.cluster.http()?.address(), path, streams, publishers)
    }

    /// One event after the other from one session, to these streams.
    fn lock_step(
        &self,
        chapter: &mut Chapter,
        (what, value): (&str, u32),
        crowd: &Crowd,
        function: &str,
        size: usize,
    ) -> Result<()> {
        let mut publisher = self.publisher(function)?;
        for _ in 0..self.rounds {
            let turn = drive::turn(crowd, &mut publisher, self.served()?, Load::LockStep, size, self.turn)
                .with_context(|| format!("{value} {what}"))?;
            chapter.add(what, value, COST, turn.server.as_secs_f64() * 1e6 / turn.events as f64);
            chapter.add(what, value, RATE, turn.events as f64 / turn.elapsed.as_secs_f64());
        }
        Ok(())
    }

    fn crowd(&self, chapter: &mut Chapter, what: &str, value: u32, streams: u32, size: usize) -> Result<()> {
        let crowd = self.connect(streams, 1, |_| PATH.to_owned())?;
        self.lock_step(chapter, (what, value), &crowd, "raise_all", size)
    }

    fn publishers(&self, chapter: &mut Chapter, count: u32) -> Result<()> {
        let crowd = self.connect(10, count as usize, |_| PATH.to_owned())?;
        let mut publishers = (0..count).map(|_| self.publisher("raise_all")).collect::<Result<Vec<_>>>()?;
        for _ in 0..self.rounds {
            let turn = drive::together(&crowd, &mut publishers, self.served()?, EVENT, self.turn)?;
            chapter.add(PUBLISHERS, count, COST, turn.server.as_secs_f64() * 1e6 / turn.events as f64);
            chapter.add(PUBLISHERS, count, RATE, turn.events as f64 / turn.elapsed.as_secs_f64());
        }
        Ok(())
    }

    /// One stream hears the topic, and others hear all the others, up to 60 each.
    fn topics(&self, chapter: &mut Chapter, topics: u32) -> Result<()> {
        let streams = topics.min(1000);
        let each = topics.div_ceil(streams);
        let _others = self.connect(streams, 1, |stream| {
            let names: Vec<_> =
                (0..each).map(|number| format!("topic=other{}", stream * each + number)).collect();
            format!("{PATH}?{}", names.join("&"))
        })?;
        let crowd = self.connect(1, 1, |_| format!("{PATH}?topic=t0"))?;
        self.lock_step(chapter, (TOPICS, topics), &crowd, "raise_topic", EVENT)
    }

    fn tokens(&self, users: u32) -> Result<Vec<String>> {
        let tokens = self.ground.cluster.sql(&format!(
            "select string_agg(sse.issue_token('u' || n, 'user ' || n, array['staff'], '1 hour'), ' ' order by n)
             from generate_series(0, {users}) n"
        ))?;
        Ok(tokens.split_whitespace().map(str::to_owned).collect())
    }

    /// One stream of the user, and one of each other.
    fn users(&self, chapter: &mut Chapter, users: u32, tokens: &[String]) -> Result<()> {
        let path = |user: u32| format!("{PATH}?token={}", tokens[user as usize]);
        let _others = self.connect(users, 1, |stream| path(stream + 1))?;
        let crowd = self.connect(1, 1, path)?;
        self.lock_step(chapter, (USERS, users), &crowd, "raise_user", EVENT)
    }

    /// As many routines with a comment, and how long it takes until one more has its URL.
    fn routines(&self, chapter: &mut Chapter, routines: u32) -> Result<()> {
        let exist: u32 =
            self.ground.cluster.sql("select count(*) from pg_proc where proname like 'grown%'")?.parse()?;
        for begin in (exist..routines).step_by(1000) {
            let last = (begin + 1000).min(routines) - 1;
            self.ground.cluster.sql(&format!(
                "do $d$ begin for i in {begin}..{last} loop
                   execute format('create function grown%s() returns int language sql as ''select 1''', i);
                   execute format('comment on function grown%s() is ''@sse''', i);
                 end loop; end $d$"
            ))?;
        }
        let client = self.ground.cluster.http()?;
        let is_there = |path: &str| -> Result<()> {
            cluster::wait_for(PATIENCE, path, || Ok(client.events(path).ok())).map(drop)
        };
        is_there(&format!("/api/grown{}/info", routines - 1))?;
        let mut session = self.ground.cluster.session()?;
        for round in 0..self.rounds {
            let name = format!("newest{routines}_{round}");
            session.run(&format!("create function {name}() returns int language sql as 'select 1'"))?.ok()?;
            thread::sleep(BETWEEN_URLS);
            let start = Instant::now();
            session.run(&format!("comment on function {name}() is '@sse'"))?.ok()?;
            is_there(&format!("/api/{}/info", name.replace('_', "-")))?;
            chapter.add(ROUTINES, routines, VISIBLE, start.elapsed().as_secs_f64() * 1000.0);
        }
        self.crowd(chapter, ROUTINES, routines, 10, EVENT)
    }
}

/// Tells the slope of each curve.
fn exponents(chapter: &mut Chapter) {
    for (_, what) in DIMENSIONS {
        let places = curve(chapter, what);
        if places.len() > 2 {
            chapter.note(format!("Exponent, {what}: {:.2}", slope(&places)));
        }
    }
}

/// Costs by how much there was.
pub(crate) fn curve(chapter: &Chapter, what: &str) -> Vec<(f64, f64)> {
    let sides = chapter.sides().into_iter();
    let mut places: Vec<(f64, f64)> =
        sides.filter_map(|side| Some((side.parse().ok()?, chapter.median(what, side, COST)?))).collect();
    places.sort_by(|one, other| one.0.total_cmp(&other.0));
    places
}

/// Least squares on logarithmic axes.
fn slope(places: &[(f64, f64)]) -> f64 {
    let logs: Vec<_> = places.iter().map(|(x, y)| (x.max(1e-9).ln(), y.max(1e-9).ln())).collect();
    let count = logs.len() as f64;
    let (x, y) = (
        logs.iter().map(|log| log.0).sum::<f64>() / count,
        logs.iter().map(|log| log.1).sum::<f64>() / count,
    );
    let both: f64 = logs.iter().map(|log| (log.0 - x) * (log.1 - y)).sum();
    both / logs.iter().map(|log| (log.0 - x).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_proportion_is_one_and_of_a_constant_zero() {
        assert!((slope(&[(1.0, 2.0), (10.0, 20.0), (100.0, 200.0)]) - 1.0).abs() < 1e-9);
        assert!(slope(&[(1.0, 2.0), (10.0, 2.0), (100.0, 2.0)]).abs() < 1e-9);
    }

    #[test]
    fn steps_end_with_the_most() {
        assert_eq!(steps(10, 3000), [10, 100, 1000, 3000]);
        assert_eq!(steps(1, 1000), [1, 10, 100, 1000]);
        assert_eq!(steps(50, 1_000_000), [50, 500, 5000, 50_000, 500_000, 1_000_000]);
    }
}
