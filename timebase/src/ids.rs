use core::fmt;
use core::str::FromStr;

macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The id with these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The sixteen bytes, in the order they are written.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (i, byte) in self.0.iter().enumerate() {
                    if matches!(i, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse(text).map(Self)
            }
        }
    };
}

id128!(
    /// A host, for as long as its agent keeps its state directory.
    HostId
);
id128!(
    /// One boot of a host (Linux: /proc/sys/kernel/random/boot_id).
    BootId
);

/// The number of a report, strictly increasing within one boot of one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not 32 hexadecimal digits, with or without dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseIdError;

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a UUID of 32 hexadecimal digits")
    }
}

impl core::error::Error for ParseIdError {}

fn parse(text: &str) -> Result<[u8; 16], ParseIdError> {
    let mut bytes = [0u8; 16];
    let mut digits = 0;
    for c in text.trim().chars().filter(|c| *c != '-') {
        let digit = c.to_digit(16).ok_or(ParseIdError)? as u8;
        let byte = bytes.get_mut(digits / 2).ok_or(ParseIdError)?;
        *byte = *byte << 4 | digit;
        digits += 1;
    }
    if digits == 32 { Ok(bytes) } else { Err(ParseIdError) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn ids_round_trip_through_text() {
        let text = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let id: HostId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        for bad in ["", "0f8fad5b", "zf8fad5b-d9cb-469f-a165-70867728950e"] {
            assert_eq!(bad.parse::<HostId>(), Err(ParseIdError));
        }
        assert!((text.to_string() + "0").parse::<BootId>().is_err());
    }
}
