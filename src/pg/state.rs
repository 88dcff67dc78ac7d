//! States that are kept in shared memory as numbers. Whoever writes or reads one uses the enum, never the
//! number.

/// Makes such an enum. New shared memory holds 0, the first state; a damaged word counts as the first state,
/// too.
macro_rules! states {
    (
        $(#[$of_all:meta])*
        pub(crate) enum $name:ident {
            $(#[$of_first:meta])* $first:ident,
            $($(#[$of_it:meta])* $it:ident,)+
        }
    ) => {
        $(#[$of_all])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub(crate) enum $name {
            $(#[$of_first])* $first = 0,
            $($(#[$of_it])* $it,)+
        }

        impl $name {
            /// The state of this number.
            pub(crate) fn of(number: u32) -> Self {
                [$(Self::$it),+].into_iter().find(|state| *state as u32 == number).unwrap_or(Self::$first)
            }
        }
    };
}

pub(super) use states;
