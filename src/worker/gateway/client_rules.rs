//! The settings that the files for clients depend on (`sse.serve_client`): while they are served, a change of
//! these makes the catalog worker make others, since they are made there.
//!
//! Not for making it (`client.rs`).

use crate::guc;

/// As they are now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientRules(Option<Rules>);

#[derive(Debug, PartialEq, Eq)]
struct Rules {
    url_prefix: String,
    schemas: String,
    default_level: &'static str,
    execution_id_headers: String,
    user_parameters: bool,
    require_authentication: bool,
    cookie_name: String,
    token_parameter: String,
}

impl ClientRules {
    pub(crate) fn present() -> Self {
        Self(guc::SERVE_CLIENT.get().then(|| Rules {
            url_prefix: guc::URL_PREFIX.text(),
            schemas: guc::SCHEMAS.text(),
            default_level: guc::default_level().as_str(),
            execution_id_headers: guc::EXECUTION_ID_HEADERS.text(),
            user_parameters: guc::USER_PARAMETERS.get(),
            require_authentication: guc::REQUIRE_AUTHENTICATION.get(),
            cookie_name: guc::gateway_settings().cookie_name().to_owned(),
            token_parameter: guc::TOKEN_PARAMETER.text(),
        }))
    }
}
