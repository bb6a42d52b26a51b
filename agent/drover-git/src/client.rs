//! The HTTP client of a remote: rustls with ring, our own choice of authorities, no redirects.

use std::path::Path;
use std::sync::Arc;

use reqwest::Url;
use reqwest::blocking::Client;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::credentials::{ClientCertificate, Login, Proxy, RemoteOptions};
use crate::error::{Cause, GitError};
use crate::url::is_loopback;

/// Hosts decide by the prefix `git/` whether to answer a Git client or a browser.
const USER_AGENT: &str = "git/2.0 (drover)";

/// Builds a client that shows this certificate; each has its own TLS settings, so no global default provider is needed.
pub(crate) fn build(
    url: &Url,
    options: &RemoteOptions,
    shown: Option<&ClientCertificate>,
) -> Result<Client, GitError> {
    let mut builder = Client::builder()
        .user_agent(USER_AGENT)
        .timeout(options.timeout)
        .connect_timeout(options.timeout)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false);
    builder = builder.tls_backend_preconfigured(tls(url, options, shown)?);
    builder = match &options.proxy {
        // A proxy of the environment is meant for the outside world.
        Proxy::Environment if is_loopback(url) => builder.no_proxy(),
        Proxy::Environment => builder,
        Proxy::Off => builder.no_proxy(),
        Proxy::Through { url: proxy, login } => builder.proxy(through(url, proxy, login.as_ref())?),
    };
    builder.build().map_err(|error| GitError::Unreachable {
        url: url.as_str().to_owned(),
        source: Cause(error.without_url().to_string()),
    })
}

fn through(url: &Url, proxy: &str, login: Option<&Login>) -> Result<reqwest::Proxy, GitError> {
    let through = reqwest::Proxy::all(proxy).map_err(|error| GitError::Unreachable {
        url: url.as_str().to_owned(),
        source: Cause(format!("the proxy cannot be used: {}", error.without_url())),
    })?;
    let Some(login) = login else {
        return Ok(through);
    };
    let credentials = login.read()?;
    Ok(through.basic_auth(&credentials.username, credentials.password.expose()))
}

fn tls(
    url: &Url,
    options: &RemoteOptions,
    shown: Option<&ClientCertificate>,
) -> Result<rustls::ClientConfig, GitError> {
    let roots = match &options.ca_file {
        Some(path) => roots_of_file(path)?,
        // Plain HTTP trusts nobody, but reqwest wants TLS settings nevertheless.
        None if url.scheme() == "http" => RootCertStore::empty(),
        None => system_roots(url)?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| GitError::Certificate {
            url: url.as_str().to_owned(),
            source: Cause(error.to_string()),
        })?;
    let config = config.with_root_certificates(roots);
    let Some(shown) = shown else {
        return Ok(config.with_no_client_auth());
    };
    let broken = |path: &Path, text: String| GitError::CaFile {
        path: path.to_owned(),
        source: Cause(text),
    };
    let chain = certificates(&shown.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&shown.key)
        .map_err(|error| broken(&shown.key, error.to_string()))?;
    config
        .with_client_auth_cert(chain, key)
        .map_err(|error| broken(&shown.certificate, error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, GitError> {
    let broken = |error: rustls::pki_types::pem::Error| GitError::CaFile {
        path: path.to_owned(),
        source: Cause(error.to_string()),
    };
    CertificateDer::pem_file_iter(path)
        .map_err(broken)?
        .collect::<Result<_, _>>()
        .map_err(broken)
}

fn roots_of_file(path: &Path) -> Result<RootCertStore, GitError> {
    let broken = |text: String| GitError::CaFile {
        path: path.to_owned(),
        source: Cause(text),
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| broken(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(broken("it contains no certificate".to_owned()));
    }
    Ok(roots)
}

/// The authorities that the operating system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` move them,
/// as for every program that uses OpenSSL. Git's own settings have no effect.
fn system_roots(url: &Url) -> Result<RootCertStore, GitError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A system's store often has a few certificates that rustls cannot read: they are skipped.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(GitError::Certificate {
            url: url.as_str().to_owned(),
            source: Cause("the system has no certificate authorities".to_owned()),
        });
    }
    Ok(roots)
}

/// Tells whether an error comes from the verification of a certificate.
pub(crate) fn is_certificate_problem(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return matches!(
            error,
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented
        );
    }
    // What an I/O error wraps is not its source: the chain goes on behind it.
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    wrapped.is_some_and(|inner| is_certificate_problem(inner))
        || error.source().is_some_and(is_certificate_problem)
}

/// Tells whether scheme, host and port are the same.
pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}
