//! The texts of a call as Postgres takes them: NUL-terminated, in the database's encoding.
//!
//! Not for what is done with them (`call_session.rs`).

use std::ffi::{CStr, CString, c_int};

use pgrx::pg_sys;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use sse_proto::call::CallRequest;
use sse_proto::encoding::{Notation, escaped};

use super::repertoire::{self, Characters};
use super::try_catch::{self, Raised, raised};
use super::want_of_memory::ask_for;
use super::{portal, raw, receiver};

/// The texts of a request as Postgres takes them.
pub(super) struct Texts {
    /// `sse call schema.name, number`
    pub label: CString,
    /// See `Statement::sql`.
    pub sql: CString,
    /// See `Statement::parameters`.
    pub parameters: Vec<Option<Vec<u8>>>,
    /// Name and value.
    pub settings: Vec<(CString, CString)>,
    /// See `Statement::columns`.
    pub columns: Vec<CString>,
}

impl Texts {
    /// Copies them out of a request.
    ///
    /// # Errors
    /// [`NoTexts`]; each variant as it is described there.
    pub(super) fn of(request: &CallRequest<'_>) -> Result<Self, NoTexts> {
        let statement = &request.statement;
        Ok(Self {
            label: c_text(&format!("sse call {}, {}", request.label, request.id))?,
            sql: c_text(statement.sql)?,
            parameters: values(&statement.parameters)?,
            settings: request
                .settings
                .iter()
                .map(|(name, value)| Ok((c_text(name)?, c_text(value)?)))
                .collect::<Result<_, _>>()?,
            columns: statement.columns.iter().map(|name| c_text(name)).collect::<Result<_, _>>()?,
        })
    }

    /// The characters of settings that the database's encoding may lack.
    fn characters_of_settings(&self) -> Vec<char> {
        let values = self.settings.iter().filter_map(|(_, value)| value.to_str().ok());
        let mut characters: Vec<char> = values.flat_map(str::chars).filter(|c| !c.is_ascii()).collect();
        characters.sort_unstable();
        characters.dedup();
        characters
    }

    /// Writes the settings without these characters: the caller's identity and headers must not prevent calls
    /// of a routine that does not look at them. The execution id, which the caller chooses and which is an
    /// address, keeps them.
    fn write_settings_without(&mut self, missing: &[char]) {
        for (name, value) in &mut self.settings {
            let notation = match name.to_bytes() {
                b"request.user_roles" | b"request.jwt.claims" | b"request.headers" => Notation::Json,
                b"sse.execution_id" => continue,
                _ => Notation::Plain,
            };
            let Ok(text) = value.to_str() else { continue };
            let written = escaped(text, notation, |c| missing.binary_search(&c).is_err());
            if let Some(written) = written.and_then(|text| portal::c_text(text.into_bytes())) {
                *value = written;
            }
        }
    }

    /// Converts them from UTF-8 into the database's encoding, in a transaction of its own, because a
    /// conversion is a function of the catalog.
    ///
    /// # Errors
    /// [`Unconverted`]; nothing is left of the texts then.
    pub(super) fn convert(&mut self) -> Result<(), Unconverted> {
        let of_settings: usize = self.settings.iter().map(|(_, value)| value.count_bytes()).sum();
        let count = self.settings.len() + self.columns.len() + self.parameters.len();
        if ask_for(CHARACTER_BYTES * of_settings + TEXT_BYTES * count + REST_BYTES).is_err() {
            receiver::no_memory();
            return Err(Unconverted { parameter: None });
        }
        let asked = self.characters_of_settings();
        let mut fit = vec![true; asked.len()];
        if !asked.is_empty() {
            let mut characters = Characters { asked: &asked, fit: &mut fit };
            // SAFETY: the function owns nothing.
            let looked = raised(unsafe { try_catch::run(repertoire::look, &mut characters) });
            looked.map_err(|Raised| Unconverted { parameter: None })?;
        }
        let missing: Vec<char> =
            asked.into_iter().zip(fit).filter(|(_, fits)| !fits).map(|(c, _)| c).collect();
        self.write_settings_without(&missing);
        let mut all = self.take();
        let mut conversion = Conversion { texts: &mut all, place: 0 };
        // SAFETY: the function owns nothing but what it changes in place.
        let converted = raised(unsafe { try_catch::run(convert, &mut conversion) });
        let place = conversion.place;
        converted.map_err(|Raised| Unconverted { parameter: self.parameter_at(place, all.len()) })?;
        self.put_back(all);
        Ok(())
    }

