//! A log that processes write to, and what has to be told of it.

use std::collections::VecDeque;

use proptest::prop_assert_eq;
use proptest::test_runner::TestCaseError;
use sse_proto::log_record::{Assembler, Complete, Content, Delivery, LENGTH_BYTES, Limits, Part};
use sse_proto::record::{Envelope, Record, decode};

pub(super) const PROCESSES: usize = 4;

pub(super) const NO_LIMITS: Limits = Limits { body_bytes: usize::MAX, all_bytes: usize::MAX };

/// Small, so that a body has many parts and records are cut anywhere.
const PART_BYTES: usize = 70;

pub(super) fn event(data: &str) -> Vec<u8> {
    Record::Event { envelope: Envelope::for_all(), data }.encode().unwrap()
}

pub(super) fn body(data: &[&str]) -> Vec<u8> {
    let records = data.iter().map(|data| event(data));
    records.flat_map(|record| [&(record.len() as u32).to_le_bytes()[..], &record].concat()).collect()
}

pub(super) fn part(delivery: u8, place: u32, is_first: bool, is_last: bool, bytes: &[u8]) -> Part<'_> {
    let delivery = [Delivery::Commit, Delivery::Lazy, Delivery::Immediate][delivery as usize];
    Part { delivery, place, is_first, is_last, ignores_standbys: false, bytes }
}

pub(super) fn commit_part(is_first: bool, is_last: bool, bytes: &[u8]) -> Part<'_> {
    part(0, 3, is_first, is_last, bytes)
}

pub(super) fn immediate_part(is_first: bool, is_last: bool, bytes: &[u8]) -> Part<'_> {
    part(2, 3, is_first, is_last, bytes)
}

pub(super) fn texts(complete: Complete) -> Vec<String> {
    let Content::Events(events) = complete.content else { panic!("{complete:?}") };
    let text = |record: &[u8]| match decode(record) {
        Ok(Record::Event { data, .. }) => data.to_owned(),
        other => panic!("{other:?}"),
    };
    events.records().map(|(_, record)| text(record)).collect()
}

/// What a process is about to write, in its order.
enum Step {
    Part { delivery: u8, is_first: bool, is_last: bool, bytes: Vec<u8> },
    Commit,
    Abort,
}

#[derive(Default)]
struct Process {
    xid: u32,
    steps: VecDeque<Step>,
    /// What the running body says.
    texts: Vec<String>,
}

#[derive(Default)]
pub(super) struct Log {
    processes: [Process; PROCESSES],
    xids: u32,
    end: u64,
    events: usize,
}

impl Log {
    /// One process does its next step, or begins a transaction.
    pub(super) fn step(
        &mut self,
        process: usize,
        choice: u16,
        assembler: &mut Assembler,
    ) -> Result<(), TestCaseError> {
        self.end += 8;
        if choice % 64 == 63 {
            self.crash(assembler);
            return Ok(());
        }
        if choice % 64 == 62 {
            // This process alone ends, without a word. Of a transaction an abort record would follow.
            if self.processes[process].steps.iter().all(|step| matches!(step, Step::Part { .. })) {
                self.processes[process] = Process::default();
            }
        }
        if self.processes[process].steps.is_empty() {
            self.begin(process, choice);
        }
        self.write(process, assembler)
    }

    /// Everybody ends what was begun; then nothing may be left but what nobody will end.
    pub(super) fn end(&mut self, assembler: &mut Assembler) -> Result<(), TestCaseError> {
        for process in 0..PROCESSES {
            while !self.processes[process].steps.is_empty() {
                self.end += 8;
                self.write(process, assembler)?;
            }
            // The next bodies of a place replace one whose process has ended in the middle.
            for delivery in [1, 2] {
                assembler.part(0, self.end, &part(delivery, process as u32, true, true, b""));
            }
        }
        Ok(())
    }

    fn crash(&mut self, assembler: &mut Assembler) {
        self.processes = Default::default();
        assembler.forget_all();
        assert_eq!((assembler.bytes(), assembler.waiting()), (0, 0));
    }

    fn begin(&mut self, process: usize, choice: u16) {
        let delivery = (choice % 3) as u8;
        let count = usize::from(choice / 3 % 5) + 1;
        let texts: Vec<String> = (self.events..self.events + count)
            .map(|event| format!("{event}{}", "x".repeat(event % 50)))
            .collect();
        self.events += count;
        let body = body(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(body.len() > LENGTH_BYTES);
        let pieces: Vec<&[u8]> = body.chunks(PART_BYTES).collect();
        let mut steps: VecDeque<Step> = (1..)
            .zip(&pieces)
            .map(|(number, piece)| Step::Part {
                delivery,
                is_first: number == 1,
                is_last: number == pieces.len(),
                bytes: piece.to_vec(),
            })
            .collect();
        let mut xid = 0;
        if delivery == 0 {
            self.xids += 1;
            xid = self.xids;
            steps.push_back(if choice.is_multiple_of(4) { Step::Abort } else { Step::Commit });
        }
        self.processes[process] = Process { xid, steps, texts };
    }

    fn write(&mut self, process: usize, assembler: &mut Assembler) -> Result<(), TestCaseError> {
        let (end, place) = (self.end, process as u32);
        let Process { xid, steps, texts: expected } = &mut self.processes[process];
        let (told, is_end) = match steps.pop_front() {
            None => return Ok(()),
            Some(Step::Part { delivery, is_first, is_last, bytes }) => {
                let told = assembler.part(*xid, end, &part(delivery, place, is_first, is_last, &bytes));
                (told, delivery != 0 && is_last)
            }
            Some(Step::Commit) => (assembler.commit(*xid, end), true),
            Some(Step::Abort) => {
                assembler.abort(*xid);
                (assembler.commit(*xid, end), false)
            }
        };
        prop_assert_eq!(told.is_some(), is_end);
        if let Some(told) = told {
            prop_assert_eq!((told.place, told.xid, told.end), (place, *xid, end));
            prop_assert_eq!(&texts(told), expected);
        }
        Ok(())
    }
}
