//! Mistakes that show only when a routine raises, or a row changes. A mistake of a routine or trigger is said
//! once until the server is restarted; an event that is too large is said each time.
//!
//! Those of a routine are found in the log hook, where nothing may be said, and said when the routine
//! returns.
//!
//! Not for mistakes in comments, which COMMENT itself says (`pg/entry/utility.rs`).

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};

use pgrx::prelude::*;

use crate::guc;
use crate::pg::{error_room, report, routine, shmem};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Mistake {
    /// A hint that was probably meant as a scope and is none (C3.3).
    MisspeltHint = 1,
    /// Scope `matching`, and nobody whom it could match (C4.2).
    Unmatched = 2,
    /// An `HTTP` line, a RAISE of the default level, and no `@sse…` (C3.7).
    Unbound = 3,
    /// A trigger of `sse.publish_change()` that cannot publish any more (C3.5).
    UnfitTrigger = 4,
    /// Scope `matching` of such a trigger, and nobody whom it could match.
    UnmatchedChange = 5,
    /// Scope `caller`, and no HTTP call (C4.2).
    Uncalled = 6,
    /// Scope `caller` of a trigger of `sse.publish_change()`, and no HTTP call.
    UncalledChange = 7,
}

const MISTAKES: [Mistake; 4] =
    [Mistake::MisspeltHint, Mistake::Unmatched, Mistake::Unbound, Mistake::Uncalled];

// Written and read by this backend's one Postgres thread alone; atomic so that no `static mut` is needed, and
// not thread-local, because that is a call for each access in a library, and every end of an annotated
// routine looks at them.

/// Whether there is anything to say: one look at the end of each annotated routine.
static HAS_FOUND: AtomicBool = AtomicBool::new(false);

/// For each of [`MISTAKES`], the routine in which it was found last; 0 = none.
static FOUND: [AtomicU32; MISTAKES.len()] = [const { AtomicU32::new(0) }; MISTAKES.len()];

/// Size of the largest event that was refused since the last warning, 0 = none.
static TOO_LARGE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// An event was raised on a standby.
static ON_STANDBY: AtomicBool = AtomicBool::new(false);

/// That was said.
static STANDBY_SAID: AtomicBool = AtomicBool::new(false);

/// Keeps a mistake until it can be said.
pub(crate) fn note(mistake: Mistake, routine: u32) {
    HAS_FOUND.store(true, Relaxed);
    for (place, _) in FOUND.iter().zip(MISTAKES).filter(|(_, kind)| *kind == mistake) {
        place.store(routine, Relaxed);
    }
}

/// An event was raised on a standby with `sse.durability = wal`. Said once for each session (C10.5).
pub(crate) fn note_standby() {
    HAS_FOUND.store(true, Relaxed);
    ON_STANDBY.store(true, Relaxed);
}

/// An event of this many bytes was refused. The largest one is said (C3.6).
pub(crate) fn note_too_large(bytes: usize) {
    HAS_FOUND.store(true, Relaxed);
    TOO_LARGE_BYTES.fetch_max(bytes, Relaxed);
}

/// Says, once, that a trigger of `sse.publish_change()` publishes nothing. Call it where a message may be
/// raised, as the next function.
pub(crate) fn say_unfit(trigger: u32, description: &str, reason: &str) {
    if is_first(Mistake::UnfitTrigger, trigger) {
        report::warning_in_log(
            PgSqlErrorCode::ERRCODE_INVALID_OBJECT_DEFINITION,
            &format!("pg_sse: {description} publishes nothing: {reason}"),
            "Changes of the table reach no subscriber until the trigger is made anew. This is said once for each trigger.",
        );
    }
}

/// Says, once, that a change with scope `caller` reached nobody.
pub(crate) fn say_uncalled(trigger: u32, description: &str) {
    if is_first(Mistake::UncalledChange, trigger) {
        report::warning_in_log(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            &format!("pg_sse: a change of {description} with scope caller reaches no subscriber"),
            "It was not made in an HTTP call, so it has no caller. This is said once for each trigger.",
        );
    }
}

