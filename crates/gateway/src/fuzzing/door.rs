//! The way of a request up to its routine.
//!
//! Not for sockets: a fuzzer brings heads that hyper has read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, Request, StatusCode};
use sse_proto::identity::Identity;
use sse_proto::query::Query;

use crate::auth::{AuthSettings, Authenticator, Credential};
use crate::between::outbox::errand_channel;
use crate::content::static_files;
use crate::entry::peer::Transport;
use crate::router;

/// Finds out who asks, with keys of its own.
pub struct Door {
    authenticator: Authenticator,
    settings: AuthSettings,
}

/// Whose request it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// It carries no token.
    Anonymous,
    /// It carries one that is not believed.
    Refused,
    /// It carries one that is.
    Known {
        /// What it says about its bearer.
        identity: Identity,
        /// When its stream would end.
        expires_at: SystemTime,
    },
}

impl Door {
    /// A door with the keys of these settings, whose files are read now.
    ///
    /// # Errors
    /// There are no sockets to be had.
    pub fn try_new(settings: AuthSettings) -> std::io::Result<Self> {
        // Nobody reads its log lines.
        let (outbox, _inbox) = errand_channel(Arc::default())?;
        let authenticator = Authenticator::new();
        authenticator.apply(&settings, &outbox);
        Ok(Self { authenticator, settings })
    }

    /// Whether a token of any kind can be believed.
    pub fn has_keys(&self) -> bool {
        self.authenticator.has_keys()
    }

    /// Who sends these headers and this query string, at this time.
    pub fn caller(&self, headers: &HeaderMap, query: &str, now: SystemTime) -> Caller {
        let query = Query::parse(query, self.settings.token_parameter.as_ref());
        let parameter = query.as_ref().ok().and_then(|query| query.token.as_deref());
        let credential = Credential::find(headers, parameter, &self.settings, Transport::Plain);
        match self.authenticator.authenticate(credential, &self.settings, now) {
            Ok(None) => Caller::Anonymous,
            Ok(Some(login)) => {
                Caller::Known { identity: (*login.identity).clone(), expires_at: login.expires_at }
            }
            Err(_) => Caller::Refused,
        }
    }
}

/// The status that a request is refused with for its size; `None` lets it in.
pub fn target_problem(request: &Request<()>) -> Option<StatusCode> {
    router::check_size(request).err().map(|problem| problem.into_response().status())
}

/// What the path of a target names below `sse.static_root`, links aside.
pub fn static_path(path: &str) -> Option<PathBuf> {
    static_files::relative_path(path)
}
