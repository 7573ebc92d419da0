//! Who is looking, and the frame of every page.

use std::time::Duration;

use aws_lc_rs::{constant_time, digest, rand};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use store::pages::At;

use crate::theme::Theme;
use crate::{Error, WebState, assets};

/// The cookie that holds the session's secret.
pub(crate) const COOKIE: &str = "truechimer_session";
/// How long a session lasts.
pub(crate) const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Someone who is signed in.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    name: String,
    csrf: String,
    theme: Theme,
    address: String,
    now: At,
}

impl Viewer {
    /// The database's clock at the start of the request.
    pub(crate) fn now(&self) -> At {
        self.now
    }

    /// Refuses a form that another site, or another session, made.
    pub(crate) fn check_form(&self, token: &str) -> Result<(), Error> {
        same_secret(token, &self.csrf).then_some(()).ok_or(Error::Forbidden)
    }

    /// The frame of a page for this viewer.
    pub(crate) async fn frame(
        self,
        state: &WebState,
        title: &str,
        active: &'static str,
    ) -> Result<Frame, Error> {
        Ok(Frame {
            title: title.to_owned(),
            active,
            theme: self.theme,
            address: self.address,
            open_alerts: state.store().open_alerts().await?,
            viewer: Some(FrameViewer { name: self.name, csrf: self.csrf }),
        })
    }
}

impl FromRequestParts<WebState> for Viewer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Error> {
        let cookies = CookieJar::from_headers(&parts.headers);
        let path = parts.uri.path();
        let machine = path.starts_with("/api/") || path == "/live";
        let address = parts.uri.path_and_query().map_or("/", |address| address.as_str()).to_owned();
        let back_to = if machine { String::new() } else { address.clone() };
        let Some(secret) = cookies.get(COOKIE) else { return Err(Error::SignedOut(back_to)) };
        let session = state.store().session(&hash(secret.value())).await?;
        let Some(session) = session else { return Err(Error::SignedOut(back_to)) };
        Ok(Self {
            name: session.user_name,
            csrf: session.csrf_token,
            theme: Theme::of(&cookies),
            address,
            now: session.now,
        })
    }
}

/// What surrounds a page.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) title: String,
    pub(crate) active: &'static str,
    pub(crate) theme: Theme,
    pub(crate) address: String,
    pub(crate) open_alerts: i64,
    pub(crate) viewer: Option<FrameViewer>,
}

#[derive(Clone, Debug)]
pub(crate) struct FrameViewer {
    pub(crate) name: String,
    pub(crate) csrf: String,
}

impl Frame {
    /// For pages before sign-in and for errors.
    pub(crate) fn anonymous(title: &str, cookies: &CookieJar) -> Self {
        Self {
            title: title.to_owned(),
            active: "",
            theme: Theme::of(cookies),
            address: String::new(),
            open_alerts: 0,
            viewer: None,
        }
    }

    pub(crate) fn asset(&self, path: &str) -> String {
        assets::url(path)
    }
}

/// 32 random bytes as text.
pub(crate) fn secret() -> Result<String, Error> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|error| Error::Internal(Box::new(error)))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// What the database keeps of a secret.
pub(crate) fn hash(secret: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, secret.as_bytes()).as_ref().to_vec()
}

/// Comparison whose duration tells nothing.
pub(crate) fn same_secret(a: &str, b: &str) -> bool {
    constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}

/// A cookie for this site only, out of scripts' reach.
pub(crate) fn cookie(
    state: &WebState,
    name: &'static str,
    value: String,
    lifetime: Duration,
) -> Cookie<'static> {
    Cookie::build((name, value))
        .path("/")
        .max_age(lifetime.try_into().unwrap_or_default())
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(state.config().secure_cookies)
        .build()
}
