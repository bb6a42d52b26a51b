//! A stand-in for a Git host's API, by the published descriptions: GitHub REST 2022-11-28, GitLab v4, Gitea v1.
//! It keeps comments and statuses, checks the token, and can fail as hosts do.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

/// Whose interface the stand-in has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    GitHub,
    GitLab,
    Gitea,
}

/// How the next call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Too many calls, come back in a second.
    TooMany,
    /// GitHub's hourly budget is spent, with the time at which it begins anew, two seconds from now.
    Spent,
    /// The call is carried out and its answer lost.
    Lost,
    /// Something in front of the host has lost it.
    BadGateway,
    /// Go elsewhere.
    Moved,
}

/// The longest comment that GitHub takes.
const BODY_MAX: usize = 65_536;

/// A comment as it is kept.
#[derive(Debug, Clone)]
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) author: String,
    pub(super) bot: bool,
    pub(super) body: String,
}

/// A status as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) commit: String,
    pub(super) context: String,
    pub(super) state: String,
    pub(super) description: String,
}

/// A review as it is kept, in GitHub's words.
#[derive(Debug, Clone)]
pub(super) struct Reviewed {
    pub(super) author: &'static str,
    /// `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED` or `DISMISSED`.
    pub(super) state: &'static str,
    pub(super) commit: String,
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The commit that the pull request was merged with.
    pub(super) merged: Option<String>,
    /// Oldest first.
    pub(super) reviews: Vec<Reviewed>,
    /// Oldest first.
    pub(super) comments: Vec<Comment>,
    /// Oldest first.
    pub(super) statuses: Vec<Status>,
    pub(super) head: String,
    pub(super) base: String,
    pub(super) closed: bool,
    /// Who the token is. None: the host does not tell it.
    pub(super) me: Option<String>,
    /// What GitHub's interface of queries calls it then. None: it does not tell either.
    pub(super) viewer: Option<String>,
    /// How the next calls fail, if they do.
    pub(super) faults: VecDeque<Option<Fault>>,
    /// Method and path of each call, without the query.
    pub(super) calls: Vec<String>,
    /// After how many more calls somebody pushes, and what.
    pub(super) push: Option<(usize, String)>,
    /// What another job of ours says at the moment at which the next comment is sent.
    pub(super) rival: Option<String>,
    /// The most of a page, whatever is asked for. None: as the host is set up.
    pub(super) page_max: Option<usize>,
    next: u64,
    /// When it was started, in seconds since 1970.
    pub(super) begun: i64,
}

impl Kept {
    /// Returns a time within the hour before the stand-in was started.
    fn at(&self, minute: i64, second: i64) -> String {
        let second = self.begun - 3_600 + 60 * minute + second;
        let at = drover_model::Timestamp::from_second(second).unwrap();
        at.to_string()
    }
}

/// A running stand-in, which stops with its owner.
pub(super) struct Double {
    pub(super) address: SocketAddr,
    pub(super) kept: Arc<Mutex<Kept>>,
    kind: Kind,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Double {
    /// Starts one that knows pull request 7 of `acme/fleet` and takes this token.
    pub(super) fn start(kind: Kind, token: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Arc::new(Mutex::new(Kept {
            me: Some("drover-bot".to_owned()),
            next: 100,
            begun: drover_model::Timestamp::now().as_second(),
            ..Kept::default()
        }));
        let stopped = Arc::new(AtomicBool::new(false));
        let serving = (kept.clone(), stopped.clone(), token.to_owned());
        let thread = std::thread::spawn(move || {
            let (kept, stopped, token) = serving;
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let _ = answer(&stream.unwrap(), kind, &token, &kept);
            }
        });
        Self {
            address,
            kept,
            kind,
            stopped,
            thread: Some(thread),
        }
    }

