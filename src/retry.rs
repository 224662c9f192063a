//! When to try again: one deadline, one backoff, one loop.
//!
//! Nothing here knows of HTTP or AWS, and nothing below this loop retries:
//! stacked retries cannot be reasoned about.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::{Class, Error};

/// The first pause after a failure is drawn from zero to this.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// From the beginning of one attempt to that of the next it takes at most a fourth of the time since the first one:
/// the longer a crowd or an outage takes, the more rarely each calls, and when it is over, nobody sleeps on for long.
const PART: u32 = 4;
/// But always up to this long: EC2's buckets refill by a few tokens a second for the whole account.
const SHORTEST_CAP: Duration = Duration::from_secs(2);
/// And never longer than this, so that a claim succeeds within five seconds of the end of whatever was wrong.
const LONGEST_CAP: Duration = Duration::from_secs(4);
/// What costs nobody a packet is tried more often: a lease of DHCP that comes late is used at once.
const LOCAL_CAP: Duration = Duration::from_millis(500);

/// For how long attempts go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all.
    None,
    /// For this long since the first failure of the class.
    Window(Duration),
    /// Until the deadline.
    Deadline,
}

/// How long the pauses between attempts grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// To seconds: somebody else has to answer.
    #[default]
    Usual,
    /// To a part of a second: without a network nothing leaves this machine, and nobody is asked too often.
    Local,
}

/// The instant after which nothing is begun and nothing goes on.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline that lies `timeout` from now.
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    /// This deadline, or the one that lies `timeout` from now if that is earlier.
    pub fn within(self, timeout: Duration) -> Self {
        Self(self.0.min(Instant::now() + timeout))
    }

    /// What is left of the time; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// `budget`, or what is left of the time if that is less.
    pub fn cap(self, budget: Duration) -> Duration {
        budget.min(self.remaining())
    }
}

/// Exponential backoff with jitter: the n-th pause is drawn evenly from zero to `FIRST_PAUSE * 2^n` while that grows,
/// and from half the cap to the cap once it would exceed it. By then claimers have parted, and short pauses would
/// only mean more calls.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
    /// All attempts that failed, and all pauses after them.
    waited: Duration,
    pace: Pace,
    rng: fastrand::Rng,
}

impl Backoff {
    /// A backoff whose draws are decided by `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), ..Self::default() }
    }

    /// The pause to make after one more failure, of an attempt that took so long; another pace is a new beginning.
    pub fn next(&mut self, pace: Pace, took: Duration) -> Duration {
        if pace != self.pace {
            self.reset();
            self.pace = pace;
        }
        self.waited += took;
        let cap = match pace {
            Pace::Usual => (self.waited / PART).clamp(SHORTEST_CAP, LONGEST_CAP),
            Pace::Local => LOCAL_CAP,
        };
        // Who has waited for an answer in vain has paused already.
        let cap = cap.saturating_sub(took).max(FIRST_PAUSE);
        let growing = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16));
        let (least, most) = if growing < cap { (Duration::ZERO, growing) } else { (cap / 2, cap) };
        let pause = least + (most - least).mul_f64(self.rng.f64());
        self.failures += 1;
        self.waited += pause;
        pause
    }

    /// Forgets the failures: the next pause is a first one.
    pub fn reset(&mut self) {
        self.failures = 0;
        self.waited = Duration::ZERO;
    }
}

/// The state of one run's retrying: how often, since when, and for how long yet.
#[derive(Debug)]
pub struct Retry {
    deadline: Deadline,
    backoff: Backoff,
    /// How long a denied call is tried again; see [`Class::patience`].
    denied_window: Duration,
    /// Since when the errors have been of one bounded class, for one reason.
    window: Option<(Class, String, Instant)>,
    attempts: u32,
    last: Option<Error>,
}

impl Retry {
    /// Retries until `deadline`, pausing as `backoff` says.
    pub fn new(deadline: Deadline, backoff: Backoff) -> Self {
        Self { deadline, backoff, denied_window: Duration::ZERO, window: None, attempts: 1, last: None }
    }

    /// From now on a denied call is tried again for `window`, because a young role may still be propagating.
    pub fn allow_denied_for(&mut self, window: Duration) {
        self.denied_window = window;
    }

    /// The deadline of the run.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// How many attempts the run has made, the one under way included.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The failure that the latest attempt is recovering from, if there was one.
    pub fn last_error(&self) -> Option<&Error> {
        self.last.as_ref()
    }

    /// Attempts until one succeeds, or its error is not worth another attempt, or the time is up.
    ///
    /// # Errors
    /// The last real error, never a bare "timed out".
    pub async fn run<T>(&mut self, mut attempt: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
        loop {
            let began = Instant::now();
            match attempt().await {
                Ok(value) => {
                    self.backoff.reset();
                    self.window = None;
                    return Ok(value);
                }
                Err(error) => self.pause(error, began.elapsed()).await?,
            }
        }
    }

