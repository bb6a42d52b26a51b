//! Addresses of the web: `url("https://example.com:8443/a?b=c")`.
//!
//! What counts as one, and what its parts are, is as in Kubernetes: it has a scheme, or is a path that
//! begins with a slash. Nothing is resolved or fetched.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use cel::common::types::{CelBool, CelList, CelString, STRING_TYPE, Type as CelType};
use cel::common::value::CowVal;
use cel::{DeclarationError, Env, ExecutionError};

use super::lists::Making;
use super::opaque::{Opaque, argument, held, type_of};
use super::{Arguments, Outcome, failure, no_overload, owned};
use crate::limits::URL_BYTES_MAX;
use crate::meter;
use crate::value::{self, Boxed, shorten};

static URL_TYPE: CelType = type_of("kubernetes.URL");

/// The parts of an address, as they are written; the scheme in small letters, the path escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    text: String,
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl Opaque for Url {
    const TYPE: &'static CelType = &URL_TYPE;
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Url {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > URL_BYTES_MAX || text.chars().any(|c| c.is_ascii_control()) {
            return None;
        }
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
            Some((before, _)) if !before.contains('/') => return None,
            _ => (String::new(), text),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut url = Self {
            text: text.to_owned(),
            scheme,
            host: String::new(),
            path: String::new(),
            query: query.to_owned(),
        };
        if !rest.starts_with('/') {
            // `mailto:ann@example.com` has neither host nor path; without a scheme it is nothing.
            return (!url.scheme.is_empty()).then_some(url);
        }
        let mut path = rest;
        if !url.scheme.is_empty()
            && let Some(rest) = rest.strip_prefix("//")
        {
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, after) = rest.split_at(end);
            let host = authority
                .rsplit_once('@')
                .map_or(authority, |(_, host)| host);
            url.host = is_host(host).then(|| host.to_owned())?;
            path = after;
        }
        unescaped(path)?;
        url.path = escaped(path);
        Some(url)
    }

    /// Returns the host without its port and without the brackets of an IPv6 address.
    fn hostname(&self) -> &str {
        match self.host.strip_prefix('[') {
            Some(address) => address.split(']').next().unwrap_or_default(),
            None => self.host.split(':').next().unwrap_or_default(),
        }
    }

    fn port(&self) -> &str {
        let after = self.host.rsplit(']').next().unwrap_or_default();
        after.rsplit_once(':').map_or("", |(_, port)| port)
    }

    /// Returns the values of each key of the query, decoded. What cannot be decoded is left out.
    fn query(&self) -> BTreeMap<String, Vec<String>> {
        let decoded = |text: &str| unescaped(&text.replace('+', " "));
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let (Some(key), Some(value)) = (decoded(key), decoded(value)) {
                all.entry(key).or_default().push(value);
            }
        }
        all
    }
}

fn is_scheme(text: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(part)
}

/// Returns whether a text is a host, maybe with a port.
fn is_host(text: &str) -> bool {
    let port_fits = |port: &str| {
        port.is_empty()
            || port
                .strip_prefix(':')
                .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if let Some(address) = text.strip_prefix('[') {
        let Some((address, port)) = address.split_once(']') else {
            return false;
        };
        return address.parse::<std::net::Ipv6Addr>().is_ok() && port_fits(port);
    }
    let end = text.find(':').unwrap_or(text.len());
    let (name, port) = text.split_at(end);
    let part =
        |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=%\"<>".contains(c);
    name.chars().all(part) && unescaped(name).is_some() && port_fits(port)
}

/// Returns a text with its escapes replaced by what they stand for. None: an escape is none.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        bytes.push((digit(0)? * 16 + digit(1)?) as u8);
        rest = after.get(2..)?;
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns a path in which everything that must be is escaped, and what was stays so.
fn escaped(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/%-._~$&+,:;=@!'()*[]".contains(&byte);
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        if plain(byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    let of = || URL_TYPE.to_owned();
    env.add_type(of())?;
    env.add_overload("url", "url", vec![STRING_TYPE], new)?;
    env.add_overload("isURL", "is_url", vec![STRING_TYPE], is_url)?;
    env.add_member_overload("getScheme", "get_scheme", of(), vec![], scheme)?;
    env.add_member_overload("getHost", "get_host", of(), vec![], host)?;
    env.add_member_overload("getHostname", "get_hostname", of(), vec![], hostname)?;
    env.add_member_overload("getPort", "get_port", of(), vec![], port)?;
    env.add_member_overload("getEscapedPath", "get_path", of(), vec![], path)?;
    env.add_member_overload("getQuery", "get_query", of(), vec![], query)
}

fn parsed(name: &str, arguments: &Arguments<'_, '_>) -> Result<Url, ExecutionError> {
    let text = arguments[0]
        .downcast_ref::<CelString<'_>>()
        .ok_or_else(|| no_overload(name, arguments))?;
    Url::parse(text.inner()).ok_or_else(|| {
        let text = shorten(text.inner(), 60);
        failure(format!(
            "`{text}` is not a URL such as https://example.com/a, nor a path such as /a"
        ))
    })
}

fn new<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    parsed("url", &arguments).map(held)
}

fn is_url<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    Ok(owned(CelBool::from(parsed("isURL", &arguments).is_ok())))
}

fn text<'b, 'v>(text: &str) -> CowVal<'b, 'v> {
    owned(CelString::from(text.to_owned()))
}

fn scheme<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    argument::<Url>("getScheme", &arguments, 0).map(|url| text(&url.scheme))
}

fn host<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    argument::<Url>("getHost", &arguments, 0).map(|url| text(&url.host))
}

fn hostname<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    argument::<Url>("getHostname", &arguments, 0).map(|url| text(url.hostname()))
}

fn port<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    argument::<Url>("getPort", &arguments, 0).map(|url| text(url.port()))
}

fn path<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    argument::<Url>("getEscapedPath", &arguments, 0).map(|url| text(&url.path))
}

fn query<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let url: &Url = argument("getQuery", &arguments, 0)?;
    meter::charge_bytes(url.query.len())?;
    let mut map = Making::default();
    for (key, values) in url.query() {
        let values: Vec<Boxed<'v>> = values.into_iter().map(value::owned_text).collect();
        map.insert(value::owned_text(key), Box::new(CelList::from(values)))?;
    }
    map.finish().map(owned)
}
