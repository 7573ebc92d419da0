//! A collector's side of the protocol: a real gRPC server that keeps reports in memory and fails on
//! demand.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use fleet_proto::pb;
use fleet_proto::pb::agent_message::Message as FromAgent;
use fleet_proto::pb::collector_message::Message as ToAgent;
use fleet_proto::pb::ingest_server::{Ingest, IngestServer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

pub(crate) const JOIN_TOKEN: &str = "tcj_right";
const CREDENTIAL: &str = "tch_secret";

/// What goes wrong with one batch.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The stream breaks before the batch is stored.
    BreakBefore,
    /// The batch is stored, and the stream breaks before the acknowledgement.
    BreakAfter,
    /// Refused, to be sent again.
    Busy,
    /// Refused for good.
    RefuseBatch,
    /// Stored without this report, which can never be.
    RefuseReport(u64),
}

/// What the collector saw.
#[derive(Default)]
pub(crate) struct Seen {
    /// Stored reports by (host, boot), as they came.
    pub(crate) stored: BTreeMap<(Vec<u8>, Vec<u8>), Vec<pb::Report>>,
    /// Every batch as it came, stored or not.
    pub(crate) batches: Vec<pb::Batch>,
    /// Acknowledgements sent.
    pub(crate) acks: Vec<pb::Ack>,
    /// Enrolments granted.
    pub(crate) enrolled: Vec<pb::EnrolRequest>,
    /// Sessions opened.
    pub(crate) sessions: usize,
    /// What will go wrong, batch by batch.
    pub(crate) faults: VecDeque<Fault>,
    /// Whether credentials are no longer accepted.
    pub(crate) revoked: bool,
    /// Whether every batch is refused with "later".
    pub(crate) busy: bool,
    last_seq: BTreeMap<(Vec<u8>, Vec<u8>), u64>,
}

impl Seen {
    /// The numbers stored, of all boots, in the order they were stored.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.stored.values().flatten().map(|report| report.seq).collect()
    }
}

#[derive(Clone, Default)]
struct Service(Arc<Mutex<Seen>>);

/// A running collector.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    server: JoinHandle<()>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::start_on(Server::builder()).await
    }

    /// Speaks TLS with this certificate and key.
    pub(crate) async fn start_tls(identity: Identity) -> Self {
        let tls = ServerTlsConfig::new().identity(identity);
        Self::start_on(Server::builder().tls_config(tls).unwrap()).await
    }

    async fn start_on(mut server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Service::default();
        let seen = Arc::clone(&service.0);
        let server = tokio::spawn(async move {
            server
                .add_service(IngestServer::new(service))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        Self { address, seen, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Answers = mpsc::Sender<Result<pb::CollectorMessage, Status>>;

#[tonic::async_trait]
impl Ingest for Service {
    async fn enrol(
        &self,
        request: Request<pb::EnrolRequest>,
    ) -> Result<Response<pb::EnrolReply>, Status> {
        let request = request.into_inner();
        if request.join_token != JOIN_TOKEN {
            return Err(Status::permission_denied("unknown join token"));
        }
        self.0.lock().unwrap().enrolled.push(request);
        Ok(Response::new(pb::EnrolReply { credential: CREDENTIAL.to_owned() }))
    }

    type SessionStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<pb::CollectorMessage, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<pb::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let bearer = request.metadata().get("authorization").and_then(|v| v.to_str().ok());
        if bearer != Some(&format!("Bearer {CREDENTIAL}")) || self.0.lock().unwrap().revoked {
            return Err(Status::unauthenticated("this credential was revoked"));
        }
        let (answers, stream) = mpsc::channel(4);
        let (seen, incoming) = (Arc::clone(&self.0), request.into_inner());
        tokio::spawn(session(seen, incoming, answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

async fn session(
    seen: Arc<Mutex<Seen>>,
    mut incoming: Streaming<pb::AgentMessage>,
    answers: Answers,
) {
    let Ok(Some(pb::AgentMessage { message: Some(FromAgent::Hello(hello)) })) =
        incoming.message().await
    else {
        panic!("a session begins with Hello")
    };
    let welcome = {
        let mut seen = seen.lock().unwrap();
        seen.sessions += 1;
        let key = (hello.host_id.clone(), hello.boot_id.clone());
        pb::Welcome {
            last_seq: seen.last_seq.get(&key).copied(),
            max_batch: 3,
            collector_version: "test".to_owned(),
        }
    };
    send(&answers, ToAgent::Welcome(welcome)).await;
    while let Ok(Some(message)) = incoming.message().await {
        let Some(FromAgent::Batch(batch)) = message.message else { panic!("batches follow") };
        let answer = seen.lock().unwrap().take(&hello.host_id, batch);
        match answer {
            Some(answer) => send(&answers, answer).await,
            None => {
                let _ = answers.send(Err(Status::unavailable("broken by the test"))).await;
                return;
            }
        }
    }
}

async fn send(answers: &Answers, message: ToAgent) {
    let _ = answers.send(Ok(pb::CollectorMessage { message: Some(message) })).await;
}

impl Seen {
    /// Stores what is new; `None` breaks the stream.
    fn take(&mut self, host: &[u8], batch: pb::Batch) -> Option<ToAgent> {
        self.batches.push(batch.clone());
        let refusal = |retry| {
            let (reason, detail) = ("test".to_owned(), "by the test".to_owned());
            Some(ToAgent::Refusal(pb::Refusal { batch: batch.batch, reason, detail, retry }))
        };
        let fault = self.faults.pop_front();
        let mut refused = Vec::new();
        match &fault {
            Some(Fault::BreakBefore) => return None,
            Some(Fault::Busy) => return refusal(true),
            Some(Fault::RefuseBatch) => return refusal(false),
            Some(Fault::RefuseReport(seq)) => {
                refused.push(pb::ReportRefusal { seq: *seq, reason: "range".to_owned() });
            }
            _ if self.busy => return refusal(true),
            _ => {}
        }
        let key = (host.to_vec(), batch.boot_id.clone());
        let last = self.last_seq.entry(key.clone()).or_default();
        for report in batch.reports {
            if report.seq > *last && !refused.iter().any(|r| r.seq == report.seq) {
                *last = report.seq;
                self.stored.entry(key.clone()).or_default().push(report);
            }
        }
        let ack = pb::Ack { batch: batch.batch, seq: *last, t2_ns: 20, t3_ns: 30, refused };
        if matches!(fault, Some(Fault::BreakAfter)) {
            return None;
        }
        self.acks.push(ack.clone());
        Some(ToAgent::Ack(ack))
    }
}
