//! What a failed call answers (C7.4).
//!
//! Not for mistakes in arguments, which are found before anything runs.

/// The status for an error of Postgres. `raised`: by the routine's own RAISE.
pub fn failure_status(sqlstate: &[u8; 5], raised: bool) -> u16 {
    match sqlstate {
        b"P0001" if raised => 400,
        [b'P', b'T', digits @ ..] if raised => raised_status(*digits).unwrap_or(500),
        b"42501" => 403,
        b"57014" => 504,
        [b'2', b'2', ..] => 400,
        [b'2', b'3', ..] => 409,
        [b'2', b'8', ..] => 401,
        [b'5', b'3', ..] => 503,
        _ => 500,
    }
}

/// The title of an error whose message is not the user's own.
pub fn failure_title(sqlstate: &[u8; 5]) -> &'static str {
    match (failure_status(sqlstate, false), sqlstate) {
        (400, _) => "a value is not valid",
        (401, _) => "not authenticated",
        (403, _) => "not allowed",
        (409, _) => "in conflict with the data that is there",
        (503, _) => "the server lacks resources",
        (504, _) => "the call took too long",
        (_, b"25006") => "the routine changes something, but its GET calls may only read",
        _ => "the call failed",
    }
}

/// `PT404` is 404. An error is no success and no redirection, so 400 to 599 only.
fn raised_status(digits: [u8; 3]) -> Option<u16> {
    let status: u16 = std::str::from_utf8(&digits).ok()?.parse().ok()?;
    (400..=599).contains(&status).then_some(status)
}
