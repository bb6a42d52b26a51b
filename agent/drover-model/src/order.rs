//! What people with a key ask about one instance: verified before it gets here, and never a secret.

use crate::{GroupUid, InstanceId, Revision, Signer, Timestamp, Token};

/// What is asked of an instance. Of two words of one moment the greater one counts: the one that does less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrderVerb {
    /// Another one is to take its place.
    Replace,
    /// It is to start again as it is.
    Restart,
    /// It is to be the first that goes when the group has one too many.
    Yield,
    /// It is not to be ended.
    Keep,
    /// What was asked of it before counts no more.
    Release,
}

impl OrderVerb {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Replace,
        Self::Restart,
        Self::Yield,
        Self::Keep,
        Self::Release,
    ];

    /// Returns the word that commands and documents use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Restart => "restart",
            Self::Yield => "yield",
            Self::Keep => "keep",
            Self::Release => "release",
        }
    }
}

/// One person's word about one instance. Its signature was verified, and its document was seen for the
/// first time; whether it has expired depends on the time that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What is asked.
    pub verb: OrderVerb,
    /// The instance, and no other: ids are never given out twice.
    pub instance: InstanceId,
    /// Who signed it, by the agent's list of signers.
    pub signer: Signer,
    /// When it was signed, by the signer's clock.
    pub at: Timestamp,
    /// When it ends to count.
    pub expires: Timestamp,
    /// Why, in the signer's words.
    pub because: String,
    /// The commit that brought it.
    pub operation: Revision,
}

impl Order {
    /// Returns the token of the restart that is asked for: always the same, so that the provider restarts the
    /// instance once for it, whoever calls it again.
    pub fn token(&self, uid: &GroupUid) -> Token {
        Token::of_order(uid, &self.instance, &self.operation, self.at)
    }

    /// Returns whether it counts at `now`. One from the future counts: clocks differ, and what is
    /// too far ahead was refused when it was read.
    pub fn counts(&self, now: Timestamp) -> bool {
        now < self.expires
    }
}

/// How far an order has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderState {
    /// It counts, until it is done or its time is over.
    Open,
    /// It is done.
    Done,
    /// A later word about the instance has taken its place.
    Superseded,
    /// It cannot be done.
    Refused {
        /// Why, for people.
        why: String,
    },
}

impl OrderState {
    /// Returns the name used in documents.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Done => "Done",
            Self::Superseded => "Superseded",
            Self::Refused { .. } => "Refused",
        }
    }
}

/// An order with what has become of it. It is recorded until it expires, so that it is taken up once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedOrder {
    /// What is asked.
    pub order: Order,
    /// What has become of it.
    pub state: OrderState,
}

impl RecordedOrder {
    /// Returns whether it is still to be heeded at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.state == OrderState::Open && self.order.counts(now)
    }
}
