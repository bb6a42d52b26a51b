use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use drover_model::MetricQuery;
use reqwest::StatusCode;
use serde_json::json;
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

mod tls;

const LIMIT: Duration = Duration::from_secs(5);

fn ask(source: &str, query: &str, timeout: Duration) -> MetricAsk {
    MetricAsk {
        query: MetricQuery {
            source: SourceName::parse(source).unwrap(),
            query: query.to_owned(),
        },
        timeout,
    }
}

fn source(name: &str, kind: MetricSourceKind) -> MetricSourceConfig {
    MetricSourceConfig {
        name: SourceName::parse(name).unwrap(),
        timeout: LIMIT,
        kind,
    }
}

fn prometheus(url: &str, token: Option<PathBuf>) -> MetricSourceConfig {
    // The program does this first of all; a second time it changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = url.to_owned();
    source(
        "prom",
        MetricSourceKind::Prometheus {
            url,
            token,
            ca: None,
        },
    )
}

/// Asks for each query, and returns values, or why there are none, as lines.
async fn told(sources: &[MetricSourceConfig], asks: &[(&str, &str)]) -> Vec<String> {
    let sources = MetricSources::new(sources);
    let asks: Vec<_> = asks
        .iter()
        .map(|(name, query)| ask(name, query, LIMIT))
        .collect();
    let readings = sources.read(asks.clone()).await;
    assert_eq!(readings.len(), asks.len());
    let line = |ask: &MetricAsk| match &readings[&ask.query] {
        Reading::Sample { value, at } => format!("{value} at {at}"),
        Reading::Missing { why } => why.clone(),
    };
    asks.iter().map(line).collect()
}

fn judged(answer: &serde_json::Value) -> String {
    let body = serde_json::to_vec(answer).unwrap();
    match prometheus::judge(StatusCode::OK, &body) {
        Ok(Reading::Sample { value, at }) => format!("{value} at {at}"),
        Ok(Reading::Missing { why }) | Err(why) => why,
    }
}

fn vector(values: &[&str]) -> serde_json::Value {
    let samples: Vec<_> = values
        .iter()
        .map(|value| json!({"metric": {"a": "b"}, "value": [1_767_614_400.25, value]}))
        .collect();
    json!({"status": "success", "data": {"resultType": "vector", "result": samples}})
}

#[test]
fn an_answer_is_a_value_only_if_it_is_just_one_number() {
    let scalar = json!({"status": "success", "data": {"resultType": "scalar", "result": [1_767_614_400, "0.5"]}});
    let mut warned = vector(&["1"]);
    warned["warnings"] = json!(["a store did not answer"]);
    let matrix = json!({"status": "success", "data": {"resultType": "matrix", "result": []}});
    let error = json!({"status": "error", "errorType": "bad_data", "error": "parse error"});
    let cases = [
        (vector(&["120"]), "120 at 2026-01-05T12:00:00.25Z"),
        (scalar, "0.5 at 2026-01-05T12:00:00Z"),
        (vector(&[]), "the query has no value"),
        (vector(&["1", "2"]), "the query has several values, not one"),
        (vector(&["NaN"]), "the value is NaN"),
        (vector(&["+Inf"]), "the value is +Inf"),
        (vector(&["1e400"]), "the value is 1e400"),
        (warned, "answered with a warning: a store did not answer"),
        (matrix, "the query has a matrix, not a value"),
        (error, "bad_data: parse error"),
        (
            json!({"hello": "world"}),
            "the answer is not Prometheus' own",
        ),
        (json!([1]), "the answer is not Prometheus' own"),
    ];
    for (answer, expected) in cases {
        assert_eq!(judged(&answer), expected, "{answer}");
    }
}

#[tokio::test]
async fn a_server_is_asked_with_its_token_at_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "s3cret\n").unwrap();
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/prom/api/v1/query"))
        .and(query_param("query", "sum(x{a=\"b\"})"))
        .and(query_param("timeout", "5000ms"))
        .and(header("authorization", "Bearer s3cret"))
        .respond_with(ResponseTemplate::new(200).set_body_json(vector(&["7"])))
        .mount(&server)
        .await;
    let sources = [prometheus(
        &format!("{}/prom", server.uri()),
        Some(token.clone()),
    )];
    let told_first = told(&sources, &[("prom", "sum(x{a=\"b\"})")]).await;
    assert_eq!(told_first, ["7 at 2026-01-05T12:00:00.25Z"]);
    // The file is read for every request.
    fs::write(&token, "another").unwrap();
    assert_eq!(
        told(&sources, &[("prom", "sum(x{a=\"b\"})")]).await,
        ["HTTP status 404"]
    );
    fs::remove_file(&token).unwrap();
    let why = &told(&sources, &[("prom", "sum(x{a=\"b\"})")]).await[0];
    assert!(why.starts_with("cannot read the token in "), "{why}");
}

