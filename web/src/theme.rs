//! Light, dark, or as the system says: kept in a cookie, so that it works without scripts.

use std::time::Duration;

use axum::extract::{Form, State};
use axum::response::Redirect;
use axum_extra::extract::CookieJar;
use serde::Deserialize;

use crate::session::{self, Viewer};
use crate::sign_in::local_address;
use crate::{Error, WebState};

const COOKIE: &str = "truechimer_theme";
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    System,
    Light,
    Dark,
}

impl Theme {
    pub(crate) const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    fn from_word(word: &str) -> Self {
        Self::ALL.into_iter().find(|theme| theme.word() == word).unwrap_or(Self::System)
    }

    pub(crate) fn of(cookies: &CookieJar) -> Self {
        cookies.get(COOKIE).map_or(Self::System, |cookie| Self::from_word(cookie.value()))
    }
}

#[derive(Deserialize)]
pub(crate) struct Pin {
    csrf: String,
    theme: String,
    back: String,
}

pub(crate) async fn pin(
    State(state): State<WebState>,
    viewer: Viewer,
    cookies: CookieJar,
    Form(form): Form<Pin>,
) -> Result<(CookieJar, Redirect), Error> {
    viewer.check_form(&form.csrf)?;
    let word = Theme::from_word(&form.theme).word().to_owned();
    let cookie = session::cookie(&state, COOKIE, word, YEAR);
    Ok((cookies.add(cookie), Redirect::to(&local_address(&form.back))))
}
