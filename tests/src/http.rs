use std::time::Duration;

use anyhow::Result;

/// What an HTTP endpoint answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body as text.
    pub body: String,
}

/// GET `http://127.0.0.1:port/path`.
pub async fn get(port: u16, path: &str) -> Result<Answer> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    let response = client.get(format!("http://127.0.0.1:{port}{path}")).send().await?;
    Ok(Answer { status: response.status().as_u16(), body: response.text().await? })
}

/// The sum of all series of one metric in Prometheus text, or one series when the name has its
/// labels; 0 when there is none.
pub fn metric(text: &str, name: &str) -> f64 {
    let of_name =
        |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let value = |line: &str| line.rsplit(' ').next().and_then(|word| word.parse::<f64>().ok());
    text.lines().filter(of_name).filter_map(value).sum()
}
