//! SQL users: login roles that are members of `fleet_reader`, and the limits that hold for them whatever
//! they set for themselves.
//!
//! A session may change its own `statement_timeout`; so the collector looks at the server's activity
//! and ends what lasts too long. What a session cannot change are its rights and its connection limit.
//! Some of the server's own functions are open to all and would let a reader write, or use up what others
//! need: on our own server they are shut (elsewhere its administrator shuts them, docs/OPERATIONS.md).

use sqlx::{AssertSqlSafe, PgConnection};
use timebase::Span;

use crate::Store;

/// The role that reads schema `fleet`.
pub const READER: &str = "fleet_reader";
/// The role that may also load lines of logs to be ordered.
pub const ANALYST: &str = "fleet_analyst";
/// Comment on the roles that are made here: no other is ever removed.
const MARK: &str = "SQL user of Truechimer";
/// A session that a cancel does not end within this is cut off.
const GRACE: Span = Span::from_secs(5);
/// Spill files of one session, where the server lets us set it.
const TEMP_FILES: &str = "1GB";

/// Someone to be let in.
#[derive(Clone, Copy, Debug)]
pub struct NewSqlUser<'a> {
    /// Name of the role.
    pub name: &'a str,
    /// SCRAM-SHA-256 verifier: the password itself never reaches the server or its log.
    pub verifier: &'a str,
    /// Whether they may load lines of logs.
    pub analyst: bool,
    /// Most connections at once.
    pub connections: u32,
    /// Longest statement, until the user sets another; and longest transaction, for good.
    pub time_limit: Span,
}

/// Someone who may ask.
#[derive(Clone, Debug)]
pub struct SqlUser {
    /// Name of the role.
    pub name: String,
    /// Whether they may load lines of logs.
    pub analyst: bool,
    /// Most connections at once.
    pub connections: i32,
    /// Sessions at this moment.
    pub sessions: i64,
}

/// Why a SQL user was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddSqlUserError {
    /// Not a name that every tool takes without quotes.
    #[error(
        "a SQL user's name is made of a-z, 0-9 and _, begins with a letter, has at most 63 characters and does not begin with pg_"
    )]
    Name,
    /// There is a role of that name.
    #[error("the database server has a role {0:?} already; choose another name")]
    Exists(String),
    /// There is no role for them to be a member of.
    #[error(
        "the database server has no role {0}: its administrator must create it (docs/OPERATIONS.md)"
    )]
    NoGroup(&'static str),
    /// The database said no.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A session that was ended for taking too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// The server process.
    pub pid: i32,
    /// Whose.
    pub user: String,
    /// Whether the session was cut off; `false`: its statement was cancelled.
    pub cut_off: bool,
}

