//! Users of the pages and their sessions. Passwords come as argon2id PHC strings and session cookies as
//! SHA-256 digests: what is kept here lets nobody in.

use crate::Store;
use crate::pages::At;

/// Someone who may sign in.
#[derive(Clone, Debug)]
pub struct User {
    /// Key.
    pub user_id: i64,
    /// Name typed at sign-in.
    pub name: String,
    /// argon2id, PHC string.
    pub password_hash: String,
    /// When the account was made.
    pub created_at: At,
}

/// A session that is signed in.
#[derive(Clone, Debug)]
pub struct WebSession {
    /// Whose.
    pub user_id: i64,
    /// The user's name.
    pub user_name: String,
    /// What every form of the session carries.
    pub csrf_token: String,
    /// The database's clock when it was looked up.
    pub now: At,
}

/// Why a user was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddUserError {
    /// There is one of that name.
    #[error("there is already a user named {0:?}")]
    Exists(String),
    /// The database said no.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Store {
    /// Adds a user; `password_hash` is an argon2id PHC string.
    pub async fn add_user(&self, name: &str, password_hash: &str) -> Result<(), AddUserError> {
        let added = sqlx::query!(
            "INSERT INTO store.user_account (name, password_hash) VALUES ($1, $2)
             ON CONFLICT (name) DO NOTHING",
            name,
            password_hash
        )
        .execute(&self.pool)
        .await?;
        match added.rows_affected() {
            0 => Err(AddUserError::Exists(name.to_owned())),
            _ => Ok(()),
        }
    }

    /// Replaces a password and signs the user out everywhere; `false`: there is no such user.
    pub async fn set_password(&self, name: &str, password_hash: &str) -> Result<bool, sqlx::Error> {
        let mut change = self.pool.begin().await?;
        let user = sqlx::query_scalar!(
            "UPDATE store.user_account SET password_hash = $2 WHERE name = $1 RETURNING user_id",
            name,
            password_hash
        )
        .fetch_optional(&mut *change)
        .await?;
        if let Some(user) = user {
            sqlx::query!("DELETE FROM store.web_session WHERE user_id = $1", user)
                .execute(&mut *change)
                .await?;
        }
        change.commit().await?;
        Ok(user.is_some())
    }

    /// How many users there are.
    pub async fn user_count(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM store.user_account"#)
            .fetch_one(&self.pool)
            .await
    }

    /// Every user, by name.
    pub async fn users(&self) -> Result<Vec<User>, sqlx::Error> {
        sqlx::query_as!(
            User,
            r#"SELECT user_id, name, password_hash, created_at AS "created_at: At"
               FROM store.user_account ORDER BY name"#
        )
        .fetch_all(&self.pool)
        .await
    }

    /// The user of that name.
    pub async fn user_by_name(&self, name: &str) -> Result<Option<User>, sqlx::Error> {
        sqlx::query_as!(
            User,
            r#"SELECT user_id, name, password_hash, created_at AS "created_at: At"
               FROM store.user_account WHERE name = $1"#,
            name
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Opens a session for `lifetime_s` seconds and forgets those that are over.
    pub async fn open_session(
        &self,
        user_id: i64,
        session_hash: &[u8],
        csrf_token: &str,
        lifetime_s: f64,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!("DELETE FROM store.web_session WHERE expires_at < now()")
            .execute(&self.pool)
            .await?;
        sqlx::query!(
            "INSERT INTO store.web_session (session_hash, user_id, csrf_token, expires_at)
             VALUES ($1, $2, $3, now() + make_interval(secs => $4))",
            session_hash,
            user_id,
            csrf_token,
            lifetime_s
        )
        .execute(&self.pool)
        .await
        .map(drop)
    }

    /// The session behind a cookie, unless it is over.
    pub async fn session(&self, session_hash: &[u8]) -> Result<Option<WebSession>, sqlx::Error> {
        sqlx::query_as!(
            WebSession,
            r#"SELECT u.user_id AS "user_id!", u.name AS "user_name!", s.csrf_token AS "csrf_token!", now() AS "now!: At"
               FROM store.web_session s JOIN store.user_account u USING (user_id)
               WHERE s.session_hash = $1 AND s.expires_at > now()"#,
            session_hash
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Ends a session.
    pub async fn close_session(&self, session_hash: &[u8]) -> Result<(), sqlx::Error> {
        sqlx::query!("DELETE FROM store.web_session WHERE session_hash = $1", session_hash)
            .execute(&self.pool)
            .await
            .map(drop)
    }
}
