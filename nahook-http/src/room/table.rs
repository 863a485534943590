//! The open connections, and which of them make room for others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::Instant;

use super::pace::{Class, Pace};
use super::{give_back, lock, network};
use crate::metric::{self, Crowding};

/// Making room costs a look at all connections, so this fraction of them is closed at once.
const BATCH: usize = 64;

/// Bounds of a listener, and everything that counts towards them.
pub(crate) struct Table {
    connections_max: usize,
    /// Upper bound on those of one client address.
    share: usize,
    open: Mutex<Open>,
}

struct Open {
    next: u64,
    connections: HashMap<u64, Connection>,
    by_address: HashMap<IpAddr, usize>,
}

struct Connection {
    address: Option<IpAddr>,
    pace: Arc<Pace>,
}

impl Table {
    pub(super) fn new(connections_max: usize, share: usize) -> Self {
        let open = Open {
            next: 0,
            connections: HashMap::new(),
            by_address: HashMap::new(),
        };
        Self {
            connections_max,
            share,
            open: Mutex::new(open),
        }
    }

    /// Takes a connection in, and closes others where room runs out. `address` is absent if no share applies. Returns `None`
    /// if every connection that could make room is serving a request of a known caller.
    pub(crate) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        let address = address.map(network);
        let mut open = self.open();
        let of_address = address.and_then(|address| open.by_address.get(&address));
        let is_share_full = of_address.is_some_and(|held| *held >= self.share);
        let is_neighbour = |entry: &Connection| entry.address == address;
        if is_share_full && !open.evict(self.share, Crowding::Address, is_neighbour) {
            return None;
        }
        let is_full = open.connections.len() >= self.connections_max;
        if is_full && !open.evict(self.connections_max, Crowding::Connections, |_| true) {
            return None;
        }
        let (id, pace) = (open.next, Arc::new(Pace::new()));
        open.next += 1;
        if let Some(address) = address {
            *open.by_address.entry(address).or_default() += 1;
        }
        let entry = Connection {
            address,
            pace: Arc::clone(&pace),
        };
        open.connections.insert(id, entry);
        Some(Place {
            table: Arc::clone(self),
            id,
            pace,
            has_displaced: is_share_full || is_full,
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        lock(&self.open)
    }
}

impl Open {
    /// Closes some of the connections that `is_candidate` takes, which are to be `max` at most. Returns false if there is none
    /// to close.
    fn evict(
        &mut self,
        max: usize,
        why: Crowding,
        is_candidate: impl Fn(&Connection) -> bool,
    ) -> bool {
        let candidates = self
            .connections
            .iter()
            .filter(|(_, entry)| is_candidate(entry));
        let ranked = candidates.filter_map(|(id, entry)| Some((entry.pace.rank()?, *id)));
        let mut ranked: Vec<_> = ranked.collect();
        let is_known = |((class, _), _): &((Class, Instant), u64)| *class == Class::Known;
        let strangers = ranked.iter().filter(|ranked| !is_known(ranked)).count();
        // Strangers give way first, and are left a quarter of the room: nobody begins as anything else.
        if strangers < max / 4 && ranked.iter().any(is_known) {
            ranked.retain(is_known);
        }
        ranked.sort_unstable();
        let mut closed = 0;
        for (rank, id) in ranked.into_iter().take((max / BATCH).max(1)) {
            let entry = self.connections.get(&id);
            if entry.is_some_and(|entry| entry.pace.evict(rank)) {
                self.leave(id);
                closed += 1;
            }
        }
        metric::count_evicted(why, closed);
        closed > 0
    }

    fn leave(&mut self, id: u64) {
        let Some(entry) = self.connections.remove(&id) else {
            return;
        };
        if let Some(address) = entry.address {
            give_back(&mut self.by_address, address);
        }
    }
}

/// A connection's place among the open ones, until dropped.
pub(crate) struct Place {
    table: Arc<Table>,
    id: u64,
    pub(crate) pace: Arc<Pace>,
    /// True if another connection was closed for it.
    pub(crate) has_displaced: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.open().leave(self.id);
    }
}
