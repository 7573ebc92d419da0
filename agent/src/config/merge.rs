use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error};

/// Reads `user` over `default`: tables are merged, every other value replaces. Errors point into
/// `user`, because the default is known to be right.
pub(super) fn over_default<T: DeserializeOwned>(default: &str, user: &str) -> Result<T, Error> {
    let mut merged = DeTable::parse(default)?;
    merge(merged.get_mut(), DeTable::parse(user)?.into_inner());
    T::deserialize(Deserializer::from(merged)).map_err(|mut error| {
        error.set_input(Some(user));
        error
    })
}

fn merge<'i>(base: &mut DeTable<'i>, over: DeTable<'i>) {
    for (key, mut value) in over {
        if let DeValue::Table(table) = value.get_mut()
            && let Some(DeValue::Table(below)) = base.get_mut(&key).map(Spanned::get_mut)
        {
            merge(below, std::mem::take(table));
            continue;
        }
        // Removed first, so that the key, too, is the user's and errors point to his line.
        base.remove(&key);
        base.insert(key, value);
    }
}
