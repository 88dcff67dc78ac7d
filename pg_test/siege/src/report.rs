//! What people are told of a run.
//!
//! Not for the whole of what was recorded: `archive`.

use std::collections::BTreeMap;
use std::fmt;

use cluster::Conclusion;

use crate::attack::Tally;
use crate::delays::Spread;
use crate::honest::{Calls, Followed};
use crate::memory::MB;
use crate::phase::Phase;
use crate::sequence::Account;

/// How a run went. Its `Display` is for people.
#[derive(Debug)]
pub struct Report {
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) events: Spread,
    pub(crate) control: Spread,
    pub(crate) published: usize,
    pub(crate) account: Account,
    pub(crate) calls: Calls,
    pub(crate) call_times: Spread,
    pub(crate) followed: Followed,
    /// The peak and the limit, in bytes.
    pub(crate) memory: (u64, u64),
    /// The longest that the gateway's threads waited for a processor, in microseconds.
    pub(crate) starved: u64,
    /// How much of the processors others used, and the late seconds that waits for a processor excuse.
    pub(crate) others_percent: u64,
    pub(crate) excused: Vec<String>,
    /// Whether the server might put its events before other work.
    pub(crate) has_priority: bool,
    pub(crate) attackers: BTreeMap<&'static str, Tally>,
    pub(crate) phases: Vec<Phase>,
    pub(crate) conclusion: Conclusion,
}

impl Report {
    /// The honest parties noticed nothing, and enough was tried to say so.
    pub fn passed(&self) -> bool {
        self.conclusion.passed()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { seen, covered, gaps, .. } = &self.account;
        writeln!(f, "seed      {}", self.seed)?;
        writeln!(f, "events    {} published, {seen} seen, {covered} covered by {gaps} gaps", self.published)?;
        let starved = self.starved as f64 / 1e3;
        writeln!(
            f,
            "delays    events {}; control {}; at most {starved:.1} ms without a processor",
            self.events, self.control
        )?;
        writeln!(
            f,
            "machine   others used {} % of the processors; {} late seconds are excused; events have {} priority",
            self.others_percent,
            self.excused.len(),
            if self.has_priority { "the" } else { "no" }
        )?;
        for late in &self.excused {
            writeln!(f, "excused   {late}")?;
        }
        let statuses: Vec<String> =
            self.calls.by_status.iter().map(|(status, count)| format!("{status} {count}")).collect();
        writeln!(
            f,
            "calls     {} answered ({}), {} refused, {} in outages, {} wrong; by status: {}",
            self.calls.answered,
            self.call_times,
            self.calls.refused,
            self.calls.in_outages,
            self.calls.wrong_total,
            statuses.join(", ")
        )?;
        let Followed { events, snapshots, gaps, without, .. } = &self.followed;
        writeln!(
            f,
            "follower  {events} changes behind {snapshots} snapshots, {gaps} gaps, {without} of them for want of a snapshot"
        )?;
        let (peak, limit) = self.memory;
        writeln!(f, "memory    {} MB at most, {} MB allowed", peak / MB, limit / MB)?;
        for phase in &self.phases {
            let time = match phase.recovery {
                Some(time) => format!("{:.1} s", time.as_secs_f64()),
                None => "never".to_owned(),
            };
            writeln!(f, "recovery  {time} from: {}", phase.outage.name())?;
        }
        for (name, Tally { struck, refused, failed, .. }) in &self.attackers {
            writeln!(f, "attack    {name}: {struck} times, {refused} refused, {failed} failed")?;
        }
        let again = format!("cargo xtask siege --seconds {} --seed {}", self.seconds, self.seed);
        self.conclusion.tell(f, &again, "the honest noticed nothing")
    }
}
