//! How the agent reads and changes the membership lists that the programs of quorum groups keep. The
//! network asks the program itself; a simulation answers instead.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{EntryId, GroupName, Keeper, RosterView};
use drover_provider::ProviderError;

use crate::reach::Network;

mod etcd;

/// How long a list is waited for: an answer is a few hundred bytes from memory.
pub const ROSTER_READ_LIMIT: Duration = Duration::from_secs(2);

/// How long the answer to a change is waited for: a little longer than etcd itself waits, so that its
/// word is heard.
pub const ROSTER_CHANGE_LIMIT: Duration = Duration::from_secs(10);

/// One change, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RosterOrder {
    /// Adds an entry that does not vote, for a member at this address.
    Add {
        /// The address.
        address: String,
    },
    /// Takes an entry out.
    Remove(EntryId),
    /// Lets an entry vote.
    Promote(EntryId),
    /// Lets an entry lead.
    HandOver {
        /// The entry.
        to: EntryId,
    },
}

/// Reads and changes membership lists.
///
/// # Guarantees
///
/// A list that is known is the leader's, and a majority of its voters follow that leader. Whatever is
/// less is unclear, and never an empty list.
#[async_trait]
pub trait Rosters: Send + Sync + fmt::Debug {
    /// Asks the members at `addresses` for the list of `group`, for at most `limit`.
    ///
    /// # Cancellation
    ///
    /// Asking changes nothing.
    async fn read(
        &self,
        keeper: Keeper,
        group: &GroupName,
        addresses: &[String],
        limit: Duration,
    ) -> RosterView;

    /// Asks the member at `at` for a change, and waits for the answer for at most `limit`.
    ///
    /// # Errors
    ///
    /// Class `Unknown`: it may have taken effect. Any other: it was refused.
    ///
    /// # Cancellation
    ///
    /// A dropped future leaves either nothing or the whole change, which the list shows.
    async fn change(
        &self,
        keeper: Keeper,
        group: &GroupName,
        at: &str,
        order: &RosterOrder,
        limit: Duration,
    ) -> Result<(), ProviderError>;
}

#[async_trait]
impl Rosters for Network {
    async fn read(
        &self,
        keeper: Keeper,
        _group: &GroupName,
        addresses: &[String],
        limit: Duration,
    ) -> RosterView {
        match keeper {
            Keeper::Etcd(keeper) => etcd::read(keeper, addresses, limit).await,
        }
    }

    async fn change(
        &self,
        keeper: Keeper,
        _group: &GroupName,
        at: &str,
        order: &RosterOrder,
        limit: Duration,
    ) -> Result<(), ProviderError> {
        match keeper {
            Keeper::Etcd(keeper) => etcd::change(keeper, at, order, limit).await,
        }
    }
}
