use std::sync::{Arc, Mutex};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::task::JoinHandle;

/// One webhook as it arrived.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its headers, the signature among them.
    pub headers: HeaderMap,
    /// The exact bytes that were signed.
    pub body: Vec<u8>,
}

/// A real HTTP server that keeps every webhook it gets.
#[derive(Debug)]
pub struct Receiver {
    port: u16,
    inbox: Inbox,
    task: JoinHandle<()>,
}

type Inbox = Arc<Mutex<Vec<Delivery>>>;

impl Receiver {
    /// Listens on a free loopback port; refuses the first `refuse` deliveries with a 503.
    pub async fn start(refuse: usize) -> Result<Self> {
        let inbox = Inbox::default();
        let left = Arc::new(Mutex::new(refuse));
        let app = Router::new().route("/hook", post(take)).with_state((Arc::clone(&inbox), left));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("invariant: a bound listener serves");
        });
        Ok(Self { port, inbox, task })
    }

    /// Where to send to.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// Everything accepted so far, in order of arrival.
    pub fn inbox(&self) -> Vec<Delivery> {
        self.inbox.lock().expect("invariant: no holder panics").clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(
    State((inbox, refuse)): State<(Inbox, Arc<Mutex<usize>>)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let mut refuse = refuse.lock().expect("invariant: no holder panics");
    if *refuse > 0 {
        *refuse -= 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let delivery = Delivery { headers, body: body.to_vec() };
    inbox.lock().expect("invariant: no holder panics").push(delivery);
    StatusCode::NO_CONTENT
}