    /// Sleeps before the next attempt, if `error`, after an attempt that took so long, is worth one.
    ///
    /// # Errors
    /// `error` itself, when it is not or when the deadline leaves no time.
    async fn pause(&mut self, error: Error, took: Duration) -> Result<(), Error> {
        let error = match self.last.take() {
            Some(last) if error.is_cut_short() => last,
            _ => error,
        };
        let now = Instant::now();
        let give_up_at = match error.class.patience(self.denied_window) {
            Patience::None => now,
            Patience::Window(length) => self.window_start(&error, now) + length,
            Patience::Deadline => {
                if error.class.interrupts_windows() {
                    self.window = None;
                }
                self.deadline.0
            }
        };
        let left = give_up_at.min(self.deadline.0).saturating_duration_since(now);
        if left.is_zero() {
            return Err(error);
        }
        let pause = self.backoff.next(error.pace, took).min(left);
        tracing::warn!(
            attempt = self.attempts,
            class = ?error.class,
            code = %error.code,
            pause_ms = pause.as_millis() as u64,
            left_ms = left.as_millis() as u64,
            "trying again: {}",
            error.in_full()
        );
        sleep(pause).await;
        if self.deadline.remaining().is_zero() {
            return Err(error);
        }
        self.last = Some(error);
        self.attempts += 1;
        Ok(())
    }

