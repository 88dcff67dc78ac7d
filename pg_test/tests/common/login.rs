//! An application with a login, and the cookie that it sets.
//!
//! Not for tokens that tests make themselves (tokens.rs).

use anyhow::{Context, Result, ensure};
use cluster::http::Response;
use serde_json::json;

use super::calls::{Api, told};

/// A login that knows alice and bob by their passwords, and what they may do.
pub(crate) const APPLICATION: &str = "
    create function login(_name text, _password text) returns table (user_id int, user_name text, user_roles text[], team text)
    language sql stable security definer as $$
        select 1, 'alice', '{staff,\"a, b\"}'::text[], 'red' where _name = 'alice' and _password = 'a'
        union all select 2, 'bob', '{}', null where _name = 'bob' and _password = 'b' $$;
    comment on function login(text, text) is 'HTTP POST\n@login\n@anonymous';
    create function logout() returns void language sql as '';
    comment on function logout() is 'HTTP POST\n@logout\n@anonymous';
    create function get_me() returns json language sql stable as $$
        select json_build_array(current_setting('request.user_id'), current_setting('request.user_name'), current_setting('request.user_roles')) $$;
    comment on function get_me() is 'HTTP\n@authorize';
    create procedure announce(what text) language plpgsql as $$ begin raise info '%', what; end $$;
    comment on procedure announce(text) is 'HTTP POST\n@authorize\n@sse';";

pub(crate) fn login(api: &Api<'_>, name: &str, password: &str) -> Result<Response> {
    api.post("login", &json!({ "name": name, "password": password }))
}

/// The cookie of a login, as `Cookie` sends it.
pub(crate) fn session(answer: &Response) -> Result<String> {
    ensure!(answer.status() == 200, "{}", told(answer));
    // Which of them, and when, is asserted where somebody logs out.
    let names = ["sse_session", "__Host-sse_session"];
    let found = names.into_iter().find_map(|name| Some((name, answer.head.cookie(name)?)));
    let (name, token) = found.context("no cookie")?;
    Ok(format!("{name}={token}"))
}
