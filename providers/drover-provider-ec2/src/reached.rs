//! Where calls go: the region, the environment and files decide together, and errors without an answer name it.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ec2::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_ec2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ec2::error::BoxError;

/// The address that a client's last call went to. None: none was sent yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reached(Arc<Mutex<Option<String>>>);

impl Reached {
    /// Returns the address.
    pub(crate) fn address(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Intercept for Reached {
    fn name(&self) -> &'static str {
        "Reached"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let address = origin(context.request().uri());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
        Ok(())
    }
}

/// Returns the scheme, the host and the port of a URI: no credentials, and nothing of what is asked.
fn origin(uri: &str) -> String {
    let (scheme, rest) = uri.split_once("://").unwrap_or(("", uri));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    match scheme {
        "" => host.to_owned(),
        scheme => format!("{scheme}://{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn an_address_has_no_credentials_and_nothing_of_what_is_asked() {
        for (uri, expected) in [
            ("http://127.0.0.1:1/", "http://127.0.0.1:1"),
            (
                "https://me:secret@ec2.example.com?Action=x",
                "https://ec2.example.com",
            ),
            ("ec2.example.com/a@b", "ec2.example.com"),
        ] {
            assert_eq!(origin(uri), expected);
        }
    }
}
