use askama::Template;
use axum::extract::Request;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::CookieJar;
use store::pages::ReadError;

use crate::session::Frame;

/// Why a request got no page.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing at this address.
    #[error("there is nothing at this address")]
    NotFound,
    /// Part of the address is not what it must be; says which.
    #[error("{0}")]
    BadAddress(String),
    /// A form came from elsewhere, or from a session that is over.
    #[error("this form belongs to another session")]
    Forbidden,
    /// Nobody is signed in; afterwards on to this address.
    #[error("nobody is signed in")]
    SignedOut(String),
    /// As many browsers watch as may.
    #[error("too many live connections")]
    Busy,
    /// The database did not answer.
    #[error("the database did not answer")]
    Database(#[from] ReadError),
    /// A defect of ours.
    #[error("the page could not be built")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<askama::Error> for Error {
    fn from(error: askama::Error) -> Self {
        Self::Internal(Box::new(error))
    }
}

/// What the error page says; made where the error is known, rendered where the request is known too.
#[derive(Clone, Debug)]
struct Explanation {
    status: StatusCode,
    title: &'static str,
    what: String,
    works: &'static str,
}

impl Error {
    fn explanation(&self) -> Explanation {
        let (status, title, what, works) = match self {
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "Nothing here",
                "There is no page, host or alert at this address. It may have been removed, or the \
                 address has a typing error."
                    .to_owned(),
                "All other pages work.",
            ),
            Self::BadAddress(what) => {
                (StatusCode::BAD_REQUEST, "Not understood", what.clone(), "All other pages work.")
            }
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "Refused",
                "This form belongs to another session, most likely because you signed in again since \
                 the page was loaded. Nothing was changed."
                    .to_owned(),
                "Go back, reload the page, and send the form again.",
            ),
            Self::SignedOut(_) => (
                StatusCode::UNAUTHORIZED,
                "Signed out",
                "Nobody is signed in.".to_owned(),
                "Sign in and try again.",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many viewers",
                "As many browsers watch live as this collector allows.".to_owned(),
                "Every page still works; reload it by hand.",
            ),
            Self::Database(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The database does not answer",
                "This page is read from the database, and the database does not answer.".to_owned(),
                "Agents keep measuring and keep their reports on disk until it is back: nothing is \
                 lost. This page tries again by itself every five seconds.",
            ),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "This page could not be built",
                "The collector met a defect of its own; its log says more.".to_owned(),
                "All other pages work, and so do reports and alerts.",
            ),
        };
        Explanation { status, title, what, works }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match &self {
            Self::SignedOut(next) if !next.is_empty() => {
                return Redirect::to(&format!("/sign-in?next={}", escape(next))).into_response();
            }
            Self::Database(error) => tracing::warn!(%error, "a page could not be read"),
            Self::Internal(error) => tracing::error!(%error, "a page could not be built"),
            _ => {}
        }
        let explanation = self.explanation();
        let mut response = explanation.status.into_response();
        response.extensions_mut().insert(explanation);
        response
    }
}

/// For a query parameter: everything but plain path characters as %XX.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                out.push(byte.into());
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    title: &'static str,
    what: String,
    works: &'static str,
    again: String,
}

/// Gives every error its page, in the viewer's theme; scripts get plain text.
pub(crate) async fn render(cookies: CookieJar, uri: Uri, request: Request, next: Next) -> Response {
    let machine = uri.path().starts_with("/api/") || uri.path() == "/live";
    let again = uri.path_and_query().map_or("/", |address| address.as_str()).to_owned();
    let response = next.run(request).await;
    let Some(Explanation { status, title, what, works }) = response.extensions().get().cloned()
    else {
        return response;
    };
    if machine {
        return (status, format!("{title}. {what}\n")).into_response();
    }
    let frame = Frame::anonymous(title, &cookies);
    let page = ErrorPage { frame, title, what, works, again };
    let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    let mut response = match page.render() {
        Ok(body) => (status, html, body).into_response(),
        Err(_) => (status, title).into_response(),
    };
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::REFRESH, header::HeaderValue::from_static("5"));
    }
    response
}

pub(crate) async fn no_such_page() -> Error {
    Error::NotFound
}
