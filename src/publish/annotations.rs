//! This backend's cache of annotations: oid of a routine -> what its comment says.
//!
//! The comment is the only truth (C2.1). An entry is filled where catalog access is allowed
//! (`needs_fmgr_hook` and the start of a call), and dropped through pg_proc invalidation, which a COMMENT is
//! made to send (`pg/entry/utility.rs`). So there is no table, nothing that gets out of step, and dump and
//! restore work by themselves.
//!
//! Not for: the grammar (`sse_proto::annotation`), URLs (`sse_proto::route`), reading the catalog
//! (`pg/routine.rs`).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use pgrx::pg_sys;
use sse_proto::annotation::{Access, Annotation, Problem};
use sse_proto::encoding::OutOfMemory;
use sse_proto::route::{self, Endpoint};
use sse_proto::scope::Scope;
use sse_proto::word::{Delivery, EventName, Level, Topic};

use crate::guc;
use crate::pg::entry::invalidation;
use crate::pg::postgres_cell::PostgresCell;
use crate::pg::routine::{self, Entry};
use crate::pg::{database, guc_text, namesakes, shmem, wal};

/// An annotated routine, as far as the search for a publisher has to know it.
pub(crate) struct Routine {
    /// `pg_proc.oid`
    pub oid: u32,
    /// What it means to the search.
    pub role: Role,
}

/// What a running routine means to the search for the publisher of a message (C3.1).
pub(crate) enum Role {
    /// It publishes messages of its level.
    Publisher(Published),
    /// It has a mistake or `@sse_subscribe` alone: the search stops, and nobody further out publishes.
    Barrier,
    /// It has an `HTTP` line and no `@sse…`: likely a forgotten annotation (C3.7). The search goes on. Never
    /// one in SQL.
    Unbound,
}

/// How a routine publishes.
pub(crate) struct Published {
    level: Option<Level>,
    /// The scope of its events when no hint says otherwise.
    pub scope: Scope,
    /// `@sse_topic`
    pub topic: Option<Topic>,
    /// `@sse_event`
    pub event: Option<EventName>,
    /// `@sse_delivery`, else the setting.
    pub delivery: Option<Delivery>,
    /// `@authorize`, `@anonymous`
    pub access: Access,
}

impl Published {
    fn of(annotation: Annotation) -> Self {
        Self {
            scope: annotation.default_scope(),
            level: annotation.level,
            topic: annotation.topic,
            event: annotation.event,
            delivery: annotation.delivery,
            access: annotation.access,
        }
    }

    /// The one level whose messages are events.
    pub(crate) fn level_or(&self, default: Level) -> Level {
        self.level.unwrap_or(default)
    }
}

/// One cached answer.
struct Cached {
    /// Of what it names another routine is known (C7.6): as of so many invalidations.
    as_of: Option<u64>,
    /// The next entry that an invalidation names by the same hash: entries of one hash are a chain. 0 ends
    /// it.
    next: u32,
    routine: Option<Rc<Routine>>,
}

type OidMap<T> = HashMap<u32, T, BuildHasherDefault<OidHasher>>;

struct Cache {
    entries: OidMap<Cached>,
    /// The first entry of each chain, by the hash that an invalidation gives. Restoring a database sends one
    /// invalidation for each of its routines to every session, so one must not cost more than the entries it
    /// names.
    chains: OidMap<u32>,
    /// Number of invalidations so far.
    invalidations: u64,
}

/// Looked up at every call of an annotated routine. Oids are the server's choice, and hashes are hashes
/// already, so nobody can choose keys that meet in one place, and the hasher of the standard library, which
/// defends against that, would be most of the work.
#[derive(Default)]
struct OidHasher(u64);

impl Hasher for OidHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    /// The table places by the lowest bits and compares the highest: an odd factor keeps those of neighbours
    /// apart, and the turn brings what it has mixed into the highest down to the lowest.
    fn write_u32(&mut self, number: u32) {
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(FACTOR).rotate_left(26);
    }
}

impl Cache {
    const fn new() -> Self {
        Self {
            entries: HashMap::with_hasher(BuildHasherDefault::new()),
            chains: HashMap::with_hasher(BuildHasherDefault::new()),
            invalidations: 0,
        }
    }

