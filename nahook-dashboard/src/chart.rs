//! Counts over time as charts: SVG made here, with the same numbers as a table.

use std::time::Duration;

use maud::{Markup, html};
use nahook_core::Timestamp;
use nahook_core::id::EndpointId;
use nahook_queue::{Counts, CountsQuery, DeliveryCounts as _, Period};

use crate::error::PageError;
use crate::page::table;
use crate::text::time;
use crate::view::View;

/// The time that numbers are of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Span {
    Hour,
    Day,
    Week,
}

/// Counts of a span, cut into bars of the same length, the oldest first.
pub(crate) struct Series {
    span: Span,
    first: Timestamp,
    bars: Vec<Counts>,
}

impl Span {
    pub(crate) const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    /// The span that the query asks for; the last hour if it asks for none.
    pub(crate) fn of(view: &View) -> Self {
        let asked = view.query.get("span");
        let found = Self::ALL.into_iter().find(|span| span.word() == asked);
        found.unwrap_or(Self::Hour)
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
        }
    }

    const fn period(self) -> Period {
        match self {
            Self::Hour => Period::Minute,
            Self::Day | Self::Week => Period::Hour,
        }
    }

    /// Number of bars, the length of one, and that in words.
    const fn bars(self) -> (u32, Duration, &'static str) {
        match self {
            Self::Hour => (60, Duration::from_mins(1), "a minute"),
            Self::Day => (24, Duration::from_hours(1), "an hour"),
            Self::Week => (28, Duration::from_hours(6), "six hours"),
        }
    }

    /// Its length in seconds.
    pub(crate) fn secs(self) -> u64 {
        let (count, len, _) = self.bars();
        u64::from(count) * len.as_secs()
    }
}

impl Series {
    /// Reads the counts of the workspace, or of one of its endpoints, up to now.
    pub(crate) async fn read(
        view: &View,
        endpoint: Option<EndpointId>,
        span: Span,
    ) -> Result<Self, PageError> {
        let period = span.period();
        let (count, len, _) = span.bars();
        // The last bar ends with the period that is under way.
        let end = period
            .start_of(view.site.now())
            .saturating_add(period.len());
        let all = u64::try_from((len * count).as_nanos()).unwrap_or(u64::MAX);
        let first = Timestamp::from_nanos(end.as_nanos().saturating_sub(all));
        let query = CountsQuery {
            workspace: *view.workspace(),
            endpoint,
            period,
            since: first,
        };
        let mut bars = vec![Counts::default(); count as usize];
        for roll_up in view.site.ports.counts.counts(&query).await? {
            let place = roll_up.start.saturating_since(first).as_nanos() / len.as_nanos();
            let place = usize::try_from(place).unwrap_or(usize::MAX);
            if let Some(bar) = bars.get_mut(place) {
                bar.add(&roll_up.counts);
            }
        }
        Ok(Self { span, first, bars })
    }

    /// The sum of all bars.
    pub(crate) fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        self.bars.iter().for_each(|bar| sum.add(bar));
        sum
    }

    /// A chart of attempts: those that were taken below, those that were not above them.
    pub(crate) fn attempts(&self) -> Markup {
        self.chart("attempts", "Attempts", &["Taken", "Not taken"], |bar| {
            [bar.delivered, bar.failed]
        })
    }

    /// A chart of events.
    pub(crate) fn events(&self) -> Markup {
        self.chart("events", "Events", &["Accepted"], |bar| [bar.events, 0])
    }

    fn chart(
        &self,
        id: &str,
        name: &str,
        parts: &[&str],
        numbers: impl Fn(&Counts) -> [u64; 2],
    ) -> Markup {
        let (count, len, each) = self.span.bars();
        let start = |place: usize| {
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            self.first.saturating_add(len * place)
        };
        let bars: Vec<_> = self.bars.iter().map(numbers).collect();
        let most = bars.iter().map(|[good, bad]| good + bad).max().unwrap_or(0);
        let sums = [0, 1].map(|part| bars.iter().map(|bar| bar[part]).sum::<u64>());
        let said: Vec<_> = parts
            .iter()
            .zip(sums)
            .map(|(part, sum)| format!("{part}: {sum}"))
            .collect();
        let said = said.join(", ");
        let busy = bars.iter().enumerate().filter(|(_, bar)| **bar != [0, 0]);
        let rows: Vec<_> = busy
            .clone()
            .map(|(place, bar)| {
                html! {
                    th scope="row" { (time(start(place))) }
                    @for (_, number) in parts.iter().zip(bar) { td.number { (number) } }
                }
            })
            .collect();
        let head: Vec<_> = std::iter::once("From")
            .chain(parts.iter().copied())
            .collect();
        html! {
            figure.chart {
                figcaption {
                    strong { (name) " in the last " (self.span.word()) } " "
                    span.quiet { (said) ". The highest bar, " (each) ", is " (most) "." }
                }
                svg viewBox={ "0 0 " (count * 10) " " (HEIGHT) } preserveAspectRatio="none" role="img"
                    aria-labelledby={ (id) "-title " (id) "-desc" } {
                    title id={ (id) "-title" } { (name) " in the last " (self.span.word()) }
                    desc id={ (id) "-desc" } { (said) ". Each bar is " (each) "; the table below has the numbers." }
                    @for (place, [good, bad]) in busy { g {
                        title { (crate::text::utc(start(place))) " – " @for (part, number) in parts.iter().zip([good, bad]) { (part) ": " (number) " " } }
                        (rectangle("good", place, *good, 0, most))
                        (rectangle("bad", place, *bad, *good, most))
                    } }
                }
                div.scale { span { (time(self.first)) } span { "now" } }
                @if !rows.is_empty() { details {
                    summary { "The numbers of the chart: " (name.to_lowercase()) }
                    (table(&format!("{name} over time"), &head, &rows))
                } }
            }
        }
    }
}

