//! Records that no honest client of TLS makes, behind a handshake as any other.
//!
//! Not for those of a handshake: `tls.rs`.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write as _;
use std::sync::Arc;

use support::peer::GET;
use support::tls::{Site, TlsPeer};
use support::{TestGateway, eventually};

/// What comes behind the last words of a client of TLS 1.3: records of any text, and of none, which its own
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

// Attack: thirty-two records without text before each byte of a head: all have to be decrypted, and the head
// stays short.
#[test]
fn records_without_text_are_let_pass_up_to_64_kb_and_end_the_connection_beyond() {
    let site = Site::new();
    let gateway = TestGateway::with(site.settings());
    let mut config = (*site.trust(&[&rustls::version::TLS13])).clone();
    config.enable_secret_extraction = true;
    let config = Arc::new(config);
    // Each group is 727 bytes, of which its byte of text excuses 32; the text before them all may excuse
    // three.
    for (groups, is_answered) in [(94, true), (98, false)] {
        let mut peer = TlsPeer::connect(gateway.port(), &config);
        peer.shake();
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