    /// Returns where the interface is.
    pub(super) fn api(&self) -> String {
        let prefix = match self.kind {
            Kind::GitHub => "",
            Kind::GitLab => "/api/v4",
            Kind::Gitea => "/api/v1",
        };
        format!("http://{}{prefix}", self.address)
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Adds a comment that somebody wrote.
    pub(super) fn wrote(&self, author: &str, body: &str) {
        let mut kept = self.kept.lock().unwrap();
        add(&mut kept, author, body);
    }

    /// Returns the calls since the last time that change something.
    pub(super) fn changes(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.kept.lock().unwrap().calls);
        let changing = calls.into_iter().filter(|call| !call.starts_with("GET "));
        changing.collect()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Request {
    method: String,
    path: Vec<String>,
    query: String,
    headers: Vec<(String, String)>,
    body: Json,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    fn number(&self, name: &str) -> Option<usize> {
        let pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        let mut found = pairs.filter(|(key, _)| *key == name);
        found.next().and_then(|(_, value)| value.parse().ok())
    }
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut request = Request {
        method,
        path: path.split('/').skip(1).map(str::to_owned).collect(),
        query: query.to_owned(),
        headers,
        body: Json::Null,
    };
    let length = request.header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(request)
}

fn answer(
    mut stream: &TcpStream,
    kind: Kind,
    token: &str,
    kept: &Mutex<Kept>,
) -> std::io::Result<()> {
    let request = read(stream)?;
    if request.method.is_empty() {
        return Ok(());
    }
    let mut kept = kept.lock().unwrap();
    kept.calls
        .push(format!("{} {}", request.method, request.path.join("/")));
    match &mut kept.push {
        Some((0, head)) => {
            kept.head = std::mem::take(head);
            kept.push = None;
        }
        Some((left, _)) => *left -= 1,
        None => {}
    }
    let fault = kept.faults.pop_front().flatten();
    let mut more = String::new();
    let (status, body) = match fault {
        Some(Fault::TooMany) => {
            more.push_str("Retry-After: 1\r\n");
            (429, json!({ "message": "slow down" }))
        }
        Some(Fault::Spent) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let reset = now.as_secs() + 2;
            more = format!("X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: {reset}\r\n");
            (403, json!({ "message": "API rate limit exceeded" }))
        }
        Some(Fault::BadGateway) => (502, Json::Null),
        Some(Fault::Moved) => {
            more.push_str("Location: http://127.0.0.2:1/\r\n");
            (301, json!({ "message": "Moved Permanently" }))
        }
        Some(Fault::Lost) | None => {
            let wanted = match kind {
                Kind::GitHub => ("authorization", format!("Bearer {token}")),
                Kind::GitLab => ("private-token", token.to_owned()),
                Kind::Gitea => ("authorization", format!("token {token}")),
            };
            if request.header(wanted.0) == wanted.1 {
                route(kind, &request, &mut kept)
            } else {
                (401, json!({ "message": "Bad credentials" }))
            }
        }
    };
    if fault == Some(Fault::Lost) {
        return Ok(());
    }
    let body = match status {
        204 => String::new(),
        _ => body.to_string(),
    };
    write!(
        stream,
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\n{more}\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn route(kind: Kind, request: &Request, kept: &mut Kept) -> (u16, Json) {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let inside = match (kind, path.as_slice()) {
        (Kind::GitHub, ["graphql"]) => return viewer(request, kept),
        (Kind::GitHub, ["user"])
        | (Kind::GitLab, ["api", "v4", "user"])
        | (Kind::Gitea, ["api", "v1", "user"]) => return user(kind, kept),
        (Kind::GitHub, ["repos", "acme", "fleet", rest @ ..])
        | (Kind::GitLab, ["api", "v4", "projects", "acme%2Ffleet", rest @ ..])
        | (Kind::Gitea, ["api", "v1", "repos", "acme", "fleet", rest @ ..]) => rest,
        _ => return (404, json!({ "message": "Not Found" })),
    };
    let method = request.method.as_str();
    match (kind, method, inside) {
        (Kind::GitHub | Kind::Gitea, "GET", ["pulls", "7"]) => (
            200,
            json!({
                "number": 7,
                "state": if kept.closed { "closed" } else { "open" },
                "head": { "sha": kept.head, "ref": "topic" },
                "base": { "sha": kept.base, "ref": "main" },
            }),
        ),
        (Kind::GitLab, "GET", ["merge_requests", "7"]) => (
            200,
            json!({
                "iid": 7,
                "state": if kept.closed { "merged" } else { "opened" },
                "sha": kept.head,
                "diff_refs": { "base_sha": kept.base, "start_sha": kept.base, "head_sha": kept.head },
            }),
        ),
        (Kind::GitHub | Kind::Gitea, "GET", ["issues", "7", "comments"])
        | (Kind::GitLab, "GET", ["merge_requests", "7", "notes"]) => {
            (200, comments(kind, request, kept))
        }
        (Kind::GitHub | Kind::Gitea, "POST", ["issues", "7", "comments"])
        | (Kind::GitLab, "POST", ["merge_requests", "7", "notes"]) => write_comment(request, kept),
        (Kind::GitHub | Kind::Gitea, "PATCH", ["issues", "comments", id])
        | (Kind::GitLab, "PUT", ["merge_requests", "7", "notes", id]) => {
            edit(request, kept, id.parse().unwrap())
        }
        (Kind::GitHub | Kind::Gitea, "DELETE", ["issues", "comments", id])
        | (Kind::GitLab, "DELETE", ["merge_requests", "7", "notes", id]) => {
            let id: u64 = id.parse().unwrap();
            kept.comments.retain(|comment| comment.id != id);
            (204, Json::Null)
        }
        (Kind::GitHub | Kind::Gitea, "GET", ["commits", commit, "statuses"])
        | (Kind::GitLab, "GET", ["repository", "commits", commit, "statuses"]) => {
            (200, statuses(kind, kept, commit))
        }
        (_, "POST", ["statuses", commit]) => set_status(kind, request, kept, commit),
        (Kind::GitHub, "GET", ["commits", commit, "pulls"])
        | (Kind::GitLab, "GET", ["repository", "commits", commit, "merge_requests"])
        | (Kind::Gitea, "GET", ["commits", commit, "pull"]) => pulls_of(kind, kept, commit),
        (Kind::GitHub | Kind::Gitea, "GET", ["pulls", "7", "reviews"]) => {
            (200, reviews(kind, request, kept))
        }
        (Kind::GitLab, "GET", ["merge_requests", "7", "approvals"]) => (200, approvals(kept)),
        (Kind::GitLab, "GET", ["merge_requests", "7", "versions"]) => (200, versions(kept)),
        _ => (404, json!({ "message": "Not Found" })),
    }
}

/// GitLab knows when somebody approved, and not of what: here before the newest version, or after it.
fn approvals(kept: &Kept) -> Json {
    let approved = kept.reviews.iter().filter(|it| it.state == "APPROVED");
    let one = |review: &Reviewed| {
        let minute = if review.commit == kept.head { 50 } else { 10 };
        json!({ "user": { "username": review.author }, "approved_at": kept.at(minute, 0) })
    };
    let approved: Vec<Json> = approved.map(one).collect();
    json!({ "iid": 7, "approved_by": approved })
}

fn versions(kept: &Kept) -> Json {
    json!([
        { "id": 2, "head_commit_sha": kept.head, "created_at": kept.at(30, 0) },
        { "id": 1, "head_commit_sha": kept.base, "created_at": kept.at(0, 0) },
    ])
}

/// The pull request, of the commits that it brought.
fn pulls_of(kind: Kind, kept: &Kept, commit: &str) -> (u16, Json) {
    let merged = kept.merged.as_deref();
    let brought = merged == Some(commit) || kept.head == commit;
    let pull = match kind {
        Kind::GitHub => json!({
            "number": 7, "state": "closed", "user": { "login": "jane-dev" },
            "merged_at": merged.map(|_| kept.at(59, 0)),
            "head": { "sha": kept.head, "ref": "topic" }, "base": { "ref": "main" },
        }),
        Kind::Gitea => json!({
            "number": 7, "state": "closed", "user": { "login": "jane-dev" }, "merged": merged.is_some(),
            "head": { "sha": kept.head, "ref": "topic" }, "base": { "ref": "main" },
        }),
        Kind::GitLab => json!({
            "iid": 7, "state": if merged.is_some() { "merged" } else { "opened" },
            "author": { "username": "jane-dev" }, "sha": kept.head, "target_branch": "main",
        }),
    };
    match (kind, brought) {
        (Kind::Gitea, true) => (200, pull),
        (Kind::Gitea, false) => (404, json!({ "message": "pull request does not exist" })),
        (Kind::GitHub | Kind::GitLab, true) => (200, json!([pull])),
        (Kind::GitHub | Kind::GitLab, false) => (200, json!([])),
    }
}

fn reviews(kind: Kind, request: &Request, kept: &Kept) -> Json {
    let one = |(number, review): (i64, &Reviewed)| {
        let state = match (kind, review.state) {
            (Kind::Gitea, "CHANGES_REQUESTED") => "REQUEST_CHANGES",
            (Kind::Gitea, "COMMENTED") => "COMMENT",
            (Kind::Gitea, "DISMISSED") => "APPROVED",
            (_, state) => state,
        };
        json!({
            "id": number, "user": { "login": review.author }, "state": state,
            "dismissed": review.state == "DISMISSED", "commit_id": review.commit,
            "submitted_at": kept.at(50, number),
        })
    };
    let size = match kind {
        Kind::GitHub | Kind::GitLab => request.number("per_page"),
        Kind::Gitea => request.number("limit"),
    };
    let (size, page) = (size.unwrap_or(30), request.number("page").unwrap_or(1));
    let size = kept.page_max.map_or(size, |most| size.min(most));
    let all = (0..).zip(&kept.reviews).map(one);
    all.skip((page - 1) * size).take(size).collect()
}

fn user(kind: Kind, kept: &Kept) -> (u16, Json) {
    let Some(me) = &kept.me else {
        let message = "Resource not accessible by integration";
        return (403, json!({ "message": message }));
    };
    match kind {
        Kind::GitHub | Kind::Gitea => (200, json!({ "id": 1, "login": me })),
        Kind::GitLab => (200, json!({ "id": 1, "username": me })),
    }
}

fn viewer(request: &Request, kept: &Kept) -> (u16, Json) {
    assert_eq!(request.method, "POST");
    assert_eq!(request.body["query"], "query { viewer { login } }");
    match &kept.viewer {
        Some(login) => (200, json!({ "data": { "viewer": { "login": login } } })),
        None => (200, json!({ "errors": [{ "type": "FORBIDDEN" }] })),
    }
}

fn comments(kind: Kind, request: &Request, kept: &Kept) -> Json {
    let one = |comment: &Comment| {
        let mut json = json!({ "id": comment.id, "body": comment.body });
        match kind {
            Kind::GitHub => {
                let type_ = if comment.bot { "Bot" } else { "User" };
                json["user"] = json!({ "login": comment.author, "type": type_ });
            }
            Kind::Gitea => json["user"] = json!({ "login": comment.author }),
            Kind::GitLab => json["author"] = json!({ "username": comment.author }),
        }
        json
    };
    let all = kept.comments.iter().map(one);
    if kind == Kind::Gitea {
        return all.collect();
    }
    let size = request.number("per_page").unwrap_or(30);
    let size = size.min(kept.page_max.unwrap_or(100));
    let page = request.number("page").unwrap_or(1);
    all.skip((page - 1) * size).take(size).collect()
}

fn add(kept: &mut Kept, author: &str, body: &str) {
    kept.next += 1;
    let id = kept.next;
    kept.comments.push(Comment {
        id,
        author: author.to_owned(),
        bot: author.ends_with("[bot]"),
        body: body.to_owned(),
    });
}

fn write_comment(request: &Request, kept: &mut Kept) -> (u16, Json) {
    let body = request.body["body"].as_str().unwrap();
    if body.chars().count() > BODY_MAX {
        return (422, json!({ "message": "Validation Failed" }));
    }
    // What a runner's own token writes is by the runner's account.
    let author = kept.me.clone().or(kept.viewer.clone());
    let author = author.unwrap_or("github-actions[bot]".to_owned());
    if let Some(rival) = kept.rival.take() {
        add(kept, &author, &rival);
    }
    // Hosts have their own line ends.
    add(kept, &author, &body.replace('\n', "\r\n"));
    (201, json!({ "id": kept.next }))
}

fn edit(request: &Request, kept: &mut Kept, id: u64) -> (u16, Json) {
    let body = request.body["body"].as_str().unwrap().to_owned();
    let comment = kept.comments.iter_mut().find(|comment| comment.id == id);
    let comment = comment.unwrap();
    comment.body = body;
    (200, json!({ "id": id }))
}

fn statuses(kind: Kind, kept: &Kept, commit: &str) -> Json {
    let of_commit = kept.statuses.iter().rev();
    let of_commit = of_commit.filter(|status| status.commit == commit);
    let one = |status: &Status| {
        let (name, word) = match kind {
            Kind::GitHub => ("context", "state"),
            Kind::Gitea => ("context", "status"),
            Kind::GitLab => ("name", "status"),
        };
        json!({ name: status.context, word: status.state, "description": status.description })
    };
    of_commit.map(one).collect()
}

fn set_status(kind: Kind, request: &Request, kept: &mut Kept, commit: &str) -> (u16, Json) {
    let text = |name: &str| request.body[name].as_str().unwrap_or_default().to_owned();
    let (state, context) = (text("state"), text("context"));
    let words: &[&str] = match kind {
        Kind::GitHub | Kind::Gitea => &["success", "failure", "pending", "error"],
        Kind::GitLab => &["success", "failed", "pending", "running", "canceled"],
    };
    let description = text("description");
    let length = description.chars().count();
    if !words.contains(&state.as_str()) || context.is_empty() || length > 140 {
        return (422, json!({ "message": "Validation Failed" }));
    }
    let status = Status {
        commit: commit.to_owned(),
        context,
        state,
        description,
    };
    // GitLab takes no status that changes nothing.
    let same = |old: &&Status| old.commit == status.commit && old.context == status.context;
    let latest = kept.statuses.iter().rev().find(same);
    if kind == Kind::GitLab && latest == Some(&status) {
        let message = "Cannot transition status via :enqueue";
        return (400, json!({ "message": message }));
    }
    kept.statuses.push(status);
    (201, json!({ "id": 1 }))
}