/// Height of the highest bar.
const HEIGHT: u64 = 100;

/// A part of a bar, on top of what is below it. One of few is still seen.
fn rectangle(class: &str, place: usize, number: u64, below: u64, most: u64) -> Markup {
    let scaled = |number: u64| number.saturating_mul(HEIGHT).checked_div(most).unwrap_or(0);
    let (height, below) = (scaled(number).max(2), scaled(below));
    let top = HEIGHT.saturating_sub(below + height);
    html! {
        @if number > 0 { rect.(class) x=(place * 10 + 1) y=(top) width="8" height=(height) {} }
    }
}

/// The latency that this share of deliveries kept, as an upper bound.
pub(crate) fn latency(counts: &Counts, share: f64) -> String {
    match counts.latency(share) {
        None if counts.delivered == 0 => "–".to_owned(),
        None => "> 24 h".to_owned(),
        Some(bound) if bound < Duration::from_secs(1) => format!("≤ {} ms", bound.as_millis()),
        Some(bound) if bound < Duration::from_mins(1) => format!("≤ {} s", bound.as_secs()),
        Some(bound) if bound < Duration::from_hours(1) => format!("≤ {} min", bound.as_secs() / 60),
        Some(bound) => format!("≤ {} h", bound.as_secs() / 3_600),
    }
}

/// Share of the attempts that a receiver took.
pub(crate) fn success(counts: &Counts) -> String {
    let all = counts.delivered + counts.failed;
    // Not rounded up: 100 % is all of them.
    let tenths = counts.delivered.saturating_mul(1_000).checked_div(all);
    match tenths {
        None => "–".to_owned(),
        Some(1_000) => "100 %".to_owned(),
        Some(tenths) => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

/// A number of a span as a rate.
pub(crate) fn rate(number: u64, span: Span) -> String {
    let hundredths = number.saturating_mul(100) / span.secs();
    match hundredths {
        0 if number > 0 => "< 0.01/s".to_owned(),
        _ => format!("{}.{:02}/s", hundredths / 100, hundredths % 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_not_rounded_in_anybodys_favour() {
        let of = |delivered, failed| {
            let counts = Counts {
                delivered,
                failed,
                ..Counts::default()
            };
            success(&counts)
        };
        assert_eq!(of(0, 0), "–");
        assert_eq!(of(3, 0), "100 %");
        assert_eq!(of(99_999, 1), "99.9 %");
        assert_eq!(of(0, 1), "0.0 %");
        assert_eq!(rate(0, Span::Hour), "0.00/s");
        assert_eq!(rate(1, Span::Week), "< 0.01/s");
        assert_eq!(rate(5_400, Span::Hour), "1.50/s");
    }

    #[test]
    fn a_bar_is_as_high_as_its_number() {
        let shown = |number, below, most| rectangle("bad", 2, number, below, most).into_string();
        assert_eq!(shown(0, 5, 5), "");
        assert!(shown(5, 5, 10).contains(r#"x="21" y="0" width="8" height="50""#));
        assert!(shown(1, 0, 100_000).contains(r#"height="2""#));
    }
}