impl Store {
    /// Makes a login role that reads schema `fleet` and nothing else.
    ///
    /// # Errors
    /// Every [`AddSqlUserError`]; nothing is made then.
    pub async fn add_sql_user(&self, new: NewSqlUser<'_>) -> Result<(), AddSqlUserError> {
        if !is_name(new.name) {
            return Err(AddSqlUserError::Name);
        }
        let mut tx = self.pool.begin().await?;
        let group = if new.analyst { ANALYST } else { READER };
        for group in [READER, group] {
            if !role_exists(&mut tx, group).await? {
                return Err(AddSqlUserError::NoGroup(group));
            }
        }
        if role_exists(&mut tx, new.name).await? {
            return Err(AddSqlUserError::Exists(new.name.to_owned()));
        }
        let name = new.name;
        let verifier = new.verifier.replace('\'', "''");
        let connections = new.connections;
        for statement in [
            format!(
                "CREATE ROLE {name} LOGIN INHERIT CONNECTION LIMIT {connections} PASSWORD '{verifier}' \
                 IN ROLE {READER}"
            ),
            format!("COMMENT ON ROLE {name} IS '{MARK}'"),
            format!("ALTER ROLE {name} SET search_path = fleet"),
            set_time_limit(name, new.time_limit),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
        }
        let more = if new.analyst {
            format!("GRANT {ANALYST} TO {name}")
        } else {
            format!("ALTER ROLE {name} SET default_transaction_read_only = on")
        };
        sqlx::query(AssertSqlSafe(more)).execute(&mut *tx).await?;
        // Only superusers may set this one, and a provider's database has none to offer.
        let spill = format!(
            "DO $$ BEGIN ALTER ROLE {name} SET temp_file_limit = '{TEMP_FILES}'; \
             EXCEPTION WHEN insufficient_privilege THEN NULL; END $$"
        );
        sqlx::query(AssertSqlSafe(spill)).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Ends the sessions of a SQL user and removes the role; `false`: there is none of that name.
    ///
    /// # Errors
    /// The database does not answer, or the role has come to own something.
    pub async fn remove_sql_user(&self, name: &str) -> Result<bool, sqlx::Error> {
        if !self.sql_users().await?.iter().any(|user| user.name == name) {
            return Ok(false);
        }
        let mut tx = self.pool.begin().await?;
        // In this order: nobody comes in again after the sessions have ended.
        let shut = AssertSqlSafe(format!("ALTER ROLE {name} NOLOGIN"));
        sqlx::query(shut).execute(&mut *tx).await?;
        tx.commit().await?;
        sqlx::query!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1",
            name
        )
        .fetch_all(&self.pool)
        .await?;
        let mut tx = self.pool.begin().await?;
        sqlx::query!("DELETE FROM store.log_line WHERE loaded_by = $1::text::name", name)
            .execute(&mut *tx)
            .await?;
        // They may have come to own large objects, where those functions are not shut; only a member may drop them.
        for statement in [
            format!("GRANT {name} TO CURRENT_USER"),
            format!("DROP OWNED BY {name}"),
            format!("DROP ROLE {name}"),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Takes from everybody but superusers what would let a reader write (large objects, messages in the log), use
    /// up the server's table of locks, or speak in our name. For our own server: on another somebody may need them.
    ///
    /// # Errors
    /// The database does not answer, or we are no superuser.
    pub async fn shut_functions(&self) -> Result<(), sqlx::Error> {
        sqlx::query(AssertSqlSafe(functions("REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC")))
            .execute(&self.pool)
            .await
            .map(drop)
    }

    /// Makes the roles that grants name, where the server lacks them, and shuts this database to others:
    /// neither is part of a backup, for both belong to the server.
    ///
    /// # Errors
    /// The database does not answer, or does not let us make roles.
    pub async fn prepare_roles(&self) -> Result<(), sqlx::Error> {
        for statement in [
            format!(
                "DO $$ BEGIN
                     IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{READER}') THEN
                         CREATE ROLE {READER} LOGIN CONNECTION LIMIT 16;
                         ALTER ROLE {READER} SET default_transaction_read_only = on;
                         ALTER ROLE {READER} SET statement_timeout = '30s';
                         ALTER ROLE {READER} SET search_path = fleet;
                     END IF;
                     IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ANALYST}') THEN
                         CREATE ROLE {ANALYST} NOLOGIN;
                         GRANT {READER} TO {ANALYST};
                     END IF;
                 END $$"
            ),
            format!(
                "DO $$ BEGIN
                     EXECUTE format('REVOKE TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database());
                     EXECUTE format('GRANT CONNECT ON DATABASE %I TO {READER}', current_database());
                 END $$"
            ),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&self.pool).await?;
        }
        Ok(())
    }

    /// Every SQL user that was made here, by name.
    pub async fn sql_users(&self) -> Result<Vec<SqlUser>, sqlx::Error> {
        sqlx::query_as!(
            SqlUser,
            r#"SELECT r.rolname::text AS "name!", r.rolconnlimit AS "connections!",
                      EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                              WHERE m.member = r.oid AND g.rolname = $2) AS "analyst!",
                      (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid) AS "sessions!"
               FROM pg_roles r
               WHERE shobj_description(r.oid, 'pg_authid') = $1 ORDER BY 1"#,
            MARK,
            ANALYST
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Gives every SQL user made here, and the reader, the statement timeout of now.
    ///
    /// # Errors
    /// The database does not answer, or does not let us.
    pub async fn apply_time_limit(&self, limit: Span) -> Result<(), sqlx::Error> {
        let wanted = format!("statement_timeout={}ms", whole_ms(limit));
        let differing = sqlx::query_scalar!(
            r#"SELECT r.rolname::text AS "name!" FROM pg_roles r
               WHERE (r.rolname = $1 OR shobj_description(r.oid, 'pg_authid') = $2)
                 AND NOT coalesce($3 = ANY(r.rolconfig), false)"#,
            READER,
            MARK,
            wanted
        )
        .fetch_all(&self.pool)
        .await?;
        for name in differing {
            let alter = AssertSqlSafe(set_time_limit(&name, limit));
            match sqlx::query(alter).execute(&self.pool).await {
                // Another collector sets the same at this moment.
                Err(error) if is_concurrent(&error) => {}
                done => {
                    done?;
                }
            }
        }
        Ok(())
    }

    /// Whether this collector may see and end other people's sessions.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn may_end_sessions(&self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"SELECT rolsuper OR (pg_has_role('pg_signal_backend', 'USAGE')
                                   AND pg_has_role('pg_read_all_stats', 'USAGE')) AS "may!"
               FROM pg_roles WHERE rolname = current_user"#
        )
        .fetch_one(&self.pool)
        .await
    }

    /// Cancels what the reader and SQL users made here have run for longer than `limit`, and cuts off those who
    /// idle in a transaction for so long, or go on in spite of the cancel. Other members of the reader, such as
    /// administrators, have their own limits.
    ///
    /// # Errors
    /// The database does not answer, or does not let us end sessions.
    pub async fn end_overdue(&self, limit: Span) -> Result<Vec<Overdue>, sqlx::Error> {
        // A statement that commits as it goes has a new transaction every time, but began when it began.
        sqlx::query_as!(
            Overdue,
            r#"SELECT o.pid AS "pid!", o.user AS "user!", o.cut_off AS "cut_off!"
               FROM (SELECT a.pid, a.usename::text AS user,
                            a.state LIKE 'idle%' OR t.taken > make_interval(secs => $4) AS cut_off
                     FROM pg_stat_activity a
                     JOIN pg_roles r ON r.oid = a.usesysid
                     CROSS JOIN LATERAL (SELECT clock_timestamp() - least(
                         a.xact_start, CASE WHEN a.state NOT LIKE 'idle%' THEN a.query_start END) AS taken) t
                     WHERE a.datname = current_database() AND a.backend_type = 'client backend'
                       AND (r.rolname = $1 OR shobj_description(r.oid, 'pg_authid') = $2)
                       AND NOT r.rolsuper AND t.taken > make_interval(secs => $3)
                     OFFSET 0) o
               WHERE CASE WHEN o.cut_off THEN pg_terminate_backend(o.pid)
                                         ELSE pg_cancel_backend(o.pid) END"#,
            READER,
            MARK,
            limit.as_secs_f64(),
            (limit + GRACE).as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Rolls back what they have prepared to commit in two phases (where the server has room for that) and left so
    /// for longer than `limit`: it belongs to no session that could be ended; whose. Only a superuser may.
    ///
    /// # Errors
    /// The database does not answer, or does not let us.
    pub async fn end_prepared(&self, limit: Span) -> Result<Vec<String>, sqlx::Error> {
        let left = sqlx::query!(
            r#"SELECT p.gid AS "gid!", p.owner::text AS "owner!"
               FROM pg_prepared_xacts p JOIN pg_roles r ON r.rolname = p.owner
               WHERE p.database = current_database()
                 AND (r.rolname = $1 OR shobj_description(r.oid, 'pg_authid') = $2)
                 AND clock_timestamp() - p.prepared > make_interval(secs => $3)"#,
            READER,
            MARK,
            limit.as_secs_f64()
        )
        .fetch_all(&self.pool)
        .await?;
        let mut owners = Vec::new();
        for prepared in left {
            let gid = prepared.gid.replace('\'', "''");
            let end = AssertSqlSafe(format!("ROLLBACK PREPARED '{gid}'"));
            sqlx::query(end).execute(&self.pool).await?;
            owners.push(prepared.owner);
        }
        Ok(owners)
    }
}

fn is_name(name: &str) -> bool {
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(rest)
        && name.len() <= 63
        && !name.starts_with("pg_")
}

fn set_time_limit(name: &str, limit: Span) -> String {
    format!("ALTER ROLE {name} SET statement_timeout = '{}ms'", whole_ms(limit))
}

fn whole_ms(limit: Span) -> i64 {
    (limit.as_ns() / 1_000_000).clamp(1, i64::from(i32::MAX))
}

async fn role_exists(connection: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS "there!""#,
        name
    )
    .fetch_one(connection)
    .await
}

