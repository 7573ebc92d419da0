use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, PgPool};
use uuid::Uuid;

/// A server with Citus, if one is given. Its user must be a superuser. Without one the test is left out with a
/// line that says so: no `skip`, for only those who change what is on Citus need the server.
pub(crate) fn server(test: &str) -> Option<String> {
    let server = std::env::var("TRUECHIMER_TEST_CITUS_URL").ok().filter(|url| !url.is_empty());
    if server.is_none() {
        println!("NOT RUN {test}: TRUECHIMER_TEST_CITUS_URL names no server with Citus");
    }
    server
}

/// A database of its own on such a server, dropped by [`Database::drop`].
pub(crate) struct Database {
    pub(crate) url: String,
    server: PgPool,
    name: String,
}

impl Database {
    /// With the extension, and the server itself as the one node that holds shards.
    pub(crate) async fn new(server: &str) -> Self {
        let options = PgConnectOptions::from_str(server).unwrap();
        let name = format!("truechimer_{}", Uuid::new_v4().simple());
        let server =
            PgPoolOptions::new().max_connections(1).connect_with(options.clone()).await.unwrap();
        let create = AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"));
        sqlx::query(create).execute(&server).await.unwrap();
        let options = options.database(&name);
        let pool = PgPool::connect_with(options.clone()).await.unwrap();
        let (host, port) = (options.get_host().to_owned(), i32::from(options.get_port()));
        sqlx::query("CREATE EXTENSION citus").execute(&pool).await.unwrap();
        for node in [
            "SELECT citus_set_coordinator_host($1, $2)",
            "SELECT citus_set_node_property($1, $2, 'shouldhaveshards', true)",
        ] {
            sqlx::query(node).bind(&host).bind(port).execute(&pool).await.unwrap();
        }
        // Few shards, that it is quick.
        let few = AssertSqlSafe(format!("ALTER DATABASE {name} SET citus.shard_count = 2"));
        sqlx::query(few).execute(&pool).await.unwrap();
        pool.close().await;
        let url = options.to_url_lossy().to_string();
        Self { url, server, name }
    }

    pub(crate) async fn drop(self) {
        let drop = AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.name));
        sqlx::query(drop).execute(&self.server).await.unwrap();
    }
}
