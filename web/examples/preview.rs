//! Serves the pages alone, to work on them: `DATABASE_URL=… cargo run -p web --example preview [ADDRESS]`.
//! Makes a user "admin" with the password "admin": for development databases only.

use std::net::SocketAddr;

use store::Store;
use web::{WebConfig, WebState};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4470".to_owned());
    let store = Store::connect(std::env::var("DATABASE_URL")?.parse()?, 8).await?;
    if store.user_by_name("admin").await?.is_none() {
        store.add_user("admin", &web::password::hash("admin")?).await?;
    }
    let router = web::router(WebState::new(store, WebConfig::default()));
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("http://{address} (admin, admin)");
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
