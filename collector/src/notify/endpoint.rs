//! A configured receiver: where to post, how to write, how to sign.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use reqwest::{Client, Response, Url, header, redirect};
use store::outbox::Notice;
use uuid::Uuid;

use super::format::{self, Format};
use super::guard::Guard;
use super::signature::Signer;
use crate::config::notify::Webhook;

/// A receiver that takes longer is taken for dead until the next attempt.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A receiver, ready to be posted to.
pub(super) struct Endpoint {
    pub(super) name: String,
    url: Url,
    format: Format,
    signer: Signer,
    client: Client,
}

impl Endpoint {
    /// Checks the settings and reads the secret.
    ///
    /// # Errors
    /// The URL, the format or the secret cannot be used; the message says which endpoint and why, and
    /// never holds the secret or the URL, which may hold one too.
    pub(super) fn new(webhook: &Webhook) -> anyhow::Result<Self> {
        Self::build(webhook).with_context(|| format!("[[webhook]] {:?}", webhook.name))
    }

    fn build(webhook: &Webhook) -> anyhow::Result<Self> {
        ensure!(!webhook.name.trim().is_empty(), "a webhook needs a name");
        let guard = Guard { allow_private: webhook.allow_private };
        let url: Url = webhook.url.parse().context("its url is not a URL")?;
        match url.scheme() {
            "https" => {}
            "http" if webhook.allow_private => {}
            "http" => bail!("plain http needs allow-private = true"),
            other => bail!("a url begins with https, not {other}"),
        }
        // Addresses written as such never reach the resolver.
        let host = url.host_str().context("its url names no host")?;
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if let Some(why) = literal.ok().and_then(|address| guard.refusal(address)) {
            bail!("its url is refused: {why}");
        }
        let Some(format) = format::named(&webhook.format) else {
            bail!("unknown format {:?}, known: {}", webhook.format, format::names().join(", "));
        };
        let signer = Signer::parse(&secret(webhook)?)?;
        // No proxy: it would resolve names out of the guard's sight. No redirects: nor would they pass it.
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(guard))
            .user_agent(concat!("truechimer/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("no HTTP client to be had")?;
        Ok(Self { name: webhook.name.clone(), url, format, signer, client })
    }

    /// Writes, signs and posts a message; the receiver's answer, whatever its status.
    pub(super) async fn post(
        &self,
        id: Uuid,
        notice: &Notice,
        unix_seconds: i64,
    ) -> Result<Response, reqwest::Error> {
        let id = id.to_string();
        let body = (self.format)(notice);
        let signature = self.signer.sign(&id, unix_seconds, &body);
        self.client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", unix_seconds)
            .header("webhook-signature", signature)
            .body(body)
            .send()
            .await
    }
}

fn secret(webhook: &Webhook) -> anyhow::Result<String> {
    match (&webhook.secret_file, &webhook.secret_env) {
        (Some(path), None) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read its secret-file {}", path.display())),
        (None, Some(name)) => {
            std::env::var(name).with_context(|| format!("its secret-env {name} is not set"))
        }
        _ => bail!("give either secret-file or secret-env"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str, allow_private: bool) -> String {
        let webhook = Webhook {
            name: "w".into(),
            url: url.into(),
            format: "standard".into(),
            secret_file: None,
            secret_env: None,
            allow_private,
        };
        format!("{:#}", Endpoint::new(&webhook).err().unwrap())
    }

    /// Addresses that are refused are refused at start, in words, and without repeating the URL.
    #[test]
    fn bad_urls_are_refused_at_start() {
        for (url, allow_private, why) in [
            ("https://169.254.169.254/key", true, "link-local"),
            ("https://[fe80::1]/key", true, "link-local"),
            ("https://2852039166/key", true, "link-local"),
            ("https://127.0.0.1/key", false, "loopback"),
            ("http://alerts.example/key", false, "plain http"),
            ("ftp://alerts.example/key", true, "https"),
            ("nonsense", true, "not a URL"),
            ("https://alerts.example/key", false, "secret-file"),
        ] {
            let text = refusal(url, allow_private);
            assert!(text.contains(why) && !text.contains("/key"), "{url}: {text}");
        }
    }
}