    /// Which parameter the text at this place of so many is. Parameters come last, without those that are
    /// NULL.
    fn parameter_at(&self, place: usize, count: usize) -> Option<u32> {
        let given = self.parameters.iter().enumerate().filter(|(_, value)| value.is_some());
        let first = count - given.clone().count();
        let (parameter, _) = given.clone().nth(place.checked_sub(first)?)?;
        u32::try_from(parameter).ok()
    }

    /// All texts that may have characters beyond ASCII, one after the other.
    fn take(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        self.each(|text| all.push(std::mem::take(text)));
        all
    }

    /// The same texts, converted.
    fn put_back(&mut self, all: Vec<Vec<u8>>) {
        let mut all = all.into_iter();
        self.each(|text| *text = all.next().unwrap_or_default());
    }

    /// Names of settings are ours, and ASCII.
    fn each(&mut self, mut visit: impl FnMut(&mut Vec<u8>)) {
        let names = self.settings.iter_mut().map(|(_, value)| value);
        let c_texts = [&mut self.label, &mut self.sql].into_iter().chain(names).chain(&mut self.columns);
        for text in c_texts {
            let mut bytes = std::mem::take(text).into_bytes();
            visit(&mut bytes);
            *text = portal::c_text(bytes).unwrap_or_default();
        }
        self.parameters.iter_mut().flatten().for_each(visit);
    }
}

/// A character of a setting, in some lists, and as its escape in a new text.
const CHARACTER_BYTES: usize = 32;

/// A text's place in a list.
const TEXT_BYTES: usize = 64;

/// Everything else.
const REST_BYTES: usize = 4 * 1024;

/// Why Postgres could not take the texts of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoTexts {
    /// A text has a NUL, which no text of Postgres can have.
    Nul,
    /// There is no memory for the texts: they are about as long as the request.
    Memory,
}

/// A text has a character that the database's encoding lacks, or there was no memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unconverted {
    /// The place of the parameter that it is.
    pub parameter: Option<u32>,
}

/// Input of [`convert`], and how far it has come.
struct Conversion<'a> {
    texts: &'a mut [Vec<u8>],
    place: usize,
}

fn c_text(text: &str) -> Result<CString, NoTexts> {
    let mut bytes = Vec::new();
    // With room for the NUL, so that the text is not moved.
    bytes.try_reserve_exact(text.len() + 1).map_err(|_| NoTexts::Memory)?;
    bytes.extend_from_slice(text.as_bytes());
    portal::c_text(bytes).ok_or(NoTexts::Nul)
}

fn values(values: &[Option<&str>]) -> Result<Vec<Option<Vec<u8>>>, NoTexts> {
    let copy = |text: &str| {
        if text.contains('\0') {
            return Err(NoTexts::Nul);
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(text.len()).map_err(|_| NoTexts::Memory)?;
        bytes.extend_from_slice(text.as_bytes());
        Ok(bytes)
    };
    values.iter().map(|value| value.map(copy).transpose()).collect()
}

/// Converts UTF-8 into the database's encoding, in place.
///
/// # Safety
/// - Run by `try_catch::run`, outside of transactions. It owns nothing but what it changes in place.
unsafe extern "C-unwind" fn convert(job: *mut Conversion<'_>) {
    raw::StartTransactionCommand();
    let utf8 = pg_sys::pg_enc::PG_UTF8 as c_int;
    // SAFETY: `try_catch::run` passes its borrow.
    let Conversion { texts, place } = unsafe { &mut *job };
    for (number, text) in texts.iter_mut().enumerate() {
        *place = number;
        let length = c_int::try_from(text.len()).unwrap_or(0);
        let start = text.as_ptr().cast();
        // SAFETY: this many bytes are there.
        let converted = unsafe { raw::pg_any_to_server(start, length, utf8) };
        if converted.cast_const() != start {
            // SAFETY: another text than the one given is a NUL-terminated copy.
            let converted = unsafe { CStr::from_ptr(converted) };
            let bytes = converted.to_bytes();
            text.clear();
            if text.try_reserve(bytes.len()).is_err() {
                let code = PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY;
                // SAFETY: owns nothing here.
                unsafe { receiver::fail(code, c"out of memory") };
            }
            text.extend_from_slice(bytes);
        }
    }
    raw::CommitTransactionCommand();
}
