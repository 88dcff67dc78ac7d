//! Outcomes of a call that are not Postgres' own errors.
//!
//! Not for those errors (`call_session.rs`).

use sse_proto::call::Outcome;

use super::call_texts::NoTexts;

/// SQLSTATE 22021: a text has a character that Postgres cannot store.
const CHARACTER_NOT_IN_REPERTOIRE: [u8; 5] = *b"22021";

/// SQLSTATE 53200.
const OUT_OF_MEMORY: [u8; 5] = *b"53200";

/// SQLSTATE 40001: the same call may succeed when it is sent again. It stands for a call that was not run,
/// and reaches the caller only if reading the routines anew did not help.
const SERIALIZATION_FAILURE: [u8; 5] = *b"40001";

/// The call cannot even begin.
pub(super) fn refused(why: NoTexts) -> Outcome {
    let (sqlstate, message) = match why {
        NoTexts::Nul => (CHARACTER_NOT_IN_REPERTOIRE, "a text has the character U+0000"),
        NoTexts::Memory => (OUT_OF_MEMORY, "out of memory"),
    };
    Outcome::Failed { sqlstate, message: message.to_owned(), raised: false, outdated: false, argument: None }
}

/// Postgres has raised an error that cannot be shown.
pub(super) fn unknown_failure() -> Outcome {
    Outcome::Failed {
        sqlstate: *b"XX000",
        message: String::new(),
        raised: false,
        outdated: false,
        argument: None,
    }
}

/// The call was made for other columns of a row type than there are now, and was not run.
pub(super) fn outdated_row() -> Outcome {
    Outcome::Failed {
        sqlstate: SERIALIZATION_FAILURE,
        message: String::new(),
        raised: false,
        outdated: true,
        argument: None,
    }
}
