//! Several ways to the same thing: each is tried as soon as the one before has failed, and beside it while it is silent.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

/// A way that is silent holds the next one up for this long, as RFC 8305 recommends.
const HEAD_START: Duration = Duration::from_millis(250);

/// What the first of `attempts` that succeeds has got; the others are given up.
///
/// # Errors
/// All have failed: with the error that came last, if there was an attempt at all.
pub(crate) async fn first<T, E, F>(
    attempts: impl IntoIterator<Item = F, IntoIter: ExactSizeIterator>,
) -> Result<T, Option<E>>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let mut left = attempts.into_iter();
    let mut trying = JoinSet::new();
    let mut failure = None;
    loop {
        match left.next() {
            Some(attempt) => drop(trying.spawn(attempt)),
            None if trying.is_empty() => return Err(failure),
            None => {}
        }
        tokio::select! {
            Some(Ok(tried)) = trying.join_next() => match tried {
                Ok(got) => return Ok(got),
                Err(error) => failure = Some(error),
            },
            () = sleep(HEAD_START), if left.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// Attempts that take so many milliseconds and then end so, and how the race of them ends, and when.
    async fn race(attempts: Vec<(u64, Result<u8, u8>)>) -> (Result<u8, Option<u8>>, u128) {
        let start = Instant::now();
        let attempts = attempts.into_iter().map(|(takes, end)| async move {
            sleep(Duration::from_millis(takes)).await;
            end
        });
        let won = first(attempts).await;
        (won, start.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_one_begins_when_the_one_before_has_failed_or_is_silent() {
        assert_eq!(race(vec![(10, Ok(1)), (0, Ok(2))]).await, (Ok(1), 10));
        assert_eq!(race(vec![(10, Err(1)), (10, Ok(2))]).await, (Ok(2), 20));
        assert_eq!(race(vec![(9_000, Ok(1)), (10, Ok(2))]).await, (Ok(2), 260));
        assert_eq!(race(vec![(300, Ok(1)), (9_000, Ok(2))]).await, (Ok(1), 300));
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_that_came_last_is_the_one_that_is_told() {
        assert_eq!(race(vec![(300, Err(1)), (10, Err(2))]).await, (Err(Some(1)), 300));
        assert_eq!(race(vec![]).await, (Err(None), 0));
    }
}
