use std::net::SocketAddr;

use fleet_proto::pb;
use fleet_proto::pb::agent_message::Message as FromAgent;
use fleet_proto::pb::collector_message::Message as ToAgent;
use fleet_proto::pb::ingest_client::IngestClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use uuid::Uuid;

use super::{PATIENCE, World};

/// The raw clock that every batch of these tests is sent at.
const SENT_RAW: i64 = 1_000_000_000_000;

/// An enrolled host.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) name: &'static str,
    pub(crate) host: Uuid,
    pub(crate) boot: Uuid,
    pub(crate) credential: String,
    /// How many bytes of answers it lets wait unread; `None`: as the library does, megabytes.
    pub(crate) window: Option<u32>,
    address: String,
}

/// An open stream.
pub(crate) struct Session {
    pub(crate) boot: Uuid,
    pub(crate) last_seq: Option<u64>,
    outgoing: mpsc::Sender<pb::AgentMessage>,
    incoming: Streaming<pb::CollectorMessage>,
    batches: u64,
}

impl Agent {
    pub(crate) async fn enrol(world: &World, name: &'static str) -> Self {
        let token = world.join_token().await;
        Self::enrol_as(world, name, Uuid::new_v4(), &token).await.unwrap()
    }

    pub(crate) async fn enrol_as(
        world: &World,
        name: &'static str,
        host: Uuid,
        join_token: &str,
    ) -> Result<Self, Status> {
        let address = world.grpc();
        let request = pb::EnrolRequest {
            join_token: join_token.to_owned(),
            host_id: host.as_bytes().to_vec(),
            host: Some(info(name)),
        };
        let mut client = IngestClient::connect(address.clone()).await.unwrap();
        let reply = client.enrol(request).await?.into_inner();
        let boot = Uuid::new_v4();
        Ok(Self { name, host, boot, credential: reply.credential, window: None, address })
    }

    /// After the collector was started again, on another port.
    pub(crate) fn moved_to(mut self, world: &World) -> Self {
        self.address = world.grpc();
        self
    }

    /// The same agent, configured with another collector on the same database.
    pub(crate) fn moved_to_address(mut self, address: SocketAddr) -> Self {
        self.address = format!("http://{address}");
        self
    }

    pub(crate) fn hello(&self) -> pb::Hello {
        pb::Hello {
            host_id: self.host.as_bytes().to_vec(),
            boot_id: self.boot.as_bytes().to_vec(),
            host: Some(info(self.name)),
        }
    }

    pub(crate) async fn session(&self) -> Session {
        self.session_saying(hello_message(self.hello())).await.unwrap()
    }

    /// A stream whose first message is this one, up to the collector's Welcome.
    pub(crate) async fn session_saying(&self, first: pb::AgentMessage) -> Result<Session, Status> {
        let endpoint = Channel::from_shared(self.address.clone()).unwrap();
        let channel = endpoint.initial_stream_window_size(self.window).connect().await.unwrap();
        let mut client = IngestClient::new(channel);
        let (outgoing, messages) = mpsc::channel(16);
        outgoing.send(first).await.unwrap();
        let mut request = Request::new(ReceiverStream::new(messages));
        let bearer = format!("Bearer {}", self.credential).parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        let incoming = client.session(request).await?.into_inner();
        let mut session =
            Session { boot: self.boot, last_seq: None, outgoing, incoming, batches: 0 };
        match session.receive().await? {
            Some(ToAgent::Welcome(welcome)) => session.last_seq = welcome.last_seq,
            other => panic!("expected Welcome, got {other:?}"),
        }
        Ok(session)
    }
}

impl Session {
    /// Sends a batch of the running boot; its number.
    pub(crate) async fn send(&mut self, reports: Vec<pb::Report>) -> u64 {
        let boot_id = self.boot.as_bytes().to_vec();
        let batch =
            pb::Batch { boot_id, reports, sent_raw_ns: Some(SENT_RAW), ..pb::Batch::default() };
        self.send_batch(batch).await
    }

    /// Sends this batch with the next number.
    pub(crate) async fn send_batch(&mut self, batch: pb::Batch) -> u64 {
        self.batches += 1;
        let batch = pb::Batch { batch: self.batches, ..batch };
        // A stream that the collector has ended shows at the next receive.
        let _ = self.outgoing.send(message(FromAgent::Batch(batch))).await;
        self.batches
    }

    pub(crate) async fn send_message(&mut self, message: pb::AgentMessage) {
        let _ = self.outgoing.send(message).await;
    }

    /// Tries to hand over a batch without waiting; whether there was room.
    pub(crate) fn try_send_empty(&mut self) -> bool {
        let boot_id = self.boot.as_bytes().to_vec();
        let batch = pb::Batch { boot_id, sent_raw_ns: Some(SENT_RAW), ..pb::Batch::default() };
        self.outgoing.try_send(message(FromAgent::Batch(batch))).is_ok()
    }

    pub(crate) async fn receive(&mut self) -> Result<Option<ToAgent>, Status> {
        let next = tokio::time::timeout(PATIENCE, self.incoming.message()).await;
        Ok(next.expect("the collector said nothing")?.and_then(|message| message.message))
    }

    /// The next answer, which must be an Ack.
    pub(crate) async fn ack(&mut self) -> pb::Ack {
        match self.receive().await {
            Ok(Some(ToAgent::Ack(ack))) => ack,
            other => panic!("expected Ack, got {other:?}"),
        }
    }

    /// The next answer, which must be a Refusal.
    pub(crate) async fn refusal(&mut self) -> pb::Refusal {
        match self.receive().await {
            Ok(Some(ToAgent::Refusal(refusal))) => refusal,
            other => panic!("expected Refusal, got {other:?}"),
        }
    }

    /// How the collector ended the stream, whatever it had to say before.
    pub(crate) async fn end(&mut self) -> Result<(), Status> {
        while self.receive().await?.is_some() {}
        Ok(())
    }
}

pub(crate) fn message(message: FromAgent) -> pb::AgentMessage {
    pb::AgentMessage { message: Some(message) }
}

pub(crate) fn hello_message(hello: pb::Hello) -> pb::AgentMessage {
    message(FromAgent::Hello(hello))
}

fn info(name: &str) -> pb::HostInfo {
    let (name, service) = (name.to_owned(), "test".to_owned());
    pb::HostInfo { name, service, ..pb::HostInfo::default() }
}

/// A report that can be stored, made one second before its batch is sent.
pub(crate) fn report(seq: u64) -> pb::Report {
    pb::Report {
        seq,
        raw_ns: SENT_RAW - 1_000_000_000,
        realtime_ns: 1_800_000_000_000_000_000,
        bounds: Some(pb::Bounds { lo_ns: -1_000, hi_ns: 2_000 }),
        drift_limit_ppb: 50_000,
        state: pb::SyncState::Synchronised.into(),
        leap: pb::Leap::None.into(),
        discipliner: pb::Discipliner::Chronyd.into(),
        sources: vec![pb::Source {
            name: "ntp.example:123".into(),
            verdict: "selected".into(),
            authentication: pb::Authentication::None.into(),
            stamps: pb::StampKind::Kernel.into(),
            detail: Some(pb::source::Detail::Ntp(pb::NtpDetail {
                stratum: 2,
                leap: pb::Leap::None.into(),
                ..pb::NtpDetail::default()
            })),
            ..pb::Source::default()
        }],
        ..pb::Report::default()
    }
}
