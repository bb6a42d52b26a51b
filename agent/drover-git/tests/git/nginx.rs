//! A repository behind a real nginx with `git http-backend`: TLS with an authority of our own, basic
//! auth, certificates of clients, and an HTTP proxy in between.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use drover_git::{
    ClientCertificate, Credentials, Edit, GitError, Login, Mirror, Proxy, PushOutcome,
    RemoteOptions, Secret, SourceUrl,
};
use tempfile::TempDir;

use crate::support::http_backend::{create_repository, git};
use crate::support::*;
use crate::tls::Authority;

/// Longer than any start took on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// nginx and fcgiwrap. Both end, by their process ids, when dropped.
struct Nginx {
    folder: TempDir,
    authority: Authority,
    address: SocketAddr,
    processes: Vec<Child>,
}

impl Nginx {
    /// Serves `/basic/fleet.git` to Jane with her password, `/shown/fleet.git` to whoever shows a
    /// certificate of the authority, and `/pushed/fleet.git` to whoever shows one to push, and none to read.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("served");
        let repository = create_repository(&root, "fleet.git");
        git(&repository, &["config", "http.receivepack", "true"]);
        push_file(&local(&repository), "main", "groups/web.yaml", "size: 3\n");
        let authority = Authority::create(&folder.path().join("ca"));
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut nginx = Self {
            address: free.local_addr().unwrap(),
            folder,
            authority,
            processes: Vec::new(),
        };
        drop(free);
        nginx.set_password("tulip");
        let config = nginx.config(&root);
        fs::write(nginx.path("nginx.conf"), config).unwrap();
        nginx.spawn(
            "fcgiwrap",
            &[
                "-c",
                "2",
                "-s",
                &format!("unix:{}", nginx.shown("fcgi.sock")),
            ],
        );
        let (prefix, file) = (nginx.shown(""), nginx.shown("nginx.conf"));
        nginx.spawn("nginx", &["-e", "stderr", "-p", &prefix, "-c", &file]);
        let begun = Instant::now();
        while TcpStream::connect(nginx.address).is_err() || !nginx.path("fcgi.sock").exists() {
            let log = || fs::read_to_string(nginx.path("nginx.log")).unwrap_or_default();
            assert!(
                begun.elapsed() < START_TIMEOUT,
                "nginx does not start: {}",
                log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        nginx
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) {
        let log = fs::File::create(self.path(&format!("{program}.log"))).unwrap();
        let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
        let found = places.iter().map(|place| Path::new(place).join(program));
        let found = found.clone().find(|path| path.exists());
        let found = found.unwrap_or_else(|| panic!("these tests need `{program}`"));
        let child = Command::new(found)
            .args(arguments)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.processes.push(child);
    }

    /// Jane's password from now on.
    fn set_password(&self, password: &str) {
        let output = Command::new("openssl")
            .args(["passwd", "-apr1", password])
            .output()
            .expect("these tests need `openssl`");
        let hash = String::from_utf8(output.stdout).unwrap();
        fs::write(self.path("htpasswd"), format!("jane:{hash}")).unwrap();
    }

    fn config(&self, root: &Path) -> String {
        let backend = git(self.folder.path(), &["--exec-path"]);
        let user = crate::support::ssh_server::user();
        // Only root can give up its rights, and only root has to.
        let user = if user == "root" { "user root;" } else { "" };
        let (folder, root) = (self.folder.path().display(), root.display());
        let (ca, address) = (self.authority.folder.display(), self.address);
        // nginx inherits them only where a location has none of its own.
        let params = format!(
            "fastcgi_param SCRIPT_FILENAME {backend}/git-http-backend;
      fastcgi_param GIT_PROJECT_ROOT {root};
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param PATH_INFO $path;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param REMOTE_USER $remote_user;"
        );
        format!(
            "daemon off; worker_processes 1; pid {folder}/nginx.pid; {user}
events {{ worker_connections 64; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  client_max_body_size 0;
  server {{
    listen {address} ssl;
    ssl_certificate {ca}/server.pem; ssl_certificate_key {ca}/server.key;
    ssl_client_certificate {ca}/ca.pem; ssl_verify_client optional;
    location ~ ^/basic(?<path>/.*)$ {{
      auth_basic fleet; auth_basic_user_file {folder}/htpasswd;
      {params} fastcgi_pass unix:{folder}/fcgi.sock;
    }}
    location ~ ^/shown(?<path>/.*)$ {{
      if ($ssl_client_verify != SUCCESS) {{ return 403; }}
      {params} fastcgi_pass unix:{folder}/fcgi.sock;
    }}
    location ~ ^/pushed(?<path>/.*)$ {{
      set $who read;
      if ($request_uri ~ receive-pack) {{ set $who push; }}
      if ($ssl_client_verify = SUCCESS) {{ set $who $who-shown; }}
      if ($who = push) {{ return 403; }}
      if ($who = read-shown) {{ return 403; }}
      {params} fastcgi_pass unix:{folder}/fcgi.sock;
    }}
  }}
}}
"
        )
    }

    fn options(&self) -> RemoteOptions {
        RemoteOptions {
            ca_file: Some(self.authority.ca_file()),
            proxy: Proxy::Off,
            ..options()
        }
    }

    fn mirror(&self, place: &str, options: RemoteOptions) -> Mirror {
        self.mirror_at(&self.address.to_string(), place, options)
    }

    fn mirror_at(&self, host: &str, place: &str, options: RemoteOptions) -> Mirror {
        let url = SourceUrl::parse(&format!("https://{host}/{place}/fleet.git")).unwrap();
        let dir = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        Mirror::open(&dir, url, options).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // The master ends its workers when it is asked to, and orphans them when it is killed.
            let id = process.id().to_string();
            let _ = Command::new("kill").args(["-TERM", &id]).status();
            let _ = process.wait();
        }
    }
}

