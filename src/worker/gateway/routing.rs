//! Makes route tables of what the catalog workers hand over, on a thread of its own.
//!
//! Neither the events nor the main thread wait for it: with thousands of routines, reading the records,
//! parsing the comments and building a table takes tenths of a second. A comment is parsed once, when it is
//! new. The thread never calls Postgres; the settings that it needs are given to it.
//!
//! The main thread learns when a table is in force, and of which reading it is. The courier is told nothing.
//! The queue from the courier to this thread has no limit of its own, because the courier must not wait. It
//! holds at most one reading of the catalog, because the next reading begins only when all routines of the
//! last have been taken here; and besides one set of files for clients.
//!
//! Not for when the catalog is read (`worker/gateway/reader.rs`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use sse_gateway::Routes;
use sse_proto::call::{CallRole, RowTypes};
use sse_proto::record::{self, Record};
use sse_proto::route::{Known, Parsed, RouteTable, Routine};
use sse_proto::word::Level;

use super::between::{CatalogRecords, Report, Reports};
use super::served_client::ServedClient;
use crate::guc;

/// What this thread is told: by the main thread, unless it says otherwise.
pub(super) enum Task {
    /// Records of a catalog worker; by the courier.
    Records(CatalogRecords),
    /// Say [`Report::Reached`] when all records before this are taken; by the courier.
    Mark(u64),
    /// The settings have changed to these.
    Rules(Rules),
    /// Hand tables over to this, beginning with the last one at once.
    Serve(Routes),
    /// Nobody is served any more.
    Close,
    /// Another database is served from now on.
    Forget,
    /// The end.
    Stop,
}

/// The settings that decide about URLs.
pub(super) struct Rules {
    url_prefix: String,
    default_level: Level,
    schemas: String,
    serves_client: bool,
}

impl Rules {
    /// As they are now.
    pub(super) fn present() -> Self {
        Self {
            url_prefix: guc::URL_PREFIX.text(),
            default_level: guc::default_level(),
            schemas: guc::SCHEMAS.text(),
            serves_client: guc::SERVE_CLIENT.get(),
        }
    }
}

/// The result of one reading.
struct Reading {
    number: u64,
    generation: u64,
    role: Option<CallRole>,
    routines: Vec<(Routine, Arc<Parsed>)>,
    types: RowTypes,
}

/// The thread.
pub(super) struct Routing<'r> {
    tasks: Receiver<Task>,
    reports: &'r Reports,
    rules: Rules,
    routes: Option<Routes>,
    /// The reading whose end has not come yet.
    reading: Option<Reading>,
    /// The last complete reading.
    present: Option<Reading>,
    /// From an oid to its position in `present`: a comment that is still the same is not parsed again.
    places: HashMap<u32, usize>,
    client: ServedClient,
    /// The first reading that was completed since this database is served, or 0: files for clients that come
    /// of an earlier one may be of the database before.
    first: u64,
    /// For how long this thread has worked for the last reading, and since when it does now.
    worked: Duration,
    works_since: Instant,
}

