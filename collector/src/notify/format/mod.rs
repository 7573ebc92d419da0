//! How messages are written. A new format is its file, its `mod` line and its line in [`FORMATS`].

mod standard;

use store::outbox::Notice;

/// The name of the format that is used unless an endpoint says otherwise.
pub const STANDARD: &str = "standard";

/// Writes a notice as a JSON body. The same notice always gives the same bytes: a repeated delivery
/// repeats its body.
pub type Format = fn(&Notice) -> Vec<u8>;

const FORMATS: [(&str, Format); 1] = [(STANDARD, standard::body)];

/// The format with this name.
pub fn named(name: &str) -> Option<Format> {
    FORMATS.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
}

/// Every format's name, for messages.
pub fn names() -> Vec<&'static str> {
    FORMATS.iter().map(|(name, _)| *name).collect()
}