fn jane(password: &str) -> Login {
    Login::Given(Credentials {
        username: "jane".to_owned(),
        password: Secret::new(password),
    })
}

fn round_trip(mirror: &Mirror, text: &str) {
    let tip = mirror.list().unwrap().require("main").unwrap();
    mirror.fetch(&[("main", tip)]).unwrap();
    let edits = [Edit::put("groups/web.yaml", text)];
    let new = mirror.build_commit(Some(tip), &edits, &meta("change"));
    let outcome = mirror.update("main", Some(tip), new.unwrap().unwrap());
    assert_eq!(outcome.unwrap(), PushOutcome::Done);
}

#[test]
fn basic_auth_over_tls_with_an_authority_of_our_own() {
    let nginx = Nginx::start();
    let mirror = nginx.mirror(
        "basic",
        RemoteOptions {
            credentials: Some(jane("tulip")),
            ..nginx.options()
        },
    );
    round_trip(&mirror, "size: 4\n");
    for credentials in [Some(jane("rose")), None] {
        let options = RemoteOptions {
            credentials,
            ..nginx.options()
        };
        let error = nginx.mirror("basic", options).list().unwrap_err();
        assert!(
            matches!(error, GitError::Auth { status: 401, .. }),
            "{error:?}"
        );
        assert!(!format!("{error:?} {error}").contains("rose"));
    }
    let other = Authority::create(&nginx.path("other"));
    let options = RemoteOptions {
        ca_file: Some(other.ca_file()),
        credentials: Some(jane("tulip")),
        ..nginx.options()
    };
    let error = nginx.mirror("basic", options).list().unwrap_err();
    assert!(matches!(error, GitError::Certificate { .. }), "{error:?}");
    // Nothing that was sent to the wrong one, and nothing of a password, is in its log.
    let log = fs::read_to_string(nginx.path("access.log")).unwrap();
    assert!(!log.contains("tulip") && !log.contains("rose"), "{log}");
}

#[test]
fn ten_writers_over_https_lose_nothing() {
    let nginx = Nginx::start();
    let repository = nginx.path("served/fleet.git");
    crate::state::ten_lose_nothing("https", &repository, |_| {
        Arc::new(nginx.mirror(
            "basic",
            RemoteOptions {
                credentials: Some(jane("tulip")),
                ..nginx.options()
            },
        ))
    });
}

#[test]
fn a_password_and_an_authority_rotate_without_a_restart() {
    let nginx = Nginx::start();
    let (password, ca) = (nginx.path("password"), nginx.path("trusted.pem"));
    fs::write(nginx.path("user"), "jane\n").unwrap();
    fs::write(&password, "tulip\n").unwrap();
    fs::copy(nginx.authority.ca_file(), &ca).unwrap();
    let mirror = nginx.mirror(
        "basic",
        RemoteOptions {
            credentials: Some(Login::Files {
                username: Some(nginx.path("user")),
                password: Some(password.clone()),
            }),
            ca_file: Some(ca.clone()),
            ..nginx.options()
        },
    );
    round_trip(&mirror, "size: 4\n");
    nginx.set_password("orchid");
    let error = mirror.list().unwrap_err();
    assert!(
        matches!(error, GitError::Auth { status: 401, .. }),
        "{error:?}"
    );
    fs::write(&password, "orchid\n").unwrap();
    round_trip(&mirror, "size: 5\n");
    let other = Authority::create(&nginx.path("other"));
    fs::copy(other.ca_file(), &ca).unwrap();
    let error = mirror.list().unwrap_err();
    assert!(matches!(error, GitError::Certificate { .. }), "{error:?}");
    fs::copy(nginx.authority.ca_file(), &ca).unwrap();
    round_trip(&mirror, "size: 6\n");
}

