//! HTTPS with an authority of our own: certificates by `openssl`, a small TLS front by rustls.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use drover_git::{Disposition, GitError, Mirror, RemoteOptions, SourceUrl};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::*;

/// A front that decrypts and passes on to a plain server. Ends when dropped.
struct Front {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    fn start(authority: &Authority, backend: SocketAddr) -> Self {
        let config = Arc::new(authority.server_config());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopping = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stopping);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that refuses the certificate ends its connection, nothing more.
                let _ = pass_on(stream, &config, backend);
            }
        });
        Self {
            address,
            stopping,
            thread: Some(thread),
        }
    }

    fn mirror(&self, dir: &Path, ca_file: Option<PathBuf>) -> Mirror {
        let url = format!("https://{}/fleet.git", self.address);
        let options = RemoteOptions {
            ca_file,
            ..options()
        };
        Mirror::open(dir, SourceUrl::parse(&url).unwrap(), options).unwrap()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One request, whole, and its answer: the backend closes after each.
fn pass_on(
    stream: io::Result<TcpStream>,
    config: &Arc<ServerConfig>,
    backend: SocketAddr,
) -> io::Result<()> {
    let stream = stream?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut client = StreamOwned::new(connection, stream);
    let mut server = TcpStream::connect(backend)?;
    let mut request = Vec::new();
    let mut buffer = [0; 8192];
    while !is_whole(&request) {
        let count = client.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..count]);
    }
    server.write_all(&request)?;
    server.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    client.write_all(&answer)?;
    client.conn.send_close_notify();
    client.flush()
}

fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse().unwrap());
    request.len() >= end + 4 + length
}

/// A certificate authority and a certificate for 127.0.0.1.
pub(crate) struct Authority {
    pub(crate) folder: PathBuf,
}

impl Authority {
    pub(crate) fn create(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let authority = Self {
            folder: folder.to_owned(),
        };
        let key = "rsa:2048";
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            key,
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test authority",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ]);
        authority.openssl(&[
            "req",
            "-newkey",
            key,
            "-nodes",
            "-subj",
            "/CN=127.0.0.1",
            "-keyout",
            "server.key",
            "-out",
            "server.csr",
        ]);
        fs::write(
            folder.join("ext"),
            "subjectAltName=IP:127.0.0.1,DNS:git.test\n",
        )
        .unwrap();
        authority.openssl(&[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "ext",
            "-out",
            "server.pem",
        ]);
        authority
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .expect("this test needs the `openssl` program to make certificates");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments:?}: {text}");
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    fn server_config(&self) -> ServerConfig {
        let chain = CertificateDer::pem_file_iter(self.folder.join("server.pem"))
            .unwrap()
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
        let key = PrivateKeyDer::from_pem_file(self.folder.join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap()
    }
}

#[test]
fn only_the_named_authority_is_trusted() {
    let site = Site::with_history();
    let authority = Authority::create(&site.folder.path().join("ca"));
    let other = Authority::create(&site.folder.path().join("other"));
    let front = Front::start(&authority, site.server.address());
    let dir = |name: &str| site.folder.path().join(name);

    let trusting = front.mirror(&dir("trusting"), Some(authority.ca_file()));
    let tip = trusting.list().unwrap().require("main").unwrap();
    trusting.fetch(&[("main", tip)]).unwrap();
    push_over(&trusting, tip);

    for (name, ca_file) in [("system", None), ("wrong", Some(other.ca_file()))] {
        let error = front.mirror(&dir(name), ca_file).list().unwrap_err();
        assert!(matches!(error, GitError::Certificate { .. }), "{error:?}");
        assert_eq!(error.disposition(), Disposition::NeedsOperator);
    }
    let absent = front.mirror(&dir("absent"), Some(dir("absent.pem")));
    let error = absent.list().unwrap_err();
    assert!(matches!(error, GitError::CaFile { .. }), "{error:?}");
    fs::write(dir("empty.pem"), "nothing\n").unwrap();
    let empty = front.mirror(&dir("empty"), Some(dir("empty.pem")));
    let error = empty.list().unwrap_err();
    assert!(matches!(error, GitError::CaFile { .. }), "{error:?}");
}

fn push_over(mirror: &Mirror, base: drover_git::Oid) {
    let edits = [drover_git::Edit::put("a.yaml", "1\n")];
    let commit = mirror
        .build_commit(Some(base), &edits, &meta("a"))
        .unwrap()
        .unwrap();
    assert_eq!(
        mirror.update("main", Some(base), commit).unwrap(),
        drover_git::PushOutcome::Done
    );
}