impl<'r> Routing<'r> {
    pub(super) fn new(tasks: Receiver<Task>, reports: &'r Reports, rules: Rules) -> Self {
        Self {
            tasks,
            reports,
            rules,
            routes: None,
            reading: None,
            present: None,
            places: HashMap::new(),
            client: ServedClient::default(),
            first: 0,
            worked: Duration::ZERO,
            works_since: Instant::now(),
        }
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self) {
        while let Ok(task) = self.tasks.recv() {
            match task {
                Task::Records(records) => {
                    self.works_since = Instant::now();
                    records.iter().for_each(|bytes| self.take(bytes));
                    self.worked += self.works_since.elapsed();
                }
                Task::Mark(mark) => self.reports.say(Report::Reached(mark)),
                Task::Rules(rules) => {
                    self.rules = rules;
                    if !self.rules.serves_client {
                        // What is on its way now would be taken without its beginning.
                        let present = self.present.as_ref().map_or(0, |present| present.number);
                        (self.client, self.first) = (ServedClient::default(), present + 1);
                    }
                    self.publish();
                }
                Task::Serve(routes) => {
                    self.routes = Some(routes);
                    self.publish();
                }
                Task::Close => self.routes = None,
                Task::Forget => {
                    (self.reading, self.present, self.first) = (None, None, 0);
                    self.client = ServedClient::default();
                }
                Task::Stop => return,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let Ok(record) = record::decode(bytes) else { return };
        if let Record::CatalogBegin { reading, generation } = record {
            self.begin(reading, generation);
            return;
        }
        if let Record::CatalogClient { reading, file, part } = record {
            if self.first != 0 && self.first <= reading {
                self.client.take(reading, file, part, self.routes.as_ref());
            }
            return;
        }
        let Some(reading) = &mut self.reading else { return };
        match record {
            Record::CatalogRoutine { reading: number, mut routine } if number == reading.number => {
                if let Some(signature) = &mut routine.signature {
                    reading.types.share(signature);
                }
                let before = self.present.as_ref().zip(self.places.get(&routine.oid));
                let before = before.and_then(|(present, place)| present.routines.get(*place));
                let before = before.filter(|(before, _)| {
                    before.oid == routine.oid
                        && before.comment == routine.comment
                        && before.comment_is_too_long == routine.comment_is_too_long
                });
                let parsed =
                    before.map_or_else(|| Arc::new(parse(&routine)), |(_, parsed)| Arc::clone(parsed));
                reading.routines.push((routine, parsed));
            }
            Record::CallRole { reading: number, role } if number == reading.number => {
                reading.role = Some(role);
            }
            Record::CatalogEnd { reading: number, count } if number == reading.number => {
                self.finish(count);
            }
            _ => {}
        }
    }

    /// A reading of the gateway before may still be on its way when one of this gateway comes: what is older
    /// than what is here, or begins to be, is not taken.
    fn begin(&mut self, number: u64, generation: u64) {
        let newest = self.reading.iter().chain(&self.present).map(|reading| reading.number).max();
        if newest.is_some_and(|newest| number < newest) {
            return;
        }
        self.worked = Duration::ZERO;
        self.reading = Some(Reading {
            number,
            generation,
            role: None,
            routines: Vec::new(),
            types: RowTypes::default(),
        });
    }

    fn finish(&mut self, count: u32) {
        let Some(reading) = self.reading.take().filter(|reading| reading.routines.len() == count as usize)
        else {
            return;
        };
        self.places =
            reading.routines.iter().enumerate().map(|(place, (routine, _))| (routine.oid, place)).collect();
        let (number, generation, role) = (reading.number, reading.generation, reading.role.clone());
        if self.routes.is_none() || self.first == 0 {
            // Nobody is served: files that were completed until now may be of the database before.
            (self.client, self.first) = (ServedClient::default(), number);
        }
        self.present = Some(reading);
        self.publish();
        let work = self.worked + self.works_since.elapsed();
        self.reports.say(Report::Routes { reading: number, generation, work, role });
    }

    fn publish(&self) {
        let (Some(routes), Some(present)) = (&self.routes, &self.present) else { return };
        let served = present
            .routines
            .iter()
            .filter(|(routine, _)| guc::schema_is_listed(&self.rules.schemas, &routine.schema));
        let known: Vec<Known<'_>> = served.map(|(routine, parsed)| Known { routine, parsed }).collect();
        let table = RouteTable::of(&known, &self.rules.url_prefix, self.rules.default_level);
        routes.set(Arc::new(table), present.generation);
        self.client.serve(routes);
    }
}

/// Parses a comment. Only whether there is a mistake counts here, so the first is kept: fifty of them are
/// longer than the comment that has them.
fn parse(routine: &Routine) -> Parsed {
    routine.parse().map_err(|mut problems| {
        problems.truncate(1);
        problems.shrink_to_fit();
        problems
    })
}

/// The main thread's end, and the courier's.
pub(super) type Tasks = Sender<Task>;
