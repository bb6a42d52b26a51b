//! Private keys that are shown to hosts and sign for us.
//!
//! RSA is ring's, which takes the same time whatever the key is; the library that reads keys has it from a crate that
//! does not.

use std::path::Path;
use std::sync::Arc;

use num_bigint::BigUint;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{self, RsaEncoding, RsaKeyPair};
use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::encoding::Encode as _;
use russh::keys::ssh_key::private::{KeypairData, RsaKeypair};
use russh::keys::ssh_key::{self, LineEnding, Mpint, Signature, SshSig};
use russh::keys::{self, Algorithm, HashAlg, PrivateKey, PublicKey};
use russh::{AgentAuthError, Signer};

use crate::error::{Cause, GitError};
use crate::files;

/// The largest file with a private key.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// A private key of a kind that we can sign with.
#[derive(Clone)]
pub(crate) struct SecretKey {
    key: Arc<PrivateKey>,
    rsa: Option<Arc<RsaKeyPair>>,
}

impl SecretKey {
    /// Reads a key in OpenSSH's format: ed25519, ecdsa, or RSA of 2048 to 4096 bits.
    pub(crate) fn read(path: &Path, passphrase: Option<&Path>) -> Result<Self, GitError> {
        let failed = |path: &Path, text: String| GitError::SshKey {
            path: path.to_owned(),
            source: Cause(text),
        };
        let text = files::read_text(path, KEY_BYTES_MAX)
            .map_err(|error| failed(path, error.to_string()))?;
        let key = PrivateKey::from_openssh(&text)
            .map_err(|error| failed(path, unreadable(&text, &error)))?;
        let key = match (key.is_encrypted(), passphrase) {
            (false, _) => key,
            (true, None) => {
                let text = "it has a passphrase, and no file with one is configured";
                return Err(failed(path, text.to_owned()));
            }
            (true, Some(file)) => {
                let phrase = files::read_text(file, KEY_BYTES_MAX)
                    .map_err(|error| failed(file, error.to_string()))?;
                key.decrypt(phrase.trim_end_matches(['\r', '\n']))
                    .map_err(|_| failed(path, "the passphrase does not open it".to_owned()))?
            }
        };
        let rsa = match (key.algorithm(), key.key_data()) {
            (Algorithm::Ed25519 | Algorithm::Ecdsa { .. }, _) => None,
            (_, KeypairData::Rsa(pair)) => {
                let pair = rsa_pair(pair).map_err(|why| failed(path, why))?;
                Some(Arc::new(pair))
            }
            (other, _) => {
                let kind = other.as_str();
                let text = format!("{kind} keys are not supported: use ed25519, ecdsa or RSA");
                return Err(failed(path, text));
            }
        };
        let key = Arc::new(key);
        Ok(Self { key, rsa })
    }

    pub(crate) fn public(&self) -> &PublicKey {
        self.key.public_key()
    }

    /// Returns the key for what signs with it by itself. None: it is RSA, and signs here.
    pub(crate) fn plain(&self) -> Option<Arc<PrivateKey>> {
        self.rsa.is_none().then(|| Arc::clone(&self.key))
    }

    /// Returns an armoured signature over `content`, for `namespace`.
    pub(crate) fn sign_content(
        &self,
        namespace: &str,
        content: &[u8],
    ) -> Result<String, ssh_key::Error> {
        let hash = HashAlg::Sha512;
        let signed = match &self.rsa {
            None => self.key.sign(namespace, hash, content)?,
            Some(pair) => {
                let data = SshSig::signed_data(namespace, hash, content)?;
                let signature = rsa_signature(pair, hash, &data)?;
                SshSig::new(self.public().key_data().clone(), namespace, hash, signature)?
            }
        };
        signed.to_pem(LineEnding::LF)
    }
}

/// Returns why a text is no key, with the way out of the formats that OpenSSL writes.
fn unreadable(text: &str, error: &ssh_key::Error) -> String {
    let begins = |kind: &str| text.trim_start().starts_with(kind);
    let pem = begins("-----BEGIN ") && !begins("-----BEGIN OPENSSH ");
    if pem && text.contains("PRIVATE KEY-----") {
        return "a private key, but not in OpenSSH's format: `ssh-keygen -p -f` with the file converts it"
            .to_owned();
    }
    if PublicKey::from_openssh(text).is_ok() {
        return "a public key: name the file without `.pub`".to_owned();
    }
    format!("not a private key of OpenSSH: {error}")
}

/// Returns a key as ring has it, or why it is refused.
fn rsa_pair(pair: &RsaKeypair) -> Result<RsaKeyPair, String> {
    let private = pair.private();
    let parts = [
        pair.public().n(),
        pair.public().e(),
        private.d(),
        private.p(),
        private.q(),
        private.iqmp(),
    ];
    let parts: Option<Vec<&[u8]>> = parts.into_iter().map(Mpint::as_positive_bytes).collect();
    let Some([modulus, public, secret, p, q, q_inverse]) = parts.as_deref() else {
        return Err("its numbers are not those of an RSA key".to_owned());
    };
    // What the file leaves out: the exponent for each of the two factors.
    let exponent = |factor: &[u8]| {
        let one_less = BigUint::from_bytes_be(factor) - 1_u32;
        (BigUint::from_bytes_be(secret) % one_less).to_bytes_be()
    };
    let (for_p, for_q) = (exponent(p), exponent(q));
    let components = KeyPairComponents {
        public_key: PublicKeyComponents {
            n: *modulus,
            e: *public,
        },
        d: *secret,
        p: *p,
        q: *q,
        dP: &for_p,
        dQ: &for_q,
        qInv: *q_inverse,
    };
    RsaKeyPair::from_components(&components)
        .map_err(|why| format!("RSA keys have 2048 to 4096 bits, and this one is refused: {why}"))
}

/// Signs with PKCS #1 v1.5, as RFC 8332 has it.
fn rsa_signature(
    pair: &RsaKeyPair,
    hash: HashAlg,
    data: &[u8],
) -> Result<Signature, ssh_key::Error> {
    let padding: &dyn RsaEncoding = match hash {
        HashAlg::Sha256 => &signature::RSA_PKCS1_SHA256,
        HashAlg::Sha512 => &signature::RSA_PKCS1_SHA512,
        _ => return Err(ssh_key::Error::Crypto),
    };
    let mut signed = vec![0; pair.public().modulus_len()];
    pair.sign(padding, &SystemRandom::new(), data, &mut signed)
        .map_err(|_| ssh_key::Error::Crypto)?;
    Signature::new(Algorithm::Rsa { hash: Some(hash) }, signed)
}

/// Signs what a host asks for at log-in.
pub(crate) struct LogIn<'a>(pub(crate) &'a SecretKey);

impl Signer for LogIn<'_> {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        _key: &AgentIdentity,
        hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        let Self(secret) = self;
        let (Some(pair), Some(hash)) = (&secret.rsa, hash) else {
            return Err(keys::Error::from(ssh_key::Error::Crypto).into());
        };
        let signature = rsa_signature(pair, hash, &to_sign).map_err(keys::Error::from)?;
        // The answer is what was to be signed, and the signature behind it.
        let added = signature.encode_prefixed(&mut to_sign);
        added
            .map_err(ssh_key::Error::from)
            .map_err(keys::Error::from)?;
        Ok(to_sign)
    }
}
