//! What the sockets and the handle share: the world, the faults, the log, behind one lock.

use crate::faults::Faults;
use crate::imds::{self, Tokens};
use crate::query::{self, Answer, Call};
use crate::traffic::Meter;
use crate::types::*;
use crate::world::World;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub(crate) struct Region {
    started: Instant,
    inside: Mutex<Inside>,
    /// What went to and from the APIs, and the metadata services.
    pub(crate) apis: Meter,
    pub(crate) metadata: Meter,
}

pub(crate) struct Inside {
    pub(crate) world: World,
    pub(crate) faults: Faults,
    tokens: Tokens,
    log: Vec<Request>,
    /// How many requests were cleared from the front of the log.
    cleared: usize,
}

/// A request that was let in: where it stands in the log, and what goes wrong with it.
pub(crate) struct Arrival {
    pub(crate) number: usize,
    pub(crate) fault: Option<Fault>,
    pub(crate) latency: Duration,
}

impl Region {
    pub(crate) fn new(options: Options) -> Region {
        let inside = Inside {
            world: World::new(options, SystemTime::now()),
            faults: Faults::default(),
            tokens: Tokens::default(),
            log: Vec::new(),
            cleared: 0,
        };
        Region {
            started: Instant::now(),
            inside: Mutex::new(inside),
            apis: Meter::default(),
            metadata: Meter::default(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Everything, at the present time. A test that panicked while it held the lock does not spoil it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inside> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.world.now = inside.world.now.max(self.started.elapsed());
        inside
    }
}

impl Inside {
    /// Notes the request, unless its connection leads nowhere any more.
    pub(crate) fn arrive(&mut self, call: &Call, connection: u64) -> Option<Arrival> {
        let instance = call.instance.as_deref();
        if call.service != Service::Imds && self.world.is_dead(instance, connection) {
            return None;
        }
        let number = self.cleared + self.log.len();
        self.log.push(Request {
            at: self.world.now,
            service: call.service,
            instance_id: call.instance.clone(),
            action: call.action.clone(),
            params: call.params.clone(),
            headers: call.headers.clone(),
            connection,
            status: None,
            error_code: None,
            committed: false,
            remap: false,
            dry_run: call.params.get("DryRun").is_some_and(|value| value == "true"),
        });
        let fault = self.faults.hit(call.service, &call.action, instance);
        let options = &self.world.options;
        let latency = if call.service == Service::Imds { options.imds_latency } else { options.latency };
        Some(Arrival { number, fault, latency })
    }

    /// Carries the call out.
    pub(crate) fn carry_out(&mut self, call: &Call, number: usize) -> Answer {
        let answer = match (call.service, &call.instance) {
            (Service::Imds, Some(instance)) => {
                let (method, path) = call.action.split_once(' ').unwrap_or_default();
                imds::answer(&self.world, &mut self.tokens, instance, method, path, &call.headers)
            }
            _ => query::answer(&mut self.world, call),
        };
        if let Some(request) = self.request(number) {
            request.committed = answer.committed;
            request.remap = answer.remap;
        }
        answer
    }

    /// Notes what was answered; false when the connection died in the meantime, and nothing is sent.
    pub(crate) fn depart(&mut self, call: &Call, connection: u64, number: usize, answer: &Answer) -> bool {
        if call.service != Service::Imds && self.world.is_dead(call.instance.as_deref(), connection) {
            return false;
        }
        if let Some(request) = self.request(number) {
            request.status = Some(answer.status);
            request.error_code = answer.error_code.clone();
        }
        true
    }

    fn request(&mut self, number: usize) -> Option<&mut Request> {
        self.log.get_mut(number.checked_sub(self.cleared)?)
    }

    pub(crate) fn log(&self) -> &[Request] {
        &self.log
    }

    pub(crate) fn clear_log(&mut self) {
        self.cleared += self.log.len();
        self.log.clear();
    }
}
