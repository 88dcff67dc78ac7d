//! Which files of the black box run once more over TLS (C1.6): `PG_SSE_TRANSPORT=tls` gives every gateway a
//! certificate, and the clients of the tests trust in it (`pg_test/http/src/transport.rs`).
//!
//! The rule: a file runs over TLS if what it shows depends on how a request is read, a stream is written, or
//! a connection ends: order, resuming and gaps, scopes, tokens, limits, slow readers, snapshots, streamed
//! calls, revocations, heartbeats, stops. It does not if what it shows is decided before a socket is written
//! to (what is captured, the catalog, the SQL of calls, documents), if it speaks with something that is plain
//! by itself (proxies, pages, the programs of others, the admin port), or if it sets up TLS of its own.
//!
//! `call_limits` makes thousands of calls, to see what they leave behind in Postgres: by its time, about a
//! tenth of the step's, it is not among them.
//!
//! Where something is another over TLS, the file asks its client and asserts that (`Client::is_secure`).
//!
//! Not for how the tests are run: steps.rs.

/// Run over TLS, too.
pub(super) const OVER_TLS: &[&str] = &[
    "bad_requests",
    "call_async",
    "call_bounds",
    "call_cancels",
    "call_ends",
    "call_login",
    "call_origins",
    "call_streams",
    "chat",
    "door",
    "draining",
    "event_path",
    "lifecycle",
    "limits",
    "login_failures",
    "matching",
    "order",
    "order_late",
    "own_write",
    "ports",
    "refusals",
    "resuming",
    "ring_full",
    "scope_caller",
    "scopes",
    "settings",
    "slow_subscribers",
    "snapshots",
    "snapshots_hindered",
    "streams",
    "subscribers",
    "terms",
    "tokens",
    "topics",
    "unread_answers",
];

/// Run in plain HTTP alone.
#[cfg(test)]
const PLAIN: &[&str] = &[
    "activations",
    "admin_inspector",
    "admin_inspector_live",
    "admin_metrics",
    "admin_port",
    "admin_ready",
    "admin_rules",
    "annotations",
    "call_arguments",
    "call_changes",
    "call_encodings",
    "call_errors",
    "call_instants",
    "call_limits",
    "call_lives",
    "call_log",
    "call_members",
    "call_misread",
    "call_path",
    "call_results",
    "call_roles",
    "call_rows",
    "call_safety",
    "call_statements",
    "call_traces",
    "call_types",
    "call_user_parameters",
    "call_workers",
    "capture_calls",
    "capture_comments",
    "capture_errors",
    "capture_extensions",
    "capture_hooks",
    "capture_interrupts",
    "capture_languages",
    "capture_parallel",
    "capture_replication",
    "capture_search",
    "capture_settings",
    "capture_transactions",
    "capture_triggers",
    "client_js",
    "commit_stress",
    "crashes",
    "documents",
    "documents_served",
    "encodings",
    "endpoints",
    "examples",
    "examples_threads",
    "http2",
    "inlining",
    "inspector",
    "inspector_page",
    "interoperability",
    "leak",
    "leak_snapshots",
    "log_lines",
    "long_comments",
    "many_comments",
    "many_routines",
    "many_types",
    "no_gateway",
    "no_memory",
    "no_memory_functions",
    "no_memory_gateway",
    "pages",
    "pages_typescript",
    "privileges",
    "proxies",
    "publish",
    "recipes",
    "recipes_calls",
    "recipes_pages",
    "record_xid",
    "ring_full_routines",
    "row_change_cost",
    "row_changes",
    "row_changes_large",
    "row_changes_plans",
    "row_changes_refused",
    "row_changes_tables",
    "row_changes_values",
    "seeds",
    "settings_table",
    "snapshot_cut",
    "snapshots_named",
    "standby",
    "standby_replay",
    "standing_aside",
    "stat_histograms",
    "statistics",
    "tls",
    "tls_firefox",
    "two_databases",
    "typescript_client",
    "typescript_served",
    "typescript_tables",
    "unbound",
    "upgrade",
    "upgrade_living",
    "wal_growth",
    "wal_hostile",
    "wal_ids",
    "wal_in_flight",
    "wal_latency",
    "wal_load",
    "wal_next_reader",
    "wal_reader",
    "wal_synchronous",
    "wal_unreadable",
    "wal_written",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use cluster::workspace_root;

    use super::*;

    // Neither list rots: whoever adds a file decides.
    #[test]
    fn each_file_of_the_black_box_is_in_one_of_the_two_lists() {
        let folder = std::fs::read_dir(workspace_root().join("pg_test/tests")).unwrap();
        let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let files: BTreeSet<String> =
            names.filter_map(|name| Some(name.strip_suffix(".rs")?.to_owned())).collect();
        let listed: Vec<&str> = OVER_TLS.iter().chain(PLAIN).copied().collect();
        let known: BTreeSet<String> = listed.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(listed.len(), known.len(), "a file is listed twice");
        assert_eq!(files, known, "pg_test/tests, and the lists of transports.rs");
        for list in [OVER_TLS, PLAIN] {
            assert!(list.is_sorted(), "in the order of the alphabet");
        }
    }
}
