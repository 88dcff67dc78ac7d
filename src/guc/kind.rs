//! The kinds of settings, and how the rest of the code reads them: as counts, bytes, durations, texts. A
//! reading is a load from this process' memory, so it costs nothing on the path of an event.
//!
//! Not for which settings there are: `table.rs`.

use std::ffi::{CStr, CString};
use std::time::Duration;

use pgrx::guc::{GucContext, GucEnum, GucFlags, GucRegistry, GucSetting};

use crate::pg::guc_text::{self, SwitchHooks, TextHooks};

/// When a change takes effect, and who may make it.
#[derive(Clone, Copy)]
pub(crate) enum Effect {
    /// At server start.
    Start,
    /// On reload.
    Reload,
    /// At once, in the session of whoever sets it.
    Session,
}

impl Effect {
    fn context(self) -> GucContext {
        match self {
            Self::Start => GucContext::Postmaster,
            Self::Reload => GucContext::Sighup,
            Self::Session => GucContext::Userset,
        }
    }

    /// The sentence that ends every description.
    fn sentence(self) -> &'static str {
        match self {
            Self::Start => "Takes effect at server start.",
            Self::Reload => "Takes effect on reload.",
            Self::Session => "Takes effect at once, in the session that sets it.",
        }
    }
}

/// What a number counts: its unit.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Things.
    None,
    /// Bytes.
    Byte,
    /// 1024 bytes.
    Kilobyte,
    /// Milliseconds.
    Millisecond,
    /// Seconds.
    Second,
}

impl Unit {
    fn flags(self) -> GucFlags {
        match self {
            Self::None => GucFlags::default(),
            Self::Byte => GucFlags::UNIT_BYTE,
            Self::Kilobyte => GucFlags::UNIT_KB,
            Self::Millisecond => GucFlags::UNIT_MS,
            Self::Second => GucFlags::UNIT_S,
        }
    }
}

/// What is said of every setting.
pub(crate) struct About {
    name: &'static CStr,
    effect: Effect,
    /// `pg_settings.short_desc`.
    what: &'static CStr,
    /// `pg_settings.extra_desc`, before the sentence of its effect.
    more: &'static str,
}

impl About {
    /// `pg_settings.extra_desc`; guc.c keeps the pointer as long as the server lives.
    fn details(&self) -> &'static CStr {
        let text = format!("{} {}", self.more, self.effect.sentence());
        CString::new(text.trim_start()).map_or(c"", |text| Box::leak(text.into_boxed_c_str()))
    }
}

/// One of the settings.
pub(crate) trait Setting: Sync {
    /// Its full name.
    fn name(&self) -> &'static CStr;

    /// Tells guc.c of it. To be called once.
    fn define(&'static self);
}

/// A switch.
pub(crate) struct Switch {
    about: About,
    value: GucSetting<bool>,
    hooks: SwitchHooks,
}

impl Switch {
    pub(super) const fn new(
        name: &'static CStr,
        default: bool,
        effect: Effect,
        what: &'static CStr,
        more: &'static str,
    ) -> Self {
        let about = About { name, effect, what, more };
        Self { about, value: GucSetting::<bool>::new(default), hooks: SwitchHooks::NONE }
    }

    pub(super) const fn hooks(mut self, hooks: SwitchHooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// Whether it is on.
    pub(crate) fn get(&self) -> bool {
        self.value.get()
    }
}

impl Setting for Switch {
    fn name(&self) -> &'static CStr {
        self.about.name
    }

    fn define(&'static self) {
        let About { name, effect, what, .. } = self.about;
        guc_text::define_switch(name, what, self.about.details(), &self.value, effect.context(), self.hooks);
    }
}

/// A whole number.
pub(crate) struct Number {
    about: About,
    value: GucSetting<i32>,
    least: i32,
    most: i32,
    unit: Unit,
}

impl Number {
    /// `range`: least and most, in `unit`, as `default` is.
    pub(super) const fn new(
        name: &'static CStr,
        default: i32,
        range: (i32, i32),
        unit: Unit,
        effect: Effect,
        what: &'static CStr,
        more: &'static str,
    ) -> Self {
        let about = About { name, effect, what, more };
        Self { about, value: GucSetting::<i32>::new(default), least: range.0, most: range.1, unit }
    }

    /// The value as it is stored. The range of every setting begins at zero or above.
    pub(crate) fn count(&self) -> usize {
        usize::try_from(self.value.get()).unwrap_or(0)
    }

    /// In bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self.unit {
            Unit::Kilobyte => self.count() * 1024,
            _ => self.count(),
        }
    }

    /// As a time.
    pub(crate) fn duration(&self) -> Duration {
        let count = u64::try_from(self.value.get()).unwrap_or(0);
        match self.unit {
            Unit::Second => Duration::from_secs(count),
            _ => Duration::from_millis(count),
        }
    }
}

impl Setting for Number {
    fn name(&self) -> &'static CStr {
        self.about.name
    }

    fn define(&'static self) {
        let Self { about, value, least, most, unit } = self;
        let (context, flags) = (about.effect.context(), unit.flags());
        GucRegistry::define_int_guc(
            about.name,
            about.what,
            about.details(),
            value,
            *least,
            *most,
            context,
            flags,
        );
    }
}

/// One of some words.
pub(crate) struct Choice<T: GucEnum + 'static> {
    about: About,
    value: GucSetting<T>,
}

impl<T: GucEnum> Choice<T> {
    pub(super) const fn new(
        name: &'static CStr,
        default: T,
        effect: Effect,
        what: &'static CStr,
        more: &'static str,
    ) -> Self {
        Self { about: About { name, effect, what, more }, value: GucSetting::<T>::new(default) }
    }

    /// The word.
    pub(crate) fn get(&self) -> T {
        self.value.get()
    }
}

impl<T: GucEnum> Setting for Choice<T> {
    fn name(&self) -> &'static CStr {
        self.about.name
    }

    fn define(&'static self) {
        let About { name, effect, what, .. } = self.about;
        let details = self.about.details();
        GucRegistry::define_enum_guc(name, what, details, &self.value, effect.context(), GucFlags::default());
    }
}

/// A text.
pub(crate) struct Text {
    about: About,
    value: GucSetting<Option<CString>>,
    hooks: TextHooks,
}

impl Text {
    pub(super) const fn new(
        name: &'static CStr,
        default: &'static CStr,
        effect: Effect,
        what: &'static CStr,
        more: &'static str,
    ) -> Self {
        let about = About { name, effect, what, more };
        Self { about, value: GucSetting::<Option<CString>>::new(Some(default)), hooks: TextHooks::NONE }
    }

    pub(super) const fn hooks(mut self, hooks: TextHooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// Runs `read` over its bytes, without copying them.
    pub(crate) fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        guc_text::with(&self.value, read)
    }

    /// A copy.
    pub(crate) fn text(&self) -> String {
        self.with(|text| String::from_utf8_lossy(text).into_owned())
    }

    /// A copy, unless it is empty.
    pub(crate) fn optional(&self) -> Option<String> {
        Some(self.text()).filter(|text| !text.is_empty())
    }

    /// What stands between its commas.
    pub(crate) fn list(&self) -> Vec<String> {
        super::list(&self.text())
    }
}

impl Setting for Text {
    fn name(&self) -> &'static CStr {
        self.about.name
    }

    fn define(&'static self) {
        let About { name, effect, what, .. } = self.about;
        guc_text::define(name, what, self.about.details(), &self.value, effect.context(), self.hooks);
    }
}
