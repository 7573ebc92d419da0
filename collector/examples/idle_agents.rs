//! Memory of a collector per connected agent: opens many connections, each with a session that says Hello
//! and waits, and reads what the collector's process takes. In another terminal, and for a figure to compare
//! with, a server of the same protocol that does nothing. It has the small buffers of this protocol, so it is
//! smaller than a server of tonic's own settings:
//!
//!     cargo run --release -p collector --example idle_agents -- plain-server 127.0.0.1:4471
//!     cargo run --release -p collector --example idle_agents -- \
//!         connect http://127.0.0.1:4461 --join-token-file FILE --pid PID --sessions 10000
//!
//! Both processes need a file descriptor for each connection (ulimit -n).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use fleet_proto::RETRY_AFTER_MS;
use fleet_proto::pb;
use fleet_proto::pb::agent_message::Message as FromAgent;
use fleet_proto::pb::collector_message::Message as ToAgent;
use fleet_proto::pb::ingest_client::IngestClient;
use fleet_proto::pb::ingest_server::{Ingest, IngestServer};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

/// Sessions that are being opened at once.
const AT_ONCE: usize = 32;
/// Connections from one loopback address, well within the range of ports that the system gives out.
const PER_ADDRESS: usize = 20_000;

#[derive(Parser)]
enum Command {
    /// Open the sessions and print what they cost the server
    Connect {
        /// Where the collector listens
        collector: String,
        /// A join token; without one the server must not ask for it
        #[arg(long)]
        join_token_file: Option<PathBuf>,
        /// The server's process
        #[arg(long)]
        pid: u32,
        /// How many
        #[arg(long, default_value_t = 10_000)]
        sessions: usize,
        /// Reports that each sends before it waits: after 20 every buffer has been used
        #[arg(long, default_value_t = 0)]
        reports: u64,
    },
    /// Serve the protocol and do nothing
    PlainServer {
        /// Where
        listen: SocketAddr,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Command::parse() {
        Command::Connect { collector, join_token_file, pid, sessions, reports } => {
            let token = join_token_file.map(std::fs::read_to_string).transpose()?;
            connect(collector, token.unwrap_or_default().trim(), pid, sessions, reports).await
        }
        Command::PlainServer { listen } => {
            println!("process {}", std::process::id());
            Ok(Server::builder().add_service(IngestServer::new(Plain)).serve(listen).await?)
        }
    }
}

async fn connect(
    collector: String,
    join_token: &str,
    pid: u32,
    sessions: usize,
    reports: u64,
) -> Result<()> {
    let endpoint = Endpoint::from_shared(collector)?;
    let mut client = IngestClient::new(endpoint.connect().await?);
    let mut hosts = Vec::with_capacity(sessions);
    for number in 0..sessions {
        let host = Uuid::new_v4();
        let request = pb::EnrolRequest {
            join_token: join_token.to_owned(),
            host_id: host.as_bytes().to_vec(),
            host: Some(info(number)),
        };
        let reply = loop {
            match client.enrol(request.clone()).await {
                Ok(reply) => break reply.into_inner(),
                Err(refused) => come_back(&refused).await.context("cannot enrol")?,
            }
        };
        hosts.push((number, host, reply.credential));
    }
    let before = resident_bytes(pid)?;
    println!("{:.1} MiB before", before as f64 / f64::from(1 << 20));
    let (mut opening, mut open) = (JoinSet::new(), Vec::with_capacity(sessions));
    for (number, host, credential) in hosts {
        if opening.len() == AT_ONCE {
            let opened = opening.join_next().await;
            open.push(opened.context("nothing is being opened")???);
        }
        opening.spawn(session(endpoint.clone(), number, host, credential));
    }
    while let Some(opened) = opening.join_next().await {
        open.push(opened??);
    }
    if reports > 0 {
        let mut reporting: JoinSet<_> = open.drain(..).map(|open| report(open, reports)).collect();
        while let Some(reported) = reporting.join_next().await {
            open.push(reported??);
        }
    }
    // What was needed only to open the last of them is given back.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let more = resident_bytes(pid)?.saturating_sub(before);
    let each = more as f64 / open.len() as f64 / 1024.0;
    println!(
        "{} sessions: {:.1} MiB more, {each:.1} KiB each",
        open.len(),
        more as f64 / f64::from(1 << 20)
    );
    Ok(())
}

/// What keeps a session open.
type Open = (Uuid, mpsc::Sender<pb::AgentMessage>, Streaming<pb::CollectorMessage>, Channel);

async fn session(
    endpoint: Endpoint,
    number: usize,
    host: Uuid,
    credential: String,
) -> Result<Open> {
    let address = Ipv4Addr::new(127, 0, 1, u8::try_from(1 + number / PER_ADDRESS)?);
    let channel = endpoint.local_address(Some(IpAddr::V4(address))).connect().await?;
    let hello = pb::Hello {
        host_id: host.as_bytes().to_vec(),
        boot_id: host.as_bytes().to_vec(),
        host: Some(info(number)),
    };
    let (outgoing, mut incoming) = loop {
        let (outgoing, messages) = mpsc::channel(1);
        outgoing.send(pb::AgentMessage { message: Some(FromAgent::Hello(hello.clone())) }).await?;
        let mut request = Request::new(ReceiverStream::new(messages));
        request.metadata_mut().insert("authorization", format!("Bearer {credential}").parse()?);
        match IngestClient::new(channel.clone()).session(request).await {
            Ok(opened) => break (outgoing, opened.into_inner()),
            Err(refused) => come_back(&refused).await?,
        }
    };
    let first = incoming.message().await?.and_then(|message| message.message);
    ensure!(matches!(first, Some(ToAgent::Welcome(_))), "no Welcome came but {first:?}");
    Ok((host, outgoing, incoming, channel))
}

/// Sends reports, one after the other, of about the length that reports have.
async fn report((host, outgoing, mut incoming, channel): Open, reports: u64) -> Result<Open> {
    const SENT_RAW_NS: i64 = 1_000_000_000_000;
    for number in 1..=reports {
        let report = pb::Report {
            seq: number,
            raw_ns: SENT_RAW_NS - 1,
            realtime_ns: 1_800_000_000_000_000_000,
            drift_limit_ppb: 50_000,
            state: pb::SyncState::Starting.into(),
            leap: pb::Leap::None.into(),
            discipliner: pb::Discipliner::None.into(),
            sources: vec![pb::Source {
                name: "x".repeat(250),
                verdict: "unreachable".to_owned(),
                authentication: pb::Authentication::None.into(),
                stamps: pb::StampKind::Kernel.into(),
                ..pb::Source::default()
            }],
            ..pb::Report::default()
        };
        let batch = FromAgent::Batch(pb::Batch {
            batch: number,
            boot_id: host.as_bytes().to_vec(),
            reports: vec![report],
            sent_raw_ns: Some(SENT_RAW_NS),
            ..pb::Batch::default()
        });
        outgoing.send(pb::AgentMessage { message: Some(batch) }).await?;
        let answer = incoming.message().await?.and_then(|message| message.message);
        let Some(ToAgent::Ack(ack)) = answer else { bail!("no Ack came but {answer:?}") };
        ensure!(ack.refused.is_empty(), "refused: {:?}", ack.refused);
    }
    Ok((host, outgoing, incoming, channel))
}

/// Waits as the collector told, or gives up if it told nothing.
async fn come_back(refused: &Status) -> Result<()> {
    let told = refused.metadata().get(RETRY_AFTER_MS).and_then(|text| text.to_str().ok());
    let Some(Ok(ms)) = told.map(str::parse) else { bail!("{refused}") };
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(())
}

fn info(number: usize) -> pb::HostInfo {
    let name = format!("idle-{number}");
    pb::HostInfo { name, simulated: true, ..pb::HostInfo::default() }
}

fn resident_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let Some(kib) = line.and_then(|line| line.trim().strip_suffix(" kB")) else {
        bail!("process {pid} has no resident memory");
    };
    Ok(kib.trim().parse::<u64>()? << 10)
}

/// A server that takes whatever it is sent.
struct Plain;

#[tonic::async_trait]
impl Ingest for Plain {
    async fn enrol(
        &self,
        _: Request<pb::EnrolRequest>,
    ) -> Result<Response<pb::EnrolReply>, Status> {
        Ok(Response::new(pb::EnrolReply { credential: "none".to_owned() }))
    }

    type SessionStream = ReceiverStream<Result<pb::CollectorMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<pb::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (outgoing, answers) = mpsc::channel(4);
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            let welcome = ToAgent::Welcome(pb::Welcome::default());
            let mut ack = pb::Ack::default();
            let _ = outgoing.send(Ok(pb::CollectorMessage { message: Some(welcome) })).await;
            while let Ok(Some(_)) = incoming.message().await {
                ack.batch += 1;
                let answer = ToAgent::Ack(ack.clone());
                let _ = outgoing.send(Ok(pb::CollectorMessage { message: Some(answer) })).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}
