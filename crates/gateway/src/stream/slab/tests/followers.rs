//! Streams with a snapshot: the cut, marks, gaps.

use sse_proto::call::Cut;
use sse_proto::route::{RouteTable, Routine};
use sse_proto::word::Level;

use super::*;
use crate::between::snapshots::RunResult;
use crate::between::snapshots::tests::snapshot;

impl Rig {
    /// A stream that waits for its snapshot.
    async fn follower(&mut self) -> Client {
        let client = self.client().await;
        let slot = self.slot(&client);
        slot.follow(true);
        assert!(slot.take_wish());
        slot.awaits(snapshot(1, false));
        client
    }

    /// The ring was full.
    fn overflow(&mut self) {
        let mut batch = Batch::new(self.next_sequence);
        batch.push_overflow(None);
        self.next_sequence = batch.next_sequence();
        self.batches.send(Arc::new(batch)).unwrap();
    }

    /// The end of a run comes in the order of events.
    fn end_run(&mut self, call: u64) {
        let mut batch = Batch::new(self.next_sequence);
        batch.ended_snapshots.push((call, self.next_sequence - 1));
        self.batches.send(Arc::new(batch)).unwrap();
    }

    /// The result of a run that began when everything up to `position` was published, and saw `cut`.
    fn give(&mut self, client: &Client, position: u64, cut: Cut, end: Option<u64>) {
        // Its route has this snapshot while it is handed out.
        let stream = Routine::new(1, "public", "x", "@sse_subscribe live\n@sse_snapshot f");
        self.set_routes(&[function(), stream]);
        self.slab.hand_out(&result(position, cut), end, &[client.address.to_bits()]);
        self.set_routes(&[]);
    }

    fn set_routes(&mut self, routines: &[Routine]) {
        let routes = RouteTable::build(routines, "/api", Level::Info);
        self.slab.shared.set_routes(Arc::new(routes), 1);
    }
}

/// What the streams wait for.
fn function() -> Routine {
    let signature = Some(snapshot(2, false).call.signature.clone());
    Routine { signature, ..Routine::new(2, "public", "f", "") }
}

fn result(position: u64, cut: Cut) -> RunResult {
    let address = "127.0.0.1".parse().unwrap();
    RunResult { call: 7, ended_before: 8, position, cut, text: "state".to_owned(), address, _room: None }
}

/// The data and the id of each event.
fn events(read: &str) -> Vec<(String, String)> {
    let mut events = Vec::new();
    for block in read.split("id: ").skip(1) {
        let (id, rest) = block.split_once('\n').unwrap();
        let data = rest.split_once("data: ").unwrap().1.split_once('\n').unwrap().0;
        events.push((data.to_owned(), id.to_owned()));
    }
    events
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(data, id)| ((*data).to_owned(), (*id).to_owned())).collect()
}

#[tokio::test]
async fn what_the_snapshot_saw_is_not_sent_and_ids_are_marked_until_none_of_it_can_follow() {
    let mut rig = Rig::new();
    rig.publish_of("before", Some(10));
    let mut client = rig.follower().await;
    // It saw 10, 11 and 13; 12 was running.
    let cut = Cut::new(12, 14, vec![12]);
    for (data, xid) in [
        ("seen", Some(11)),
        ("missed", Some(12)),
        ("seen later", Some(13)),
        ("new", Some(14)),
        ("at once", None),
    ] {
        rig.publish_of(data, xid);
    }
    rig.round().await;
    assert!(client.reads_nothing());
    rig.give(&client, 1, cut, Some(6));
    // A visit writes four times at most.
    for _ in 0..4 {
        rig.round().await;
    }
    let read = client.read_to("at once").await;
    let expected = [("state", "e-2s"), ("missed", "e-3s"), ("new", "e-5"), ("at once", "e-6")];
    assert_eq!(events(&read), pairs(&expected), "{read}");
    assert_eq!(rig.slab.tally.covered, 1);
    // Each block is a chunk of the size that it says.
    assert!(
        read.starts_with("16\r\nid: e-2s\ndata: state\n\n\r\n17\r\nid: e-3s\ndata: missed\n\n\r\n"),
        "{read}"
    );
}

