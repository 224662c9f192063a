//! The claim: look, decide, act, confirm, until it is done or the deadline has passed.
//!
//! A round that fails says why in its error; the class of the error decides whether there is another round.
//! How an address is taken from a holder is in `fence.rs`, how it is proven is in `confirm.rs`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::cli::Options;
use crate::cloud::{Cloud, Filter, Target};
use crate::credentials::InstanceProfile;
use crate::decide::Me;
use crate::endpoints;
use crate::error::{Class, Error};
use crate::explain::explain;
use crate::gate::Gate;
use crate::here::Here;
use crate::ids::{AllocationId, AssociationId};
use crate::imds::{Identity, Imds, Interface};
use crate::reasons;
use crate::report::{Facts, Outcome, Report};
use crate::retry::{Backoff, Deadline, Retry};
use crate::stop::{Hold, Stop};

/// A role that was made with its instance takes seconds until all of EC2 knows it.
const YOUNG: Duration = Duration::from_secs(5 * 60);
/// How long a call that IAM denies is tried again on a young instance.
const DENIED_WINDOW: Duration = Duration::from_secs(60);
/// What explaining a denied call may take, after the deadline too.
pub(crate) const EXPLAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Claims the address that `options` select, and reports how it went.
pub async fn claim(options: &Options, stop: &Stop) -> Report {
    let start = Instant::now();
    let mut retry = Retry::new(Deadline::after(options.timeout), Backoff::default());
    let mut facts = Facts::default();
    let finished = tokio::select! {
        biased;
        finished = Claim::run(options, stop, &mut retry, &mut facts) => Some(finished),
        () = stop.requested() => None,
    };
    let outcome = match finished.unwrap_or_else(|| Err(interrupted(&facts, retry.last_error()))) {
        Ok(outcome) => outcome,
        Err(error) if matches!(error.class, Class::Yielded | Class::UnknownHolder) => Outcome::Yielded(error),
        Err(error) => Outcome::Failed(error),
    };
    let outcome = match facts.stranded.take() {
        Some(stranded) => reasons::stranded(outcome, &stranded, facts.region.as_deref()),
        None => outcome,
    };
    Report { attempts: retry.attempts() + facts.repeats, outcome, facts, elapsed: start.elapsed() }
}

/// One claim under way.
pub(crate) struct Claim<'a> {
    pub(crate) options: &'a Options,
    pub(crate) stop: &'a Stop,
    /// Holds a signal up while an address may be on nobody.
    pub(crate) hold: Option<Hold<'a>>,
    pub(crate) facts: &'a mut Facts,
    pub(crate) imds: &'a Imds,
    pub(crate) cloud: Cloud,
    pub(crate) deadline: Deadline,
    pub(crate) denied_window: Duration,
    pub(crate) region: String,
    pub(crate) me: Me,
    pub(crate) interface: Interface,
    pub(crate) target: Target,
    /// Addresses that a write of this run may have attached here, with the association that EC2 answered, if it did.
    pub(crate) written: Vec<(AllocationId, Option<AssociationId>)>,
    /// The public addresses of the interface before the first write, where only IMDS can prove it.
    pub(crate) public_ips_before: Option<Vec<Ipv4Addr>>,
    pub(crate) start: Instant,
    /// The gate as the first round finds it; later rounds read it anew.
    pub(crate) gate: Option<Gate>,
    /// Those of this instance's own tags that IMDS has shown already, by their keys.
    pub(crate) own_tags: BTreeMap<String, String>,
    /// The selectors, once this instance's own tags are known.
    pub(crate) filters: Option<Vec<Filter>>,
    /// Whether credentials that AWS did not accept were fetched anew.
    pub(crate) refreshed: bool,
}

impl Claim<'_> {
    async fn run(options: &Options, stop: &Stop, retry: &mut Retry, facts: &mut Facts) -> Result<Outcome, Error> {
        endpoints::check()?;
        let imds = Imds::from_env(retry.deadline())?;
        let profile = InstanceProfile::new(&imds);
        let look = async || tokio::try_join!(Here::find(&imds, &profile, options), Gate::read(&imds, options));
        let ((here, cloud), gate) = retry.run(look).await?;
        // Before IMDS answers, nobody can have said anything about this instance.
        let start = Instant::now();
        *facts = here.facts();
        let me = here.me();
        let Here { identity, interface, private_ip, target, own_tags } = here;
        tracing::info!(instance = %identity.instance, region = identity.region, zone = identity.zone,
            interface = %interface.id, %private_ip, ?gate, "this instance");
        let denied_window = if is_young(&identity) { DENIED_WINDOW } else { Duration::ZERO };
        retry.allow_denied_for(denied_window);
        let mut claim = Claim {
            cloud,
            own_tags,
            deadline: retry.deadline(),
            region: identity.region,
            me,
            written: Vec::new(),
            public_ips_before: None,
            gate: Some(gate),
            filters: None,
            refreshed: false,
            imds: &imds,
            options,
            stop,
            hold: None,
            facts,
            denied_window,
            interface,
            target,
            start,
        };
        let mut finished = retry.run(async || claim.round().await).await;
        if let (Ok(Outcome::Claimed | Outcome::AlreadyHeld), Some(url)) = (&finished, &options.verify_egress)
            && let Err(error) = retry.run(async || claim.verify_egress(url).await).await
        {
            finished = Err(error);
        }
        if let Err(error) = &mut finished {
            // A signal must not put another end in the place of this one.
            let _hold = stop.hold();
            explain(error, &claim.cloud.until(Deadline::after(EXPLAIN_TIMEOUT))).await;
        }
        finished
    }
}

/// A launch time in the future is a wrong clock, which a young instance has.
fn is_young(identity: &Identity) -> bool {
    SystemTime::now().duration_since(identity.launched).map_or(true, |age| age < YOUNG)
}

fn interrupted(facts: &Facts, last: Option<&Error>) -> Error {
    let when = match facts.association {
        Some(_) => "after the association was made, before it was confirmed",
        None => "before the claim was done",
    };
    Error::stopped(when, last)
}
