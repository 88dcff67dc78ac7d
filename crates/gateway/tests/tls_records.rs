//! Records that no honest client of TLS makes, after a handshake as any other.
//!
//! Not for those of a handshake: `tls.rs`.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write as _;
use std::sync::Arc;

use support::peer::GET;
use support::tls::{Site, TlsPeer, VERSIONS, secure};
use support::{TestGateway, eventually};

/// What comes after the last words of a client of TLS 1.3: records of any text, and of none, which its own
/// side would not make.
struct Sealer {
    key: aws_lc_rs::aead::LessSafeKey,
    iv: [u8; 12],
    next: u64,
}

impl Sealer {
    fn of(peer: &mut TlsPeer, config: &Arc<rustls::ClientConfig>) -> Self {
        use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let other = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
        let (next, secrets) = std::mem::replace(&mut peer.tls, other).dangerous_extract_secrets().unwrap().tx;
        let rustls::ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!() };
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
        Self { key, iv: iv.as_ref().try_into().unwrap(), next }
    }

    fn record(&mut self, text: &[u8]) -> Vec<u8> {
        use aws_lc_rs::aead::{Aad, Nonce};
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(self.next.to_be_bytes()).for_each(|(byte, other)| *byte ^= other);
        self.next += 1;
        let mut sealed = [text, &[23]].concat();
        let header = [23, 3, 3, 0, (sealed.len() + 16) as u8];
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut sealed).unwrap();
        [&header[..], &sealed].concat()
    }
}

/// A connection whose handshake is made, for a [`Sealer`].
fn shaken(gateway: &TestGateway, site: &Site) -> (TlsPeer, Arc<rustls::ClientConfig>) {
    let mut config = (*site.trust(&[&rustls::version::TLS13])).clone();
    config.enable_secret_extraction = true;
    let config = Arc::new(config);
    let mut peer = TlsPeer::connect(gateway.port(), &config);
    peer.shake();
    (peer, config)
}

// Attack: thirty-two records without text before each byte of a head: all have to be decrypted, and the head
// stays short.
#[test]
fn records_without_text_are_let_pass_up_to_64_kb_and_end_the_connection_beyond() {
    let (site, gateway) = secure();
    // Each group is 727 bytes, of which its byte of text excuses two, and 64 kB are 90 groups; a second
    // forgives more than one. (`stream/socket/overhead.rs` has the bound to the byte.)
    for (groups, is_answered) in [(85, true), (200, false)] {
        let (mut peer, config) = shaken(&gateway, &site);
        peer.send(format!("{}\r\nX: ", GET.trim_end()).as_bytes());
        let mut sealer = Sealer::of(&mut peer, &config);
        for _ in 0..groups {
            let group: Vec<u8> =
                [&[][..]; 32].into_iter().chain([&b"x"[..]]).flat_map(|text| sealer.record(text)).collect();
            // It may be closed by now.
            let _ = peer.tcp.write_all(&group);
        }
        let _ = peer.tcp.write_all(&sealer.record(b"\r\n\r\n"));
        if is_answered {
            eventually("the stream begins", || gateway.subscribers() == 1);
            peer.hang_up();
        }
        eventually("the socket is given back", || gateway.count(|stats| &stats.connections) == 0);
        assert_eq!(gateway.count(|stats| &stats.subscribers_total), 1, "{groups} groups");
    }
}

// Attack: a head in sixteen thousand records: sixteen thousand decryptions, for one request.
#[test]
fn a_head_may_come_byte_by_byte_but_not_all_of_a_long_one() {
    let (site, gateway) = secure();
    for (length, is_answered) in [(2_000, true), (16_000, false)] {
        let (mut peer, config) = shaken(&gateway, &site);
        let mut sealer = Sealer::of(&mut peer, &config);
        let head = format!("{}\r\nX: {}\r\n\r\n", GET.trim_end(), "x".repeat(length));
        let records: Vec<u8> = head.bytes().flat_map(|byte| sealer.record(&[byte])).collect();
        // It may be closed before all of it is sent.
        let _ = peer.tcp.write_all(&records);
        if is_answered {
            eventually("the stream begins", || gateway.subscribers() == 1);
            peer.hang_up();
        }
        eventually("the socket is given back", || gateway.count(|stats| &stats.connections) == 0);
        assert_eq!(gateway.count(|stats| &stats.subscribers_total), 1, "{length} bytes");
    }
}

// Attack: in mid-stream the keys are changed again and again; each change costs new keys on both sides, and
// an answer.
#[test]
fn changes_of_keys_in_mid_stream_are_let_pass_in_tens_and_end_the_stream_in_thousands() {
    let (site, gateway) = secure();
    let mut peer = TlsPeer::listen(gateway.port(), &site.trust(&[&rustls::version::TLS13]));
    // As many as there may be in a row.
    for _ in 0..32 {
        peer.tls.refresh_traffic_keys().unwrap();
        peer.flush();
    }
    gateway.say("with other keys");
    peer.read_to("data: with other keys\n\n");
    // Their answers are not read.
    for _ in 0..20_000 {
        if peer.tls.refresh_traffic_keys().is_err() || peer.tls.write_tls(&mut peer.tcp).is_err() {
            break;
        }
    }
    eventually("the stream is ended", || gateway.subscribers() == 0);
    assert_eq!(gateway.count(|stats| &stats.junk_total), 0, "it was no text");
    eventually("the socket is given back", || gateway.count(|stats| &stats.connections) == 0);
}

// Attack: a ticket that somebody has heard is sent again, or sent by somebody else: it opens nothing without
// the keys that belong to it, and nothing that is sent with it counts before the handshake is completed.
#[test]
fn a_hello_with_a_ticket_that_is_sent_again_by_somebody_else_opens_nothing() {
    let (site, gateway) = secure();
    let trust = site.trust(&VERSIONS);
    let _first = TlsPeer::listen(gateway.port(), &trust);
    let mut second = TlsPeer::connect(gateway.port(), &trust);
    let mut hello = Vec::new();
    second.tls.write_tls(&mut hello).unwrap();
    second.tcp.write_all(&hello).unwrap();
    second.send(GET.as_bytes());
    second.read_to("sse.ready");
    assert_eq!(second.tls.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    let opened = gateway.count(|stats| &stats.subscribers_total);
    for _ in 0..20 {
        let mut replay = std::net::TcpStream::connect(("127.0.0.1", gateway.port())).unwrap();
        // With a record after it, as early data would be.
        replay.write_all(&[&hello[..], &[23, 3, 3, 0, 32], &[7; 32]].concat()).unwrap();
        replay.shutdown(std::net::Shutdown::Write).unwrap();
        std::io::copy(&mut replay, &mut std::io::sink()).unwrap();
    }
    eventually("they are gone", || gateway.count(|stats| &stats.connections) == 2);
    assert_eq!(gateway.count(|stats| &stats.subscribers_total), opened);
    gateway.say("still here");
    second.read_to("data: still here\n\n");
}
