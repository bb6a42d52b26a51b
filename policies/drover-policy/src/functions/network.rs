//! IP addresses and networks: `ip("10.0.0.7")`, `cidr("10.0.0.0/8")`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cel::common::types::{CelBool, CelInt, CelString, STRING_TYPE, Type as CelType};
use cel::common::value::CowVal;
use cel::{DeclarationError, Env};

use super::opaque::{Opaque, argument, held, type_of};
use super::{Arguments, Outcome, failure, no_overload, owned};
use crate::value::shorten;

static IP_TYPE: CelType = type_of("net.IP");
static CIDR_TYPE: CelType = type_of("net.CIDR");

/// An IP address. One of the fourth version is the same as it is inside the sixth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address(IpAddr);

impl Opaque for Address {
    const TYPE: &'static CelType = &IP_TYPE;
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_canonical() == other.0.to_canonical()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Address {
    /// Parses an address. None: it is none, or one of the fourth version written inside the sixth,
    /// which may mean either.
    fn parse(text: &str) -> Option<Self> {
        let mixed = text.contains(':') && text.contains('.');
        text.parse().ok().filter(|_| !mixed).map(Self)
    }

    fn is_link_local_multicast(self) -> bool {
        match self.0 {
            IpAddr::V4(address) => matches!(address.octets(), [224, 0, 0, _]),
            IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
        }
    }

    fn is_link_local_unicast(self) -> bool {
        match self.0 {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        }
    }

    /// Returns whether it is an address of one machine that packets can be sent to beyond its link;
    /// private ones are.
    fn is_global_unicast(self) -> bool {
        let broadcast = self.0 == IpAddr::V4(Ipv4Addr::BROADCAST);
        !(broadcast
            || self.0.is_unspecified()
            || self.0.is_loopback()
            || self.0.is_multicast()
            || self.is_link_local_unicast())
    }
}

/// An address with the length of a prefix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Opaque for Network {
    const TYPE: &'static CelType = &CIDR_TYPE;
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let Address(address) = Address::parse(address)?;
        let plain = prefix.bytes().all(|byte| byte.is_ascii_digit())
            && (prefix == "0" || !prefix.starts_with('0'));
        let max = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u8 = prefix.parse().ok()?;
        (plain && prefix <= max).then_some(Self { address, prefix })
    }

    fn masked(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix));
                IpAddr::V4(Ipv4Addr::from(u32::from(address) & mask.unwrap_or(0)))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix));
                IpAddr::V6(Ipv6Addr::from(u128::from(address) & mask.unwrap_or(0)))
            }
        };
        Self { address, ..self }
    }

    fn contains_address(self, address: IpAddr) -> bool {
        let other = Self { address, ..self };
        self.address.is_ipv4() == address.is_ipv4() && self.masked() == other.masked()
    }

    fn contains(self, other: Self) -> bool {
        other.prefix >= self.prefix && self.contains_address(other.address)
    }
}

pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    let text = || vec![STRING_TYPE];
    let (ip, cidr) = (|| IP_TYPE.to_owned(), || CIDR_TYPE.to_owned());
    env.add_type(ip())?;
    env.add_type(cidr())?;
    env.add_overload("ip", "ip", text(), new_ip)?;
    env.add_overload("isIP", "is_ip", text(), is_ip)?;
    env.add_overload("ip.isCanonical", "is_canonical", text(), is_canonical)?;
    env.add_overload("string", "ip_to_string", vec![ip()], shown)?;
    env.add_overload("string", "cidr_to_string", vec![cidr()], shown)?;
    env.add_overload("cidr", "cidr", text(), new_cidr)?;
    env.add_overload("isCIDR", "is_cidr", text(), is_cidr)?;
    env.add_member_overload("family", "family", ip(), vec![], family)?;
    env.add_member_overload("isUnspecified", "unspecified", ip(), vec![], is_unspecified)?;
    env.add_member_overload("isLoopback", "loopback", ip(), vec![], is_loopback)?;
    let (multicast, unicast) = (is_link_local_multicast, is_link_local_unicast);
    env.add_member_overload("isLinkLocalMulticast", "multicast", ip(), vec![], multicast)?;
    env.add_member_overload("isLinkLocalUnicast", "unicast", ip(), vec![], unicast)?;
    env.add_member_overload("isGlobalUnicast", "global", ip(), vec![], is_global_unicast)?;
    env.add_member_overload("containsIP", "text", cidr(), text(), contains_ip)?;
    env.add_member_overload("containsIP", "ip", cidr(), vec![ip()], contains_ip)?;
    env.add_member_overload("containsCIDR", "text", cidr(), text(), contains_cidr)?;
    env.add_member_overload("containsCIDR", "cidr", cidr(), vec![cidr()], contains_cidr)?;
    env.add_member_overload("ip", "cidr_ip", cidr(), vec![], ip_of)?;
    env.add_member_overload("masked", "masked", cidr(), vec![], masked)?;
    env.add_member_overload("prefixLength", "prefix", cidr(), vec![], prefix_length)
}

