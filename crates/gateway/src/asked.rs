//! A request and who sent it, found out before its path is looked up: a sender who must authenticate is
//! refused first, so that a 401 does not tell which paths exist.
//!
//! Not for what the sender may do: that depends on the path.

use std::time::SystemTime;

use http::{Method, Request, StatusCode};
use sse_proto::call::Given;
use sse_proto::query::{Query, QueryError, TokenParameter};

use crate::auth::{Credential, Refused, Source, Verified};
use crate::between::outbox::Severity;
use crate::content::problem::Problem;
use crate::entry::peer::Peer;
use crate::entry::proxy::Sender;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::stats::Stats;

/// What is known of a request once its sender is.
pub(crate) struct Asked<'r> {
    pub(crate) request: &'r Request<()>,
    pub(crate) peer: Peer,
    pub(crate) sender: Sender,
    /// The query string read as that of a stream. Its error is told only if the request turns out to be for a
    /// stream.
    pub(crate) query: Result<Query, QueryError>,
    /// `None` = anonymous.
    pub(crate) login: Result<Option<Verified>, Refused>,
}

/// Why a request is refused whatever its path, except by calls that let anybody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// It has a token that is not believed.
    Refused(Refused),
    /// It has no token, and `sse.require_authentication` is on.
    Unknown,
}

impl<'r> Asked<'r> {
    pub(crate) fn new(request: &'r Request<()>, peer: Peer, settings: &Settings, shared: &Shared) -> Self {
        let sender = Sender::of(peer, request.headers(), &settings.trusted_proxies);
        tell_forwarding(peer, request, settings, shared);
        let text = request.uri().query().unwrap_or("");
        let parameter = settings.auth.token_parameter.as_ref();
        let query = Query::parse(text, parameter);
        if *request.method() == Method::OPTIONS {
            // A preflight carries no credentials.
            return Self { request, peer, sender, query, login: Ok(None) };
        }
        let token = match (&query, parameter) {
            (Ok(query), _) => query.token.clone(),
            (Err(QueryError::TokenTwice), _) | (Err(_), None) => None,
            (Err(_), Some(parameter)) => token_among_others(text, parameter),
        };
        let credential =
            Credential::find(request.headers(), token.as_deref(), &settings.auth, sender.transport);
        let login = shared.auth.authenticate(credential, &settings.auth, SystemTime::now());
        Self { request, peer, sender, query, login }
    }

    /// Why the sender is to be refused before the path is looked at.
    pub(crate) fn stranger(&self, settings: &Settings) -> Option<Stranger> {
        if *self.request.method() == Method::OPTIONS {
            return None;
        }
        match &self.login {
            Err(refused) => Some(Stranger::Refused(*refused)),
            Ok(None) if settings.auth.require_authentication => Some(Stranger::Unknown),
            Ok(_) => None,
        }
    }
}

impl Stranger {
    /// Whether a call that is open to anybody takes this request (C4.7): a bad cookie must not keep its owner
    /// from logging in or out.
    pub(crate) fn may_be_let_in(self) -> bool {
        match self {
            Self::Refused(refused) => refused.source == Source::Cookie,
            Self::Unknown => true,
        }
    }

    pub(crate) fn into_problem(self, asked: &Asked<'_>, settings: &Settings, shared: &Shared) -> Problem {
        match self {
            Self::Refused(refused) => {
                Stats::add(&shared.stats.refused_tokens_total, 1);
                refused.into_problem(&settings.auth, asked.sender.transport)
            }
            Self::Unknown => unauthenticated(),
        }
    }
}

/// Peers of which it is told that they forward and are not believed. Further ones may be anybody, who would
/// fill the log.
const MAX_TOLD: usize = 8;

/// Says, once for each of some peers, that it forwards and is not believed: behind a proxy that is forgotten
/// in `sse.trusted_proxies`, everything that is limited by address is limited for all together.
fn tell_forwarding(peer: Peer, request: &Request<()>, settings: &Settings, shared: &Shared) {
    let address = peer.address;
    if !request.headers().contains_key("x-forwarded-for") || settings.trusted_proxies.contains(address) {
        return;
    }
    let mut told = shared.told_of_forwarding.lock();
    if told.len() >= MAX_TOLD || told.contains(&address) {
        return;
    }
    told.push(address);
    shared.outbox.log(
        Severity::Log,
        format!(
            "{address} says in X-Forwarded-For for whom it asks, and is not believed: if it is a proxy of yours, name it in sse.trusted_proxies (said once)"
        ),
    );
}

pub(crate) fn unauthenticated() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "This is for authenticated subscribers.")
}

/// The token of a query string that cannot be read as that of a stream, as those of calls often cannot.
fn token_among_others(query: &str, parameter: &TokenParameter) -> Option<String> {
    let Ok(Given::Query(pairs)) = Given::parse_query(query) else { return None };
    let mut tokens = pairs.into_iter().filter(|(name, _)| name == parameter.as_str()).map(|(_, token)| token);
    let token = tokens.next().filter(|token| !token.is_empty())?;
    // Two tokens: given as an empty one, which is refused.
    if tokens.next().is_some() { Some(String::new()) } else { Some(token) }
}
