//! Two ways of doing the same, in turn.

use std::time::Duration;

/// Does it so many times; answers how long that took.
pub(crate) type Run<'a> = Box<dyn Fn(u64) -> Duration + 'a>;

pub(crate) struct Case<'a> {
    pub(crate) name: String,
    pub(crate) run: Run<'a>,
    pub(crate) others: Vec<Other<'a>>,
}

pub(crate) struct Other<'a> {
    pub(crate) name: &'static str,
    /// The target: how many times as long as this one ours is meant to take.
    pub(crate) at_most: f64,
    pub(crate) run: Run<'a>,
}

/// Number of turns of each …
const TURNS: usize = 11;
/// … and how long one is meant to be.
const TURN: Duration = Duration::from_millis(150);

/// Returns the number of repetitions in a turn.
pub(crate) fn times(ours: &Run<'_>, other: &Run<'_>) -> u32 {
    // What is done for the first time takes longer.
    let _ = (other(10), ours(10));
    let once = other(3).max(ours(3)) / 3;
    let times = TURN.as_nanos() / once.as_nanos().max(1);
    u32::try_from(times).unwrap_or(1).max(1)
}

impl Case<'_> {
    /// Runs ours and the others in turn, and prints how they compare: the median of the turns.
    pub(crate) fn print_ratios(&self, is_measured: bool) {
        for other in &self.others {
            let (turns, times) = if is_measured {
                (TURNS, times(&self.run, &other.run))
            } else {
                (1, 1)
            };
            let mut measured: Vec<_> = (0..turns)
                .map(|_| {
                    let (theirs, ours) = ((other.run)(times.into()), (self.run)(times.into()));
                    let each = |whole: Duration| whole.as_secs_f64() * 1e3 / f64::from(times);
                    (
                        ours.as_secs_f64() / theirs.as_secs_f64(),
                        each(ours),
                        each(theirs),
                    )
                })
                .collect();
            measured.sort_by(|one, next| one.0.total_cmp(&next.0));
            let (ratio, ours, theirs) = measured[turns / 2];
            println!(
                "{:<24} nahook {ours:>8.3} ms, {:<24} {theirs:>8.3} ms: {ratio:.2} times as long (target: at most {:.2})",
                self.name, other.name, other.at_most,
            );
        }
    }
}
