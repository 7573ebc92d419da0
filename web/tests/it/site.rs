//! A browser of few words: it keeps cookies and sends forms.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::Response;
use sqlx::PgPool;
use store::Store;
use tower::ServiceExt;
use web::{WebConfig, WebState};

pub(crate) const NAME: &str = "operator";
pub(crate) const PASSWORD: &str = "a long password";

/// The pages and one browser.
pub(crate) struct Site {
    pub(crate) store: Store,
    state: WebState,
    router: Router,
    cookies: Vec<(String, String)>,
}

/// What came back.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Site {
    /// Nobody is signed in; there is no user.
    pub(crate) fn empty(pool: PgPool) -> Self {
        Self::configured(pool, WebConfig::default())
    }

    fn configured(pool: PgPool, config: WebConfig) -> Self {
        let store = Store::from_pool(pool);
        let state = WebState::new(store.clone(), config);
        let router = web::router(state.clone());
        Self { store, state, router, cookies: Vec::new() }
    }

    /// There is a user, who is not signed in.
    pub(crate) async fn with_user(pool: PgPool) -> Self {
        Self::with_user_and(pool, WebConfig::default()).await
    }

    async fn with_user_and(pool: PgPool, config: WebConfig) -> Self {
        let site = Self::configured(pool, config);
        if site.store.user_by_name(NAME).await.unwrap().is_none() {
            let hash = web::password::hash(PASSWORD).unwrap();
            site.store.add_user(NAME, &hash).await.unwrap();
        }
        site
    }

    /// The user is signed in.
    pub(crate) async fn signed_in(pool: PgPool) -> Self {
        Self::signed_in_with(pool, WebConfig::default()).await
    }

    /// As [`Site::signed_in`], of a collector with this configuration.
    pub(crate) async fn signed_in_with(pool: PgPool, config: WebConfig) -> Self {
        let mut site = Self::with_user_and(pool, config).await;
        let page = site.sign_in(NAME, PASSWORD).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        site
    }

    pub(crate) async fn sign_in(&mut self, name: &str, password: &str) -> Page {
        let csrf = self.get("/sign-in").await.csrf();
        self.post("/sign-in", &[("csrf", &csrf), ("name", name), ("password", password)]).await
    }

    /// A second browser on the same pages.
    pub(crate) fn other_browser(&self) -> Self {
        let (store, state) = (self.store.clone(), self.state.clone());
        Self { store, state, router: self.router.clone(), cookies: Vec::new() }
    }

    /// As at a graceful stop.
    pub(crate) fn close(&self) {
        self.state.close();
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) async fn get(&mut self, address: &str) -> Page {
        let request = Request::get(address).body(Body::empty()).unwrap();
        self.page(request).await
    }

    pub(crate) async fn post(&mut self, address: &str, fields: &[(&str, &str)]) -> Page {
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", value.replace(' ', "+")))
            .collect();
        let request = Request::post(address)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(fields.join("&")))
            .unwrap();
        self.page(request).await
    }

    pub(crate) async fn page(&mut self, request: Request<Body>) -> Page {
        let response = self.send(request).await;
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 16 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Page { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) async fn send(&mut self, mut request: Request<Body>) -> Response {
        let pairs: Vec<String> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        if !pairs.is_empty() {
            request.headers_mut().insert(header::COOKIE, pairs.join("; ").parse().unwrap());
        }
        let response = self.router.clone().oneshot(request).await.unwrap();
        for set in response.headers().get_all(header::SET_COOKIE) {
            let set = set.to_str().unwrap();
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !set.contains("Max-Age=0") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        response
    }
}

impl Page {
    /// The token of the first form.
    pub(crate) fn csrf(&self) -> String {
        let (_, rest) =
            self.text.split_once("name=\"csrf\" value=\"").expect("the page has a form");
        rest.split('"').next().unwrap().to_owned()
    }

    pub(crate) fn location(&self) -> &str {
        self.headers[header::LOCATION].to_str().unwrap()
    }

    /// Panics with the page unless it is fine and says every one of `words`.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) {
        for word in words {
            assert!(
                self.text.contains(word),
                "{word:?} is not said in ({}):\n{}",
                self.status,
                self.text
            );
        }
    }

    /// Where each of `words` first stands, to compare their order.
    #[track_caller]
    pub(crate) fn in_order(&self, words: &[&str]) {
        let at: Vec<usize> = words
            .iter()
            .map(|word| self.text.find(word).unwrap_or_else(|| panic!("{word:?} is missing")))
            .collect();
        assert!(at.is_sorted(), "{words:?} stand at {at:?}");
    }
}
