//! The open connections, which have a limited number of slots. If all slots are taken, an idle
//! connection is cut off to make room.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use tokio::task::AbortHandle;

use super::{activity::Activity, limits::Limits};
use crate::sync::lock;

#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    connections: HashMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    peer: IpAddr,
    activity: Arc<Activity>,
    task: AbortHandle,
}

/// A connection's slot in the table. Dropping the value frees the slot.
#[derive(Debug)]
pub(super) struct Slot {
    connections: Arc<Connections>,
    number: u64,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.table().connections.remove(&self.number);
    }
}

impl Connections {
    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.0)
    }

    /// Starts a connection's task, which holds its slot.
    pub(super) fn start(
        self: &Arc<Self>,
        peer: IpAddr,
        activity: Arc<Activity>,
        spawn: impl FnOnce(Slot) -> AbortHandle,
    ) {
        // The table is locked, so that a task that ends at once finds its connection in it.
        let mut table = self.table();
        table.next += 1;
        let number = table.next;
        let task = spawn(Slot { connections: self.clone(), number });
        table.connections.insert(number, Connection { peer, activity, task });
    }

    /// Makes room for one more connection, and returns whether there is any. If all slots are
    /// taken, an idle connection is cut off: the one idle for longest, of the address with the most
    /// connections. So a client that opens many connections only crowds out itself.
    pub(super) fn make_room(&self, limits: &Limits) -> bool {
        let now = Instant::now();
        let mut table = self.table();
        if table.connections.len() < limits.connections {
            return true;
        }
        let mut of_peer: HashMap<IpAddr, usize> = HashMap::new();
        for connection in table.connections.values() {
            *of_peer.entry(connection.peer).or_default() += 1;
        }
        let idle = table.connections.iter().filter_map(|(number, connection)| {
            let since = connection.activity.idle_since(now)?;
            Some((std::cmp::Reverse(of_peer.get(&connection.peer).copied()), since, *number))
        });
        let Some((.., number)) = idle.min() else { return false };
        if let Some(connection) = table.connections.remove(&number) {
            connection.task.abort();
        }
        true
    }

    /// Cuts off the connections that take longer than their limits allow.
    pub(super) fn cut_overdue(&self, limits: &Limits) {
        let now = Instant::now();
        for connection in self
            .table()
            .connections
            .values()
            .filter(|connection| connection.activity.is_overdue(limits, now))
        {
            log::debug!("the connection of {} is cut off: it takes too long", connection.peer);
            connection.task.abort();
        }
    }

    /// Cuts off all connections. Returns how many there were.
    pub(super) fn cut_all(&self) -> usize {
        let table = self.table();
        table.connections.values().for_each(|connection| connection.task.abort());
        table.connections.len()
    }
}
