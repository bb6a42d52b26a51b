//! A real Git server for tests: `git http-backend` behind a small HTTP/1.1 server on loopback.
//!
//! Needs nothing but the standard library and `git`, so that any test target can include this file
//! by path. Requests are counted, and faults can be injected between them.

#![allow(
    dead_code,
    reason = "each test target that includes this uses another part"
)]

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A connection that is silent for this long is closed, so that no test hangs.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(1);

/// One request as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenRequest {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Whether it carried credentials.
    pub(crate) authorized: bool,
    pub(crate) status: u16,
}

/// What a handler may answer instead of Git.
#[derive(Debug, Clone)]
pub(crate) struct Canned {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// How a pack is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Half of it, and then nothing.
    Stalls,
    /// Half of it, and then a byte each time that this has passed.
    Drips(Duration),
}

type Interceptor = Box<dyn Fn(&str, &str) -> Option<Canned> + Send + Sync>;

struct Shared {
    root: PathBuf,
    credentials: Mutex<Option<(String, String)>>,
    seen: Mutex<Vec<SeenRequest>>,
    interceptor: Mutex<Option<Arc<Interceptor>>>,
    pace: Mutex<Option<Pace>>,
    stopping: AtomicBool,
}

/// The server; repositories are the folders below its root. Ends when dropped.
pub(crate) struct HttpBackend {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

impl HttpBackend {
    /// Serves the repositories below `root`, for reading and writing, without authentication.
    pub(crate) fn start(root: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback");
        let address = listener.local_addr().expect("the address that was bound");
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            credentials: Mutex::new(None),
            seen: Mutex::new(Vec::new()),
            interceptor: Mutex::new(None),
            pace: Mutex::new(None),
            stopping: AtomicBool::new(false),
        });
        let for_acceptor = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept(&listener, &for_acceptor));
        Self {
            shared,
            address,
            acceptor: Some(acceptor),
        }
    }

    /// From now on every request needs this user name and password.
    pub(crate) fn require(&self, user: &str, password: &str) {
        *lock(&self.shared.credentials) = Some((user.to_owned(), password.to_owned()));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the repository in the folder `name`.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// Calls `interceptor` with method and target before each request is served; what it returns is
    /// sent instead of Git's answer.
    pub(crate) fn intercept(
        &self,
        interceptor: impl Fn(&str, &str) -> Option<Canned> + Send + Sync + 'static,
    ) {
        *lock(&self.shared.interceptor) = Some(Arc::new(Box::new(interceptor)));
    }

    /// Sends packs at this pace from now on; none: as fast as it can.
    pub(crate) fn set_pace(&self, pace: Option<Pace>) {
        *lock(&self.shared.pace) = pace;
    }

    /// The requests since the last call.
    pub(crate) fn take_requests(&self) -> Vec<SeenRequest> {
        std::mem::take(&mut *lock(&self.shared.seen))
    }
}

impl Drop for HttpBackend {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor up.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Creates an empty bare repository that accepts pushes, with `main` as its first branch.
pub(crate) fn create_repository(root: &Path, name: &str) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(&path).expect("the repository's folder");
    git(
        &path,
        &["init", "--quiet", "--bare", "--initial-branch=main"],
    );
    git(&path, &["config", "http.receivepack", "true"]);
    path
}

/// Runs `git` in a folder with an empty environment and returns its standard output.
///
/// Panics with both outputs when it fails, and with a clear message when there is no `git`.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = git_command(folder)
        .args(arguments)
        .output()
        .expect("these tests need the `git` program (with `git http-backend`)");
    assert!(
        output.status.success(),
        "git {arguments:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

/// `git` without anybody's configuration or environment.
pub(crate) fn git_command(folder: &Path) -> Command {
    let mut command = Command::new("git");
    let path = std::env::var_os("PATH").unwrap_or_default();
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_AUTHOR_NAME", "Test")
        .env("GIT_AUTHOR_EMAIL", "test@example.com")
        .env("GIT_COMMITTER_NAME", "Test")
        .env("GIT_COMMITTER_EMAIL", "test@example.com")
        .stdin(Stdio::null());
    command
}

/// A test that failed while it held a lock has been reported already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut connections = Vec::new();
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        connections.push(std::thread::spawn(move || {
            // A client that goes away is no failure of the server.
            let _ = serve(&stream, &shared);
        }));
        connections.retain(|connection: &JoinHandle<()>| !connection.is_finished());
    }
    for connection in connections {
        let _ = connection.join();
    }
}

struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(CONNECTION_TIMEOUT))?;
    stream.set_write_timeout(Some(CONNECTION_TIMEOUT))?;
    let request = read_request(stream)?;
    let interceptor = lock(&shared.interceptor).clone();
    let canned = interceptor.and_then(|call| call(&request.method, &request.target));
    let credentials = lock(&shared.credentials).clone();
    let answer = match canned {
        Some(canned) => canned,
        None if !permitted(&request, credentials.as_ref()) => Canned {
            status: 401,
            headers: vec![(
                "WWW-Authenticate".to_owned(),
                "Basic realm=\"git\"".to_owned(),
            )],
            body: b"no".to_vec(),
        },
        None => run_backend(&request, shared, credentials.as_ref())?,
    };
    lock(&shared.seen).push(SeenRequest {
        method: request.method.clone(),
        target: request.target.clone(),
        authorized: !request.header("authorization").is_empty(),
        status: answer.status,
    });
    let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    let length = answer.body.len().to_string();
    head.extend(["Content-Length: ", &length, "\r\n\r\n"]);
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    let has_pack = request.method == "POST" && request.target.ends_with("/git-upload-pack");
    let pace = *lock(&shared.pace);
    match pace {
        Some(pace) if has_pack => write_slowly(stream, &answer.body, pace, shared),
        Some(_) | None => stream.write_all(&answer.body),
    }?;
    stream.flush()
}

/// Writes half of a body, and the rest as slowly as it is to be, until the client has had enough.
fn write_slowly(
    mut stream: &TcpStream,
    body: &[u8],
    pace: Pace,
    shared: &Shared,
) -> io::Result<()> {
    let (half, rest) = body.split_at(body.len() / 2);
    stream.write_all(half)?;
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    let mut rest = rest.iter();
    let mut begun = Instant::now();
    while !shared.stopping.load(Ordering::SeqCst) {
        if matches!(stream.read(&mut [0]), Ok(0)) {
            return Ok(());
        }
        if let Pace::Drips(pause) = pace
            && begun.elapsed() >= pause
            && let Some(byte) = rest.next()
        {
            stream.write_all(&[*byte])?;
            begun = Instant::now();
        }
    }
    Ok(())
}

fn permitted(request: &Request, credentials: Option<&(String, String)>) -> bool {
    let Some((user, password)) = credentials else {
        return true;
    };
    let expected = format!("Basic {}", base64(format!("{user}:{password}").as_bytes()));
    request.header("authorization") == expected
}

fn read_request(stream: &TcpStream) -> io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        request
            .headers
            .push((name.trim().to_owned(), value.trim().to_owned()));
    }
    if request
        .header("expect")
        .eq_ignore_ascii_case("100-continue")
    {
        let mut stream = stream;
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    request.body = if request
        .header("transfer-encoding")
        .eq_ignore_ascii_case("chunked")
    {
        read_chunks(&mut reader)?
    } else {
        let length = request.header("content-length").parse().unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        body
    };
    Ok(request)
}

fn read_chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// Runs `git http-backend` as a CGI program and waits for its end.
#[expect(clippy::print_stderr, reason = "shown with the test that fails")]
fn run_backend(
    request: &Request,
    shared: &Shared,
    credentials: Option<&(String, String)>,
) -> io::Result<Canned> {
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let user = credentials.map_or("test", |(user, _)| user.as_str());
    let mut child = git_command(&shared.root)
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &shared.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REMOTE_USER", user)
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("CONTENT_TYPE", request.header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        // Git compresses larger requests; the backend unpacks them by this.
        .env("HTTP_CONTENT_ENCODING", request.header("content-encoding"))
        .env("GIT_PROTOCOL", request.header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let body = request.body.clone();
    // In its own thread: the backend may answer before it has read everything.
    let writer = std::thread::spawn(move || stdin.write_all(&body));
    let output = child.wait_with_output()?;
    let _ = writer.join();
    // All that a client sees of a program that cannot start is an answer that ends too soon.
    if !output.stderr.is_empty() {
        eprint!(
            "git http-backend, {} {}: {}",
            request.method,
            request.target,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(parse_cgi(&output.stdout))
}

fn parse_cgi(output: &[u8]) -> Canned {
    let mut answer = Canned {
        status: 200,
        headers: Vec::new(),
        body: Vec::new(),
    };
    let mut rest = output;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&rest[..end]).trim_end().to_owned();
        rest = &rest[end + 1..];
        if line.is_empty() {
            answer.body = rest.to_vec();
            return answer;
        }
        if let Some((name, value)) = line.split_once(':') {
            if name.eq_ignore_ascii_case("status") {
                let code = value.split_whitespace().next().unwrap_or_default();
                answer.status = code.parse().unwrap_or(500);
            } else {
                answer
                    .headers
                    .push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }
    answer.status = 500;
    answer
}

/// Base64 with padding, for the one header that needs it.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0_u32, |word, at| {
            word << 8 | u32::from(chunk.get(at).copied().unwrap_or(0))
        });
        for position in 0..4 {
            if position <= chunk.len() {
                let letter = (word >> (18 - 6 * position)) & 63;
                text.push(char::from(LETTERS[letter as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}
