//! Which table of encoding_rs is which encoding of Postgres, and where they differ.
//!
//! encoding_rs has the tables of the web (WHATWG Encoding Standard), in which some names mean something else
//! than their standard: `latin1` is windows-1252 there, `latin5` windows-1254, and `koi8-u` has two letters
//! of another alphabet. The differences below are all differences from what PostgreSQL 15 converts
//! (`utf8_and_*` in its source; every character of every table was compared). Where only encoding_rs knows a
//! character, its answer stands.

use encoding_rs as web;
use std::fmt;

#[derive(Clone, Copy)]
pub(super) enum Method {
    /// UTF-8, or unknown and treated as such.
    Utf8,
    /// Each byte is the code point.
    CodePoints,
    /// By table, but for exceptions.
    Table {
        table: &'static web::Encoding,
        /// Bytes of a character, from its first.
        length: fn(u8) -> usize,
        /// The character that these bytes are, if the table does not have it right.
        exception: fn(&[u8]) -> Option<char>,
    },
    /// There is no table: ASCII stays, each other character is replaced.
    AsciiOnly { length: fn(u8) -> usize },
}

impl Method {
    const fn single(table: &'static web::Encoding) -> Self {
        Self::Table { table, length: one, exception: none }
    }

    /// What tells methods apart; functions have no identity to compare.
    fn identity(&self) -> (u8, Option<&'static web::Encoding>) {
        match self {
            Self::Utf8 => (0, None),
            Self::CodePoints => (1, None),
            Self::Table { table, .. } => (2, Some(table)),
            Self::AsciiOnly { length } => (2 + length(0x8e) as u8, None),
        }
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Method {}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.identity().fmt(f)
    }
}

/// All server encodings, in the order of pg_wchar.h, with the names of encnames.c.
pub(super) const METHODS: [(&str, Method); 35] = [
    ("SQL_ASCII", Method::Utf8),
    ("EUC_JP", Method::Table { table: web::EUC_JP, length: euc_jp, exception: euc_jp_exception }),
    ("EUC_CN", Method::Table { table: web::GBK, length: two, exception: euc_cn_exception }),
    ("EUC_KR", Method::Table { table: web::EUC_KR, length: two, exception: euc_kr_exception }),
    ("EUC_TW", Method::AsciiOnly { length: euc_tw }),
    ("EUC_JIS_2004", Method::AsciiOnly { length: euc_jp }),
    ("UTF8", Method::Utf8),
    ("MULE_INTERNAL", Method::AsciiOnly { length: mule_internal }),
    ("LATIN1", Method::CodePoints),
    ("LATIN2", Method::single(web::ISO_8859_2)),
    ("LATIN3", Method::single(web::ISO_8859_3)),
    ("LATIN4", Method::single(web::ISO_8859_4)),
    ("LATIN5", Method::Table { table: web::WINDOWS_1254, length: one, exception: latin5_exception }),
    ("LATIN6", Method::single(web::ISO_8859_10)),
    ("LATIN7", Method::single(web::ISO_8859_13)),
    ("LATIN8", Method::single(web::ISO_8859_14)),
    ("LATIN9", Method::single(web::ISO_8859_15)),
    ("LATIN10", Method::single(web::ISO_8859_16)),
    ("WIN1256", Method::single(web::WINDOWS_1256)),
    ("WIN1258", Method::single(web::WINDOWS_1258)),
    ("WIN866", Method::single(web::IBM866)),
    ("WIN874", Method::single(web::WINDOWS_874)),
    ("KOI8R", Method::single(web::KOI8_R)),
    ("WIN1251", Method::single(web::WINDOWS_1251)),
    ("WIN1252", Method::single(web::WINDOWS_1252)),
    ("ISO_8859_5", Method::single(web::ISO_8859_5)),
    ("ISO_8859_6", Method::single(web::ISO_8859_6)),
    ("ISO_8859_7", Method::single(web::ISO_8859_7)),
    ("ISO_8859_8", Method::single(web::ISO_8859_8)),
    ("WIN1250", Method::single(web::WINDOWS_1250)),
    ("WIN1253", Method::single(web::WINDOWS_1253)),
    ("WIN1254", Method::single(web::WINDOWS_1254)),
    ("WIN1255", Method::single(web::WINDOWS_1255)),
    ("WIN1257", Method::single(web::WINDOWS_1257)),
    ("KOI8U", Method::Table { table: web::KOI8_U, length: one, exception: koi8u_exception }),
];

// Lengths as in wchar.c.

fn one(_: u8) -> usize {
    1
}

fn two(first: u8) -> usize {
    if first.is_ascii() { 1 } else { 2 }
}

fn euc_jp(first: u8) -> usize {
    if first == 0x8f { 3 } else { two(first) }
}

fn euc_tw(first: u8) -> usize {
    if first == 0x8e { 4 } else { two(first) }
}

fn mule_internal(first: u8) -> usize {
    match first {
        0x81..=0x8d => 2,
        0x90..=0x9b => 3,
        0x9c..=0x9d => 4,
        _ => 1,
    }
}

fn none(_: &[u8]) -> Option<char> {
    None
}

/// ISO-8859-9 has the C1 control characters where windows-1254 has letters and quotes.
fn latin5_exception(bytes: &[u8]) -> Option<char> {
    match bytes {
        [byte @ 0x80..=0x9f] => Some(char::from(*byte)),
        _ => None,
    }
}

/// RFC 2319 has box drawing where the web has the Belarusian ў.
fn koi8u_exception(bytes: &[u8]) -> Option<char> {
    match bytes {
        [0xae] => Some('\u{255d}'),
        [0xbe] => Some('\u{256c}'),
        _ => None,
    }
}

fn euc_cn_exception(bytes: &[u8]) -> Option<char> {
    match bytes {
        [0xa1, 0xa4] => Some('\u{30fb}'),
        [0xa1, 0xaa] => Some('\u{2015}'),
        _ => None,
    }
}

fn euc_kr_exception(bytes: &[u8]) -> Option<char> {
    match bytes {
        [0xa2, 0xe8] => Some('\u{327e}'),
        _ => None,
    }
}

fn euc_jp_exception(bytes: &[u8]) -> Option<char> {
    let index = match bytes {
        [0x8f, 0xa2, 0xc3] => return Some('\u{ffe4}'),
        [0x8f, 0xf3, last @ 0xf3..=0xfe] => *last - 0xf3,
        [0x8f, 0xf4, last @ 0xa1..=0xfe] => *last - 0xa1 + 12,
        _ => return None,
    };
    EUC_JP_IBM_EXTENSIONS.chars().nth(index.into())
}

/// 8FF3F3 to 8FF3FE and 8FF4A1 to 8FF4FE, which Postgres knows and the web does not.
const EUC_JP_IBM_EXTENSIONS: &str = "\
    ⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅠⅡ\
    ⅢⅣⅤⅥⅦⅧⅨⅩ＇＂㈱№℡炻仼僴凬匇匤﨎咊坙﨏塚增寬峵嵓﨑德悅\
    愠敎昻晥晴朗栁﨓﨔橫櫢淸淲瀨凞猪甁皂皞益礰礼神祥福竧靖精綠緖羽\
    荢﨟薰蘒﨡蠇諸譿賴赶﨣﨤逸郞都鄕﨧﨨閒隆﨩霻靍靑飯飼館馞髙魲鶴黑";
