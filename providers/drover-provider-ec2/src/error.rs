//! What EC2's errors mean to the agent.
//!
//! Source of the codes: "Error codes for the Amazon EC2 API", in Amazon's EC2 developer guide. A code decides
//! where it is known, then the HTTP status; the words of an error decide nothing, but for one code that Amazon has for two
//! things, see [`is_of_images`].

use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use drover_model::ErrorClass;
use drover_provider::ProviderError;

/// Codes of calls that came too fast. Turned away before they were carried out.
const THROTTLED: [&str; 9] = [
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "EC2ThrottledException",
    "SlowDown",
];

/// Codes of what there is no room for now, at this place.
const CAPACITY: [&str; 10] = [
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientCapacity",
    "InsufficientCapacityOnHost",
    "InsufficientAddressCapacity",
    "InsufficientFreeAddressesInSubnet",
    "InsufficientVolumeCapacity",
    "ReservationCapacityExceeded",
    "SpotMaxPriceTooLow",
];

/// Limits of one request, not of the account: they end in `LimitExceeded` and can never succeed.
const REQUEST_LIMITS: [&str; 4] = [
    "TagLimitExceeded",
    "AttachmentLimitExceeded",
    "SecurityGroupsPerInstanceLimitExceeded",
    "FilterLimitExceeded",
];

/// Limits of the account that do not end in `LimitExceeded`.
const QUOTA: [&str; 2] = ["MaxSpotInstanceCountExceeded", "ResourceCountExceeded"];

/// Codes of credentials that are missing, wrong, too old, or not enough.
const AUTH: [&str; 17] = [
    "AuthFailure",
    "UnauthorizedOperation",
    "AccessDenied",
    "AccessDeniedException",
    "Blocked",
    "OptInRequired",
    "PendingVerification",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "MissingAuthenticationToken",
    "IncompleteSignature",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "ServiceLinkedRoleFailure",
];

/// Codes of what Amazon itself could not do, whatever status they come with.
const INTERNAL: [&str; 5] = [
    "InternalError",
    "InternalFailure",
    "ServiceUnavailable",
    "Unavailable",
    "RequestTimeout",
];

/// Codes of things that are being changed, and can be asked for again in a moment.
const BUSY: [&str; 8] = [
    "IncorrectState",
    "IncorrectInstanceState",
    "VolumeInUse",
    "InvalidNetworkInterface.InUse",
    "ResourceContention",
    "ResourceInUse",
    "ScalingActivityInProgress",
    "InstanceRefreshInProgress",
];

/// Returns what a code means. None: it is not known.
fn class_of_code(code: &str) -> Option<ErrorClass> {
    let among = |codes: &[&str]| codes.contains(&code);
    if among(&THROTTLED) || among(&BUSY) {
        Some(ErrorClass::Throttled)
    } else if among(&CAPACITY) {
        Some(ErrorClass::Capacity)
    } else if among(&REQUEST_LIMITS) {
        Some(ErrorClass::InvalidSpec)
    } else if among(&QUOTA) || code.ends_with("LimitExceeded") {
        Some(ErrorClass::Quota)
    } else if among(&AUTH) {
        Some(ErrorClass::Auth)
    } else if among(&INTERNAL) {
        Some(ErrorClass::Unknown)
    } else if code == "IdempotentInstanceTerminated" || is_missing_instance(code) {
        Some(ErrorClass::NotFound)
    } else {
        None
    }
}

/// Returns what the status of an answer means that says nothing else: a proxy's perhaps, or a gateway's.
fn class_of_status(status: u16) -> ErrorClass {
    match status {
        401 | 403 | 407 => ErrorClass::Auth,
        // It did not wait for the whole request, or for the answer to it.
        408 => ErrorClass::Unknown,
        425 | 429 => ErrorClass::Throttled,
        400..=499 => ErrorClass::InvalidSpec,
        _ => ErrorClass::Unknown,
    }
}

/// The most of a body that is looked at, and the most characters of its words that are told.
const BODY_MAX: usize = 4 * 1024;
const WORDS_MAX: usize = 200;

/// Returns the first words of a body, without the marks of XML and HTML. None: it has none.
fn first_words(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&body[..body.len().min(BODY_MAX)]);
    let mut within = false;
    let outside = text.chars().map(|letter| {
        match letter {
            '<' => within = true,
            '>' if within => {
                within = false;
                return ' ';
            }
            _ => {}
        }
        if within || letter.is_control() {
            ' '
        } else {
            letter
        }
    });
    let outside: String = outside.collect();
    let words: Vec<&str> = outside.split_whitespace().collect();
    let words: String = words.join(" ").chars().take(WORDS_MAX).collect();
    (!words.is_empty()).then_some(words)
}

