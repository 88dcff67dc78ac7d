//! The attackers: each has a thread, a seed of its own, and a pace that leaves the processors to others.
//!
//! An attack is one strike, repeated again and again. Its counts show that it really attacked: strikes that
//! had the intended effect (an answer begun, a token refused, a comment set), and, counted apart, refusals.
//!
//! Not for judging what happens to the honest parties.

mod answers;
mod hand;
mod handshakes;
mod http2;
mod long_calls;
mod objects;
mod requests;
mod rows;
mod sessions;
mod snapshots;
mod sql;
mod superuser;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fastrand::Rng;

pub(crate) use hand::Tally;
use hand::{Blow, Hand};

use crate::ground::Ground;

/// One kind of attack.
#[derive(Clone, Copy)]
struct Attack {
    name: &'static str,
    strike: fn(&mut Hand) -> Result<Blow>,
    /// Milliseconds between two strikes.
    pause: Range32,
}

/// A range that can be copied.
#[derive(Clone, Copy)]
struct Range32(u32, u32);

impl From<Range32> for Range<u32> {
    fn from(range: Range32) -> Self {
        range.0..range.1
    }
}

const fn attack(name: &'static str, strike: fn(&mut Hand) -> Result<Blow>, from: u32, to: u32) -> Attack {
    Attack { name, strike, pause: Range32(from, to) }
}

/// All attackers. Their paces are such that all of them together take about one processor of two.
const ATTACKS: [Attack; 40] = [
    attack("unread answers", answers::leave_unread, 100, 400),
    attack("slow readers", answers::read_slowly, 100, 400),
    attack("unread streams", answers::leave_stream_unread, 200, 600),
    attack("unread streamed calls", long_calls::leave_streamed, 300, 900),
    attack("slowly read streamed calls", long_calls::read_streamed_slowly, 300, 900),
    attack("calls without callers", long_calls::go_on_without, 300, 900),
    attack("snapshots of all kinds", snapshots::want, 300, 900),
    attack("crowds that come back", snapshots::come_back_in_a_crowd, 600, 1_800),
    attack("half-open sockets", requests::leave_half_open, 50, 150),
    attack("floods of heads", requests::flood_heads, 100, 300),
    attack("trickled handshakes", handshakes::trickle, 100, 300),
    attack("handshakes broken off", handshakes::break_off, 50, 150),
    attack("nonsense for handshakes", handshakes::send_nonsense, 100, 300),
    attack("records of one byte", handshakes::send_byte_by_byte, 300, 900),
    attack("changes of keys", handshakes::change_keys, 300, 900),
    attack("ends said at once", handshakes::close_half, 100, 300),
    attack("resets over HTTP/2", http2::reset, 300, 900),
    attack("frames of no use over HTTP/2", http2::send_nothing, 300, 900),
    attack("heads and bodies in pieces over HTTP/2", http2::trickle, 300, 900),
    attack("tiny windows over HTTP/2", http2::open_narrowly, 600, 1_800),
    attack("unread streams over HTTP/2", http2::leave_unread, 600, 1_800),
    attack("unknown paths", requests::ask_for_unknown, 50, 150),
    attack("deep bodies", requests::send_deep_body, 200, 500),
    attack("failing calls", requests::fail_calls, 100, 300),
    attack("bad tokens", sessions::show_bad_token, 20, 80),
    attack("huge tokens", sessions::show_huge_token, 100, 300),
    attack("logins and logouts", sessions::log_in_and_out, 10, 40),
    attack("huge comments", sql::comment_hugely, 1_000, 3_000),
    attack("changing comments", sql::change_comment, 50, 200),
    attack("types and routines", objects::come_and_go, 100, 300),
    attack("temporary routines", objects::come_and_go_temporarily, 100, 300),
    attack("snapshot functions", snapshots::come_and_go, 1_000, 3_000),
    attack("changed rows", rows::change, 300, 900),
    attack("hints of thousands", sql::hint_at_thousands, 300, 800),
    attack("transactions like the ring", sql::fill_ring, 700, 1_500),
    attack("vacuum full", superuser::vacuum_full, 1_000, 3_000),
    attack("altered tables", rows::alter, 300, 900),
    attack("altered types", superuser::alter_types, 200, 600),
    attack("reloads", superuser::reload, 1_000, 3_000),
    attack("disconnects", superuser::disconnect, 200, 600),
];

/// Which attackers take part, by name: to find out which of them a failure needs.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Only these; if none is named, all.
    pub only: Vec<String>,
    /// All but these.
    pub without: Vec<String>,
}

impl Choice {
    fn wants(&self, name: &str) -> bool {
        let is_in = |names: &[String]| names.iter().any(|named| named == name);
        (self.only.is_empty() || is_in(&self.only)) && !is_in(&self.without)
    }

    /// Checks the names.
    pub(crate) fn check(&self) -> Result<()> {
        let is_known = |name: &str| ATTACKS.iter().any(|attack| attack.name == name);
        match self.only.iter().chain(&self.without).find(|name| !is_known(name)) {
            Some(unknown) => {
                let names: Vec<&str> = ATTACKS.iter().map(|attack| attack.name).collect();
                bail!("there is no attacker {unknown:?}; there are: {}", names.join(", "))
            }
            None => Ok(()),
        }
    }
}

/// All of them at work.
pub(crate) struct Crew {
    attackers: Vec<(&'static str, JoinHandle<Tally>)>,
}

impl Crew {
    /// Starts those that `choice` wants; each attacks as it would among all.
    pub(crate) fn start(ground: &Arc<Ground>, seed: u64, choice: &Choice) -> Result<Self> {
        let mut rng = Rng::with_seed(seed);
        let mut attackers = Vec::new();
        for (number, attack) in ATTACKS.iter().enumerate() {
            let hand = Hand::new(Arc::clone(ground), rng.fork(), number);
            if !choice.wants(attack.name) {
                continue;
            }
            let thread = thread::Builder::new().name(attack.name.to_owned());
            attackers.push((attack.name, thread.spawn(move || work(attack, hand))?));
        }
        Ok(Self { attackers })
    }

    /// Waits for their end; the ground must have been told that the run is over.
    pub(crate) fn end(self) -> Result<BTreeMap<&'static str, Tally>> {
        let joined = |(name, thread): (&'static str, JoinHandle<Tally>)| {
            let tally = thread.join().ok().with_context(|| format!("the attacker {name:?} has panicked"))?;
            Ok((name, tally))
        };
        self.attackers.into_iter().map(joined).collect()
    }
}

fn work(attack: &Attack, mut hand: Hand) -> Tally {
    stay_behind_the_server();
    let mut tally = Tally::default();
    while !hand.ground.is_over() {
        match (attack.strike)(&mut hand) {
            Ok(Blow::Struck(count)) => tally.struck += count,
            Ok(Blow::Refused(how)) => {
                tally.refused += 1;
                tally.last_refusal = how.chars().take(200).collect();
            }
            Err(error) => {
                hand.let_go();
                tally.failed += 1;
                tally.last_failure = format!("{error:#}").chars().take(300).collect();
            }
        }
        let pause = hand.rng.u32(Range::from(attack.pause));
        hand.ground.pause(Duration::from_millis(pause.into()));
    }
    tally
}

/// The thread that calls it lets others have the processor first: attackers have machines of their own, what
/// they need for their work is not the server's. (Anybody may give up priority. Elsewhere than on Linux it
/// would be the whole process's, honest parties included.)
fn stay_behind_the_server() {
    #[cfg(target_os = "linux")]
    {
        // In vain: as before.
        let _ = rustix::process::nice(10);
    }
}
