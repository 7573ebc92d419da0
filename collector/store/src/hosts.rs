//! Who may send reports: join tokens, hosts and their credentials.
//!
//! Secrets come in as SHA-256 hashes; this crate never sees one.

use std::collections::BTreeMap;

use timebase::{BootId, HostId, Seq, Timestamp, Utc};
use uuid::Uuid;

use crate::{Store, time};

/// What a host says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInfo {
    /// Its host name.
    pub name: String,
    /// The group whose members depend on one another's time.
    pub service: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Version of the agent.
    pub agent_version: String,
    /// Not a real machine.
    pub simulated: bool,
}

/// The answer to an enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrolment {
    /// The host has the new credential.
    Accepted,
    /// No such token, or it is expired, used up or revoked.
    TokenRefused,
    /// The host exists and its credential is in use: a token does not take a host over.
    HostExists,
}

/// A host whose credential was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHost {
    /// Key of every table.
    pub key: i64,
    /// Its identity.
    pub id: HostId,
    /// What it last said of itself.
    pub info: HostInfo,
    /// The boot of its newest report, and the highest seq stored of that.
    pub newest: Option<(BootId, Seq)>,
    /// Hash of the credential it was recognised by.
    pub credential_hash: [u8; 32],
    /// Whether a session was opened under that credential before.
    pub credential_used: bool,
    /// Whether the credential was revoked.
    pub revoked: bool,
}

/// A host in a list for people.
#[derive(Clone, Debug)]
pub struct ListedHost {
    /// Its identity.
    pub id: HostId,
    /// Its name.
    pub name: String,
    /// Its group.
    pub service: String,
    /// Not a real machine.
    pub simulated: bool,
    /// When it joined.
    pub enrolled_at: Timestamp<Utc>,
    /// Since when its credential is void.
    pub revoked_at: Option<Timestamp<Utc>>,
    /// When its newest batch came in.
    pub received_at: Option<Timestamp<Utc>>,
}

/// A join token in a list for people.
#[derive(Clone, Debug)]
pub struct ListedToken {
    /// Its number.
    pub id: i64,
    /// Its label.
    pub label: String,
    /// When it was made.
    pub created_at: Timestamp<Utc>,
    /// From when it is void; `None`: never.
    pub expires_at: Option<Timestamp<Utc>>,
    /// Enrolments left; `None`: unlimited.
    pub uses_left: Option<i32>,
    /// Since when it is void.
    pub revoked_at: Option<Timestamp<Utc>>,
}

