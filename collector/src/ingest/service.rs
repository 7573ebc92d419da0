use std::sync::Arc;

use bytes::Bytes;
use fleet_proto::pb;
use fleet_proto::pb::ingest_server::SERVICE_NAME;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request};
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::Reason;
use super::agent::{HELLO_LIMIT, Shared};
use super::grpc::{self, Broken, Incoming, Outgoing};
use super::identity::{self, Strangers};
use super::session::Session;
use super::sessions::Sessions;

/// The gRPC service: finds out who calls, then hands over to [`identity`] or a [`Session`].
pub(super) struct Service {
    pub(super) shared: Arc<Shared>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) strangers: Strangers,
    /// Largest message that is taken.
    pub(super) most_message_bytes: usize,
    /// Calls under way.
    pub(super) calls: TaskTracker,
}

impl Service {
    /// One call, from its head to its end.
    pub(super) fn call(
        self: &Arc<Self>,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> impl Future<Output = ()> + Send + use<> {
        // In a box: what it needs of memory is given back before the long wait begins.
        let opening = Box::pin(open(self.clone(), request, respond));
        self.calls.track_future(async move {
            if let Some(mut session) = opening.await {
                session.run().await;
            }
        })
    }

    async fn enrol(&self, incoming: &mut Incoming) -> Result<pb::EnrolReply, Status> {
        let (store, metrics) = (&self.shared.store, &self.shared.metrics);
        let asked = in_time(incoming.message()).await?;
        let request = match asked {
            Ok(Some(request)) => request,
            Ok(None) => return Err(Status::invalid_argument("no request came")),
            Err(Broken::TooLarge(why)) => return Err(Status::out_of_range(why)),
            Err(Broken::Malformed(why)) => return Err(Status::invalid_argument(why)),
            Err(Broken::HungUp) => return Err(Status::cancelled("the agent hung up")),
        };
        identity::enrol(store, &self.strangers, metrics, request).await
    }

    async fn host(&self, head: &HeaderMap) -> Result<store::hosts::KnownHost, Status> {
        let (store, metrics) = (&self.shared.store, &self.shared.metrics);
        let host = identity::host_of(store, &self.strangers, metrics, head).await?;
        if host.revoked {
            self.shared.refusals.count(host.key, Reason::Revoked, "the credential was revoked");
            return Err(Status::unauthenticated("revoked: the credential was revoked"));
        }
        Ok(host)
    }
}

/// Answers a call that is answered at once; an agent that is welcome has a session from then on.
async fn open(
    service: Arc<Service>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) -> Option<Session> {
    let (head, stream) = request.into_parts();
    let mut incoming = Incoming::new(stream, service.most_message_bytes);
    match method(head.uri.path()) {
        Some("Enrol") => match service.enrol(&mut incoming).await {
            Ok(reply) => {
                let mut outgoing = Outgoing::open(respond).ok()?;
                outgoing.send(&reply).ok()?;
                in_time(outgoing.sent()).await.ok()?.ok()?;
                outgoing.end(&Status::ok(""));
            }
            Err(status) => grpc::refuse(respond, status),
        },
        Some("Session") => match service.host(&head.headers).await {
            Ok(host) => {
                let outgoing = Outgoing::open(respond).ok()?;
                let seat = service.sessions.open(host.key, host.credential_hash);
                return Session::open(service.shared.clone(), host, seat, incoming, outgoing).await;
            }
            Err(status) => grpc::refuse(respond, status),
        },
        _ => grpc::refuse(respond, Status::unimplemented("no such call")),
    }
    None
}

async fn in_time<T>(what: impl Future<Output = T>) -> Result<T, Status> {
    let done = tokio::time::timeout(HELLO_LIMIT, what).await;
    done.map_err(|_| Status::deadline_exceeded("nothing came in time"))
}

fn method(path: &str) -> Option<&str> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (service == SERVICE_NAME).then_some(method)
}
