//! When to try again: one deadline, one backoff, one loop.
//!
//! Nothing here knows of HTTP or AWS, and nothing below this loop retries:
//! stacked retries cannot be reasoned about.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::{Class, Error, Pace, Patience};

/// The first pause after a failure is drawn from zero to this.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The pauses double up to this; short enough to take an address over within seconds of its release.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// Throttled, a pause takes at most a fourth of the time paused so far: the longer a crowd takes, the more rarely
/// each of it calls, and when the crowd is gone, the last one sleeps on for a small part of the whole only.
const THROTTLED_PART: u32 = 4;
/// But always up to this long: EC2's buckets refill by a few tokens a second for the whole account.
const SHORTEST_CAP_THROTTLED: Duration = Duration::from_secs(2);
/// And never longer than this.
const LONGEST_PAUSE_THROTTLED: Duration = Duration::from_secs(8);

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

/// Exponential backoff with full jitter: the n-th pause is drawn evenly from zero to `FIRST_PAUSE * 2^n`, capped.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
    /// All pauses since the first failure.
    paused: Duration,
    rng: fastrand::Rng,
}

impl Backoff {
    /// A backoff whose draws are decided by `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), ..Self::default() }
    }

    /// The pause to make after one more failure.
    pub fn next(&mut self, pace: Pace) -> Duration {
        let longest = match pace {
            Pace::Usual => LONGEST_PAUSE,
            Pace::Throttled => (self.paused / THROTTLED_PART).clamp(SHORTEST_CAP_THROTTLED, LONGEST_PAUSE_THROTTLED),
        };
        let ceiling = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(longest);
        let pause = ceiling.mul_f64(self.rng.f64());
        self.failures += 1;
        self.paused += pause;
        pause
    }

    /// Forgets the failures: the next pause is a first one.
    pub fn reset(&mut self) {
        self.failures = 0;
        self.paused = Duration::ZERO;
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
            match attempt().await {
                Ok(value) => {
                    self.backoff.reset();
                    self.window = None;
                    return Ok(value);
                }
                Err(error) => self.pause(error).await?,
            }
        }
    }

    /// Sleeps before the next attempt, if `error` is worth one.
    ///
    /// # Errors
    /// `error` itself, when it is not or when the deadline leaves no time.
    pub async fn pause(&mut self, error: Error) -> Result<(), Error> {
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
        let pause = self.backoff.next(error.class.pace()).min(left);
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

    #[test]
    fn pauses_double_to_their_cap_with_full_jitter() {
        for (pace, longest) in [(Pace::Usual, LONGEST_PAUSE), (Pace::Throttled, SHORTEST_CAP_THROTTLED)] {
            let mut highest = [Duration::ZERO; 8];
            for seed in 0..2_000 {
                let mut backoff = Backoff::seeded(seed);
                for high in &mut highest {
                    *high = backoff.next(pace).max(*high);
                }
            }
            for (n, high) in highest.into_iter().enumerate() {
                let ceiling = FIRST_PAUSE.saturating_mul(1 << n).min(longest);
                assert!(high <= ceiling && high > ceiling.mul_f64(0.98), "pause {n}: {high:?} of {ceiling:?}");
            }
        }
    }

    #[test]
    fn throttled_pauses_grow_with_the_time_that_it_takes() {
        let (mut longest, mut usual) = (Duration::ZERO, Duration::ZERO);
        for seed in 0..100 {
            let (mut backoff, mut paused) = (Backoff::seeded(seed), Duration::ZERO);
            for n in 0..100 {
                let pause = backoff.next(Pace::Throttled);
                assert!(pause <= SHORTEST_CAP_THROTTLED.max(paused / 4), "pause {n}: {pause:?} after {paused:?}");
                paused += pause;
                longest = longest.max(pause);
            }
            usual = usual.max(backoff.next(Pace::Usual));
        }
        assert!(longest <= LONGEST_PAUSE_THROTTLED && longest > LONGEST_PAUSE_THROTTLED.mul_f64(0.98), "{longest:?}");
        assert!(usual <= LONGEST_PAUSE, "{usual:?}");
    }
}
