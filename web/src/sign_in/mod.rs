//! Signing in and out.

pub(crate) mod limit;
pub mod password;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use askama::Template;
use axum::extract::{ConnectInfo, Form, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::Cookie;
use serde::Deserialize;

use crate::session::{self, Frame, Viewer};
use crate::{Error, WebState};

/// Ties the sign-in form to the browser that asked for it, before there is a session.
const FORM_COOKIE: &str = "truechimer_form";
const FORM_LIFETIME: Duration = Duration::from_secs(3600);
/// Longer passwords cost time and prove nothing.
const LONGEST_FIELD: usize = 1024;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    token: String,
    next: String,
    name: String,
    refused: Option<&'static str>,
    no_users: bool,
}

#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    next: String,
}

pub(crate) async fn show(
    State(state): State<WebState>,
    cookies: CookieJar,
    Query(asked): Query<Asked>,
) -> Result<Response, Error> {
    page(&state, cookies, StatusCode::OK, asked.next, String::new(), None).await
}

async fn page(
    state: &WebState,
    cookies: CookieJar,
    status: StatusCode,
    next: String,
    name: String,
    refused: Option<&'static str>,
) -> Result<Response, Error> {
    let no_users = state.store().user_count().await? == 0;
    let token = session::secret()?;
    let frame = Frame::anonymous("Sign in", &cookies);
    let form = SignInPage { frame, token: token.clone(), next, name, refused, no_users };
    let cookies = cookies.add(session::cookie(state, FORM_COOKIE, token, FORM_LIFETIME));
    Ok((status, cookies, Html(form.render()?)).into_response())
}

#[derive(Deserialize)]
pub(crate) struct SignIn {
    csrf: String,
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

const WRONG: &str = "Name and password do not fit together.";
const TOO_MANY: &str = "Too many attempts. Wait five minutes, then try again.";

pub(crate) async fn submit(
    State(state): State<WebState>,
    cookies: CookieJar,
    PeerIp(peer): PeerIp,
    Form(form): Form<SignIn>,
) -> Result<Response, Error> {
    let expected = cookies.get(FORM_COOKIE).map_or("", Cookie::value);
    if expected.is_empty() || !session::same_secret(&form.csrf, expected) {
        return Err(Error::Forbidden);
    }
    if form.name.len() > LONGEST_FIELD || form.password.len() > LONGEST_FIELD {
        return page(
            &state,
            cookies,
            StatusCode::UNAUTHORIZED,
            form.next,
            String::new(),
            Some(WRONG),
        )
        .await;
    }
    if !state.limiter().admit(Instant::now(), peer, &form.name) {
        tracing::warn!(peer.ip = %peer, "sign-in refused: too many attempts");
        let status = StatusCode::TOO_MANY_REQUESTS;
        return page(&state, cookies, status, form.next, form.name, Some(TOO_MANY)).await;
    }
    let user = state.store().user_by_name(&form.name).await?;
    let known = user.as_ref().map(|user| user.password_hash.clone());
    if !password::check(&state, form.password, known).await? {
        tracing::warn!(peer.ip = %peer, "sign-in refused: wrong name or password");
        return page(&state, cookies, StatusCode::UNAUTHORIZED, form.next, form.name, Some(WRONG))
            .await;
    }
    let Some(user) = user else { return Err(Error::Forbidden) };
    state.limiter().forgive(peer, &form.name);
    let secret = session::secret()?;
    let lifetime = session::LIFETIME;
    let (digest, csrf) = (session::hash(&secret), session::secret()?);
    state.store().open_session(user.user_id, &digest, &csrf, lifetime.as_secs_f64()).await?;
    tracing::info!(user.name = %user.name, peer.ip = %peer, "signed in");
    let cookies = cookies.remove(Cookie::build(FORM_COOKIE).path("/")).add(session::cookie(
        &state,
        session::COOKIE,
        secret,
        lifetime,
    ));
    Ok((cookies, Redirect::to(&local_address(&form.next))).into_response())
}

#[derive(Deserialize)]
pub(crate) struct SignOut {
    csrf: String,
}

pub(crate) async fn sign_out(
    State(state): State<WebState>,
    viewer: Viewer,
    cookies: CookieJar,
    Form(form): Form<SignOut>,
) -> Result<(CookieJar, Redirect), Error> {
    viewer.check_form(&form.csrf)?;
    if let Some(secret) = cookies.get(session::COOKIE) {
        state.store().close_session(&session::hash(secret.value())).await?;
    }
    let cookies = cookies.remove(Cookie::build(session::COOKIE).path("/"));
    Ok((cookies, Redirect::to("/sign-in")))
}

/// Where to go next: an address on this site, or the fleet page.
pub(crate) fn local_address(next: &str) -> String {
    // "//host" and "/\host" leave the site; control characters would split the header.
    let local = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && next.bytes().all(|byte| byte.is_ascii_graphic());
    if local { next.to_owned() } else { "/".to_owned() }
}

/// The address the request came from; unspecified where the server does not tell.
pub(crate) struct PeerIp(IpAddr);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for PeerIp {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        _: &S,
    ) -> Result<Self, Self::Rejection> {
        let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self(info.map_or(Ipv4Addr::UNSPECIFIED.into(), |ConnectInfo(peer)| peer.ip())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that sign-in never sends a browser to another site.
    #[test]
    fn only_addresses_of_this_site_are_followed() {
        for fine in ["/", "/hosts/1?range=1h", "/risks"] {
            assert_eq!(local_address(fine), fine);
        }
        for bad in ["", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "x"]
        {
            assert_eq!(local_address(bad), "/");
        }
    }
}
