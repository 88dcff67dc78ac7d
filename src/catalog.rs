//! Reading the catalog with SQL: for the catalog worker and for the views.
//!
//! Every name is qualified, so the caller's search_path decides nothing. Only routines with a comment are read; what a
//! comment means is decided by `sse_proto`, and which schemas are served by `sse.schemas`.

use pgrx::prelude::*;
use sse_proto::annotation::RoutineKind;
use sse_proto::call::USER_PARAMETERS;
use sse_proto::route::Routine;

use crate::pg::shmem::Extension;
use crate::pg::text::from_server;
use crate::{guc, signature};

/// Version of this library, and of the SQL script that belongs to it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

const ROUTINES: &str = "
    SELECT p.oid, pg_catalog.convert_to(n.nspname::pg_catalog.text, pg_catalog.getdatabaseencoding()),
           pg_catalog.convert_to(p.proname::pg_catalog.text, pg_catalog.getdatabaseencoding()), p.prokind OPERATOR(pg_catalog.=) 'p', p.provolatile OPERATOR(pg_catalog.=) 'v',
           p.proparallel OPERATOR(pg_catalog.=) 's', coalesce(p.proargnames OPERATOR(pg_catalog.&&) $1, false), pg_catalog.convert_to(d.description, pg_catalog.getdatabaseencoding())
      FROM pg_catalog.pg_description d
      JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objoid
      JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
     WHERE d.classoid OPERATOR(pg_catalog.=) 1255 AND d.objsubid OPERATOR(pg_catalog.=) 0
       AND (p.prokind OPERATOR(pg_catalog.=) 'f' OR p.prokind OPERATOR(pg_catalog.=) 'p')
       AND n.nspname OPERATOR(pg_catalog.!~) '^pg_' AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema'
     ORDER BY p.oid";

/// All routines outside of system schemas that have a comment, by oid.
pub(crate) fn routines() -> Vec<Routine> {
    let names: Vec<String> = USER_PARAMETERS.iter().map(|&name| name.to_owned()).collect();
    Spi::connect(|client| {
        let rows = client.select(ROUTINES, None, &[names.into()])?;
        let mut routines = Vec::with_capacity(rows.len());
        for row in rows {
            routines.push(Routine {
                oid: row.get::<pg_sys::Oid>(1)?.map_or(0, |oid| oid.to_u32()),
                schema: utf8(row.get::<Vec<u8>>(2)?),
                name: utf8(row.get::<Vec<u8>>(3)?),
                kind: if row.get::<bool>(4)? == Some(true) {
                    RoutineKind::Procedure
                } else {
                    RoutineKind::Function
                },
                volatile: row.get::<bool>(5)?.unwrap_or(true),
                parallel_safe: row.get::<bool>(6)?.unwrap_or(false),
                has_identity_parameters: row.get::<bool>(7)?.unwrap_or(false),
                signature: None,
                comment: utf8(row.get::<Vec<u8>>(8)?),
            });
        }
        Ok::<_, spi::Error>(routines)
    })
    .unwrap_or_else(|error| error!("pg_sse: cannot read the routines: {error}"))
}

/// The same, with the signatures of those that can be called; without a role for calls there is nothing to call.
pub(crate) fn routines_with_signatures() -> Vec<Routine> {
    let mut routines = routines();
    if guc::calls::role().is_some() {
        signature::fill_in(&mut routines);
    }
    routines
}

/// The query hands texts over as the bytes that they are in the database, because Postgres' own conversion to UTF-8
/// fails for a database without an encoding (SQL_ASCII), where one comment could then stop the service for all.
fn utf8(bytes: Option<Vec<u8>>) -> String {
    bytes.map(|bytes| from_server(&bytes)).unwrap_or_default()
}

/// Whether the extension is installed in this database, and in this library's version.
pub(crate) fn extension() -> Extension {
    let version = Spi::get_one::<String>(
        "SELECT pg_catalog.max(extversion) FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'pg_sse'",
    );
    match version {
        Ok(Some(version)) if version == VERSION => Extension::Present,
        Ok(Some(_)) => Extension::OtherVersion,
        Ok(None) => Extension::Absent,
        Err(error) => error!("pg_sse: cannot read the installed extensions: {error}"),
    }
}

/// Name of the database this session is connected to.
pub(crate) fn current_database() -> String {
    match Spi::get_one::<Vec<u8>>(
        "SELECT pg_catalog.convert_to(pg_catalog.current_database()::pg_catalog.text, pg_catalog.getdatabaseencoding())",
    ) {
        Ok(name) => utf8(name),
        Err(error) => error!("pg_sse: cannot read the database's name: {error}"),
    }
}
