//! Lines of postgresql.conf that were refused at server start: why nothing is served until they are mended.
//!
//! Not for whether a line is wrong (`guc/check.rs`), and which were refused (`pg/config_file.rs`).

use pgrx::prelude::*;
use sse_gateway::Gateway;

use crate::pg::config_file;

#[derive(PartialEq, Eq)]
pub(super) enum Saying {
    Aloud,
    Quietly,
}

/// Until a line of postgresql.conf that was refused at server start is mended, nothing is served (C1.3).
pub(super) fn apply(gateway: &Gateway, saying: Saying) {
    let refused = config_file::still_refused();
    let Some(first) = refused.first() else {
        gateway.set_unavailable(None);
        return;
    };
    gateway.set_unavailable(Some(format!("setting {} was refused", first.name)));
    if saying == Saying::Aloud {
        for setting in &refused {
            ereport!(
                PgLogLevel::WARNING,
                PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
                format!("pg_sse: the value of \"{}\" in {} was refused", setting.name, setting.place()),
                "Every request is answered with 503 until the line is mended and the configuration reloaded; some settings need a restart."
            );
        }
    }
}
