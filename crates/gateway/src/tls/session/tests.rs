#![allow(clippy::unwrap_used)]
use super::*;

use std::io::{Read, Write};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use crate::tls::tests::config;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A session, with what its socket would keep for it.
struct Server {
    session: Session,
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

impl Server {
    fn new(config: &Arc<ServerConfig>) -> Self {
        let session = Session::new(Arc::clone(config)).unwrap();
        Self { session, plain: Vec::new(), sealed: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let mut incoming = [self.session.rest(), bytes].concat();
        self.session.feed(&mut incoming, &mut self.plain, &mut self.sealed, MAX_RECORD_BYTES)
    }

    fn send(&mut self, client: &mut ClientConnection) {
        let sealed = std::mem::take(&mut self.sealed);
        let mut sealed = &sealed[..];
        while !sealed.is_empty() {
            client.read_tls(&mut sealed).unwrap();
            client.process_new_packets().unwrap();
        }
    }
}

fn client_config(chain: &[u8], versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(chain).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// What a client has to send.
fn flight(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// A handshake of which each flight of the client's comes in these pieces.
fn shake(server: &mut Server, client: &mut ClientConnection, cut: impl Fn(usize, &[u8]) -> Vec<Vec<u8>>) {
    client.writer().write_all(REQUEST).unwrap();
    for number in 0..4 {
        let bytes = flight(client);
        for piece in cut(number, &bytes) {
            server.take(&piece).unwrap();
        }
        server.send(client);
        if !client.is_handshaking() && server.plain == REQUEST {
            break;
        }
    }
    assert!(!server.session.is_shaking() && server.plain == REQUEST && server.session.rest().is_empty());
    server.plain.clear();
}

fn shake_at_once(server: &mut Server, client: &mut ClientConnection) {
    shake(server, client, |_, bytes| vec![bytes.to_vec()]);
}

fn read(client: &mut ClientConnection, len: usize) -> Vec<u8> {
    let mut text = vec![0; len];
    client.reader().read_exact(&mut text).unwrap();
    text
}

/// Session, client, both through their handshake.
fn pair(version: &'static SupportedProtocolVersion) -> (Server, ClientConnection) {
    let (config, chain) = config();
    let (mut server, mut client) = (Server::new(&config), client(&client_config(&chain, &[version])));
    shake_at_once(&mut server, &mut client);
    (server, client)
}

#[test]
fn bytes_split_anywhere_are_the_same_handshake_and_request() {
    let (config, chain) = config();
    for version in VERSIONS {
        let client_config = client_config(&chain, &[version]);
        for flight in 0..2 {
            let longest = std::cell::Cell::new(1);
            for at in 0.. {
                if at >= longest.get() {
                    break;
                }
                let (mut server, mut client) = (Server::new(&config), client(&client_config));
                shake(&mut server, &mut client, |number, bytes| {
                    if number != flight {
                        return vec![bytes.to_vec()];
                    }
                    longest.set(bytes.len());
                    let (one, other) = bytes.split_at(at.min(bytes.len()));
                    vec![one.to_vec(), other.to_vec()]
                });
            }
            assert!(longest.get() > 50, "{version:?} {flight}");
        }
        let (mut server, mut client) = (Server::new(&config), client(&client_config));
        shake(&mut server, &mut client, |_, bytes| bytes.iter().map(|byte| vec![*byte]).collect());
    }
}

#[test]
fn what_is_sealed_is_read_as_it_was_at_every_size_around_a_record() {
    for version in VERSIONS {
        let (mut server, mut client) = pair(version);
        for len in [1, 200, MAX_PLAIN_BYTES - 1, MAX_PLAIN_BYTES, MAX_PLAIN_BYTES + 1, 3 * MAX_PLAIN_BYTES] {
            let text: Vec<u8> = (0..len).map(|n| n as u8).collect();
            server.session.seal(&text, &mut server.sealed).unwrap();
            let records = len.div_ceil(MAX_PLAIN_BYTES);
            assert!(server.sealed.len() <= len + records * ADDED_BYTES, "{len}: {}", server.sealed.len());
            let mut got = Vec::new();
            let sealed = std::mem::take(&mut server.sealed);
            let mut rest = &sealed[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets().unwrap();
                // An error when there is nothing more at the moment.
                let _ = client.reader().read_to_end(&mut got);
            }
            assert!(got == text, "{len}");
        }
    }
}

#[test]
fn the_clients_update_of_its_keys_is_answered_in_front_of_the_next_text() {
    let (mut server, mut client) = pair(&TLS13);
    for n in 0..40 {
        client.refresh_traffic_keys().unwrap();
        client.writer().write_all(b"more").unwrap();
        server.take(&flight(&mut client)).unwrap();
        assert!(server.plain == b"more", "{n}");
        server.plain.clear();
        server.session.seal(b"event", &mut server.sealed).unwrap();
        server.send(&mut client);
        assert_eq!(read(&mut client, 5), b"event", "{n}");
    }
}

#[test]
fn a_client_that_has_said_its_end_still_gets_its_answer_and_ours() {
    for version in VERSIONS {
        let (mut server, mut client) = pair(version);
        client.writer().write_all(b"last").unwrap();
        client.send_close_notify();
        server.take(&flight(&mut client)).unwrap();
        assert!(server.plain == b"last" && server.session.is_closed_by_peer());
        server.session.seal(b"answer", &mut server.sealed).unwrap();
        server.session.close(&mut server.sealed).unwrap();
        server.send(&mut client);
        assert_eq!(read(&mut client, 6), b"answer");
        assert_eq!(client.reader().read(&mut [0; 1]).unwrap(), 0, "ended, not cut off");
        assert_eq!(server.session.seal(b"more", &mut server.sealed), Err(Broken));
        assert_eq!(server.take(b"junk behind the end"), Err(Broken), "refused, without a panic");
    }
}

#[test]
fn nothing_is_sealed_before_the_handshake_is_completed() {
    let (config, _) = config();
    let mut server = Server::new(&config);
    assert_eq!(server.session.seal(b"x", &mut server.sealed), Err(Broken));
    assert_eq!(server.session.close(&mut server.sealed), Err(Broken));
    assert!(server.sealed.is_empty() && server.session.is_over());
}

// Junk in place of a record, at each point of a connection: the peer is told, and nothing panics.
#[test]
fn what_breaks_the_protocol_ends_the_connection_with_an_alert() {
    let (config, chain) = config();
    let mut fresh = Server::new(&config);
    assert_eq!(fresh.take(b"GET / HTTP/1.1\r\n\r\n"), Err(Broken));
    let mut fresh = Server::new(&config);
    assert_eq!(fresh.take(&[22, 3, 1, 0, 4, 1, 0, 0, 0]), Err(Broken), "an empty hello");
    assert_eq!(fresh.sealed[0], 21, "an alert");
    for version in VERSIONS {
        let (mut server, mut client) = pair(version);
        client.writer().write_all(b"text").unwrap();
        let mut bytes = flight(&mut client);
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(server.take(&bytes), Err(Broken));
        assert!(!server.sealed.is_empty() && server.plain.is_empty());
        assert_eq!(server.take(b"more of it"), Err(Broken));
        assert_eq!(server.session.seal(b"text", &mut Vec::new()), Err(Broken));
    }
    let mut only_h2 = ClientConfig::clone(&client_config(&chain, &VERSIONS));
    only_h2.alpn_protocols = vec![b"spdy/3".to_vec()];
    let (mut server, mut client) = (Server::new(&config), client(&Arc::new(only_h2)));
    assert_eq!(server.take(&flight(&mut client)), Err(Broken), "no protocol in common");
}

#[test]
fn who_comes_back_needs_no_signature() {
    let (config, chain) = config();
    for version in VERSIONS {
        let client_config = client_config(&chain, &[version]);
        for is_again in [false, true] {
            let (mut server, mut client) = (Server::new(&config), client(&client_config));
            shake_at_once(&mut server, &mut client);
            let kind = client.handshake_kind().unwrap();
            assert_eq!(kind == rustls::HandshakeKind::Resumed, is_again, "{version:?}");
        }
    }
}

// A message of the protocol in two records, and between them something that the server sends.
#[test]
fn text_can_be_sealed_while_a_message_of_the_client_is_not_whole() {
    let (config, chain) = config();
    let mut server = Server::new(&config);
    let mut client = client(&client_config(&chain, &VERSIONS));
    let hello = flight(&mut client);
    // The record's head, and its text in two records.
    let (one, other) = hello[5..].split_at(20);
    let record = |text: &[u8]| [&hello[..3], &(text.len() as u16).to_be_bytes(), text].concat();
    server.take(&record(one)).unwrap();
    let mut copy = Server::new(&config);
    copy.take(&record(one)).unwrap();
    assert_eq!(copy.session.close(&mut copy.sealed), Err(Broken), "refused, without a panic");
    server.take(&record(other)).unwrap();
    server.send(&mut client);
    shake_at_once(&mut server, &mut client);
}

/// Records of a client whose handshake is done, made by hand, as no ordinary client makes them (TLS 1.3).
struct Forger {
    key: aws_lc_rs::aead::LessSafeKey,
    iv: Vec<u8>,
    sequence: u64,
}

impl Forger {
    /// After a handshake.
    fn shaken(server: &mut Server, chain: &[u8]) -> Self {
        use rustls::crypto::aws_lc_rs::{cipher_suite::TLS13_AES_128_GCM_SHA256, default_provider};
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(chain).unwrap()).unwrap();
        let mut provider = default_provider();
        provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_protocol_versions(&[&TLS13]).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.enable_secret_extraction = true;
        let mut client = client(&Arc::new(config));
        shake_at_once(server, &mut client);
        let secrets = client.dangerous_extract_secrets().unwrap().tx;
        let (sequence, rustls::ConnectionTrafficSecrets::Aes128Gcm { key, iv }) = secrets else {
            panic!("another suite")
        };
        let key = aws_lc_rs::aead::UnboundKey::new(&aws_lc_rs::aead::AES_128_GCM, key.as_ref()).unwrap();
        Self { key: aws_lc_rs::aead::LessSafeKey::new(key), iv: iv.as_ref().to_vec(), sequence }
    }

    fn record(&mut self, kind: u8, text: &[u8]) -> Vec<u8> {
        let mut nonce: [u8; 12] = self.iv.as_slice().try_into().unwrap();
        nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()).for_each(|(byte, by)| *byte ^= by);
        self.sequence += 1;
        let mut inside = [text, &[kind]].concat();
        let len = (inside.len() + 16) as u16;
        let head = [&[23, 3, 3][..], &len.to_be_bytes()].concat();
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
        let aad = aws_lc_rs::aead::Aad::from(head.clone());
        self.key.seal_in_place_append_tag(nonce, aad, &mut inside).unwrap();
        [head, inside].concat()
    }
}

// An update of keys in two records, between which the server has something to send; records without text.
#[test]
fn a_message_in_pieces_on_an_open_connection_does_no_harm() {
    let (config, chain) = config();
    let mut server = Server::new(&config);
    let mut forger = Forger::shaken(&mut server, &chain);
    // KeyUpdate, of which an answer is asked for (RFC 8446 §4.6.3).
    let update = [24, 0, 0, 1, 1];
    server.take(&forger.record(22, &update[..3])).unwrap();
    assert!(!server.session.rest().is_empty(), "it is kept");
    for _ in 0..3 {
        server.session.seal(b"an event in between", &mut server.sealed).unwrap();
    }
    server.take(&forger.record(22, &update[3..])).unwrap();
    assert!(server.session.rest().is_empty());
    server.session.seal(b"an event behind it", &mut server.sealed).unwrap();
    server.session.close(&mut server.sealed).unwrap();

    // A message that never ends is bounded by what may be kept of it.
    let mut server = Server::new(&config);
    let mut forger = Forger::shaken(&mut server, &chain);
    let begin = [4, 0, 0xff, 0xff];
    let mut incoming = [server.session.rest(), &forger.record(22, &begin)].concat();
    server.session.feed(&mut incoming, &mut server.plain, &mut server.sealed, 1024).unwrap();
    let ended = (0..200).position(|_| {
        let record = forger.record(22, &[0; 100]);
        let mut incoming = [server.session.rest(), &record].concat();
        server.session.feed(&mut incoming, &mut server.plain, &mut server.sealed, 1024).is_err()
    });
    assert!(ended.is_some_and(|records| records < 10), "{ended:?}");
}