#[tokio::test]
async fn while_the_end_of_a_run_has_not_come_everything_is_marked() {
    let mut rig = Rig::new();
    let mut client = rig.follower().await;
    rig.give(&client, 0, Cut::new(10, 10, Vec::new()), None);
    rig.publish_of("new", Some(10));
    rig.publish_of("seen", Some(9));
    rig.round().await;
    assert_eq!(events(&client.read_to("new").await), pairs(&[("state", "e-0s"), ("new", "e-1s")]));
    rig.end_run(7);
    rig.round().await;
    // Nothing that it saw can follow: whatever bears such a number now is sent.
    rig.publish_of("later", Some(9));
    rig.round().await;
    assert_eq!(events(&client.read_to("later").await), pairs(&[("later", "e-3")]));
}

// The ring was full when it should have come.
#[tokio::test]
async fn an_end_that_is_lost_is_made_good_by_that_of_a_run_that_began_later() {
    for (call, is_closed) in [(6, false), (8, false), (9, true)] {
        let mut rig = Rig::new();
        let mut client = rig.follower().await;
        rig.give(&client, 0, Cut::new(10, 10, Vec::new()), None);
        rig.end_run(call);
        rig.round().await;
        rig.publish_of("new", Some(10));
        rig.round().await;
        let id = if is_closed { "e-1" } else { "e-1s" };
        let wanted = pairs(&[("state", "e-0s"), ("new", id)]);
        assert_eq!(events(&client.read_to("new").await), wanted, "{call}");
    }
}

#[tokio::test]
async fn without_anything_in_between_the_snapshot_is_not_marked() {
    let mut rig = Rig::new();
    rig.publish_of("before", Some(3));
    let mut client = rig.follower().await;
    rig.publish_of("seen", Some(9));
    rig.round().await;
    rig.give(&client, 1, Cut::new(10, 10, Vec::new()), Some(2));
    rig.publish_of("new", Some(10));
    rig.round().await;
    assert_eq!(events(&client.read_to("new").await), pairs(&[("state", "e-2"), ("new", "e-3")]));
}

#[tokio::test]
async fn a_gap_for_everybody_is_marked_and_holds_the_stream_for_another_snapshot() {
    let mut rig = Rig::new();
    let mut client = rig.follower().await;
    rig.give(&client, 0, Cut::new(10, 10, Vec::new()), Some(0));
    rig.publish_of("one", Some(10));
    rig.overflow();
    rig.publish_of("two", Some(11));
    // The slab asks for it, and there is no route: a gap, and the stream goes on in its next turn.
    rig.round().await;
    rig.round().await;
    let read = client.read_to("two").await;
    let ids: Vec<String> = events(&read).into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, ["e-0", "e-1", "e-2s", "e-2s", "e-3s"], "{read}");
    assert!(read.find("overflow") < read.find("\"snapshot\""), "{read}");
}

// What belongs to no transaction (immediate, or of one that changed nothing) no snapshot can have seen.
#[tokio::test]
async fn what_no_snapshot_can_have_seen_is_sent_although_it_came_before_the_run_began() {
    for end in [Some(5), None] {
        let mut rig = Rig::new();
        rig.publish_of("before", None);
        let mut client = rig.follower().await;
        for (data, xid) in
            [("seen", Some(10)), ("at once", None), ("seen later", Some(11)), ("new", Some(12))]
        {
            rig.publish_of(data, xid);
        }
        rig.round().await;
        // The run begins after all of them but the last.
        rig.give(&client, 4, Cut::new(12, 12, Vec::new()), end);
        for _ in 0..4 {
            rig.round().await;
        }
        let read = client.read_to("new").await;
        let data: Vec<String> = events(&read).into_iter().map(|(data, _)| data).collect();
        assert_eq!(data, ["state", "at once", "new"], "{read}");
        assert!(read.contains("id: e-2s\ndata: state"), "{read}");
    }
}

// Attack: whoever may publish makes a stream meet thousands of gaps at once, when there is no snapshot any
// more that could follow them. A visit within a visit for each overflows the stack, and with it ends the
// cluster.
#[tokio::test]
async fn thousands_of_gaps_in_one_round_take_no_more_stack_than_one() {
    let mut rig = Rig::new();
    let client = rig.follower().await;
    rig.give(&client, 0, Cut::new(10, 10, Vec::new()), Some(0));
    let count = 20_000;
    let mut batch = Batch::new(rig.next_sequence);
    (0..count).for_each(|_| batch.push_overflow(None));
    rig.next_sequence = batch.next_sequence();
    rig.batches.send(Arc::new(batch)).unwrap();
    let Client { socket, address } = client;
    let reading = tokio::spawn(async move {
        let mut client = Client { socket, address };
        client.read_to(&format!("id: e-{count:x}s\n")).await
    });
    while !reading.is_finished() {
        rig.round().await;
    }
    assert!(reading.await.unwrap().contains("\"overflow\""));
}

