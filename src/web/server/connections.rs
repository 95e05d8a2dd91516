//! The connections there are: so many at a time, and whoever stands in the way makes room.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use tokio::task::AbortHandle;

use super::{activity::Activity, limits::Limits};
use crate::sync::lock;

/// The connections there are.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    entries: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    peer: IpAddr,
    activity: Arc<Activity>,
    task: AbortHandle,
}

/// A connection's place in the table; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.table().entries.remove(&self.number);
    }
}

impl Connections {
    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.0)
    }

    /// Starts a connection's task, which holds its place.
    pub(super) fn start(
        self: &Arc<Self>,
        peer: IpAddr,
        activity: Arc<Activity>,
        spawn: impl FnOnce(Place) -> AbortHandle,
    ) {
        // Spawned under the lock: a task that ends at once finds its entry.
        let mut table = self.table();
        table.next += 1;
        let number = table.next;
        let task = spawn(Place { connections: self.clone(), number });
        table.entries.insert(number, Entry { peer, activity, task });
    }

    /// Whether there is room for one more. Where all places are taken, one that is of no use is cut
    /// off: of the address that has most of them, the one that has been of no use for longest. So
    /// whoever opens many crowds out himself.
    pub(super) fn make_room(&self, limits: &Limits) -> bool {
        let now = Instant::now();
        let mut table = self.table();
        if table.entries.len() < limits.connections {
            return true;
        }
        let mut of_peer: HashMap<IpAddr, usize> = HashMap::new();
        for entry in table.entries.values() {
            *of_peer.entry(entry.peer).or_default() += 1;
        }
        let useless = table.entries.iter().filter_map(|(number, entry)| {
            let since = entry.activity.useless_since(now)?;
            Some((std::cmp::Reverse(of_peer.get(&entry.peer).copied()), since, *number))
        });
        let Some((.., number)) = useless.min() else { return false };
        if let Some(entry) = table.entries.remove(&number) {
            entry.task.abort();
        }
        true
    }

    /// Cuts off those that took longer than they may.
    pub(super) fn cut_overdue(&self, limits: &Limits) {
        let now = Instant::now();
        for entry in
            self.table().entries.values().filter(|entry| entry.activity.is_overdue(limits, now))
        {
            log::debug!("the connection of {} is cut off: it takes too long", entry.peer);
            entry.task.abort();
        }
    }

    /// Cuts off all of them: how many there were.
    pub(super) fn cut_all(&self) -> usize {
        let table = self.table();
        table.entries.values().for_each(|entry| entry.task.abort());
        table.entries.len()
    }
}
