//! What becomes of a call that no error of Postgres' own tells about.
//!
//! Not for those errors (`call_session.rs`).

use sse_proto::call::Outcome;

use super::call_texts::NoTexts;

/// SQLSTATE 22021, of a text that has a character Postgres cannot store.
const CHARACTER_NOT_IN_REPERTOIRE: [u8; 5] = *b"22021";

/// SQLSTATE 53200.
const OUT_OF_MEMORY: [u8; 5] = *b"53200";

/// SQLSTATE 40001: the same call, sent again, may do. It stands for what was not run, so nobody sees it unless reading the
/// routines anew does not help.
const SERIALIZATION_FAILURE: [u8; 5] = *b"40001";

/// It cannot even begin.
pub(super) fn refused(why: NoTexts) -> Outcome {
    let (sqlstate, message) = match why {
        NoTexts::Nul => (CHARACTER_NOT_IN_REPERTOIRE, "a text has the character U+0000"),
        NoTexts::Memory => (OUT_OF_MEMORY, "out of memory"),
    };
    Outcome::Failed { sqlstate, message: message.to_owned(), raised: false, outdated: false }
}

/// Postgres has raised an error that nobody can show.
pub(super) fn unknown_failure() -> Outcome {
    Outcome::Failed { sqlstate: *b"XX000", message: String::new(), raised: false, outdated: false }
}

/// It was made for other columns of a row type than there are, and was not run.
pub(super) fn outdated_row() -> Outcome {
    Outcome::Failed { sqlstate: SERIALIZATION_FAILURE, message: String::new(), raised: false, outdated: true }
}
