//! Files for clients, in parts that come of several workers (`worker/gateway/served_client.rs`).

use sse_proto::client_file::ClientFile::{OpenApi, TypeScript};

use super::served_client::ServedClient;

fn text(client: &ServedClient) -> Option<&str> {
    client.present(TypeScript).map(|bytes| std::str::from_utf8(bytes).unwrap())
}

// A gateway that has been started again makes files while the worker of the one before still does.
#[test]
fn parts_of_a_later_reading_are_never_mixed_with_those_of_an_earlier_one() {
    let mut client = ServedClient::default();
    let mut take = |reading: u64, file, parts: &[&str]| {
        parts.iter().for_each(|part| client.take(reading, file, part, None));
        text(&client).map(str::to_owned)
    };
    assert_eq!(take(5, TypeScript, &["a", "b"]), None);
    assert_eq!(take(6, OpenApi, &["x"]), None);
    assert_eq!(take(5, TypeScript, &["c", ""]), None, "the earlier one is too late");
    assert_eq!(take(6, TypeScript, &["d"]), None);
    assert_eq!(take(5, TypeScript, &["e", ""]), None);
    assert_eq!(take(6, TypeScript, &["f", ""]).as_deref(), Some("df"));
    assert_eq!(take(5, TypeScript, &["g", ""]).as_deref(), Some("df"), "what is there stays");
    assert_eq!(take(7, TypeScript, &["h"]).as_deref(), Some("df"), "until another one is complete");
    assert_eq!(take(7, TypeScript, &[""]).as_deref(), Some("h"));
}
