//! Any sequence of events, subscribers, reads and evictions: each subscriber gets exactly the events that a
//! filter of the whole sequence gives, in order, or falls out of the window because it has missed one of
//! them.
#![no_main]

mod chunked;
mod model;
mod subscriber;
mod whatwg;

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use model::{Draft, Item, Resume, Who};
use sse_gateway::Batch;
use sse_gateway::fuzzing::{Progress, Window};
use subscriber::Subscriber;

const EPOCH: u64 = 7;

/// Streams that are open at once.
const MAX_OPEN: usize = 8;

#[derive(Arbitrary, Debug)]
enum Step {
    /// These items, in one batch, which may begin with some that are known already.
    Publish {
        items: Vec<Draft>,
        known: u8,
    },
    Connect {
        who: Who,
        resume: Resume,
    },
    Disconnect {
        which: u8,
    },
    Read {
        which: u8,
        bytes: u16,
    },
    Evict {
        /// Of about an event each.
        keep: u8,
        window_age: u16,
    },
    Wait {
        milliseconds: u16,
    },
}

fuzz_target!(|input: (u32, Vec<Step>)| {
    let (started, steps) = input;
    let mut window = Window::new(EPOCH);
    let mut all: Vec<Item> = Vec::new();
    let mut times: Vec<u64> = Vec::new();
    let mut open: Vec<Subscriber> = Vec::new();
    let mut now = u64::from(started);
    for step in steps {
        match step {
            Step::Publish { items, known } => {
                let items: Vec<Item> = items.into_iter().map(Item::from).collect();
                let known = usize::from(known).min(all.len());
                let mut batch = Batch::new((all.len() - known) as u64 + 1);
                all[all.len() - known..].iter().chain(&items).for_each(|item| item.push(&mut batch));
                window.append(&batch, now as u32);
                times.resize(times.len() + items.len(), now);
                all.extend(items);
                assert_eq!(window.head(), all.len() as u64);
            }
            Step::Connect { who, resume } if open.len() < MAX_OPEN => {
                let (id, published) = resume.id(EPOCH, window.head());
                let begun = window.subscribe(who.listening(), &id, published);
                resume.check(&begun, &window, &all, &who);
                assert!(open.iter().all(|other| other.slot != begun.slot), "a slot has one owner");
                open.push(Subscriber::new(who, &begun));
            }
            Step::Connect { .. } => {}
            Step::Disconnect { which } => {
                if let Some(index) = usize::from(which).checked_rem(open.len()) {
                    let gone = open.swap_remove(index);
                    gone.check(&all, EPOCH);
                    window.leave(gone.slot);
                }
            }
            Step::Read { which, bytes } => {
                if let Some(index) = usize::from(which).checked_rem(open.len()) {
                    open[index].read(&mut window, usize::from(bytes), &all, EPOCH);
                }
            }
            Step::Evict { keep, window_age } => {
                let (size, age) = (100 * usize::from(keep), u64::from(window_age));
                let (bytes, base) = (window.bytes(), window.base());
                window.evict(now as u32, size, Duration::from_millis(age));
                let is_old = |sequence: u64| now - times[sequence as usize - 1] > age;
                if window.base() > base {
                    assert!(bytes > size || is_old(base), "nothing leaves the window without need");
                }
                assert!(window.bytes() <= size || window.base() > window.head());
                assert!((window.base()..=window.head()).all(|sequence| !is_old(sequence)));
            }
            Step::Wait { milliseconds } => now += u64::from(milliseconds),
        }
    }
    for subscriber in &mut open {
        while subscriber.read(&mut window, usize::MAX, &all, EPOCH) != Progress::Live {}
        subscriber.check_all(&all, EPOCH);
        window.leave(subscriber.slot);
    }
    window.evict(now as u32, 0, Duration::ZERO);
    // Nothing is left in the window, so whoever comes back is told what is missing.
    let anybody = Who::default();
    for resume in [1, 2, 3, 255].map(Resume::Back) {
        let (id, published) = resume.id(EPOCH, window.head());
        let begun = window.subscribe(anybody.listening(), &id, published);
        resume.check(&begun, &window, &all, &anybody);
        window.leave(begun.slot);
    }
    assert_eq!((window.bytes(), window.lists()), (0, 2), "nobody is left, so nothing is");
});
