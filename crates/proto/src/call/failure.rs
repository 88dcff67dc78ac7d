//! What a failed call answers (C7.4).
//!
//! Not for mistakes in arguments, which are found before anything runs.

/// The status for an error of Postgres. `raised`: by the routine's own RAISE or ASSERT.
pub fn failure_status(sqlstate: &[u8; 5], raised: bool) -> u16 {
    if raised && let Some(status) = raised_status(sqlstate) {
        return status;
    }
    match sqlstate {
        b"42501" => 403,
        b"57014" => 504,
        [b'2', b'2', ..] => 400,
        [b'2', b'3', ..] | [b'4', b'0', ..] => 409,
        [b'2', b'8', ..] => 401,
        [b'5', b'3', ..] => 503,
        _ => 500,
    }
}

/// Whether the error's message was written for the caller. For every other error the caller is told a fixed
/// text, even if the routine raised it: passing on a caught error does not mean that the caller is to read
/// it.
pub fn tells_message(sqlstate: &[u8; 5], raised: bool) -> bool {
    raised && raised_status(sqlstate).is_some()
}

/// Whether an error that came while an argument was read is about its value, so that the caller is told which
/// argument it was: not want of memory or time, nor of a privilege.
pub fn tells_argument(sqlstate: &[u8; 5], raised: bool) -> bool {
    matches!(sqlstate, [b'2', b'2' | b'3', ..]) || tells_message(sqlstate, raised)
}

/// What the message of an error is if the server's own statement was cancelled by somebody, and not because
/// its time was over. Not told as a message: [`failure_detail`] knows it.
pub const CANCELLED: &str = "the call was cancelled";

/// The same for a call that has run longer than the time that it was given with its request.
pub const OUT_OF_TIME: &str = "the call has run longer than sse.call_timeout";

/// What the caller is told of an error whose message is not for it.
pub fn failure_detail(sqlstate: &[u8; 5], raised: bool, message: &str, read_only: bool) -> &'static str {
    match sqlstate {
        b"57014" if !raised && message == CANCELLED => CANCELLED,
        _ => failure_title(sqlstate, read_only),
    }
}

/// The fixed text for an error. `read_only`: the call ran READ ONLY because the comment does not name its
/// method.
pub fn failure_title(sqlstate: &[u8; 5], read_only: bool) -> &'static str {
    match (failure_status(sqlstate, false), sqlstate) {
        (400, _) => "a value is not valid",
        (401, _) => "not authenticated",
        (403, _) => "not allowed",
        (409, [b'4', b'0', ..]) => "in conflict with another call that ran at the same time",
        (409, _) => "in conflict with the data that is there",
        (503, _) => "the server lacks resources",
        (504, _) => "the call took too long",
        (_, b"25006") if read_only => "this routine writes, and its GET may not",
        _ => "the call failed",
    }
}

/// The user's own choice: `P0001` and `P0004` (ASSERT) are 400, `PT404` is 404. An error is no success and no
/// redirection, so 400 to 599 only.
fn raised_status(sqlstate: &[u8; 5]) -> Option<u16> {
    match sqlstate {
        b"P0001" | b"P0004" => Some(400),
        [b'P', b'T', digits @ ..] => {
            let status: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
            (400..=599).contains(&status).then_some(status)
        }
        _ => None,
    }
}
