use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What still stands between this collector and being ready, by part, in words. Shared by all roles.
#[derive(Clone, Debug, Default)]
pub struct Health {
    missing: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Health {
    /// `part` is not ready, and why.
    pub fn not_ready(&self, part: &'static str, why: impl Into<String>) {
        self.lock().insert(part, why.into());
    }

    /// `part` is ready.
    pub fn ready(&self, part: &'static str) {
        self.lock().remove(part);
    }

    /// One line for each part that is not ready; empty means ready.
    pub fn missing(&self) -> Vec<String> {
        self.lock().iter().map(|(part, why)| format!("{part}: {why}")).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