impl Store {
    /// Spends one use of a join token and gives the host its credential, in one transaction.
    ///
    /// A host that exists is not taken over by a token, which many may know: its credential must have
    /// been revoked first. Until a session has proved that the credential arrived, the host may ask
    /// again: the answer may have been lost.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn enrol(
        &self,
        token_hash: &[u8; 32],
        credential_hash: &[u8; 32],
        id: HostId,
        info: &HostInfo,
        now: Timestamp<Utc>,
    ) -> Result<Enrolment, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let spent = sqlx::query!(
            "UPDATE store.join_token SET uses_left = uses_left - 1
             WHERE token_hash = $1 AND revoked_at IS NULL
               AND (expires_at IS NULL OR expires_at > $2) AND (uses_left IS NULL OR uses_left > 0)",
            token_hash,
            time::to_sql(now) as _,
        );
        if spent.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(Enrolment::TokenRefused);
        }
        let labels = serde_json::json!(info.labels);
        let written = sqlx::query!(
            "INSERT INTO store.host AS h (host_uuid, name, service, labels, simulated, agent_version,
                                          credential_hash, enrolled_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (host_uuid) DO UPDATE
             SET name = excluded.name, service = excluded.service, labels = excluded.labels,
                 simulated = excluded.simulated, agent_version = excluded.agent_version,
                 credential_hash = excluded.credential_hash, enrolled_at = excluded.enrolled_at,
                 credential_used_at = NULL, revoked_at = NULL
             WHERE h.revoked_at IS NOT NULL OR h.credential_used_at IS NULL",
            Uuid::from_bytes(*id.as_bytes()),
            info.name,
            info.service,
            labels,
            info.simulated,
            info.agent_version,
            credential_hash,
            time::to_sql(now) as _,
        );
        if written.execute(&mut *tx).await?.rows_affected() == 0 {
            // The transaction is dropped: the token keeps its use.
            return Ok(Enrolment::HostExists);
        }
        tx.commit().await?;
        Ok(Enrolment::Accepted)
    }

    /// The host that a credential belongs to, revoked or not; `None`: nobody's.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn host_of_credential(
        &self,
        credential_hash: &[u8; 32],
    ) -> Result<Option<KnownHost>, sqlx::Error> {
        let row = sqlx::query!(
            r#"SELECT h.host_id, h.host_uuid, h.name, h.service, h.labels, h.agent_version, h.simulated,
                      h.credential_used_at IS NOT NULL AS "used!", h.revoked_at IS NOT NULL AS "revoked!",
                      b.boot_id AS "boot_id?", s.seq AS "last_seq?"
               FROM store.host h
               LEFT JOIN store.host_state s USING (host_id)
               LEFT JOIN store.boot b ON b.host_id = h.host_id AND b.boot_no = s.boot_no
               WHERE h.credential_hash = $1"#,
            credential_hash
        );
        let row = row.fetch_optional(&self.pool).await?;
        Ok(row.map(|row| KnownHost {
            key: row.host_id,
            id: HostId::from_bytes(row.host_uuid.into_bytes()),
            info: HostInfo {
                name: row.name,
                service: row.service,
                labels: serde_json::from_value(row.labels).unwrap_or_default(),
                agent_version: row.agent_version,
                simulated: row.simulated,
            },
            newest: row.boot_id.zip(row.last_seq).and_then(|(boot, seq)| {
                Some((BootId::from_bytes(boot.into_bytes()), Seq(u64::try_from(seq).ok()?)))
            }),
            credential_hash: *credential_hash,
            credential_used: row.used,
            revoked: row.revoked,
        }))
    }

    /// Writes down that a session was opened under the credential: from now on no token replaces it.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn credential_used(
        &self,
        credential_hash: &[u8; 32],
        now: Timestamp<Utc>,
    ) -> Result<(), sqlx::Error> {
        // By hash: an enrolment may have replaced the credential since the call came in.
        sqlx::query!(
            "UPDATE store.host SET credential_used_at = $2
             WHERE credential_hash = $1 AND credential_used_at IS NULL",
            credential_hash,
            time::to_sql(now) as _,
        )
        .execute(&self.pool)
        .await
        .map(drop)
    }

    /// Which of the credentials, by hash, no longer hold: revoked or replaced.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn void_credentials(&self, hashes: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, sqlx::Error> {
        sqlx::query_scalar!(
            "SELECT c AS \"hash!\" FROM unnest($1::bytea[]) AS c
             WHERE NOT EXISTS (SELECT FROM store.host
                               WHERE credential_hash = c AND revoked_at IS NULL)",
            hashes
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Writes down what the host says of itself in this session.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn describe_host(&self, key: i64, info: &HostInfo) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "UPDATE store.host SET name = $2, service = $3, labels = $4, simulated = $5,
                                   agent_version = $6
             WHERE host_id = $1
               AND (name, service, labels, simulated, agent_version)
                   IS DISTINCT FROM ($2, $3, $4, $5, $6)",
            key,
            info.name,
            info.service,
            serde_json::json!(info.labels),
            info.simulated,
            info.agent_version,
        )
        .execute(&self.pool)
        .await
        .map(drop)
    }

    /// Highest seq stored of one boot of a host; `None`: nothing yet.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn last_seq(&self, key: i64, boot: BootId) -> Result<Option<Seq>, sqlx::Error> {
        let last = sqlx::query_scalar!(
            r#"SELECT greatest(b.last_seq, s.seq) AS "last_seq!" FROM store.boot b
               LEFT JOIN store.host_state s ON s.host_id = b.host_id AND s.boot_no = b.boot_no
               WHERE b.host_id = $1 AND b.boot_id = $2 AND greatest(b.last_seq, s.seq) > 0"#,
            key,
            Uuid::from_bytes(*boot.as_bytes())
        );
        let last = last.fetch_optional(&self.pool).await?;
        Ok(last.and_then(|seq| u64::try_from(seq).ok()).map(Seq))
    }

    /// Every host, by name.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn list_hosts(&self) -> Result<Vec<ListedHost>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"SELECT h.host_uuid, h.name, h.service, h.simulated,
                      h.enrolled_at AS "enrolled_at: jiff_sqlx::Timestamp",
                      h.revoked_at AS "revoked_at: jiff_sqlx::Timestamp",
                      s.received_at AS "received_at?: jiff_sqlx::Timestamp"
               FROM store.host h LEFT JOIN store.host_state s USING (host_id)
               ORDER BY h.name, h.host_id"#
        );
        let listed = rows.fetch_all(&self.pool).await?.into_iter().map(|row| ListedHost {
            id: HostId::from_bytes(row.host_uuid.into_bytes()),
            name: row.name,
            service: row.service,
            simulated: row.simulated,
            enrolled_at: time::from_sql(row.enrolled_at),
            revoked_at: row.revoked_at.map(time::from_sql),
            received_at: row.received_at.map(time::from_sql),
        });
        Ok(listed.collect())
    }

    /// Voids the credential of every host with this name or UUID that still has one; how many had.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn revoke_host(
        &self,
        name_or_id: &str,
        now: Timestamp<Utc>,
    ) -> Result<u64, sqlx::Error> {
        let id = name_or_id.parse::<HostId>().ok().map(|id| Uuid::from_bytes(*id.as_bytes()));
        let done = sqlx::query!(
            "UPDATE store.host SET revoked_at = $3
             WHERE (name = $1 OR host_uuid = $2) AND revoked_at IS NULL",
            name_or_id,
            id,
            time::to_sql(now) as _,
        );
        Ok(done.execute(&self.pool).await?.rows_affected())
    }

    /// Keeps a new join token.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn add_token(
        &self,
        hash: &[u8; 32],
        label: &str,
        expires_at: Option<Timestamp<Utc>>,
        uses: Option<i32>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "INSERT INTO store.join_token (token_hash, label, expires_at, uses_left)
             VALUES ($1, $2, $3, $4)",
            hash,
            label,
            expires_at.map(time::to_sql) as _,
            uses
        )
        .execute(&self.pool)
        .await
        .map(drop)
    }

    /// Every join token, oldest first.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn list_tokens(&self) -> Result<Vec<ListedToken>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"SELECT token_id, label, created_at AS "created_at: jiff_sqlx::Timestamp",
                      expires_at AS "expires_at: jiff_sqlx::Timestamp", uses_left,
                      revoked_at AS "revoked_at: jiff_sqlx::Timestamp"
               FROM store.join_token ORDER BY token_id"#
        );
        let listed = rows.fetch_all(&self.pool).await?.into_iter().map(|row| ListedToken {
            id: row.token_id,
            label: row.label,
            created_at: time::from_sql(row.created_at),
            expires_at: row.expires_at.map(time::from_sql),
            uses_left: row.uses_left,
            revoked_at: row.revoked_at.map(time::from_sql),
        });
        Ok(listed.collect())
    }

    /// Voids a join token by number or, given its hash, by itself; whether there was one to void.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn revoke_token(
        &self,
        id: Option<i64>,
        hash: &[u8; 32],
        now: Timestamp<Utc>,
    ) -> Result<bool, sqlx::Error> {
        let done = sqlx::query!(
            "UPDATE store.join_token SET revoked_at = $3
             WHERE (token_id = $1 OR token_hash = $2) AND revoked_at IS NULL",
            id,
            hash,
            time::to_sql(now) as _,
        );
        Ok(done.execute(&self.pool).await?.rows_affected() > 0)
    }
}
