//! Old alerts go, with all that they led to.

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
}
