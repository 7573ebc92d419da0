//! What the database announces: new samples, findings, alerts.

use sqlx::postgres::PgListener;

use crate::Store;

/// The channel of every announcement.
pub const CHANNEL: &str = "truechimer";

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Samples were stored.
    Samples,
    /// The rules' answers changed.
    Findings,
    /// An alert opened, changed or was resolved, or a message about one was tried.
    Alerts,
    /// The connection was lost for a moment: anything may have changed.
    Unknown,
}

impl Change {
    /// The payload of the announcement, and the name of the event that browsers get.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Findings => "findings",
            Self::Alerts => "alerts",
            Self::Unknown => "unknown",
        }
    }
}

/// A connection that listens.
#[derive(Debug)]
pub struct Listener {
    inner: PgListener,
}

impl Listener {
    /// The next change; waits for it. After an error, listen anew.
    pub async fn next(&mut self) -> Result<Change, sqlx::Error> {
        // None: the connection broke and was made again, so announcements may have been missed.
        let Some(announcement) = self.inner.try_recv().await? else { return Ok(Change::Unknown) };
        Ok([Change::Samples, Change::Findings, Change::Alerts]
            .into_iter()
            .find(|change| change.word() == announcement.payload())
            .unwrap_or(Change::Unknown))
    }
}

impl Store {
    /// Starts to listen on a connection of its own.
    pub async fn listen(&self) -> Result<Listener, sqlx::Error> {
        let mut inner = PgListener::connect_with(&self.pool).await?;
        inner.listen(CHANNEL).await?;
        Ok(Listener { inner })
    }
}