    fn window_start(&mut self, error: &Error, now: Instant) -> Instant {
        match &self.window {
            Some((class, code, since)) if *class == error.class && *code == error.code => *since,
            _ => {
                self.window = Some((error.class, error.code.clone(), now));
                now
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(timeout: Duration) -> Retry {
        Retry::new(Deadline::after(timeout), Backoff::seeded(7))
    }

    async fn fail_with(retry: &mut Retry, class: Class) -> (Error, Duration) {
        let start = Instant::now();
        let error = retry.run::<()>(async || Err(Error::new(class, "Code", "it failed"))).await;
        (error.expect_err("it never succeeds"), start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_transient_error_is_retried_to_the_deadline_and_not_beyond() {
        let mut retry = retry(Duration::from_secs(60));
        let (error, took) = fail_with(&mut retry, Class::Transient).await;
        assert_eq!(error.class, Class::Transient);
        assert_eq!(took, Duration::from_secs(60));
        assert!(retry.attempts() > 20, "{}", retry.attempts());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fatal_error_is_not_retried() {
        let mut retry = retry(Duration::from_secs(60));
        let (_, took) = fail_with(&mut retry, Class::Fatal).await;
        assert_eq!((took, retry.attempts()), (Duration::ZERO, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_visible_is_looked_for_during_thirty_seconds() {
        let (_, took) = fail_with(&mut retry(Duration::from_secs(300)), Class::NotVisible).await;
        assert_eq!(took, Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_cuts_a_window_short_and_the_class_stays() {
        let (error, took) = fail_with(&mut retry(Duration::from_secs(10)), Class::NotVisible).await;
        assert_eq!((error.class, took), (Class::NotVisible, Duration::from_secs(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_denied_call_is_retried_only_where_it_was_allowed() {
        let (_, took) = fail_with(&mut retry(Duration::from_secs(300)), Class::Denied).await;
        assert_eq!(took, Duration::ZERO);
        let mut young = retry(Duration::from_secs(300));
        young.allow_denied_for(Duration::from_secs(60));
        let (_, took) = fail_with(&mut young, Class::Denied).await;
        assert_eq!(took, Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_transient_error_in_between_does_not_reopen_a_window_but_any_other_does() {
        for (between, reopens) in [(Class::Transient, false), (Class::Throttled, false), (Class::LostRace, true)] {
            let mut retry = retry(Duration::from_secs(300));
            let (start, mut interrupted) = (Instant::now(), None);
            let outcome = retry
                .run::<()>(async || {
                    let class = if interrupted.is_none() && start.elapsed() >= Duration::from_secs(20) {
                        interrupted = Some(start.elapsed());
                        between
                    } else {
                        Class::NotVisible
                    };
                    Err(Error::new(class, "Code", "it failed"))
                })
                .await;
            assert_eq!(outcome.map_err(|error| error.class), Err(Class::NotVisible));
            let (took, interrupted) = (start.elapsed(), interrupted.expect("the window is longer than 20 s"));
            let window = Duration::from_secs(30);
            if reopens {
                assert!(took > interrupted + window, "{between:?}: {took:?}");
            } else {
                assert_eq!(took, window, "{between:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn success_ends_the_loop_and_resets_the_backoff() {
        let mut retry = retry(Duration::from_secs(60));
        let mut left = 5;
        let value = retry
            .run(async || {
                left -= 1;
                if left > 0 { Err(Error::new(Class::Transient, "Code", "not yet")) } else { Ok(42) }
            })
            .await;
        assert_eq!(value.ok(), Some(42));
        assert_eq!((retry.attempts(), retry.backoff.failures), (5, 0));
        assert!(retry.last_error().is_some());
    }

    /// The pauses after `count` failures of attempts that took so long, and when each of them begins.
    fn pauses(seed: u64, count: usize, pace: Pace, took: Duration) -> Vec<(Duration, Duration)> {
        let (mut backoff, mut since) = (Backoff::seeded(seed), Duration::ZERO);
        let mut next = || {
            since += took;
            let (begin, pause) = (since, backoff.next(pace, took));
            since += pause;
            (begin, pause)
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn pauses_double_with_full_jitter_until_they_would_exceed_their_cap() {
        for (pace, growing, cap) in [(Pace::Usual, 5, SHORTEST_CAP), (Pace::Local, 3, LOCAL_CAP)] {
            let (mut lowest, mut highest) = ([Duration::MAX; 7], [Duration::ZERO; 7]);
            for seed in 0..2_000 {
                for (n, (_, pause)) in pauses(seed, 7, pace, Duration::ZERO).into_iter().enumerate() {
                    (lowest[n], highest[n]) = (lowest[n].min(pause), highest[n].max(pause));
                }
            }
            for (n, (low, high)) in lowest.into_iter().zip(highest).enumerate() {
                let (least, most) = if n < growing { (Duration::ZERO, FIRST_PAUSE * (1 << n)) } else { (cap / 2, cap) };
                let inside = (most - least).mul_f64(0.02);
                assert!(low >= least && low < least + inside, "pause {n}: {low:?} from {least:?}");
                assert!(high <= most && high > most - inside, "pause {n}: {high:?} to {most:?}");
            }
        }
    }

    #[test]
    fn pauses_grow_with_the_time_that_it_takes() {
        let mut longest = Duration::ZERO;
        for seed in 0..100 {
            for (n, (since, pause)) in pauses(seed, 100, Pace::Usual, Duration::ZERO).into_iter().enumerate() {
                assert!(pause <= SHORTEST_CAP.max(since / PART), "pause {n}: {pause:?} after {since:?}");
                longest = longest.max(pause);
            }
        }
        assert!(longest <= LONGEST_CAP && longest > LONGEST_CAP.mul_f64(0.98), "{longest:?}");
    }

    #[test]
    fn an_attempt_that_hung_is_a_part_of_the_pause() {
        for took in [1, 2, 5].map(Duration::from_secs) {
            for seed in 0..100 {
                for (_, pause) in pauses(seed, 100, Pace::Usual, took) {
                    assert!(took + pause <= LONGEST_CAP.max(took + FIRST_PAUSE), "{pause:?} after {took:?}");
                }
            }
        }
    }

    #[test]
    fn another_pace_begins_anew() {
        for seed in 0..100 {
            let mut backoff = Backoff::seeded(seed);
            for pace in [Pace::Local, Pace::Usual, Pace::Local] {
                let first = backoff.next(pace, Duration::ZERO);
                assert!(first <= FIRST_PAUSE, "{pace:?}: {first:?}");
                for _ in 0..100 {
                    backoff.next(pace, Duration::ZERO);
                }
            }
        }
    }

    /// From the end of an outage to the success, and the attempts, where a failing one takes so long.
    async fn outlast(outage: Duration, took: Duration, pace: Pace, seed: u64) -> (Duration, u32) {
        let mut retry = Retry::new(Deadline::after(Duration::from_secs(300)), Backoff::seeded(seed));
        let start = Instant::now();
        let attempt = async || {
            if start.elapsed() >= outage {
                return Ok(());
            }
            sleep(took).await;
            Err(Error { pace, ..Error::new(Class::NotYet, "Code", "it failed") })
        };
        assert_eq!(retry.run(attempt).await, Ok(()));
        (start.elapsed() - outage, retry.attempts())
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_outlasted_by_less_than_five_seconds_and_without_many_calls() {
        // Attempts 100 ms, 200 ms, … 4 s apart, and the one that succeeds.
        let plain = |outage: Duration| {
            let (mut attempts, mut since, mut pause) = (1, Duration::ZERO, FIRST_PAUSE);
            while since < outage {
                (attempts, since, pause) = (attempts + 1, since + pause, LONGEST_CAP.min(pause * 2));
            }
            attempts
        };
        for length in [5, 30, 120].map(Duration::from_secs) {
            for took in [0, 1, 2].map(Duration::from_secs) {
                let (mut attempts, mut of_plain) = (0, 0);
                for seed in 0..100_u32 {
                    // It ends at any moment of an attempt and of the pause after it.
                    let outage = length + LONGEST_CAP * seed / 100;
                    let (late, made) = outlast(outage, took, Pace::Usual, seed.into()).await;
                    // tokio's clock ticks in milliseconds.
                    assert!(late <= LONGEST_CAP + Duration::from_millis(2), "{outage:?}, {took:?}: {late:?}");
                    (attempts, of_plain) = (attempts + made, of_plain + plain(outage));
                }
                assert!(attempts * 2 <= of_plain * 3, "{length:?}, {took:?}: {attempts} of {of_plain} attempts");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_comes_late_is_used_within_half_a_second() {
        for seed in 0..100 {
            let (late, _) = outlast(Duration::from_secs(60), Duration::ZERO, Pace::Local, seed).await;
            assert!(late <= LOCAL_CAP + Duration::from_millis(2), "{late:?}");
        }
    }
}