/// Returns whether an error is about an image that the account may not use: one that is another account's and not shared, or
/// that a slip of the pen has made. EC2 has the code of credentials that are wrong for it, and only its words tell
/// the two apart; credentials that are right and another image help.
fn is_of_images(code: Option<&str>, said: Option<&str>) -> bool {
    code == Some("AuthFailure")
        && said.is_some_and(|said| said.starts_with("Not authorized for images"))
}

/// Returns whether a code says that there is no such instance.
pub(crate) fn is_missing_instance(code: &str) -> bool {
    matches!(
        code,
        "InvalidInstanceID.NotFound" | "InvalidInstanceID.Malformed" | "InvalidInstanceId"
    )
}

/// A call of EC2's that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{action}: {}{message}", code.as_deref().map(|code| format!("{code}: ")).unwrap_or_default())]
pub(crate) struct CallError {
    /// The call, such as `RunInstances`.
    pub(crate) action: &'static str,
    /// EC2's own code, where it answered.
    pub(crate) code: Option<String>,
    /// EC2's words, or why there was no answer.
    pub(crate) message: String,
    /// What it means.
    pub(crate) class: ErrorClass,
}

impl CallError {
    /// An error of our own.
    pub(crate) fn new(action: &'static str, class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            action,
            code: None,
            message: message.into(),
            class,
        }
    }

    /// Sorts an error of the SDK.
    pub(crate) fn of<E>(action: &'static str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let status = error
            .raw_response()
            .map(|response| response.status().as_u16());
        if let (SdkError::ServiceError(service), Some(status)) = (error, status) {
            let code = service.err().code();
            let said = service.err().message().map(str::to_owned);
            let class = if is_of_images(code, said.as_deref()) {
                ErrorClass::InvalidSpec
            } else {
                code.and_then(class_of_code)
                    .unwrap_or_else(|| class_of_status(status))
            };
            return Self {
                action,
                code: code.map(str::to_owned),
                message: said.unwrap_or_else(|| {
                    let body = service.raw().body().bytes();
                    let words = body.and_then(first_words);
                    format!(
                        "HTTP {status}: {}",
                        words.as_deref().unwrap_or("no reason given")
                    )
                }),
                class,
            };
        }
        let message = if found_no_credentials(error) {
            NO_CREDENTIALS.to_owned()
        } else {
            whole(error)
        };
        // Without credentials nothing was signed, so nothing was sent.
        let class = if names_credentials(error) {
            ErrorClass::Auth
        } else if matches!(error, SdkError::ConstructionFailure(_)) {
            ErrorClass::InvalidSpec
        } else {
            ErrorClass::Unknown
        };
        Self::new(action, class, message)
    }

    /// Returns whether something is being changed just now, which a few moments seldom end.
    pub(crate) fn is_busy(&self) -> bool {
        self.code
            .as_deref()
            .is_some_and(|code| BUSY.contains(&code))
    }

    /// Returns whether EC2 answered with this code.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl From<CallError> for ProviderError {
    fn from(error: CallError) -> Self {
        Self::new(error.class, error.to_string())
    }
}

/// What is said where there are no credentials. The SDK tells the last place that it looked at alone.
const NO_CREDENTIALS: &str = "no credentials were found, neither in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), nor in the profile's files (~/.aws), nor of a web identity, a container or an instance (its metadata service)";

/// Returns an error and its causes, each the cause of the one before.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Returns whether an error is one of finding credentials.
fn names_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(<dyn std::error::Error>::is::<CredentialsError>)
}

/// Returns whether credentials are nowhere, and not only of no use: the last place that is looked at has none, or the metadata
/// service, which is that place, gives out nothing.
fn found_no_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    let nowhere = |one: &CredentialsError| matches!(one, CredentialsError::CredentialsNotLoaded(_));
    let mut credentials = causes(error).filter_map(|one| one.downcast_ref::<CredentialsError>());
    let none = credentials.any(nowhere);
    none || names_credentials(error) && causes(error).any(<dyn std::error::Error>::is::<ImdsError>)
}

/// Returns an error with its causes.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