fn text<'a>(arguments: &'a Arguments<'_, '_>, at: usize) -> Option<&'a str> {
    let text = arguments.get(at)?.downcast_ref::<CelString<'_>>()?;
    Some(text.inner())
}

/// Returns an argument that is an address, or the text of one.
fn address(
    name: &str,
    arguments: &Arguments<'_, '_>,
    at: usize,
) -> Result<Address, cel::ExecutionError> {
    match text(arguments, at) {
        None => argument::<Address>(name, arguments, at).copied(),
        Some(text) => Address::parse(text).ok_or_else(|| {
            let text = shorten(text, 60);
            failure(format!(
                "`{text}` is not an IP address such as 10.0.0.7 or 2001:db8::7"
            ))
        }),
    }
}

fn network(
    name: &str,
    arguments: &Arguments<'_, '_>,
    at: usize,
) -> Result<Network, cel::ExecutionError> {
    match text(arguments, at) {
        None => argument::<Network>(name, arguments, at).copied(),
        Some(text) => Network::parse(text).ok_or_else(|| {
            let text = shorten(text, 60);
            failure(format!(
                "`{text}` is not a network such as 10.0.0.0/8 or 2001:db8::/32"
            ))
        }),
    }
}

fn truth<'b, 'v>(value: bool) -> CowVal<'b, 'v> {
    owned(CelBool::from(value))
}

fn number<'b, 'v>(value: impl Into<i64>) -> CowVal<'b, 'v> {
    owned(CelInt::from(value.into()))
}

fn new_ip<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    address("ip", &arguments, 0).map(held)
}

fn is_ip<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let text = text(&arguments, 0).ok_or_else(|| no_overload("isIP", &arguments))?;
    Ok(truth(Address::parse(text).is_some()))
}

fn is_canonical<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let address = address("ip.isCanonical", &arguments, 0)?;
    Ok(truth(text(&arguments, 0) == Some(&address.to_string())))
}

fn shown<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let shown = super::show_opaque(arguments[0].as_ref());
    let shown = shown.ok_or_else(|| no_overload("string", &arguments))?;
    Ok(owned(CelString::from(shown)))
}

fn new_cidr<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    network("cidr", &arguments, 0).map(held)
}

fn is_cidr<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let text = text(&arguments, 0).ok_or_else(|| no_overload("isCIDR", &arguments))?;
    Ok(truth(Network::parse(text).is_some()))
}

fn family<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let Address(address) = argument("family", &arguments, 0)?;
    Ok(number(if address.is_ipv4() { 4 } else { 6 }))
}

fn is_unspecified<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let Address(address) = argument("isUnspecified", &arguments, 0)?;
    Ok(truth(address.is_unspecified()))
}

fn is_loopback<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let Address(address) = argument("isLoopback", &arguments, 0)?;
    Ok(truth(address.is_loopback()))
}

fn is_link_local_multicast<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let address: &Address = argument("isLinkLocalMulticast", &arguments, 0)?;
    Ok(truth(address.is_link_local_multicast()))
}

fn is_link_local_unicast<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let address: &Address = argument("isLinkLocalUnicast", &arguments, 0)?;
    Ok(truth(address.is_link_local_unicast()))
}

fn is_global_unicast<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let address: &Address = argument("isGlobalUnicast", &arguments, 0)?;
    Ok(truth(address.is_global_unicast()))
}

fn contains_ip<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let network: &Network = argument("containsIP", &arguments, 0)?;
    let Address(address) = address("containsIP", &arguments, 1)?;
    Ok(truth(network.contains_address(address)))
}

fn contains_cidr<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let outer: &Network = argument("containsCIDR", &arguments, 0)?;
    let inner = network("containsCIDR", &arguments, 1)?;
    Ok(truth(outer.contains(inner)))
}

fn ip_of<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let network: &Network = argument("ip", &arguments, 0)?;
    Ok(held(Address(network.address)))
}

fn masked<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let network: &Network = argument("masked", &arguments, 0)?;
    Ok(held(network.masked()))
}

fn prefix_length<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let network: &Network = argument("prefixLength", &arguments, 0)?;
    Ok(number(network.prefix))
}
