//! A gateway with routes for everybody, for the known, and for a list; and what its door answers.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use super::peer::{Answer, ask};
use super::{TestGateway, routes, settings};
use sse_gateway::{AuthSettings, Settings};

pub fn with(auth: AuthSettings) -> TestGateway {
    started(Settings { auth, ..settings() })
}

/// With a route for everybody, one for the authenticated, and one for a list.
pub fn started(settings: Settings) -> TestGateway {
    let gateway = TestGateway::with(settings);
    let routes = routes(&[
        ("events", "@sse"),
        ("known", "@sse\n@authorize"),
        ("staff", "@sse\n@authorize id:alice, role:admin"),
        ("open", "@sse\n@anonymous"),
    ]);
    gateway.gateway.set_routes(routes, 2);
    gateway
}

pub fn try_get(gateway: &TestGateway, target: &str, headers: &str) -> Answer {
    ask(gateway.port(), &format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"))
}

pub fn status(gateway: &TestGateway, target: &str, headers: &str) -> u16 {
    try_get(gateway, target, headers).head.status
}

pub fn get(gateway: &TestGateway, target: &str, headers: &str) -> Answer {
    ask(gateway.port(), &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"))
}

pub const EVENTS: &str = "/api/events/info";
