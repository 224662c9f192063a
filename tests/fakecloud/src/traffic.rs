//! What went over the wire, below TLS: connections, and the bytes that TCP carried.

use std::sync::Mutex;
use std::sync::PoisonError;

/// Connections and bytes of one service since the start, or since the log was cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections that were accepted.
    pub connections: u64,
    /// Bytes that came from clients.
    pub received: u64,
    /// Bytes that went to clients.
    pub sent: u64,
}

/// Counts while connections are under way.
#[derive(Default)]
pub(crate) struct Meter(Mutex<Traffic>);

impl Meter {
    pub(crate) fn add(&self, more: Traffic) {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sum.connections += more.connections;
        sum.received += more.received;
        sum.sent += more.sent;
    }

    pub(crate) fn read(&self) -> Traffic {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Traffic::default();
    }
}
