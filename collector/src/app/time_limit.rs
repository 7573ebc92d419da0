use std::collections::HashSet;
use std::time::Duration;

use store::Store;
use timebase::Span;
use tokio_util::sync::CancellationToken;

/// By so much a query may outlast the limit.
const EVERY: Duration = Duration::from_secs(1);

/// Holds SQL users to their time limit: a session can lift its own `statement_timeout`, not this.
pub(super) async fn run(store: Store, limit: Span, stop: CancellationToken) -> anyhow::Result<()> {
    match store.may_end_sessions().await {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            "SQL users are not held to [sql] time-limit: this database user may not end their \
             sessions. As its administrator: GRANT pg_signal_backend, pg_read_all_stats TO <user>"
        ),
        Err(error) => tracing::warn!(%error, "cannot tell who may end sessions"),
    }
    if let Err(error) = store.apply_time_limit(limit).await {
        tracing::warn!(%error, "SQL users keep the statement timeout they had");
    }
    let mut told = HashSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
        let overdue = match store.end_overdue(limit).await {
            Ok(overdue) => overdue,
            Err(error) => {
                tracing::debug!(%error, "cannot look for overdue SQL sessions; will try again");
                continue;
            }
        };
        match store.end_prepared(limit).await {
            Ok(owners) => owners.iter().for_each(|user| {
                tracing::warn!(
                    user,
                    "prepared transaction of an SQL user rolled back: longer than [sql] time-limit"
                );
            }),
            Err(error) => {
                tracing::debug!(%error, "cannot end prepared transactions; will try again");
            }
        }
        told.retain(|pid| overdue.iter().any(|session| session.pid == *pid));
        for session in overdue {
            let (user, pid) = (&session.user, session.pid);
            if session.cut_off {
                tracing::warn!(user, pid, "SQL session cut off: longer than [sql] time-limit");
            } else if told.insert(pid) {
                tracing::info!(user, pid, "SQL query cancelled: longer than [sql] time-limit");
            }
        }
    }
}
