//! Defines how structs of tcpstate are encoded. A table lists the fields of each struct and the
//! number of each field.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use minicbor::{Decode, Encode};
use tcpstate_common::State;

use super::{
    Malformed,
    limited::{List, Text},
};
use crate::report::{Counted, Limit, Provider, Transitions};

/// A type that encodes values of the type `T`.
pub(super) trait Wire<T>: Sized {
    fn of(value: &T) -> Self;
    fn read(self) -> Result<T, Malformed>;
}

/// Defines the encodings of structs by the number, name and type of each field. The code does not
/// compile if a field is missing in the struct or in the table. A new field must be last in the
/// table, must have the next number, and must be an `Option`.
macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident is $($theirs:ident)::+ { $($number:literal $field:ident: $type:ty,)+ })+) => {$(
        $(#[$doc])*
        #[derive(minicbor::Encode, minicbor::Decode)]
        #[cbor(context_bound = "AsMut<crate::recording::budget::Budget>")]
        pub(super) struct $name {
            $(#[n($number)] $field: $type,)+
        }

        impl $crate::recording::wire::table::Wire<$($theirs)::+> for $name {
            fn of(value: &$($theirs)::+) -> Self {
                let $($theirs)::+ { $($field),+ } = value;
                Self { $($field: $crate::recording::wire::table::Wire::of($field),)+ }
            }

            fn read(self) -> Result<$($theirs)::+, $crate::recording::wire::Malformed> {
                let Self { $($field),+ } = self;
                Ok($($theirs)::+ { $($field: $crate::recording::wire::table::Wire::read($field)?,)+ })
            }
        }
    )+};
}
pub(super) use wire;

/// Implements `Wire` for types that are encoded unchanged.
macro_rules! plain {
    ($($type:ty)+) => {$(
        impl Wire<$type> for $type {
            fn of(value: &$type) -> Self {
                value.clone()
            }

            fn read(self) -> Result<$type, Malformed> {
                Ok(self)
            }
        }
    )+};
}

plain! { bool u16 u32 u64 i64 f64 }

impl<T, W: Wire<T>> Wire<Option<T>> for Option<W> {
    fn of(value: &Option<T>) -> Self {
        value.as_ref().map(W::of)
    }

    fn read(self) -> Result<Option<T>, Malformed> {
        self.map(W::read).transpose()
    }
}

impl<T, W: Wire<T>, const MAX: usize> Wire<Vec<T>> for List<W, MAX> {
    fn of(values: &Vec<T>) -> Self {
        Self(values.iter().map(W::of).collect())
    }

    fn read(self) -> Result<Vec<T>, Malformed> {
        self.0.into_iter().map(W::read).collect()
    }
}

impl Wire<String> for Text {
    fn of(text: &String) -> Self {
        Self(text.clone())
    }

    fn read(self) -> Result<String, Malformed> {
        Ok(self.0)
    }
}

impl<T, W: Wire<T>, const N: usize> Wire<[T; N]> for [W; N] {
    fn of(values: &[T; N]) -> Self {
        values.each_ref().map(W::of)
    }

    fn read(self) -> Result<[T; N], Malformed> {
        let values: Vec<T> = self.into_iter().map(W::read).collect::<Result<_, _>>()?;
        values.try_into().map_err(|_| Malformed::message("a list of another length"))
    }
}

/// A number or flag that older recordings do not contain. A missing number is read as 0, and a
/// missing flag is read as false.
pub(super) struct Newer(u64);

impl<C> Encode<C> for Newer {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.u64(self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Newer {
    fn decode(
        decoder: &mut minicbor::Decoder<'b>,
        _: &mut C,
    ) -> Result<Self, minicbor::decode::Error> {
        decoder.u64().map(Self)
    }

    fn nil() -> Option<Self> {
        Some(Self(0))
    }
}

impl Wire<u64> for Newer {
    fn of(count: &u64) -> Self {
        Self(*count)
    }

    fn read(self) -> Result<u64, Malformed> {
        Ok(self.0)
    }
}

impl Wire<bool> for Newer {
    fn of(flag: &bool) -> Self {
        Self(u64::from(*flag))
    }

    fn read(self) -> Result<bool, Malformed> {
        Ok(self.0 != 0)
    }
}

/// A number that may be unknown. The largest number stands for an unknown number, because older
/// versions of tcpstate wrote and read a plain number here.
#[derive(Encode, Decode)]
#[cbor(transparent)]
pub(super) struct Bound(#[n(0)] u64);

impl Wire<Option<u64>> for Bound {
    fn of(bound: &Option<u64>) -> Self {
        Self(bound.unwrap_or(u64::MAX))
    }

    fn read(self) -> Result<Option<u64>, Malformed> {
        Ok(Some(self.0).filter(|&bound| bound != u64::MAX))
    }
}

/// A duration of up to 584 years, encoded in nanoseconds.
#[derive(Encode, Decode)]
#[cbor(transparent)]
pub(super) struct Nanos(#[n(0)] pub(super) u64);

impl Wire<Duration> for Nanos {
    fn of(duration: &Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    fn read(self) -> Result<Duration, Malformed> {
        Ok(Duration::from_nanos(self.0))
    }
}

/// A wall-clock time, encoded as nanoseconds since 1970.
impl Wire<SystemTime> for Nanos {
    fn of(time: &SystemTime) -> Self {
        Self::of(&time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    fn read(self) -> Result<SystemTime, Malformed> {
        Ok(UNIX_EPOCH + Duration::from_nanos(self.0))
    }
}

/// Encodes a state as the number that the kernel uses for the state, such as 1 for ESTABLISHED.
#[derive(Encode, Decode)]
#[cbor(transparent)]
pub(super) struct Number(#[n(0)] pub(super) u8);

impl Wire<State> for Number {
    fn of(state: &State) -> Self {
        Self(*state as u8)
    }

    fn read(self) -> Result<State, Malformed> {
        State::from_number(self.0.into()).ok_or_else(|| Malformed::message("no such state"))
    }
}

/// A hook. The encoding of a hook is the name of the hook. An unknown name is decoded as a missing
/// hook. A missing hook is encoded as the name `unknown`.
#[derive(Encode, Decode)]
#[cbor(transparent, context_bound = "AsMut<crate::recording::budget::Budget>")]
pub(super) struct HookName(#[n(0)] Text);

impl HookName {
    fn new(name: Option<&'static str>) -> Self {
        Self(Text(name.unwrap_or("unknown").to_owned()))
    }
}

impl Wire<Option<Transitions>> for HookName {
    fn of(hook: &Option<Transitions>) -> Self {
        Self::new(hook.map(Transitions::name))
    }

    fn read(self) -> Result<Option<Transitions>, Malformed> {
        Ok(Transitions::ALL.into_iter().find(|hook| hook.name() == self.0.0))
    }
}

impl Wire<Option<Provider>> for HookName {
    fn of(provider: &Option<Provider>) -> Self {
        Self::new(provider.map(Provider::name))
    }

    fn read(self) -> Result<Option<Provider>, Malformed> {
        Ok(Provider::ALL.into_iter().find(|provider| provider.name() == self.0.0))
    }
}

/// Encodes a limit as the sentence that describes the limit. A recording contains limits only as
/// sentences, so an older version of tcpstate can show new kinds of limits.
impl Wire<Limit> for Text {
    fn of(limit: &Limit) -> Self {
        Self(limit.to_string())
    }

    fn read(self) -> Result<Limit, Malformed> {
        Ok(Limit::Recorded(self.0))
    }
}

/// The inode of the counted network namespace. The value `None` means all network namespaces.
#[derive(Encode, Decode)]
#[cbor(transparent)]
pub(super) struct Scope(#[n(0)] Option<u64>);

impl Wire<Counted> for Scope {
    fn of(scope: &Counted) -> Self {
        match *scope {
            Counted::One(inode) => Self(Some(inode)),
            Counted::All => Self(None),
        }
    }

    fn read(self) -> Result<Counted, Malformed> {
        Ok(self.0.map_or(Counted::All, Counted::One))
    }
}
