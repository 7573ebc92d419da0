use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::ops::{Add, Sub};

use crate::Span;

mod sealed {
    pub trait Sealed {}
}

/// A time scale: what a [`Timestamp`] counts and from where.
pub trait Scale: sealed::Sealed + 'static {
    /// The name shown in `Debug`.
    const NAME: &'static str;
}

macro_rules! scale {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {}
        impl sealed::Sealed for $name {}
        impl Scale for $name {
            const NAME: &'static str = stringify!($name);
        }
    };
}

scale!(
    /// True time: nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
    Utc
);
scale!(
    /// What a host's CLOCK_REALTIME shows. The same epoch as [`Utc`], but the clock may be wrong: its
    /// distance from UTC is the very thing Truechimer measures.
    Host
);
scale!(
    /// A host's CLOCK_MONOTONIC_RAW: nanoseconds since some moment near boot, at the rate of the
    /// free-running oscillator. Nobody steers it, so it is the anchor of every model.
    Raw
);

/// An instant on the scale `S`, in integer nanoseconds.
///
/// Two instants subtract to a [`Span`] only on the same scale.
pub struct Timestamp<S> {
    ns: i64,
    scale: PhantomData<S>,
}

impl<S: Scale> Timestamp<S> {
    /// `ns` nanoseconds after the scale's epoch.
    pub const fn from_ns(ns: i64) -> Self {
        Self { ns, scale: PhantomData }
    }

    /// Nanoseconds since the scale's epoch.
    pub const fn as_ns(self) -> i64 {
        self.ns
    }

    /// The later of two instants.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Ord::max(self, other)
    }
}

impl Timestamp<Host> {
    /// How far this reading is ahead of `utc`: the clock's error, if `utc` is the true time now.
    pub fn error_against(self, utc: Timestamp<Utc>) -> Span {
        Span::from_ns(self.ns.saturating_sub(utc.ns))
    }

    /// The true time at which a clock that is `error` ahead shows this reading.
    pub fn corrected(self, error: Span) -> Timestamp<Utc> {
        Timestamp::from_ns(self.ns.saturating_sub(error.as_ns()))
    }
}

impl<S> Clone for Timestamp<S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S> Copy for Timestamp<S> {}
impl<S> PartialEq for Timestamp<S> {
    fn eq(&self, other: &Self) -> bool {
        self.ns == other.ns
    }
}
impl<S> Eq for Timestamp<S> {}
impl<S> PartialOrd for Timestamp<S> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<S> Ord for Timestamp<S> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ns.cmp(&other.ns)
    }
}
impl<S> Hash for Timestamp<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ns.hash(state);
    }
}
impl<S: Scale> fmt::Debug for Timestamp<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({} ns)", S::NAME, self.ns)
    }
}

impl<S: Scale> Sub for Timestamp<S> {
    type Output = Span;
    fn sub(self, earlier: Self) -> Span {
        Span::from_ns(self.ns.saturating_sub(earlier.ns))
    }
}
impl<S: Scale> Add<Span> for Timestamp<S> {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self::from_ns(self.ns.saturating_add(span.as_ns()))
    }
}
impl<S: Scale> Sub<Span> for Timestamp<S> {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self::from_ns(self.ns.saturating_sub(span.as_ns()))
    }
}