#[tokio::test]
async fn a_result_that_the_window_no_longer_reaches_is_a_gap() {
    let mut rig = Rig::new();
    let mut client = rig.follower().await;
    let settings = Settings { window_size: 0, ..Settings::default() };
    rig.slab.settings = Arc::new(settings);
    rig.publish_of("gone", Some(10));
    rig.round().await;
    rig.give(&client, 0, Cut::new(10, 10, Vec::new()), Some(0));
    rig.publish_of("two", Some(11));
    rig.round().await;
    let read = client.read_to("two").await;
    assert!(read.contains("\"snapshot\"") && !read.contains("state"), "{read}");
    assert!(read.contains("id: e-2s\ndata: two"), "{read}");
}

// Found by the test of the exact cut, on a busy machine: what was sent at once while a stream waited had left
// the window when its snapshot came, and nobody said so.
#[tokio::test]
async fn a_snapshot_comes_behind_a_gap_if_events_of_no_transaction_have_left_the_window_meanwhile() {
    for (first, second, is_told) in
        [(Some(9), Some(10), false), (None, Some(10), true), (Some(10), None, true)]
    {
        let mut rig = Rig::new();
        rig.slab.settings = Arc::new(Settings { window_size: 0, ..Settings::default() });
        rig.publish_of("before", None);
        rig.round().await;
        let mut client = rig.follower().await;
        rig.publish_of("gone", first);
        rig.publish_of("gone", second);
        rig.round().await;
        rig.give(&client, 3, Cut::new(11, 11, Vec::new()), Some(3));
        rig.publish_of("new", Some(11));
        rig.round().await;
        rig.round().await;
        let read = client.read_to("new").await;
        let ids: Vec<String> = events(&read).into_iter().map(|(_, id)| id).collect();
        let wanted: &[&str] = if is_told { &["e-3s", "e-3", "e-4"] } else { &["e-3", "e-4"] };
        assert_eq!(ids, wanted, "{read}");
        assert_eq!(read.contains("\"slow\""), is_told, "{read}");
    }
}

// The ring was full while the stream waited: what was sent at once and lost then is in no snapshot.
#[tokio::test]
async fn a_snapshot_comes_behind_a_gap_if_something_was_lost_while_the_stream_waited() {
    for (leaves, reason) in [(false, "\"overflow\""), (true, "\"slow\"")] {
        let mut rig = Rig::new();
        if leaves {
            rig.slab.settings = Arc::new(Settings { window_size: 0, ..Settings::default() });
        }
        let mut client = rig.follower().await;
        rig.publish_of("seen", Some(9));
        rig.overflow();
        rig.publish_of("seen", Some(9));
        rig.round().await;
        rig.give(&client, 3, Cut::new(10, 10, Vec::new()), Some(3));
        rig.publish_of("new", Some(10));
        rig.round().await;
        rig.round().await;
        let read = client.read_to("new").await;
        let ids: Vec<String> = events(&read).into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids, ["e-3s", "e-3", "e-4"], "{read}");
        assert!(read.find(reason) < read.find("state") && read.contains(reason), "{read}");
    }
}

// Attack: somebody's right to a snapshot is taken away while it runs, and its URL with it.
#[tokio::test]
async fn a_result_whose_url_has_gone_is_nobodys() {
    let mut rig = Rig::new();
    let mut client = rig.follower().await;
    rig.slab.hand_out(&result(0, Cut::new(10, 10, Vec::new())), Some(0), &[client.address.to_bits()]);
    rig.publish_of("new", Some(10));
    rig.round().await;
    let read = client.read_to("new").await;
    assert!(read.contains("\"snapshot\"") && !read.contains("state"), "{read}");
    assert!(read.contains("id: e-1s\ndata: new"), "{read}");
}

#[tokio::test]
async fn a_stream_without_a_snapshot_is_marked_until_it_gets_one() {
    let mut rig = Rig::new();
    let mut client = rig.follower().await;
    rig.slab.say_none(client.address);
    for data in ["one", "two"] {
        rig.publish_of(data, Some(10));
        rig.round().await;
        client.read_to(&format!("s\ndata: {data}\n")).await;
    }
    let slot = rig.slot(&client);
    slot.hold();
    slot.awaits(snapshot(1, false));
    rig.give(&client, 2, Cut::new(11, 11, Vec::new()), Some(2));
    rig.publish_of("three", Some(11));
    rig.round().await;
    let read = client.read_to("three").await;
    assert_eq!(events(&read), pairs(&[("state", "e-2"), ("three", "e-3")]), "{read}");
}
