use std::sync::Arc;

use fleet_proto::pb;
use fleet_proto::pb::ingest_server::Ingest;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::adapters::Map;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::Reason;
use super::identity::{self, Strangers};
use super::session::{Outgoing, Outgone, PIPELINE, Session, Shared};
use super::sessions::Sessions;

/// The gRPC service: finds out who calls, then hands over to [`identity`] or a [`Session`].
pub(super) struct Service {
    pub(super) shared: Arc<Shared>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) strangers: Strangers,
    pub(super) tasks: TaskTracker,
}

/// What a session answers, from its task to the connection.
type Answers = Map<ReceiverStream<Box<Outgone>>, fn(Box<Outgone>) -> Outgone>;

#[tonic::async_trait]
impl Ingest for Service {
    async fn enrol(
        &self,
        request: Request<pb::EnrolRequest>,
    ) -> Result<Response<pb::EnrolReply>, Status> {
        let (store, metrics) = (&self.shared.store, &self.shared.metrics);
        let reply = identity::enrol(store, &self.strangers, metrics, request.into_inner()).await?;
        Ok(Response::new(reply))
    }

    type SessionStream = Answers;

    async fn session(
        &self,
        request: Request<Streaming<pb::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (store, metrics) = (&self.shared.store, &self.shared.metrics);
        let host = identity::host_of(store, &self.strangers, metrics, request.metadata()).await?;
        if host.revoked {
            self.shared.refusals.count(host.key, Reason::Revoked, "the credential was revoked");
            return Err(Status::unauthenticated("revoked: the credential was revoked"));
        }
        // No more answers wait in memory than batches are under way.
        let (outgoing, answers): (Outgoing, _) = mpsc::channel(PIPELINE);
        let seat = self.sessions.open(host.key, host.credential_hash);
        let session = Session::new(self.shared.clone(), &host, seat, outgoing);
        self.tasks.spawn(session.run(Box::new(host), request.into_inner()));
        let unboxed: fn(Box<Outgone>) -> Outgone = |answer| *answer;
        Ok(Response::new(ReceiverStream::new(answers).map(unboxed)))
    }
}
