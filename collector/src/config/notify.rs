//! `[[webhook]]`: where alerts go.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One receiver of alerts.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Webhook {
    /// Its name, in deliveries and logs.
    pub name: String,
    /// Where messages are posted.
    pub url: String,
    /// How messages are written.
    #[serde(default = "standard")]
    pub format: String,
    /// File that holds the signing secret, `whsec_` and base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// Environment variable that holds the signing secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<String>,
    /// Whether the address may be loopback or private, and plain http.
    #[serde(default)]
    pub allow_private: bool,
}

fn standard() -> String {
    crate::notify::format::STANDARD.to_owned()
}