#[test]
fn a_certificate_is_shown_to_a_host_that_asks_for_one() {
    let nginx = Nginx::start();
    let files = &nginx.authority.folder;
    let shown = |certificate: &str, key: &str| RemoteOptions {
        client_certificate: Some(ClientCertificate {
            certificate: files.join(certificate),
            key: files.join(key),
        }),
        ..nginx.options()
    };
    round_trip(
        &nginx.mirror("shown", shown("server.pem", "server.key")),
        "size: 4\n",
    );
    let error = nginx.mirror("shown", nginx.options()).list().unwrap_err();
    assert!(
        matches!(error, GitError::Auth { status: 403, .. }),
        "{error:?}"
    );
    for (certificate, key) in [
        ("server.pem", "ca.key"),
        ("server.pem", "none"),
        ("ext", "ca.key"),
    ] {
        let mirror = nginx.mirror("shown", shown(certificate, key));
        let error = mirror.list().unwrap_err();
        assert!(
            matches!(error, GitError::CaFile { .. }),
            "{certificate} {key}: {error:?}"
        );
    }
}

#[test]
fn pushing_may_show_a_certificate_of_its_own() {
    let nginx = Nginx::start();
    let files = &nginx.authority.folder;
    let own = ClientCertificate {
        certificate: files.join("server.pem"),
        key: files.join("server.key"),
    };
    let pushing = RemoteOptions {
        write_client_certificate: Some(own.clone()),
        ..nginx.options()
    };
    let mirror = nginx.mirror("pushed", pushing);
    round_trip(&mirror, "size: 4\n");
    round_trip(&mirror, "size: 5\n");
    // The host refuses who reads with it, and who pushes without it.
    let both = RemoteOptions {
        client_certificate: Some(own),
        ..nginx.options()
    };
    let error = nginx.mirror("pushed", both).list().unwrap_err();
    let forbidden = |error: &GitError| matches!(error, GitError::Auth { status: 403, .. });
    assert!(forbidden(&error), "{error:?}");
    let mirror = nginx.mirror("pushed", nginx.options());
    let tip = mirror.list().unwrap().require("main").unwrap();
    mirror.fetch(&[("main", tip)]).unwrap();
    let edits = [Edit::put("groups/web.yaml", "size: 6\n")];
    let new = mirror.build_commit(Some(tip), &edits, &meta("change"));
    let error = mirror.update("main", Some(tip), new.unwrap().unwrap());
    let error = error.unwrap_err();
    assert!(forbidden(&error), "{error:?}");
}

/// An HTTP proxy that knows `CONNECT` and one target. Ends when dropped.
struct Tunnel {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tunnel {
    /// Whatever host is asked for, the connection goes to `target`.
    fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stopping) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (heads, stopped) = (Arc::clone(&seen), Arc::clone(&stopping));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let heads = Arc::clone(&heads);
                std::thread::spawn(move || pass_on(stream?, target, &heads));
            }
        });
        Self {
            address,
            seen,
            stopping,
            thread: Some(thread),
        }
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn pass_on(client: TcpStream, target: SocketAddr, heads: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    heads.lock().unwrap().push(head);
    let mut client = client;
    let server = TcpStream::connect(target)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut up, mut down) = (server.try_clone()?, client.try_clone()?);
    let upload = std::thread::spawn(move || {
        let _ = io::copy(&mut lines, &mut up);
        let _ = up.shutdown(Shutdown::Write);
    });
    let mut server = server;
    let _ = io::copy(&mut server, &mut down);
    let _ = down.shutdown(Shutdown::Write);
    let _ = upload.join();
    Ok(())
}

#[test]
fn a_proxy_is_used_and_gets_its_own_credentials_only() {
    let nginx = Nginx::start();
    let tunnel = Tunnel::start(nginx.address);
    let through = |login: Option<Login>| RemoteOptions {
        credentials: Some(jane("tulip")),
        proxy: Proxy::Through {
            url: format!("http://{}", tunnel.address),
            login,
        },
        ..nginx.options()
    };
    // A name that only the proxy knows; the certificate has it.
    let mirror = nginx.mirror_at("git.test", "basic", through(Some(jane("proxy-word"))));
    round_trip(&mirror, "size: 4\n");
    let seen = tunnel.seen();
    assert!(!seen.is_empty());
    for head in &seen {
        assert!(head.starts_with("CONNECT git.test:443 "), "{head}");
        let words = head.to_lowercase();
        assert!(words.contains("\r\nproxy-authorization: basic "), "{head}");
        assert!(!words.contains("\r\nauthorization:"), "{head}");
    }
    nginx
        .mirror_at("git.test", "basic", through(None))
        .list()
        .unwrap();
    let seen = tunnel.seen();
    assert!(
        seen.iter().all(|head| !head.contains("uthorization")),
        "{seen:?}"
    );
    // Without it there is no way there.
    let straight = RemoteOptions {
        credentials: Some(jane("tulip")),
        ..nginx.options()
    };
    let error = nginx
        .mirror_at("git.test", "basic", straight)
        .list()
        .unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }), "{error:?}");
}