    /// `oid` is not in the cache. Without memory it will not be, and is looked up again with the next call.
    fn insert(&mut self, oid: u32, hash: u32, routine: Option<Rc<Routine>>, as_of: Option<u64>) {
        if self.entries.len() >= MAX_ENTRIES {
            self.clear();
        }
        if self.entries.try_reserve(1).is_err() || self.chains.try_reserve(1).is_err() {
            return;
        }
        let next = self.chains.insert(hash, oid).unwrap_or(0);
        self.entries.insert(oid, Cached { next, as_of, routine });
    }

    fn get(&self, oid: u32) -> Option<Option<Rc<Routine>>> {
        let entry = self.entries.get(&oid)?;
        let is_outdated = entry.as_of.is_some_and(|as_of| as_of != self.invalidations);
        (!is_outdated).then(|| entry.routine.clone())
    }

    /// Allocates nothing, cannot fail.
    fn remove(&mut self, hash: u32) {
        let mut oid = self.chains.remove(&hash);
        while let Some(entry) = oid.and_then(|oid| self.entries.remove(&oid)) {
            oid = Some(entry.next);
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.chains.clear();
    }
}

/// A backend that has looked at more routines than this empties its cache. An entry takes some 100 bytes.
const MAX_ENTRIES: usize = 65_536;

static CACHE: PostgresCell<Cache> = PostgresCell::new(Cache::new());

/// What is known of this oid without reading the catalog: the annotated routine, or that it is none. `None`:
/// that has to be looked up ([`lookup`]). Allocates nothing, cannot fail.
#[inline]
pub(crate) fn known(oid: pg_sys::Oid) -> Option<Option<Rc<Routine>>> {
    let Some(shared) = shmem::shared() else { return Some(None) };
    if !shared.serves_this_database() {
        // In memory there is nobody to hear it before the gateway has looked; the log keeps it for who comes
        // later.
        return if wal::is_on() { None } else { Some(None) };
    }
    if guc_text::annotations_are_outdated() {
        return None;
    }
    CACHE.try_with(|cache| cache.get(oid.to_u32())).flatten()
}

/// The annotated routine of this oid; `None` for every other routine, and wherever routines are not served.
/// Reads the catalog when the answer is not known, so call it only where that is allowed.
///
/// # Errors
/// There is no memory for reading it.
pub(crate) fn lookup(oid: pg_sys::Oid) -> Result<Option<Rc<Routine>>, OutOfMemory> {
    let Some(shared) = shmem::shared() else { return Ok(None) };
    let is_served = shared.serves_this_database()
        || wal::is_on() && database::mine_will_be_served(&shared, || guc::DATABASE.text());
    if !is_served {
        return Ok(None);
    }
    if guc_text::take_annotations_outdated() {
        invalidate(0);
    }
    if let Some(routine) = CACHE.with(|cache| cache.get(oid.to_u32())) {
        return Ok(routine);
    }
    invalidation::watch(invalidate);
    let invalidations = CACHE.with(|cache| cache.invalidations);
    let Some(entry) = routine::read(oid)? else { return Ok(None) };
    let Judged { routine, names_another } = annotated(&entry)?;
    let routine = routine.map(Rc::new);
    CACHE.with_mut(|cache| {
        // An invalidation that arrived while the catalog was read may be about what was just read. And the
        // reading may have entered this oid by itself.
        if cache.invalidations != invalidations {
            return;
        }
        let as_of = names_another.then_some(invalidations);
        match cache.entries.get_mut(&oid.to_u32()) {
            Some(known) => (known.routine, known.as_of) = (routine.clone(), as_of),
            None => cache.insert(oid.to_u32(), entry.hash, routine.clone(), as_of),
        }
    });
    Ok(routine)
}

/// Drops what an invalidation names: the entries of one hash value, or all (`hash` 0). Called from the
/// invalidation callback, so it neither allocates nor fails.
pub(crate) fn invalidate(hash: u32) {
    CACHE.try_with_mut(|cache| {
        cache.invalidations += 1;
        if hash == 0 {
            cache.clear();
        } else {
            cache.remove(hash);
        }
    });
}

/// What is cached of a routine.
struct Judged {
    routine: Option<Routine>,
    /// Whether any change of a routine may make another one of it.
    names_another: bool,
}

/// What a comment means for publishing. One that names a function for snapshots depends on that function,
/// too.
fn annotated(entry: &Entry) -> Result<Judged, OutOfMemory> {
    let mut names_another = false;
    let routine = role(entry, |annotation| {
        names_another = annotation.snapshot.is_some();
        Ok(missing(annotation, &entry.routine.schema)?.is_none())
    })?;
    Ok(Judged { routine, names_another })
}

/// `None` when the routine is not annotated. `has_all`: whether everything is there that it names.
fn role(
    entry: &Entry,
    has_all: impl FnOnce(&Annotation) -> Result<bool, OutOfMemory>,
) -> Result<Option<Routine>, OutOfMemory> {
    let oid = entry.routine.oid;
    #[cfg(feature = "annotate_everything")]
    if entry.is_plpgsql {
        let annotation = Annotation { level: Some(Level::Notice), ..Annotation::default() };
        return Ok(Some(Routine { oid, role: Role::Publisher(Published::of(annotation)) }));
    }
    if !guc::schema_is_served(&entry.routine.schema) {
        return Ok(None);
    }
    let annotation = match entry.routine.parse() {
        Ok(None) => return Ok(None),
        Ok(Some(annotation)) => annotation,
        Err(_) => return Ok(Some(Routine { oid, role: Role::Barrier })),
    };
    if !annotation.is_sse() {
        // A bracketed function is not inlined (clauses.c, FmgrHookIsNeeded). The plan without an index that
        // may follow is too high a price for a warning. SQL itself raises nothing, so only what it calls goes
        // unwarned.
        let is_unbound = annotation.http.is_some() && guc::WARN_UNBOUND.get() && !entry.is_sql;
        return Ok(is_unbound.then_some(Routine { oid, role: Role::Unbound }));
    }
    if !annotation.publish || !annotation.check(&entry.routine.facts()).is_empty() || !has_all(&annotation)? {
        return Ok(Some(Routine { oid, role: Role::Barrier }));
    }
    Ok(Some(Routine { oid, role: Role::Publisher(Published::of(annotation)) }))
}

/// What is wrong with the function that an annotation names for snapshots (C7.6), as far as it is its name or
/// its comment: whether it can be run only who runs it knows.
fn missing(annotation: &Annotation, schema: &str) -> Result<Option<Problem>, OutOfMemory> {
    let Some(source) = &annotation.snapshot else { return Ok(None) };
    let (schema, name) = source.function(schema);
    let is_served = guc::schema_is_served(schema);
    let namesakes = if is_served { namesakes::of(schema, name)? } else { Vec::new() };
    let found = namesakes.into_iter().map(|namesake| (namesake.oid, namesake.is_function, namesake.fits));
    match route::meant(source, found) {
        Err(problem) => Ok(Some(problem)),
        Ok(oid) => {
            let function = routine::read(pg_sys::Oid::from(oid))?;
            let is_mistaken = function.is_some_and(|function| function.routine.parse().is_err());
            Ok(is_mistaken.then(|| route::mistaken(source)))
        }
    }
}

/// The mistakes in a routine's comment, in the order of its lines. If there are none, the second value has
/// what deserves a warning although it is no mistake (C7.3, last sentence; a snapshot while calls are off).
///
/// # Errors
/// There is no memory for reading it.
pub(crate) fn judge(entry: &Entry) -> Result<(Vec<Problem>, Vec<Problem>), OutOfMemory> {
    let annotation = match entry.routine.parse() {
        Ok(None) => return Ok((Vec::new(), Vec::new())),
        Ok(Some(annotation)) => annotation,
        Err(problems) => return Ok((problems, Vec::new())),
    };
    let facts = entry.routine.facts();
    let mut problems = annotation.check(&facts);
    problems.extend(missing(&annotation, &entry.routine.schema)?);
    if !problems.is_empty() {
        return Ok((problems, Vec::new()));
    }
    let of_identity = (!guc::USER_PARAMETERS.get()).then(|| annotation.advice(&facts)).flatten();
    Ok((problems, of_identity.into_iter().chain(without_snapshots(&annotation)).collect()))
}

/// What is said of a routine that asks for snapshots while there are none.
pub(crate) fn without_snapshots(annotation: &Annotation) -> Option<Problem> {
    let source = annotation.snapshot.as_ref()?;
    guc::CALL_ROLE.optional().is_none().then(|| route::without_calls(source))
}

/// What is said of a routine that would be called while there are no calls. That is no mistake of the
/// comment, which may be written for other times; so it is said where endpoints are listed, and not with each
/// COMMENT.
pub(crate) fn without_calls(endpoint: &Endpoint) -> Option<Problem> {
    endpoint.annotation.as_ref().filter(|_| endpoint.problems.is_empty())?.http.as_ref()?;
    guc::CALL_ROLE.optional().is_none().then(route::calls_are_off)
}
