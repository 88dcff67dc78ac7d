//! One line on every metric, as a scrape shows it.
//!
//! Not for what to do about it: docs/metrics.md.

/// The line on a metric, by its name without `_total`.
pub(super) fn help(name: &str) -> &'static str {
    let found = HELP.iter().find(|(known, _)| name.strip_prefix("pg_sse_") == Some(known));
    found.map_or("A column of sse.stat_gateway or sse.stat_ring.", |(_, help)| help)
}

const HELP: &[(&str, &str)] = &[
    ("anonymous_subscribers", "Open streams without a token."),
    ("asked", "Checks whether an event is for a stream, of events that are not for all."),
    ("build_info", "The version of pg_sse."),
    ("bytes", "Bytes handed to the sockets of streams."),
    ("call_duration_seconds", "From the head of a call's request to its answer, by method and status."),
    ("call_workers", "Call workers that were started."),
    ("call_workers_ready", "Call workers that can run a call, or are running one."),
    ("calls", "Calls that were let in."),
    ("calls_cancelled", "Calls whose caller went away while they ran."),
    ("calls_failed", "Calls that failed, were lost, or were not run in time."),
    ("calls_lost", "Calls whose worker ended before it answered."),
    ("calls_refused", "Calls answered with 503: the queue was full, or calls do not run."),
    ("calls_running", "Calls that run."),
    ("calls_waiting", "Calls that wait for a worker."),
    ("capacity_bytes", "Size of the ring between backends and gateway."),
    ("connections", "Sockets accepted."),
    ("connections_open", "Open sockets, streams included."),
    ("covered", "Events that a stream did not get because its snapshot had seen them."),
    ("deliveries", "Events handed to a socket, summed over the subscribers."),
    ("displaced", "Sockets without a request that were closed to make room for others."),
    ("dropped", "Events that were lost because the ring had no room."),
    (
        "event_delay_seconds",
        "From RAISE or commit until an event was handed to the sockets of a thread's streams.",
    ),
    ("event_streams", "For how many streams of a runtime thread an event was."),
    ("events", "Events taken in from the ring, and gaps for all subscribers."),
    ("full", "Attempts to publish that found no room in the ring."),
    ("gaps", "Gaps sent to a single subscriber."),
    ("internal", "Faults of pg_sse that were caught in a backend."),
    ("junk", "Streams closed because their peer kept sending."),
    ("misspelt_hint", "Events whose hint looks like a misspelt scope, delivered to nobody."),
    ("order_given_up", "Times that a transaction's events were no longer waited for."),
    ("out_of_memory", "Events for which a backend had no memory."),
    ("parallel", "Messages raised in a parallel worker, which are not published."),
    ("records", "Records that the ring accepted."),
    ("refused", "Requests answered with 503 because of sse.max_connections."),
    ("refused_addresses", "Requests answered with 429 because of sse.max_connections_per_address."),
    ("refused_tokens", "Requests answered with 401 because their token was not believed."),
    ("replaced_characters", "Characters that could not be converted to UTF-8."),
    ("requests_dropped", "Requests to the gateway's main thread that it did not take in time."),
    ("ring_bytes", "Bytes of the records that the ring accepted."),
    ("serving", "Whether requests for streams are answered."),
    ("snapshots", "Snapshots that were run."),
    ("snapshots_failed", "Snapshots without a result."),
    ("stalls", "Times that a backend had begun to hand over an event and did not finish."),
    ("standby", "Events that were not published because the server is a standby."),
    ("start_time_seconds", "When the gateway process was started, in seconds since 1970."),
    ("subscribers", "Streams begun."),
    ("subscribers_open", "Open streams."),
    ("too_large", "Events refused for their size."),
    ("undecodable", "Records that could not be read."),
    ("undeliverable", "Events that no subscriber could ever get."),
    ("unfit_trigger", "Row changes whose trigger cannot publish any more."),
    ("unmatched", "Events of scope matching or caller that reached nobody."),
    ("used_bytes", "Bytes of the ring that wait for the gateway."),
    ("wal_behind_bytes", "What the reader of the write-ahead log has not read yet."),
    ("wal_behind_seconds", "For how long the reader of the log has not told everything that it could read."),
    ("wal_caught_up", "1 when the window has been read back from the log for this gateway."),
    ("wal_events", "Events told from the log, those that were read back included."),
    ("wal_foreign", "Messages in the log that only look like events."),
    ("wal_held_seconds", "For how long events wait for a commit that nobody can see yet."),
    ("wal_marks", "Marks written into the log."),
    ("wal_reader_running", "1 while a process reads the log."),
    ("wal_retained_bytes", "The log that is still there."),
    ("wal_unreadable", "Records of events in the log that could not be read."),
    ("window_bytes", "Bytes of recent events that each runtime thread keeps."),
    ("window_events", "Recent events that each runtime thread keeps."),
    ("woken", "Of the checks, those that said yes."),
    ("write_timeouts", "Streams closed because they took nothing for sse.write_timeout."),
];

#[cfg(test)]
mod tests {
    use super::HELP;

    #[test]
    fn the_list_is_sorted_and_every_line_is_a_sentence() {
        assert!(HELP.is_sorted_by(|(a, _), (b, _)| a < b));
        for (name, help) in HELP {
            assert!(help.ends_with('.') && !help.contains('\n') && !help.contains('\\'), "{name}: {help}");
        }
    }
}
