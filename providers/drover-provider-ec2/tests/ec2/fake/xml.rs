//! The query protocol: forms in, XML out.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use super::Refusal;

/// The parameters of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    pub(crate) fn parse(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Self(
            pairs
                .map(|(key, value)| (decode(key), decode(value)))
                .collect(),
        )
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(crate) fn number(&self, key: &str) -> Option<usize> {
        self.text(key)?.parse().ok()
    }

    /// Returns the entries of a list, `KEY.1`, `KEY.2` and so on.
    pub(crate) fn list(&self, key: &str) -> Vec<&str> {
        (1..)
            .map_while(|position| self.text(&format!("{key}.{position}")))
            .collect()
    }

    /// Returns the members of a list of structures, each with its fields.
    pub(crate) fn members(&self, key: &str) -> Vec<Self> {
        let member = |position| {
            let prefix = format!("{key}.{position}.");
            let fields = self.0.iter();
            let fields: BTreeMap<String, String> = fields
                .filter_map(|(key, value)| {
                    Some((key.strip_prefix(&prefix)?.to_owned(), value.clone()))
                })
                .collect();
            (!fields.is_empty()).then_some(Self(fields))
        };
        (1..).map_while(member).collect()
    }

    /// Returns tags below a key.
    pub(crate) fn tags(&self, key: &str) -> BTreeMap<String, String> {
        let members = self.members(key);
        let pair = |member: &Self| {
            let value = member.text("Value").unwrap_or_default();
            Some((member.text("Key")?.to_owned(), value.to_owned()))
        };
        members.iter().filter_map(pair).collect()
    }

    /// Returns the tags for one type of resource.
    pub(crate) fn tags_for(&self, kind: &str) -> BTreeMap<String, String> {
        let all = self.members("TagSpecification");
        let own = all
            .iter()
            .filter(|member| member.text("ResourceType") == Some(kind));
        own.flat_map(|member| member.tags("Tag")).collect()
    }

    /// Returns everything but the token, as one text: what a repeated request must agree in.
    pub(crate) fn fingerprint(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.0 {
            if key != "ClientToken" {
                let _ = writeln!(text, "{key}={value}");
            }
        }
        text
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = text.get(at + 1..at + 3).unwrap_or("20");
                out.push(u8::from_str_radix(digits, 16).unwrap_or(b'?'));
                at += 2;
            }
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Returns an element with a text.
pub(crate) fn leaf(name: &str, text: impl Display) -> String {
    format!("<{name}>{}</{name}>", escape(&format!("{text}")))
}

/// Returns an element with others.
pub(crate) fn node(name: &str, inner: &str) -> String {
    format!("<{name}>{inner}</{name}>")
}

/// Returns a set with items.
pub(crate) fn set(name: &str, items: impl IntoIterator<Item = String>) -> String {
    let items: String = items.into_iter().map(|item| node("item", &item)).collect();
    node(name, &items)
}

/// Returns a list as EC2 Auto Scaling has it.
pub(crate) fn members(name: &str, items: impl IntoIterator<Item = String>) -> String {
    let items: String = items
        .into_iter()
        .map(|item| node("member", &item))
        .collect();
    node(name, &items)
}

/// Returns tags.
pub(crate) fn tag_set(tags: &BTreeMap<String, String>) -> String {
    set(
        "tagSet",
        tags.iter()
            .map(|(key, value)| leaf("key", key) + &leaf("value", value)),
    )
}

pub(crate) fn answer(action: &str, inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         <requestId>00000000-0000-0000-0000-000000000000</requestId>{inner}</{action}Response>"
    )
}

pub(crate) fn refusal(refusal: &Refusal) -> String {
    let error = leaf("Code", &refusal.code) + &leaf("Message", &refusal.message);
    let errors = node("Errors", &node("Error", &error));
    let id = leaf("RequestID", "00000000-0000-0000-0000-000000000000");
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}",
        node("Response", &(errors + &id))
    )
}

/// An answer of EC2 Auto Scaling.
pub(crate) fn scaling_answer(action: &str, inner: &str) -> String {
    let result = node(&format!("{action}Result"), inner);
    let id = leaf("RequestId", "00000000-0000-0000-0000-000000000000");
    format!(
        "<{action}Response xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\">{result}{}</{action}Response>",
        node("ResponseMetadata", &id)
    )
}

pub(crate) fn scaling_refusal(refusal: &Refusal) -> String {
    let error =
        leaf("Type", "Sender") + &leaf("Code", &refusal.code) + &leaf("Message", &refusal.message);
    let id = leaf("RequestId", "00000000-0000-0000-0000-000000000000");
    let inner = node("Error", &error) + &id;
    format!(
        "<ErrorResponse xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\">{inner}</ErrorResponse>"
    )
}
