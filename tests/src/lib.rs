//! What the whole-house tests are built from: the real binaries, real time sources, a real receiver.
//!
//! [`House`] starts a collector with its own Postgres in a temporary folder; agents, sources, a
//! webhook receiver and a browser are added to it. Nothing here stands in for a part of the product:
//! the only thing made up is the time that [`NtpServer`] tells. Waiting is polling with a deadline
//! ([`eventually`]), never a sleep that hopes.

mod agent;
mod browser;
mod chronyd;
mod clock;
mod dice;
mod folder;
mod house;
mod http;
mod load;
mod ntp_server;
mod process;
mod receiver;
mod skip;
mod wait;

pub use agent::{Agent, AgentKnobs};
pub use browser::visit;
pub use chronyd::Chronyd;
pub use dice::Dice;
pub use folder::Folder;
pub use house::{ACCOUNT, Frozen, House};
pub use http::{Answer, get, metric};
pub use load::{Client, Load, Pace, Session};
pub use ntp_server::{Claims, NtpServer, Reply};
pub use process::{Process, binary, free_port};
pub use receiver::{Delivery, Receiver};
pub use skip::skip;
pub use wait::eventually;
