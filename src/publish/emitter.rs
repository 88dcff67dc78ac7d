//! Who raises an event: the identity in the session's settings (C4.6), which `@sse_scope matching` compares
//! with that of each subscriber.
//!
//! Whoever may run SQL in a session may set them (C3.8). They are read only for events with that scope; an
//! identity that cannot be read with certainty matches nobody.
//!
//! Not for subscribers' identities: those come from tokens, in the gateway.

use sse_proto::encoding;
use sse_proto::identity::{Emission, EmitterSettings};

use crate::guc;
use crate::pg::{backend, guc_text};

/// The emitter of what this session raises now.
pub(crate) fn emission() -> Emission {
    let settings = [c"request.user_id", c"request.user_name", c"request.user_roles", c"request.jwt.claims"]
        .map(|name| guc_text::with_option(name, read));
    let [Ok(user_id), Ok(user_name), Ok(user_roles), Ok(jwt_claims)] = &settings else {
        return Emission::Undecidable;
    };
    let settings = EmitterSettings {
        user_id: user_id.as_deref(),
        user_name: user_name.as_deref(),
        user_roles: user_roles.as_deref(),
        jwt_claims: jwt_claims.as_deref(),
    };
    Emission::of(&settings, &guc::auth::claim_names())
}

/// A setting in which a character had to be replaced no longer says what was meant.
struct Unreadable;

fn read(text: Option<&[u8]>) -> Result<Option<String>, Unreadable> {
    let Some(text) = text else { return Ok(None) };
    let mut scratch = String::new();
    match encoding::to_utf8(text, backend::database_encoding(), &mut scratch) {
        Ok((text, 0)) => Ok(Some(text.to_owned())),
        Ok(_) | Err(_) => Err(Unreadable),
    }
}
