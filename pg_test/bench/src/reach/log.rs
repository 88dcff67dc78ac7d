//! By how many bytes the write-ahead log grows with an event.
//!
//! Not for payloads of other sizes, which add what they are longer.

use anyhow::Result;

use super::tree::{PUBLISH, Tree};
use crate::fanout::EVENT;
use crate::report::{Chapter, Metric};

const BYTES: Metric = Metric { name: "log per commit", unit: "bytes", is_compared: false };

/// What is committed; the second only publishes, so it takes no transaction id and is written lazily.
const COMMITS: [(&str, &str); 3] = [
    ("a row of one integer", "insert into plain select 1 where $1::text[] is not null"),
    ("an event", PUBLISH),
    ("the row and the event", "with written as (insert into plain values (1)) select raise_all($1)"),
];

/// The same commits on both trees. Pages that they touch have been written since the checkpoint, so none is
/// in the log as a whole.
pub(super) fn measure(trees: [&Tree; 2], commits: usize, chapter: &mut Chapter) -> Result<()> {
    let payload = ["x".repeat(EVENT)];
    for (what, statement) in COMMITS {
        for tree in trees {
            let mut publisher = tree.publisher(statement)?;
            let mut publish = |times: usize| (0..times).try_for_each(|_| publisher.publish(&payload));
            tree.primary.sql("checkpoint")?;
            publish(commits / 10)?;
            let before = tree.end_of_log()?;
            publish(commits)?;
            let bytes = (tree.end_of_log()? - before) as f64 / commits as f64;
            chapter.add(what, tree.durability.name(), BYTES, bytes);
        }
    }
    Ok(())
}
