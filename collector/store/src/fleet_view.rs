//! The evaluate role's seat, and the snapshot that it judges.

use std::time::Duration;

use risk::{FleetView, HostView, HostWindow, SourceFact, rate_limit};
use sqlx::{Connection, PgConnection};
use timebase::{Bounds, Discipliner, Ppb, RateBounds, Span, SyncState, Timestamp, Utc, Verdict};

use crate::{Store, time};

/// The right to judge: the connection that `store.seat` names, of all collectors on one database.
///
/// Everything that judging reads and writes goes through this one connection. If it breaks, the seat
/// is free for another collector and this one can write nothing more: two can never judge at once.
#[derive(Debug)]
pub struct Seat {
    pub(crate) connection: PgConnection,
    since: Timestamp<Utc>,
}

impl Store {
    /// Takes the seat at `now`, or `None` while another collector has it.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn take_seat(&self, now: Timestamp<Utc>) -> Result<Option<Seat>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?.detach();
        if sit(&mut connection).await? {
            return Ok(Some(Seat { connection, since: now }));
        }
        connection.close().await?;
        Ok(None)
    }
}

/// Puts this session into the seat, if the one that it names has ended.
async fn sit(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let mut tx = connection.begin().await?;
    // First the row, then a look at who lives: the server keeps that look for the rest of the transaction.
    let held = sqlx::query!("SELECT pid FROM store.seat FOR UPDATE SKIP LOCKED");
    if held.fetch_optional(&mut *tx).await?.is_none() {
        return Ok(false);
    }
    // When a session began is told to its own role only; of another role's, number and role must do.
    let taken = sqlx::query!(
        "UPDATE store.seat s SET pid = me.pid, role_id = me.usesysid, began = me.backend_start
         FROM pg_stat_activity me
         WHERE me.pid = pg_backend_pid()
           AND NOT EXISTS (SELECT FROM pg_stat_activity a
                           WHERE a.pid = s.pid AND a.usesysid = s.role_id
                             AND coalesce(a.backend_start = s.began, true))"
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(taken.rows_affected() == 1)
}

impl Seat {
    /// Has the server end the session once nothing was asked of it for so long: a collector that stands still
    /// gives the seat up.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn ends_when_idle(&mut self, after: Duration) -> Result<(), sqlx::Error> {
        let after = after.as_millis().clamp(1, 86_400_000).to_string();
        sqlx::query!("SELECT set_config('idle_session_timeout', $1, false)", after)
            .fetch_one(&mut self.connection)
            .await
            .map(drop)
    }

    /// Gives the seat up.
    ///
    /// # Errors
    /// The database does not answer; the seat is free all the same.
    pub async fn leave(self) -> Result<(), sqlx::Error> {
        self.connection.close().await
    }

    /// Every host that is not revoked, with its newest state and its sources, as of one moment of the
    /// database, to be judged at `reference_time`.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn fleet_view(
        &mut self,
        reference_time: Timestamp<Utc>,
    ) -> Result<FleetView, sqlx::Error> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let mut snapshot = self.connection.begin_with(begin).await?;
        let mut hosts = hosts(&mut snapshot).await?;
        add_sources(&mut snapshot, &mut hosts).await?;
        snapshot.commit().await?;
        Ok(FleetView { reference_time, watching_since: self.since, hosts })
    }
}

/// By number, as [`add_sources`] needs them.
async fn hosts(connection: &mut PgConnection) -> Result<Vec<HostView>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT h.host_id AS "host_id!", h.name AS "name!", h.service AS "service!",
                  h.simulated AS "simulated!",
                  h.enrolled_at AS "enrolled_at!: jiff_sqlx::Timestamp",
                  s.received_at AS "received_at?: jiff_sqlx::Timestamp",
                  s.ref_time AS "ref_time?: jiff_sqlx::Timestamp",
                  s.lo_ns AS "lo_ns?", s.hi_ns AS "hi_ns?", s.offset_ns AS "offset_ns?",
                  s.drift_limit_ppb AS "drift_limit_ppb?",
                  s.rate_lo_ppb AS "rate_lo_ppb?", s.rate_hi_ppb AS "rate_hi_ppb?",
                  s.kernel_frequency_ppb AS "kernel_frequency_ppb?",
                  s.state AS "state?", s.discipliner AS "discipliner?"
           FROM store.host h LEFT JOIN store.host_state s USING (host_id)
           WHERE h.revoked_at IS NULL
           ORDER BY h.host_id"#
    )
    .fetch_all(connection)
    .await?;
    let hosts = rows.into_iter().map(|row| {
        let bounds = row.lo_ns.zip(row.hi_ns).and_then(|(lo, hi)| {
            // Ingest lets no empty interval in; one that is empty says nothing.
            Bounds::new(Span::from_ns(lo), Span::from_ns(hi))
        });
        let discipliner = numbered(&Discipliner::ALL, row.discipliner).unwrap_or(Discipliner::None);
        let measured = row.rate_lo_ppb.zip(row.rate_hi_ppb);
        let measured = measured.and_then(|(lo, hi)| RateBounds::new(Ppb::new(lo), Ppb::new(hi)));
        let rates =
            measured.or(row.drift_limit_ppb.map(|limit| RateBounds::within(Ppb::new(limit))));
        let window = bounds.zip(row.ref_time).zip(rates.zip(row.kernel_frequency_ppb)).map(
            |((bounds, ref_time), (rates, correction))| HostWindow {
                bounds,
                sampled_at: time::from_sql(ref_time),
                // Here, where it saturates: in SQL an absurd rate of one host would fail the whole query.
                rate_limit: rate_limit(rates, Ppb::new(correction), discipliner),
                offset: row.offset_ns.map_or(bounds.midpoint(), Span::from_ns),
            },
        );
        HostView {
            host_id: row.host_id,
            name: row.name,
            service: row.service,
            simulated: row.simulated,
            enrolled_at: time::from_sql(row.enrolled_at),
            received_at: row.received_at.map(time::from_sql),
            state: numbered(&SyncState::ALL, row.state).unwrap_or(SyncState::Starting),
            discipliner,
            window,
            sources: Vec::new(),
        }
    });
    Ok(hosts.collect())
}

/// Gives each of `hosts`, which are in order of their number, its sources.
async fn add_sources(
    connection: &mut PgConnection,
    hosts: &mut [HostView],
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT host_id, name, verdict FROM store.source_state ORDER BY host_id, position"
    )
    .fetch_all(connection)
    .await?;
    let mut hosts = hosts.iter_mut().peekable();
    for row in rows {
        while hosts.next_if(|host| host.host_id < row.host_id).is_some() {}
        let Some(host) = hosts.peek_mut().filter(|host| host.host_id == row.host_id) else {
            continue;
        };
        if let Some(verdict) = Verdict::from_word(&row.verdict) {
            host.sources.push(SourceFact { name: row.name, verdict });
        }
    }
    Ok(())
}

/// The variant with this number in the wire format, where 0 means unspecified.
fn numbered<T: Copy>(all: &[T], number: Option<i16>) -> Option<T> {
    let index = usize::try_from(number?).ok()?.checked_sub(1)?;
    all.get(index).copied()
}
