//! A caller: its events are raised in HTTP calls, for their caller alone. Numbered and written down as a
//! writer's.
//!
//! A call that got no answer may still run, and later. So each call first notes its number, and one with a
//! lower number fails (schema.sql): what a caller raised stays in the order of its numbers.
//!
//! Not for transactions of sessions: `writer`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use cluster::http::{Client, Request};
use cluster::{Clock, Cluster};
use fastrand::Rng;
use serde_json::json;

use crate::history::{Attempt, Delivery, Key};
use crate::plan::{AUDIENCES, CALLED};
use crate::writer::{Pace, Writer};

pub(crate) struct Caller {
    number: u16,
    client: Client,
    token: String,
    clock: Clock,
    rng: Rng,
    next: u32,
    attempts: Vec<Attempt>,
}

impl Caller {
    /// `token`: of the person whom [`CALLED`] is for.
    pub(crate) fn new(number: u16, client: Client, token: String, clock: Clock, seed: u64) -> Self {
        Self { number, client, token, clock, rng: Rng::with_seed(seed), next: 1, attempts: Vec::new() }
    }

    /// Makes one call after another until told to end.
    pub(crate) fn work(mut self, pace: &Pace) -> Self {
        while !pace.is_over.load(Relaxed) {
            self.call();
            let pause = Duration::from_millis(self.rng.u64(10..60));
            thread::sleep(if pace.is_slow.load(Relaxed) { pause * 5 } else { pause });
        }
        self
    }

    /// Ends its calls, and leaves the rest to a writer with the same numbers.
    pub(crate) fn end(self, cluster: &Arc<Cluster>) -> Result<Writer> {
        cluster.sql(&format!("update called set last = 2147483647 where writer = {}", self.number))?;
        Ok(Writer::following(self.number, Arc::clone(cluster), self.clock, self.next, self.attempts))
    }

    /// What it wrote since it was asked last, when none of its calls can write any more.
    pub(crate) fn take(&mut self, cluster: &Cluster) -> Result<Vec<Attempt>> {
        let (last, number) = (self.next - 1, self.number);
        cluster.sql(&format!("update called set last = {last} where writer = {number}"))?;
        Ok(std::mem::take(&mut self.attempts))
    }

    fn call(&mut self) {
        let (now, number, began) = (self.rng.u32(0..4) == 0, self.next, self.clock.now());
        self.next += 1;
        let body = json!({"w": self.number, "n": number, "now": now, "a": CALLED});
        let request = Request::new("POST", "/api/put-called")
            .header("Authorization", &format!("Bearer {}", self.token))
            .header("X-Execution-Id", AUDIENCES[CALLED].execution_id)
            .json(&body);
        // A lost connection is what this test is about.
        let answered = self.client.request(&request).is_ok_and(|answer| answer.status() == 204);
        let delivery = if now { Delivery::Immediate } else { Delivery::Commit };
        self.attempts.push(Attempt {
            key: Key { writer: self.number, delivery, number },
            audience: CALLED,
            kind: "called",
            too_large: false,
            is_bulk: false,
            is_large: false,
            began,
            answered,
        });
    }
}
