//! The open connections and the requests under way, and which of them make room for others.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nahook_core::id::WorkspaceId;
use tokio::time::Instant;

use super::ServeSettings;
use super::pace::{Class, Pace};
use crate::metric::{self, Crowding};
use crate::refusals::Refusals;

/// Making room costs a look at all connections, so this fraction of them is closed at once.
const BATCH: usize = 64;

/// Bounds of a listener, and everything that counts towards them.
pub(super) struct Table {
    connections_max: usize,
    /// Upper bound for one client address, both on connections and on requests that come through a proxy.
    share: usize,
    requests_max: usize,
    open: Mutex<Open>,
    requests: Mutex<Requests>,
    pub(super) refusals: Refusals,
}

struct Open {
    next: u64,
    connections: HashMap<u64, Connection>,
    by_address: HashMap<IpAddr, usize>,
}

/// Requests of known callers that are under way.
#[derive(Default)]
struct Requests {
    under_way: usize,
    by_holder: HashMap<Holder, usize>,
}

impl Requests {
    fn of(&self, holder: Holder) -> usize {
        self.by_holder.get(&holder).copied().unwrap_or(0)
    }
}

/// One that has a share of the requests under way.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
enum Holder {
    Address(IpAddr),
    Workspace(WorkspaceId),
}

struct Connection {
    address: Option<IpAddr>,
    pace: Arc<Pace>,
}

impl Table {
    pub(super) fn new(connections_max: usize, settings: &ServeSettings) -> Self {
        let share = settings.connections_per_address_max;
        let open = Open {
            next: 0,
            connections: HashMap::new(),
            by_address: HashMap::new(),
        };
        Self {
            connections_max,
            share: share.unwrap_or(connections_max / 4).max(1),
            // The rest is without a request, so that a newcomer always finds a connection to take the place of.
            requests_max: (connections_max - connections_max / 4).max(1),
            open: Mutex::new(open),
            requests: Mutex::default(),
            refusals: Refusals::default(),
        }
    }

    /// Takes a connection in, and closes others where room runs out. `address` is absent if no share applies. Returns `None`
    /// if every connection that could make room is serving a request of a known caller.
    pub(super) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
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

    /// Counts a request of a known caller. `proxied` is the address of its client if a proxy passed it on. An error says which
    /// bound it would exceed.
    pub(super) fn begin(
        self: &Arc<Self>,
        workspace: WorkspaceId,
        proxied: Option<IpAddr>,
    ) -> Result<UnderWay, Crowding> {
        let mut requests = lock(&self.requests);
        if requests.under_way >= self.requests_max {
            return Err(Crowding::Requests);
        }
        let of_workspace = Holder::Workspace(workspace);
        if requests.of(of_workspace) >= self.requests_max.div_ceil(2) {
            return Err(Crowding::Workspace);
        }
        let of_address = proxied.map(|address| Holder::Address(network(address)));
        if of_address.is_some_and(|holder| requests.of(holder) >= self.share) {
            return Err(Crowding::Address);
        }
        requests.under_way += 1;
        let holders = [Some(of_workspace), of_address];
        for holder in holders.into_iter().flatten() {
            *requests.by_holder.entry(holder).or_default() += 1;
        }
        Ok(UnderWay {
            table: Arc::clone(self),
            holders,
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
pub(super) struct Place {
    table: Arc<Table>,
    id: u64,
    pub(super) pace: Arc<Pace>,
    /// True if another connection was closed for it.
    pub(super) has_displaced: bool,
}

impl Place {
    pub(super) fn table(&self) -> &Arc<Table> {
        &self.table
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.open().leave(self.id);
    }
}

/// The place of a known caller's request among those under way, until dropped.
pub(super) struct UnderWay {
    table: Arc<Table>,
    holders: [Option<Holder>; 2],
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut requests = lock(&self.table.requests);
        requests.under_way -= 1;
        for holder in self.holders.into_iter().flatten() {
            give_back(&mut requests.by_holder, holder);
        }
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

/// The part of an address that one customer of a provider cannot change: all of an IPv4 address, the upper half of an IPv6 one.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Nothing panics while holding one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
