//! Room for connections and requests: who has it, who gives it up, and who is told so.

mod pace;
mod refusals;
mod requests;
mod table;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nahook_core::id::WorkspaceId;

pub(crate) use self::pace::{Pace, Phase};
use self::refusals::{Refusals, Source};
use self::requests::Requests;
pub(crate) use self::table::{Place, Table};
use crate::metric::Crowding;

/// The room of one listener.
pub(crate) struct Room {
    pub(crate) table: Arc<Table>,
    requests: Arc<Requests>,
    refusals: Refusals,
}

impl Room {
    /// Room for so many connections, and so many of one client address: a quarter if absent.
    pub(crate) fn new(connections_max: usize, share: Option<usize>) -> Self {
        let share = share.unwrap_or(connections_max / 4).max(1);
        // The rest is without a request of a known caller, so that a newcomer always finds a connection to take the place of.
        let requests_max = (connections_max - connections_max / 4).max(1);
        Self {
            table: Arc::new(Table::new(connections_max, share)),
            requests: Arc::new(Requests::new(requests_max, share)),
            refusals: Refusals::default(),
        }
    }
}

/// The connection of a request, and the address of its client.
#[derive(Clone)]
pub(crate) struct Client {
    /// The other end of the connection.
    pub(crate) peer: IpAddr,
    /// The client's address by the word of a trusted proxy.
    pub(crate) forwarded: Option<IpAddr>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) room: Arc<Room>,
}

impl Client {
    pub(crate) fn address(&self) -> IpAddr {
        self.forwarded.unwrap_or(self.peer)
    }

    /// Decides about a line in the log that says that the request was refused. Returns the number of such lines of the caller
    /// that were left out before it, or `None` if this one is left out as well.
    pub(crate) fn log_refusal(&self, workspace: Option<WorkspaceId>) -> Option<u64> {
        let source = Source::of(workspace, self.address());
        self.room.refusals.log(source)
    }

    /// Tells the server that the request's caller is known. From now on the connection is not closed to make room.
    ///
    /// # Errors
    /// Too many such requests are under way, or the connection is already being closed: nothing of the request may be begun.
    pub(crate) fn authenticate(&self, workspace: WorkspaceId) -> Result<(), Crowding> {
        let under_way = self.room.requests.begin(workspace, self.forwarded)?;
        let is_in_time = self.pace.authenticate(under_way);
        is_in_time.then_some(()).ok_or(Crowding::Connections)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

/// The part of an address that one customer of a provider cannot change: all of an IPv4 address, the upper half of an IPv6 one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn give_back<K: Eq + Hash>(counts: &mut HashMap<K, usize>, holder: K) {
    if let Entry::Occupied(mut count) = counts.entry(holder) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// Nothing panics while holding one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
