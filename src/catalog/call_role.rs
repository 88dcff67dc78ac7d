//! Whether the role that `sse.call_role` names may run calls (C7.2).
//!
//! A call must not reach more than its role may. A superuser, or a role that may become one with SET ROLE,
//! would make every callable routine an entry to the whole cluster. So such a role is refused, and the hint
//! says how to mend it.
//!
//! Not for privileges on routines: those are Postgres' own.

use std::cell::Cell;

use pgrx::prelude::*;
use sse_proto::call::CallRole;

use crate::guc;

/// No row: there is no such role. In the columns, NULL means no.
const FACTS: &str = "
    SELECT r.rolcanlogin, r.rolsuper, r.rolbypassrls, r.rolcreaterole,
           (SELECT pg_catalog.min(s.rolname::pg_catalog.text) FROM pg_catalog.pg_roles s
             WHERE s.rolsuper AND NOT r.rolsuper AND pg_catalog.pg_has_role(r.oid, s.oid, 'MEMBER')),
           (SELECT pg_catalog.min(s.rolname::pg_catalog.text) FROM pg_catalog.pg_roles s
             WHERE s.rolbypassrls AND NOT r.rolsuper AND s.oid OPERATOR(pg_catalog.<>) r.oid AND pg_catalog.pg_has_role(r.oid, s.oid, 'MEMBER')),
           (SELECT pg_catalog.has_database_privilege(r.oid, d.oid, 'CONNECT') FROM pg_catalog.pg_database d
             WHERE d.datname OPERATOR(pg_catalog.=) $2::pg_catalog.name),
           (SELECT pg_catalog.string_agg(s.rolname::pg_catalog.text, ', ' ORDER BY s.rolname) FROM pg_catalog.pg_roles s
             WHERE s.rolname OPERATOR(pg_catalog.=) ANY ('{pg_execute_server_program,pg_write_server_files,pg_read_server_files}'::pg_catalog.name[])
               AND pg_catalog.pg_has_role(r.oid, s.oid, 'MEMBER'))
      FROM pg_catalog.pg_roles r
     WHERE r.rolname OPERATOR(pg_catalog.=) $1::pg_catalog.name";

/// The properties of a role that matter here.
struct Facts {
    can_login: bool,
    is_superuser: bool,
    bypasses_rls: bool,
    creates_roles: bool,
    superuser: Option<String>,
    bypasser: Option<String>,
    may_connect: bool,
    powers: Option<String>,
}

/// Reads the role in this session's transaction.
pub(crate) fn check() -> CallRole {
    let Some(role) = guc::CALL_ROLE.optional() else { return CallRole::Off };
    match read(&role) {
        Ok(facts) => judge(&role, facts),
        Err(error) => error!("pg_sse: cannot read the role of calls: {error}"),
    }
}

fn read(role: &str) -> Result<Option<Facts>, spi::Error> {
    Spi::connect(|client| {
        let arguments = [role.to_owned().into(), guc::DATABASE.text().into()];
        let mut rows = client.select(FACTS, Some(1), &arguments)?;
        let Some(row) = rows.next() else { return Ok(None) };
        let is = |column: usize| row.get::<bool>(column).map(|value| value == Some(true));
        Ok(Some(Facts {
            can_login: is(1)?,
            is_superuser: is(2)?,
            bypasses_rls: is(3)?,
            creates_roles: is(4)?,
            superuser: row.get(5)?,
            bypasser: row.get(6)?,
            may_connect: row.get::<bool>(7)? != Some(false),
            powers: row.get(8)?,
        }))
    })
}

fn judge(role: &str, facts: Option<Facts>) -> CallRole {
    let name = quoted(role);
    let own = "Give calls a role of their own that has only what they need: CREATE ROLE … LOGIN.";
    let refused = |reason: String, hint: String| CallRole::Refused { reason, hint };
    let Some(facts) = facts else {
        return refused(format!("role {name} does not exist"), format!("CREATE ROLE {name} LOGIN;"));
    };
    if facts.is_superuser {
        return refused(format!("role {name} is a superuser"), own.to_owned());
    }
    if facts.bypasses_rls {
        return refused(
            format!("role {name} has BYPASSRLS"),
            format!("ALTER ROLE {name} NOBYPASSRLS; or another role in sse.call_role."),
        );
    }
    for (other, what) in [(facts.superuser, "is a superuser"), (facts.bypasser, "has BYPASSRLS")] {
        if let Some(other) = other {
            let other = quoted(&other);
            return refused(
                format!("role {name} is a member of {other}, which {what}"),
                format!("REVOKE {other} FROM {name}; or another role in sse.call_role."),
            );
        }
    }
    if !facts.can_login {
        return refused(
            format!("role {name} may not log in"),
            format!(
                "ALTER ROLE {name} LOGIN; without a password and a line in pg_hba.conf no client can log in as this role."
            ),
        );
    }
    if !facts.may_connect {
        let database = quoted(&guc::DATABASE.text());
        return refused(
            format!("role {name} may not connect to database {database}"),
            format!("GRANT CONNECT ON DATABASE {database} TO {name};"),
        );
    }
    let mut warnings = Vec::new();
    if facts.creates_roles {
        warnings.push(format!(
            "role {name} of sse.call_role has CREATEROLE: a call can give itself further privileges with it"
        ));
    }
    if let Some(powers) = facts.powers {
        warnings.push(format!(
            "role {name} of sse.call_role is a member of {powers}: a call can reach files and programs of the server with it"
        ));
    }
    CallRole::Ready { warnings }
}

/// A name as it would be written in SQL; good enough for people to read.
fn quoted(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.escape_debug()) }
}

thread_local! {
    /// Notes that a role has changed, in a process that watches roles.
    static OUTDATED: Cell<bool> = const { Cell::new(false) };
}

/// Called from an invalidation callback: neither allocates nor fails.
pub(crate) fn invalidate() {
    OUTDATED.set(true);
}

/// Whether a role has changed since the last call of this.
pub(crate) fn take_outdated() -> bool {
    OUTDATED.replace(false)
}