/// "tuple concurrently updated" has no code of its own.
fn is_concurrent(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|e| {
        e.code().as_deref() == Some("XX000") && e.message().contains("concurrently")
    })
}

/// Undoes [`Store::shut_functions`], for a server of another version to take the database over: it may not have
/// all of these.
pub fn open_functions() -> String {
    functions("GRANT EXECUTE ON FUNCTION %s TO PUBLIC")
}

/// Those that everybody may call by default, and that let a reader do more than read.
fn functions(command: &str) -> String {
    format!(
        r"DO $$ DECLARE f regprocedure; BEGIN
            FOR f IN SELECT p.oid FROM pg_proc p
                     WHERE p.pronamespace = 'pg_catalog'::regnamespace
                       AND (p.proname LIKE 'lo\_%' OR p.proname LIKE 'pg\_%advisory\_%'
                            OR p.proname IN ('loread', 'lowrite', 'pg_logical_emit_message', 'pg_notify'))
                       AND NOT EXISTS (SELECT FROM pg_init_privs i
                                       WHERE i.objoid = p.oid AND i.classoid = 'pg_proc'::regclass)
            LOOP EXECUTE format('{command}', f); END LOOP;
          END $$"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that no name gets into a statement that would need quotes, or is the server's own.
    #[test]
    fn names_need_no_quotes() {
        for good in ["ada", "team_7", "a"] {
            assert!(is_name(good), "{good}");
        }
        let long = "a".repeat(64);
        for bad in ["", "Ada", "7up", "_a", "a b", "a;drop", "a\"", "pg_monitor", "é", &long] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