#[tokio::test]
async fn a_server_that_fails_says_why_and_never_answers_too_late() {
    let server = MockServer::start().await;
    let reply = |query: &str, template: ResponseTemplate| {
        Mock::given(query_param("query", query))
            .respond_with(template)
            .mount(&server)
    };
    let invalid = json!({"status": "error", "errorType": "bad_data", "error": "no such thing"});
    reply("bad", ResponseTemplate::new(400).set_body_json(invalid)).await;
    reply("down", ResponseTemplate::new(503)).await;
    reply(
        "elsewhere",
        ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:1/"),
    )
    .await;
    reply(
        "large",
        ResponseTemplate::new(200).set_body_string("x".repeat(300 << 10)),
    )
    .await;
    reply(
        "slow",
        ResponseTemplate::new(200)
            .set_body_json(vector(&["1"]))
            .set_delay(Duration::from_secs(30)),
    )
    .await;
    let sources = MetricSources::new(&[prometheus(&server.uri(), None)]);
    let started = std::time::Instant::now();
    let queries = ["bad", "down", "elsewhere", "large", "slow"];
    let asks = queries.map(|query| ask("prom", query, Duration::from_millis(500)));
    let readings = sources.read(asks.to_vec()).await;
    assert!(started.elapsed() < Duration::from_secs(5));
    let why = asks.map(|ask| match &readings[&ask.query] {
        Reading::Missing { why } => why.clone(),
        Reading::Sample { .. } => "a value".to_owned(),
    });
    assert_eq!(
        why,
        [
            "bad_data: no such thing",
            "HTTP status 503",
            "HTTP status 302",
            "the answer has more than 256 KiB",
            "no answer within 500ms",
        ]
    );
}

#[tokio::test]
async fn a_source_that_is_not_there_says_so() {
    let sources = [prometheus("http://127.0.0.1:1", None)];
    let told = told(&sources, &[("prom", "up"), ("cost", "x")]).await;
    assert_eq!(
        told,
        [
            "cannot be asked: Connection refused (os error 111)",
            "the agent has no metric source `cost`",
        ]
    );
}

fn file(path: &Path) -> MetricSourceConfig {
    source(
        "cost",
        MetricSourceKind::File {
            path: path.to_owned(),
        },
    )
}

#[tokio::test]
async fn a_file_says_its_values_with_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cost.json");
    let text = r#"{"metrics": {
        "hour": {"value": 12.5, "at": "2026-01-05T12:00:00Z"},
        "day": {"value": 300},
        "bad": {"value": 1, "at": "noon"}
    }}"#;
    fs::write(&path, text).unwrap();
    let written = "2026-01-05T11:00:00Z"
        .parse::<drover_model::Timestamp>()
        .unwrap();
    let opened = fs::File::options().write(true).open(&path).unwrap();
    opened.set_modified(written.into()).unwrap();
    let asks = [
        ("cost", "hour"),
        ("cost", "day"),
        ("cost", "week"),
        ("cost", "bad"),
    ];
    assert_eq!(
        told(&[file(&path)], &asks).await,
        [
            "12.5 at 2026-01-05T12:00:00Z",
            "300 at 2026-01-05T11:00:00Z",
            "it has no value `week`",
            "`at` of `bad` is not a time such as 2026-01-05T12:00:00Z",
        ]
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_used_says_why_and_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cost.json");
    let why = async |path: &Path| told(&[file(path)], &[("cost", "x")]).await[0].clone();
    assert!(why(&path).await.contains("No such file"));
    fs::write(&path, "{\"metrics\": {\"x\": {\"valeu\": 1}}}").unwrap();
    assert!(
        why(&path).await.contains("unknown field `valeu`"),
        "{}",
        why(&path).await
    );
    fs::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
    assert_eq!(why(&path).await, "it says more than 1 MiB");
    assert!(why(folder.path()).await.contains("is not a file"));
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    assert!(why(&pipe).await.contains("is not a file"));
}

fn script(folder: &Path, text: &str) -> MetricSourceConfig {
    let path = folder.join("q.sh");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let args = vec![path.display().to_string(), "3".to_owned()];
    let program = "/bin/sh".into();
    source("q", MetricSourceKind::Program { program, args })
}

#[tokio::test]
async fn a_program_prints_its_values_and_knows_nothing_of_the_agents_environment() {
    let folder = tempfile::tempdir().unwrap();
    let print = r#"echo "{\"metrics\": {\"depth\": {\"value\": $1, \"at\": \"2026-01-05T12:00:00Z\"}, \"home\": {\"value\": ${#HOME}}}}""#;
    let told_all = told(
        &[script(folder.path(), print)],
        &[("q", "depth"), ("q", "home")],
    )
    .await;
    assert_eq!(told_all[0], "3 at 2026-01-05T12:00:00Z");
    assert!(told_all[1].starts_with("0 at "), "{}", told_all[1]);
}

#[tokio::test]
async fn a_program_that_fails_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let why = async |text: &str| {
        let sources = [script(folder.path(), text)];
        told(&sources, &[("q", "x")]).await[0].clone()
    };
    assert_eq!(why("exit 3").await, "/bin/sh ended with exit status: 3");
    assert!(
        why("echo hello")
            .await
            .starts_with("what it says is not as expected: ")
    );
    assert_eq!(why("yes").await, "/bin/sh prints more than 1 MiB");
    let sources = [source(
        "q",
        MetricSourceKind::Program {
            program: "/nonexistent/q".into(),
            args: Vec::new(),
        },
    )];
    assert!(told(&sources, &[("q", "x")]).await[0].starts_with("cannot start /nonexistent/q: "));
}

/// The processes whose command line has `mark`.
fn running(mark: &str) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let marked = all.filter(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(mark)
    });
    marked.count()
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_ended_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let mark = format!("31536{}", std::process::id());
    let sources = [script(
        folder.path(),
        &format!("sleep {mark} & sleep {mark}"),
    )];
    let sources = MetricSources::new(&sources);
    let asked = ask("q", "x", Duration::from_millis(400));
    let reading = sources.read(vec![asked.clone()]).await.remove(&asked.query);
    let why = "no answer within 400ms".to_owned();
    assert_eq!(reading, Some(Reading::Missing { why }));
    for _ in 0..100 {
        if running(&mark) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} processes were left", running(&mark));
}
