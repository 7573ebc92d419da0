//! Old alerts go, with all that they led to; so do log lines that people left behind, and epochs of clocks whose
//! samples are gone.

use timebase::{Span, Timestamp, Utc};

use crate::{Store, time};

/// Most alerts removed at once: locks are held briefly, and a backlog is worked off in several rounds.
const AT_ONCE: i64 = 5_000;

impl Store {
    /// Removes alerts that ended more than `keep` before `now`, with their transitions, messages and
    /// attempts; how many. Those with a message that is still to be delivered stay, and what is beyond
    /// one round is left for the next.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn prune_alerts(
        &self,
        now: Timestamp<Utc>,
        keep: Span,
    ) -> Result<usize, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let old = sqlx::query_scalar!(
            "SELECT a.alert_id FROM store.alert a
             WHERE a.status = 'resolved' AND a.resolved_at < $1
               AND NOT EXISTS (SELECT FROM store.alert_transition t
                               JOIN store.outbox o USING (transition_id)
                               WHERE t.alert_id = a.alert_id AND o.status = 'pending')
             ORDER BY a.resolved_at LIMIT $2
             FOR UPDATE SKIP LOCKED",
            time::to_sql(now - keep) as _,
            AT_ONCE
        )
        .fetch_all(&mut *tx)
        .await?;
        if old.is_empty() {
            return Ok(0);
        }
        sqlx::query!(
            "DELETE FROM store.delivery_attempt d
             USING store.outbox o JOIN store.alert_transition t USING (transition_id)
             WHERE d.message_id = o.message_id AND t.alert_id = ANY($1)",
            &old
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "DELETE FROM store.outbox o USING store.alert_transition t
             WHERE o.transition_id = t.transition_id AND t.alert_id = ANY($1)",
            &old
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!("DELETE FROM store.alert_transition WHERE alert_id = ANY($1)", &old)
            .execute(&mut *tx)
            .await?;
        sqlx::query!("DELETE FROM store.alert WHERE alert_id = ANY($1)", &old)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(old.len())
    }

    /// Removes log lines that were loaded more than `keep` before `now`; how many.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn prune_log_lines(
        &self,
        now: Timestamp<Utc>,
        keep: Span,
    ) -> Result<u64, sqlx::Error> {
        let oldest = time::to_sql(now - keep);
        sqlx::query!("DELETE FROM store.log_line WHERE loaded_at < $1", oldest as _)
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected())
    }

    /// Removes the clock epochs that ended more than `keep` before `now`; how many. One ends where the next
    /// of its host begins. Some are filed too early or too late: of those that are left none is missing between.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn prune_epochs(&self, now: Timestamp<Utc>, keep: Span) -> Result<u64, sqlx::Error> {
        let oldest = time::to_sql(now - keep);
        sqlx::query!(
            "DELETE FROM store.epoch e USING (
                 SELECT host_id, boot_no, steps, lead(steps) OVER (one ORDER BY boot_no, steps) AS next_steps,
                        max(first_ref_time) OVER (one ORDER BY boot_no, steps
                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING) AS ended
                 FROM store.epoch WINDOW one AS (PARTITION BY host_id)) n
             WHERE n.ended < $1 AND n.next_steps IS NOT NULL
               AND e.host_id = n.host_id AND e.boot_no = n.boot_no AND e.steps = n.steps",
            oldest as _
        )
        .execute(&self.pool)
        .await
        .map(|done| done.rows_affected())
    }
}
