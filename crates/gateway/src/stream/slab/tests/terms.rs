//! Streams whose topic changes while they have not got everything by the old rule.

use sse_proto::caller::Caller;
use sse_proto::route::{RouteTable, Routine};
use sse_proto::word::Level;

use super::*;

const END: &str = "0\r\n\r\n";
const GAP: &str = "event: sse.gap\ndata: {\"reason\": \"unknown\", \"missed\": null}";

/// With one stream, of this topic.
fn table(topic: &str) -> Arc<RouteTable> {
    let routine = Routine::new(1, "public", "x", format!("@sse_subscribe live\n@sse_topic {topic}"));
    Arc::new(RouteTable::build(&[routine], "/api", Level::Info))
}

impl Rig {
    async fn with_topic(topic: &str) -> Self {
        let mut rig = Self::new();
        rig.slab.settings = Arc::new(Settings { window_size: 64 << 20, ..Settings::default() });
        rig.set_topic(topic, 1);
        rig.round().await;
        rig
    }

    fn set_topic(&mut self, topic: &str, generation: u64) {
        self.slab.shared.set_routes(table(topic), generation);
    }

    /// A stream whose request was answered by the rule with this topic, and which has one of its own.
    async fn listener(&mut self, topic: &str, own: Option<&str>, last: &str) -> (Client, String) {
        let table = table(topic);
        let route = table.find("/api/x/live").unwrap();
        let named: Vec<Topic> = own.iter().map(|topic| Topic::parse(topic).unwrap()).collect();
        let terms = Terms::new(route, None, &named);
        let topics = route.topic.iter().cloned().chain(named).collect();
        self.join(topics, Some(terms), last).await
    }

    fn publish_in(&mut self, topic: &str, data: &[&str]) -> u64 {
        self.publish_all(data, Envelope { topic: Some(topic), ..Envelope::for_all() })
    }

    fn ending(&self) -> usize {
        self.slab.slots.iter().filter(|slot| slot.as_ref().is_none_or(Slot::is_ending)).count()
    }
}

#[tokio::test]
async fn a_stream_that_leaves_unread_events_of_its_old_topic_behind_is_told_by_a_gap() {
    let mut rig = Rig::with_topic("a").await;
    let (client, _) = rig.listener("a", None, "").await;
    let data = "x".repeat(10_000);
    for _ in 0..16 {
        rig.publish_in("a", &[data.as_str(); 100]);
    }
    for _ in 0..20 {
        rig.round().await;
    }
    assert!(rig.slot(&client).is_blocked());
    rig.set_topic("b", 2);
    rig.publish_in("b", &["b1"]);
    rig.round().await;
    let read = rig.rounds_to(client, END).await;
    assert!(read.contains(&format!("id: e-0\n{GAP}")), "{}", &read[read.len() - 200..]);
}

// A live stream has got everything, wherever its cursor stands.
#[tokio::test]
async fn what_was_published_before_the_routes_were_put_in_force_is_brought_by_the_old_rule() {
    for is_known in [false, true] {
        let mut rig = Rig::with_topic("a").await;
        let (client, _) = rig.listener("a", None, "").await;
        if is_known {
            rig.publish_in("a", &["a0"]);
            rig.round().await;
        }
        rig.publish_in("a", &["a1", "a2"]);
        rig.set_topic("b", 2);
        let read = rig.rounds_to(client, END).await;
        assert!(read.contains("data: a1\n") && read.contains("data: a2\n"), "{read}");
        assert!(read.contains("id: e-0\nevent: sse.ready") && !read.contains("sse.gap"), "{read}");
    }
}

#[tokio::test]
async fn a_stream_that_heard_nothing_for_long_comes_back_from_a_place_just_before_the_change() {
    for own in [None, Some("mine")] {
        let mut rig = Rig::with_topic("a").await;
        let (client, _) = rig.listener("a", own, "").await;
        // Of others, who have the topic that this stream will have.
        rig.publish_in("b", &["b1", "b2", "b3"]);
        for now in [1000, 2000, 3000] {
            rig.slab.now = now;
            rig.round().await;
        }
        rig.publish_in("b", &["b4"]);
        rig.set_topic("b", 2);
        let read = rig.rounds_to(client, END).await;
        assert!(read.contains("id: e-3\nevent: sse.ready") && !read.contains("sse.gap"), "{read}");
    }
}

