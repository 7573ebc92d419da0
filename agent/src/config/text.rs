//! How values are written in the file.

/// An empty text for what is not set.
pub(super) mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::config) fn deserialize<'de, T: From<String>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        let text = String::deserialize(from)?;
        Ok((!text.is_empty()).then(|| text.into()))
    }

    pub(in crate::config) fn serialize<T: Serialize, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(to),
            None => "".serialize(to),
        }
    }
}

/// An empty text for no address.
pub(super) mod address {
    use std::net::IpAddr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<IpAddr>, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|error| D::Error::custom(format!("\"{text}\": {error}")))
    }

    pub(in crate::config) fn serialize<S: Serializer>(
        value: &Option<IpAddr>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_str(""),
        }
    }
}

/// `"off"` for what is not wanted.
pub(super) mod off_or {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::config) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        let text = String::deserialize(from)?;
        if text == "off" {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|error| D::Error::custom(format!("\"{text}\": {error}")))
    }

    pub(in crate::config) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_str("off"),
        }
    }
}

/// A number with a unit.
pub(super) mod span {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use timebase::Span;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Span, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }

    /// Exact, in the largest unit that leaves a whole number.
    pub(in crate::config) fn serialize<S: Serializer>(
        value: &Span,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let ns = value.as_ns();
        let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];
        let (unit, size) = units.into_iter().find(|(_, size)| ns % size == 0).unwrap_or(("ns", 1));
        to.collect_str(&format_args!("{} {unit}", ns / size))
    }
}

/// A number with a unit, or `"off"`.
pub(super) mod span_or_off {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use timebase::Span;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Span>, D::Error> {
        let text = String::deserialize(from)?;
        if text == "off" {
            return Ok(None);
        }
        text.parse().map(Some).map_err(D::Error::custom)
    }

    pub(in crate::config) fn serialize<S: Serializer>(
        value: &Option<Span>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::span::serialize(value, to),
            None => to.serialize_str("off"),
        }
    }
}

/// A number with a unit, where something is set.
pub(super) mod optional_span {
    use serde::{Deserializer, Serializer};
    use timebase::Span;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Span>, D::Error> {
        super::span::deserialize(from).map(Some)
    }

    pub(in crate::config) fn serialize<S: Serializer>(
        value: &Option<Span>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::span::serialize(value, to),
            None => to.serialize_none(),
        }
    }
}
