//! Prometheus' HTTP API: instant queries, `/api/v1/query`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drover_model::{Reading, Timestamp};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::Why;
use crate::web::{authorities, cause};

/// Most bytes of an answer: one sample has some hundred.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// Most queries at once to one server, whose own limit is twenty.
const CONCURRENT: usize = 8;

/// Most bytes of a file with a token.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// One server.
#[derive(Debug)]
pub(super) struct Prometheus {
    /// The client and the address of queries, or why there is none.
    ready: Result<(Client, Url), Why>,
    token: Option<PathBuf>,
    gate: Semaphore,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    status: String,
    error_type: String,
    error: String,
    warnings: Vec<String>,
    data: Data,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

impl Prometheus {
    pub(super) fn new(url: &str, token: Option<&Path>, ca: Option<&Path>) -> Self {
        Self {
            ready: ready(url, ca),
            token: token.map(Path::to_owned),
            gate: Semaphore::new(CONCURRENT),
        }
    }

    /// Asks for the one value of a query.
    pub(super) async fn ask(&self, query: &str, limit: Duration) -> Result<Reading, Why> {
        let (client, url) = self.ready.as_ref().map_err(Clone::clone)?;
        // Never closed; without a permit there would merely be no bound.
        let _permit = self.gate.acquire().await;
        let mut url = url.clone();
        url.query_pairs_mut()
            .append_pair("query", query)
            .append_pair("timeout", &format!("{}ms", limit.as_millis()));
        let mut request = client.get(url);
        if let Some(path) = &self.token {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || bearer(&path)).await;
            let header = read.map_err(|_| "internal error while reading the token".to_owned())?;
            request = request.header(AUTHORIZATION, header?);
        }
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = body(response).await?;
        judge(status, &body)
    }
}

fn ready(url: &str, ca: Option<&Path>) -> Result<(Client, Url), Why> {
    let base = format!("{}/", url.trim_end_matches('/'));
    let url = Url::parse(&base).and_then(|url| url.join("api/v1/query"));
    let url = url.map_err(|error| format!("its url cannot be used: {error}"))?;
    let mut builder = Client::builder()
        .user_agent("drover")
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy();
    if let Some(path) = ca {
        builder = builder.tls_certs_only(authorities(path)?);
    }
    let client = builder.build().map_err(failed)?;
    Ok((client, url))
}

/// Returns the header with the token. Its content appears in no message.
fn bearer(path: &Path) -> Result<HeaderValue, Why> {
    let shown = path.display();
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| format!("cannot read the token in {shown}: {error}"))?;
    let header = HeaderValue::from_str(&format!("Bearer {}", text.trim()));
    let mut header = header.map_err(|_| format!("the token in {shown} cannot be sent"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn failed(error: reqwest::Error) -> Why {
    format!("cannot be asked: {}", cause(error))
}

async fn body(mut response: Response) -> Result<Vec<u8>, Why> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            let max = ANSWER_BYTES_MAX >> 10;
            return Err(format!("the answer has more than {max} KiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Returns the value of an answer, if it has just one.
pub(super) fn judge(status: StatusCode, body: &[u8]) -> Result<Reading, Why> {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    let answer = match answer {
        Some(answer) if answer.status == "success" && status.is_success() => answer,
        Some(answer) if answer.status == "error" => {
            return Err(format!("{}: {}", answer.error_type, answer.error));
        }
        Some(_) | None if !status.is_success() => {
            return Err(format!("HTTP status {}", status.as_u16()));
        }
        Some(_) | None => return Err("the answer is not Prometheus' own".to_owned()),
    };
    if let Some(first) = answer.warnings.first() {
        return Err(format!("answered with a warning: {first}"));
    }
    let result = &answer.data.result;
    match answer.data.result_type.as_str() {
        "scalar" => sample(result),
        "vector" => match result.as_array().map(Vec::as_slice) {
            Some([one]) => sample(&one["value"]),
            Some([]) => Err("the query has no value".to_owned()),
            // How many would change from pass to pass.
            Some(_) => Err("the query has several values, not one".to_owned()),
            None => Err("the answer is not Prometheus' own".to_owned()),
        },
        other => Err(format!("the query has a {other}, not a value")),
    }
}

/// Reads `[1767614400.123, "120"]`.
fn sample(pair: &Value) -> Result<Reading, Why> {
    let strange = || "the answer is not Prometheus' own".to_owned();
    let at = pair[0].as_f64().ok_or_else(strange)?;
    let text = pair[1].as_str().ok_or_else(strange)?;
    let value: f64 = text.parse().map_err(|_| strange())?;
    if !value.is_finite() {
        return Err(format!("the value is {text}"));
    }
    let at = Timestamp::from_millisecond((at * 1000.0).round() as i64).map_err(|_| strange())?;
    Ok(Reading::Sample { value, at })
}