#[tokio::test]
async fn a_stream_in_the_middle_of_a_large_event_gets_all_of_it_and_then_its_last_word() {
    let mut rig = Rig::with_topic("a").await;
    let (client, _) = rig.listener("a", None, "").await;
    let large = "x".repeat(8 << 20);
    rig.publish_in("a", &[large.as_str(), "after"]);
    rig.round().await;
    assert!(rig.slot(&client).is_blocked());
    // Long after the change it still knows the place from where the new rule may have been heard.
    for now in [5000, 10_000, 15_000] {
        rig.set_topic("b", 2);
        rig.publish_in("b", &["b1"]);
        rig.slab.now = now;
        rig.round().await;
    }
    assert_eq!((rig.slab.postponed(), rig.ending()), (1, 0));
    let read = rig.rounds_to(client, END).await;
    assert!(read.contains(&format!("data: {large}\n")));
    let rest = &read[read.len() - 300..];
    // It has got the next one, too, or is told that it has not.
    assert!(rest.contains("data: after\n") != rest.contains(GAP), "{rest}");
    assert!(rest.contains("id: e-0\nevent: sse."), "{rest}");
    assert_eq!(rig.slab.postponed(), 0);
}

#[tokio::test]
async fn a_stream_that_goes_while_its_end_is_put_off_is_forgotten() {
    let mut rig = Rig::with_topic("a").await;
    let (client, _) = rig.listener("a", None, "").await;
    rig.publish_in("a", &["x".repeat(8 << 20).as_str()]);
    rig.round().await;
    rig.set_topic("b", 2);
    rig.round().await;
    assert_eq!(rig.slab.postponed(), 1);
    drop(client);
    while rig.slab.slots[0].is_some() {
        rig.round().await;
    }
    assert_eq!(rig.slab.postponed(), 0);
}

#[tokio::test]
async fn a_request_that_was_answered_by_earlier_routes_comes_back_from_where_it_began() {
    let mut rig = Rig::with_topic("a").await;
    rig.set_topic("b", 2);
    rig.publish_in("b", &["b1"]);
    rig.round().await;
    let (client, mut read) = rig.listener("a", None, "e-0").await;
    if !read.ends_with(END) {
        read += &rig.rounds_to(client, END).await;
    }
    assert!(!read.contains("e-1\n") && !read.contains("sse.gap"), "{read}");
}

// A call whose answer is a stream of this thread has its public events filed.
#[tokio::test]
async fn a_public_event_of_a_call_is_one_that_a_stream_of_another_topic_has_missed() {
    let mut rig = Rig::with_topic("a").await;
    let (client, _) = rig.listener("a", None, "").await;
    let watch = rig.slab.incoming.call_ends.watch(7, None).for_stream();
    let caller =
        Caller { call: 7, is_authenticated: false, user_id: None, execution_id: None, has_made_id: false };
    rig.publish_all(&["raised"], Envelope { caller: Some(caller), ..Envelope::for_all() });
    // Of three changes the gateway has seen only the last: the topic in between may have been none.
    rig.set_topic("b", 4);
    let read = rig.rounds_to(client, END).await;
    assert!(read.contains(GAP), "{read}");
    drop(watch);
}

// Attack: whoever may change a comment makes the gateway look at a thousand events for each of thousands of
// streams, and all others wait meanwhile.
#[tokio::test]
async fn a_turn_looks_at_8192_items_and_the_other_streams_end_in_later_ones() {
    let mut rig = Rig::with_topic("a").await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(rig.listener("a", Some("mine"), "").await.0);
    }
    rig.publish_in("mine", &["x"; 1000]);
    for _ in 0..20 {
        rig.round().await;
    }
    rig.set_topic("b", 2);
    rig.slab.note_routes();
    for (has_more, ending) in [(true, 9), (true, 18), (false, 20)] {
        assert_eq!((rig.slab.keep_accord(), rig.ending()), (has_more, ending));
    }
}

// Attack: thousands of streams are put off, each to be looked at in every round, while others wait.
#[tokio::test]
async fn a_turn_ends_256_streams_that_were_put_off_and_the_others_in_the_next() {
    for (count, wanted) in [(255, vec![255]), (256, vec![256]), (257, vec![256, 1])] {
        let mut rig = Rig::with_topic("a").await;
        let mut clients = Vec::new();
        for _ in 0..count {
            clients.push(rig.listener("a", None, "").await.0);
        }
        let large = rig.publish_in("a", &["x".repeat(100_000).as_str()]);
        rig.slab.take_batches();
        let stand_in = |rig: &mut Rig, sequence, written| {
            rig.slab.slots.iter_mut().flatten().for_each(|slot| slot.stand_in(sequence, written));
        };
        stand_in(&mut rig, large, 1);
        rig.set_topic("b", 2);
        rig.slab.note_routes();
        while rig.slab.keep_accord() {}
        // Those beyond the bound are a turn of their own, and the next one begins with the first stream.
        if count > 256 {
            rig.slab.keep_accord();
        }
        assert_eq!((rig.slab.postponed(), rig.ending()), (count, 0));
        stand_in(&mut rig, large + 1, 0);
        let mut turns = Vec::new();
        while rig.slab.postponed() > 0 {
            let before = rig.ending();
            rig.slab.keep_accord();
            turns.push(rig.ending() - before);
        }
        assert_eq!(turns, wanted);
    }
}