/// Says, once, that a change with scope `matching` reached nobody.
pub(crate) fn say_unmatched(trigger: u32, description: &str) {
    if is_first(Mistake::UnmatchedChange, trigger) {
        report::warning_in_log(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            &format!("pg_sse: a change of {description} with scope matching reaches no subscriber"),
            "The session has no identity (request.user_id, request.user_name, request.user_roles or request.jwt.claims) or one that cannot be read. This is said once for each trigger.",
        );
    }
}

fn is_first(mistake: Mistake, of: u32) -> bool {
    shmem::shared().is_some_and(|shared| shared.header.said.is_first(mistake as u32, of))
}

/// The outermost routine was left by an error, which says more than a warning, so nothing is said.
pub(crate) fn forget() {
    TOO_LARGE_BYTES.store(0, Relaxed);
    ON_STANDBY.store(false, Relaxed);
    FOUND.iter().for_each(|place| place.store(0, Relaxed));
}

/// Whether something was found since [`say`] was called last.
#[inline]
pub(crate) fn is_to_be_said() -> bool {
    HAS_FOUND.load(Relaxed)
}

/// As [`say`]; without memory for it, what was found is said at another end.
pub(crate) fn say_if_possible() {
    if is_to_be_said() {
        let _ = error_room::with(|| {
            say();
            Ok(())
        });
    }
}

/// Says what was found, unless it was said before. Call it where a message may be raised.
fn say() {
    if !is_to_be_said() {
        return;
    }
    for (place, mistake) in FOUND.iter().zip(MISTAKES) {
        let routine = place.swap(0, Relaxed);
        if routine != 0 {
            say_once(mistake, routine);
        }
    }
    let bytes = TOO_LARGE_BYTES.swap(0, Relaxed);
    if bytes > 0 {
        say_too_large(bytes);
    }
    if ON_STANDBY.swap(false, Relaxed) && !STANDBY_SAID.swap(true, Relaxed) {
        ereport!(
            PgLogLevel::WARNING,
            PgSqlErrorCode::ERRCODE_WARNING,
            "an event was not published: this server is a standby",
            "Events are written into the write-ahead log, on the primary alone. This is said once for each session."
        );
    }
    // Not before: what is said may raise an error, and the rest is said at the next end then.
    HAS_FOUND.store(false, Relaxed);
}

fn say_too_large(bytes: usize) {
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        format!("an event of {bytes} bytes was not published"),
        format!(
            "The limit is {} bytes (sse.max_event_size), and nearly half of sse.ring_size. Subscribers are told that an event is missing.",
            guc::MAX_EVENT_SIZE.bytes()
        )
    );
}

fn say_once(mistake: Mistake, routine: u32) {
    if !is_first(mistake, routine) {
        return;
    }
    let code = PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE;
    let routine = routine::describe(routine);
    match mistake {
        Mistake::MisspeltHint => report::warning_in_log(
            code,
            &format!("pg_sse: a hint of {routine} looks like a scope, but is not one"),
            "Events with such a hint reach no subscriber. sse.authorize() makes a correct scope; a hint for people has several words. This is said once for each routine.",
        ),
        Mistake::Unmatched => report::warning_in_log(
            code,
            &format!("pg_sse: an event of {routine} with scope matching reaches no subscriber"),
            "The session has no identity (request.user_id, request.user_name, request.user_roles or request.jwt.claims) or one that cannot be read, and the routine has no @authorize rule that names anybody. This is said once for each routine.",
        ),
        Mistake::Uncalled => report::warning_in_log(
            code,
            &format!("pg_sse: an event of {routine} with scope caller reaches no subscriber"),
            "It was not raised in an HTTP call, so it has no caller. This is said once for each routine.",
        ),
        Mistake::Unbound => report::warning_in_log(
            code,
            &format!("pg_sse: {routine} raises a message that would be an event, but has no @sse annotation"),
            "Its comment has an HTTP line. Add @sse or @sse_publish to publish what it raises, or switch sse.warn_unbound off. This is said once for each routine.",
        ),
        // Said where they are found, because nothing forbids it there.
        Mistake::UnfitTrigger | Mistake::UnmatchedChange | Mistake::UncalledChange => {}
    }
}
