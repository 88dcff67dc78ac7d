//! Reads what every server tells of a channel, and compares it line by line.
//!
//! Not for what it must be: `verdict`.

use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use cluster::PATIENCE;

use super::channel::Channel;
use super::line::{Came, Line, What};
use super::servers::Tree;
use crate::history::{Key, Reason};

/// What one server tells of a channel.
struct Told {
    lines: Vec<Line>,
    /// Then it has said that log is missing, and goes on with what comes next.
    has_gap: bool,
    /// The id of the last line.
    id: String,
}

/// Everything of a channel after an id, up to the event `last`: one and the same on all servers. `cuts`
/// says up to which position a server has lost its log.
///
/// # Errors
/// They differ, or one does not tell it.
pub(super) fn by_all(
    tree: &Tree,
    channel: &Channel,
    behind: &str,
    last: Key,
    cuts: &[Option<u64>],
) -> Result<(Vec<Line>, String), String> {
    let told: Vec<Result<Told>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..tree.nodes.len())
            .map(|number| scope.spawn(move || by_one(tree, number, channel, behind, last)))
            .collect();
        let join = |thread: ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("it has panicked")))
        };
        threads.into_iter().map(join).collect()
    });
    let told = told.into_iter().collect::<Result<Vec<_>>>().map_err(|why| format!("{why:#}"))?;
    let name = &channel.name;
    let whole = told.iter().position(|told| !told.has_gap);
    let whole = whole.ok_or_else(|| format!("no server has all of {name}"))?;
    let all = &told[whole];
    for (number, one) in told.iter().enumerate() {
        let why = |why: anyhow::Error| format!("{name}, server {number} and server {whole}: {why:#}");
        let Some(rest) = compare(&all.lines, one, cuts[number]).map_err(why)? else { continue };
        // After what is lost it has all again.
        let [first, .., _] = &all.lines[rest..] else { continue };
        let again = by_one(tree, number, channel, &first.at.to_string(), last).map_err(why)?;
        compare(&all.lines[rest + 1..], &again, None).map_err(why)?;
    }
    Ok((all.lines.clone(), all.id.clone()))
}

fn by_one(tree: &Tree, number: usize, channel: &Channel, behind: &str, last: Key) -> Result<Told> {
    let mut told = Told { lines: Vec::new(), has_gap: false, id: String::new() };
    let deadline = Instant::now() + PATIENCE;
    let where_it_is = |told: &Told| {
        let seen = told.lines.last().map_or_else(|| behind.to_owned(), ToString::to_string);
        format!("{} of server {number} behind {seen}", channel.name)
    };
    let mut stream = loop {
        match channel.open(tree.nodes[number].address(), Some(behind)) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() >= deadline => return Err(error.context(where_it_is(&told))),
            Err(_) => thread::sleep(std::time::Duration::from_millis(50)),
        }
    };
    loop {
        let event = stream.next_payload(deadline.saturating_duration_since(Instant::now()));
        let event = event.with_context(|| where_it_is(&told))?;
        stream.forget_bytes();
        match Came::of(&event) {
            None => {}
            Some(Came::Gap { reason: Some(Reason::Expired), .. }) => {
                told.has_gap = true;
                return Ok(told);
            }
            Some(Came::Gap { told: gap, .. }) => bail!("{}: a gap, {gap}", where_it_is(&told)),
            Some(Came::Line(line)) => {
                let is_last = matches!(line.what, What::Event { key, .. } if key == last);
                told.lines.push(line);
                if is_last {
                    told.id = event.id;
                    return Ok(told);
                }
            }
        }
    }
}

/// The same lines; or, up to a gap that is right, where those begin which the server has lost no log of.
fn compare(all: &[Line], told: &Told, cut: Option<u64>) -> Result<Option<usize>> {
    for (line, expected) in told.lines.iter().zip(all) {
        ensure!(line == expected, "{line} in place of {expected}");
    }
    let (count, all_count) = (told.lines.len(), all.len());
    if !told.has_gap {
        ensure!(count == all_count, "{count} lines in place of {all_count}");
        return Ok(None);
    }
    let is_lost = |line: &Line| cut.is_some_and(|cut| line.at.lsn < cut);
    ensure!(
        all.get(count).is_some_and(is_lost),
        "a gap (expired) behind {count} lines, and nothing is lost there: the next is {:?}, and log is lost up to {cut:?}",
        all.get(count).map(ToString::to_string)
    );
    Ok(Some(all.iter().position(|line| !is_lost(line)).unwrap_or(all_count)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::line::Place;
    use super::*;
    use crate::history::Delivery;

    fn line(lsn: u64) -> Line {
        let key = Key { writer: 1, delivery: Delivery::Commit, number: u32::try_from(lsn).unwrap() };
        let what = What::Event { key, audience: 0, counter: None };
        Line { at: Place { lsn, index: 1, timeline: 1 }, what, digest: lsn }
    }

    fn told(lsns: &[u64], has_gap: bool) -> Told {
        Told { lines: lsns.iter().copied().map(line).collect(), has_gap, id: String::new() }
    }

    #[test]
    fn servers_differ_only_where_one_has_lost_its_log_and_says_so() {
        let all: Vec<Line> = (1..6).map(line).collect();
        for (told, cut, wanted) in [
            (told(&[1, 2, 3, 4, 5], false), None, Some(None)),
            (told(&[1, 2, 4, 5], false), Some(4), None),
            (told(&[1, 3, 2, 4, 5], false), None, None),
            (told(&[1, 2, 3, 4], false), None, None),
            (told(&[1, 2, 3, 4, 5, 6], false), None, None),
            (told(&[1, 2], true), Some(4), Some(Some(3))),
            (told(&[], true), Some(4), Some(Some(3))),
            (told(&[1, 2], true), Some(6), Some(Some(5))),
            (told(&[1, 2], true), Some(3), None),
            (told(&[1, 2], true), None, None),
            (told(&[1, 3], true), Some(5), None),
        ] {
            assert_eq!(compare(&all, &told, cut).ok(), wanted, "{:?} {}", told.lines, told.has_gap);
        }
        let mut other = told(&[1, 2, 3, 4, 5], false);
        other.lines[2].digest += 1;
        assert!(compare(&all, &other, None).is_err(), "another text");
    }
}
