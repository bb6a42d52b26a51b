//! A server with a certificate of an authority of our own: certificates by `openssl`, TLS by rustls.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is needed for this test");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {said}");
}

/// Makes `ca.pem`, and `server.pem` and `server.key` that it signed.
fn certify(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let new = "req -newkey rsa:2048 -nodes";
    openssl(
        folder,
        &format!("{new} -x509 -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"),
    );
    openssl(
        folder,
        &format!("{new} -subj /CN=127.0.0.1 -keyout server.key -out server.csr"),
    );
    fs::write(folder.join("ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let sign = "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2";
    openssl(folder, &format!("{sign} -extfile ext -out server.pem"));
}

/// Answers every request with one sample. Its thread ends with the program.
fn serve(folder: &Path) -> SocketAddr {
    let certificates = CertificateDer::pem_file_iter(folder.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates.collect::<Result<_, _>>().unwrap(), key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let mut request = [0; 4096];
            // A client that refuses the certificate ends its connection.
            if stream.read(&mut request).is_ok() {
                let body = vector(&["7"]).to_string();
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        }
    });
    address
}

#[tokio::test]
async fn a_server_is_believed_by_the_authorities_that_the_agent_names() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, others) = (folder.path().join("ours"), folder.path().join("others"));
    certify(&ours);
    certify(&others);
    let url = format!("https://{}", serve(&ours));
    let asked = async |ca: Option<PathBuf>| {
        let mut config = prometheus(&url, None);
        config.kind = MetricSourceKind::Prometheus {
            url: url.clone(),
            token: None,
            ca,
        };
        told(&[config], &[("prom", "up")]).await[0].clone()
    };
    assert_eq!(
        asked(Some(ours.join("ca.pem"))).await,
        "7 at 2026-01-05T12:00:00.25Z"
    );
    for ca in [None, Some(others.join("ca.pem"))] {
        let why = asked(ca).await;
        let refused = "cannot be asked: invalid peer certificate: ";
        assert!(why.starts_with(refused), "{why}");
    }
    let why = asked(Some(folder.path().join("absent.pem"))).await;
    assert!(why.starts_with("cannot read "), "{why}");
}
