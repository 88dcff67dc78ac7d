//! How a stream ends before its subscriber wants it to: its token expires, its user is disconnected; and who
//! is listening (C4.7, C4.8, C8.1).
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant, SystemTime};

use sse_gateway::{Config, Settings, SubscriberInfo};
use sse_proto::scope::Scope;
use support::peer::{End, Stream, ask};
use support::tokens::{bearer, token};
use support::{EPOCH, Raise, TestGateway, auth, config, disconnect, eventually, folder, raise, settings};

fn with_secret() -> Settings {
    Settings { auth: auth(), ..settings() }
}

fn unix_now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

fn open(port: u16, query: &str, user_id: &str, expires_at: u64) -> Stream {
    let claims = serde_json::json!({
        "user_id": user_id, "user_name": "somebody", "iat": unix_now().as_secs_f64(), "exp": expires_at,
    });
    Stream::ready_at(port, &format!("/api/events/info{query}"), &bearer(&token(&claims)))
}

fn later() -> u64 {
    unix_now().as_secs() + 3600
}

fn all(gateway: &TestGateway, limit: usize) -> Vec<SubscriberInfo> {
    let (mut asked, mut found) = (gateway.gateway.subscribers(limit), None);
    eventually("every thread has answered", || {
        found = asked.poll();
        found.is_some()
    });
    let mut found = found.unwrap_or_default();
    found.sort_by(|a, b| (&a.user_id, &a.topics).cmp(&(&b.user_id, &b.topics)));
    found
}

#[test]
fn a_stream_ends_cleanly_within_a_second_of_its_tokens_expiry_and_others_go_on() {
    let gateway = TestGateway::with(with_secret());
    let expires_at = unix_now().as_secs() + 2;
    let short = open(gateway.port(), "", "1", expires_at);
    let mut long = open(gateway.port(), "", "1", later());
    let mut anonymous = Stream::ready(gateway.port());
    gateway.say("before");
    let (end, events) = short.end();
    let ended_at = unix_now();
    assert_eq!((end, events.len()), (End::Clean, 1));
    assert!(ended_at >= Duration::from_secs(expires_at), "{ended_at:?}");
    assert!(ended_at < Duration::from_millis(expires_at * 1000 + 1300), "{ended_at:?} {expires_at}");
    gateway.say("after");
    assert_eq!(long.take(2), ["before", "after"]);
    assert_eq!(anonymous.take(2), ["before", "after"]);
    eventually("its stream is counted out", || gateway.subscribers() == 2);
}

// A reader that lags must not be sent, after its token has expired, what was published after that.
#[test]
fn a_stream_that_lags_behind_when_its_token_expires_gets_the_rest_of_one_event_and_no_other() {
    let gateway = TestGateway::with(with_secret());
    let expires_at = unix_now().as_secs() + 2;
    let lagging = open(gateway.port(), "", "1", expires_at);
    let id = Scope::parse("authorize id:1").unwrap();
    let one = Raise { scope: id, ..raise("x".repeat(5000)) };
    for _ in 0..20 {
        gateway.publish(&vec![one.clone(); 100]);
    }
    eventually("expired", || unix_now() > Duration::from_millis(expires_at * 1000 + 1100));
    let before = gateway.count(|stats| &stats.deliveries_total);
    gateway.publish(&vec![Raise { data: "too late".to_owned(), ..one }; 10]);
    let (end, events) = lagging.end();
    assert_eq!(end, End::Clean);
    assert!(events.len() < 2000 && events.len() as u64 <= before + 1, "{} {before}", events.len());
    assert!(!events.is_empty() && events.iter().all(|event| event.data.len() == 5000));
}

#[test]
fn a_disconnected_users_streams_end_cleanly_and_all_others_go_on() {
    let (_folder, directory) = folder();
    let of_two = Config { threads: 2, data_directory: Some(directory.clone()), ..config() };
    let gateway = TestGateway::configured(of_two, with_secret());
    let healthz = || ask(gateway.port(), "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    eventually("the file is read", || healthz().head.status == 200);
    let mine: Vec<Stream> =
        ["", "?topic=t", "?id=x"].iter().map(|query| open(gateway.port(), query, "1", later())).collect();
    let mut other = open(gateway.port(), "", "11", later());
    let mut anonymous = Stream::ready(gateway.port());
    let before = SystemTime::now();
    let mut new = open(gateway.port(), "", "1", later());
    disconnect(&gateway, &directory, "1", before);
    for stream in mine {
        assert_eq!(stream.end(), (End::Clean, Vec::new()));
    }
    gateway.say("still there");
    for stream in [&mut other, &mut anonymous, &mut new] {
        assert_eq!(stream.next().data, "still there");
    }
    eventually("counted", || gateway.subscribers() == 3);
}

#[test]
fn subscribers_are_listed_with_what_they_asked_for_and_got() {
    let gateway = TestGateway::configured(Config { threads: 2, ..config() }, with_secret());
    let mut streams = [
        Stream::ready(gateway.port()),
        open(gateway.port(), "?topic=b&topic=a", "1", later()),
        open(gateway.port(), "?id=x", "2", later()),
    ];
    gateway.publish(&[
        raise("1"),
        Raise { topic: Some("a".to_owned()), ..raise("2") },
        Raise { scope: Scope::parse("authorize id:2").unwrap(), ..raise("3") },
    ]);
    assert_eq!(streams[0].take(1), ["1"]);
    assert_eq!(streams[1].take(1), ["2"]);
    assert_eq!(streams[2].take(2), ["1", "3"]);
    eventually("counted", || gateway.count(|stats| &stats.deliveries_total) == 4);
    let found = all(&gateway, 100);
    let brief: Vec<_> = found
        .iter()
        .map(|one| (one.user_id.as_deref(), one.topics.join(","), one.events, one.last_event_id.as_str()))
        .collect();
    let last = format!("{EPOCH:x}-3");
    assert_eq!(
        brief,
        [
            (None, String::new(), 1, &*last),
            (Some("1"), "b,a".to_owned(), 1, &*last),
            (Some("2"), String::new(), 2, &*last)
        ]
    );
    for one in &found {
        assert_eq!(one.address.to_string(), "127.0.0.1");
        assert_eq!(one.path, "/api/events/info");
        assert!(one.bytes > 50 && one.connected_at <= SystemTime::now());
        assert_eq!(one.user_name.as_deref(), one.user_id.as_ref().map(|_| "somebody"));
    }
    for limit in [0, 1, 2] {
        assert_eq!(all(&gateway, limit).len(), limit);
    }
}

#[test]
fn a_list_of_many_subscribers_is_made_between_the_events() {
    let gateway = TestGateway::new();
    let mut streams: Vec<Stream> = (0..1500).map(|_| Stream::ready(gateway.port())).collect();
    let mut lists: Vec<_> = (0..8).map(|_| gateway.gateway.subscribers(10_000)).collect();
    gateway.say("meanwhile");
    for stream in &mut streams {
        assert_eq!(stream.next().data, "meanwhile");
    }
    let until = Instant::now() + Duration::from_secs(10);
    for list in &mut lists {
        let found = loop {
            if let Some(found) = list.poll() {
                break found;
            }
            assert!(Instant::now() < until);
            std::thread::yield_now();
        };
        assert_eq!(found.len(), 1500);
    }
    drop(gateway);
}
