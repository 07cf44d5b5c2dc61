//! How far a run is, while it is at work: bars on a terminal, else a line every thirty seconds; nothing by `--quiet`.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::talk;
use crate::id::AccountName;
use crate::pipeline::{Meter, Phase, Progress};
use crate::text::{Text, key, text};
use crate::units::{at_most, plural};

/// How often bars are drawn.
const FRAME: Duration = Duration::from_millis(200);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// The present pace is that of so long.
const PACE_OVER: Duration = Duration::from_secs(120);
/// Before so long nobody knows the pace.
const PACE_FROM: Duration = Duration::from_secs(3);
/// So many accounts have a bar of their own, the first ones that are at work.
const MOST_BARS: usize = 5;
/// The steps of a bar.
const STEPS: u64 = 1_000;

/// Does the work of some accounts, and shows meanwhile how far it is.
pub(super) async fn beside<T>(accounts: Vec<(AccountName, Meter)>, work: impl Future<Output = T>) -> T {
    if talk::is_quiet() {
        return work.await;
    }
    let mut accounts = Accounts::new(accounts);
    match talk::has_terminal() {
        true => {
            let mut bars = Bars::new(&accounts);
            let done = every(FRAME, work, |now| bars.draw(&mut accounts, now)).await;
            bars.clear();
            done
        }
        false => {
            let mut pace = Pace::default();
            every(LINE_EVERY, work, |now| talk::print_note(key!("progress"), &line(&mut accounts, &mut pace, now)))
                .await
        }
    }
}

/// Awaits `work`, and calls `show` at every tick until then.
async fn every<T>(tick: Duration, work: impl Future<Output = T>, mut show: impl FnMut(Instant)) -> T {
    let mut work = pin!(work);
    let mut ticks = interval_at(Instant::now() + tick, tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            now = ticks.tick() => show(now),
        }
    }
}

/// The accounts of a run together.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    accounts: usize,
    ended: usize,
    at_work: usize,
    all: Progress,
}

/// The accounts of a run. Those that have ended are looked at once, and those that have not begun hardly at all: there
/// may be thousands.
struct Accounts {
    all: usize,
    /// Those that have not ended.
    open: Vec<(AccountName, Meter)>,
    /// What those add up to that have.
    ended: Sum,
}

impl Accounts {
    fn new(accounts: Vec<(AccountName, Meter)>) -> Self {
        let all = accounts.len();
        Self { all, open: accounts, ended: Sum { accounts: all, ..Sum::default() } }
    }

    /// What all add up to now, and how far the first `most` are that are at work.
    fn look(&mut self, most: usize) -> (Sum, Vec<(&AccountName, Progress)>) {
        if let [(_, meter)] = &self.open[..]
            && self.all == 1
        {
            let all = meter.progress();
            let is_at_work = matches!(all.phase, Phase::Walking | Phase::Finishing);
            let ended = usize::from(all.phase == Phase::Done);
            return (Sum { accounts: 1, ended, at_work: usize::from(is_at_work), all }, Vec::new());
        }
        let (ended, all) = (&mut self.ended, self.all);
        self.open.retain(|(_, meter)| {
            let is_open = meter.phase() != Phase::Done;
            if !is_open {
                ended.ended += 1;
                ended.add(&Progress { done: 1.0, ..meter.progress() }, all);
            }
            is_open
        });
        let (mut sum, mut first) = (self.ended, Vec::new());
        let at_work = self.open.iter().filter(|(_, meter)| meter.phase() != Phase::Opening);
        for (name, meter) in at_work {
            let progress = meter.progress();
            sum.at_work += 1;
            sum.add(&progress, all);
            if first.len() < most {
                first.push((name, progress));
            }
        }
        (sum, first)
    }
}

impl Sum {
    fn add(&mut self, progress: &Progress, accounts: usize) {
        self.all.done += progress.done / accounts as f64;
        self.all.headers += progress.headers;
        self.all.calls += progress.calls;
    }
}

/// What is said where there is no terminal.
fn line(accounts: &mut Accounts, pace: &mut Pace, now: Instant) -> Text {
    let (sum, _) = accounts.look(0);
    let left = pace.left(now, sum.all.done);
    let (percent, words) = (percent(&sum.all), words(&sum.all, left, key!(", ")));
    match sum.accounts {
        1 => text!("{percent}%, {words}", percent, words),
        _ => text!(
            "{ended} of {accounts} accounts done, {at_work} at work, {percent}%, {words}",
            ended = sum.ended,
            accounts = sum.accounts,
            at_work = sum.at_work,
            percent,
            words
        ),
    }
}

/// Never 100 before the end.
fn percent(progress: &Progress) -> u64 {
    ((progress.done * 100.0) as u64).min(if progress.phase == Phase::Done { 100 } else { 99 })
}

/// What is said of a run beside its bar, the most telling first: narrow terminals cut the end.
fn words(progress: &Progress, left: Option<Duration>, between: &'static str) -> Text {
    let phase = match progress.phase {
        Phase::Opening => Some(text!("opening the lake")),
        Phase::Finishing => Some(text!("putting files in order")),
        Phase::Walking | Phase::Done => left.map(|left| text!("{left} left", left = span(left))),
    };
    let limit = match (progress.calls_per_minute, progress.limit_wait) {
        (Some(limit), Some(wait)) => text!(" ({limit}/min, next in {wait})", limit, wait = span(wait)),
        (Some(limit), None) => text!(" ({limit}/min)", limit),
        (None, Some(wait)) => text!(" (next in {wait})", wait = span(wait)),
        (None, None) => Text::default(),
    };
    let rows = plural(progress.headers, "row");
    let calls = text!("{calls}{limit}", calls = plural(progress.calls, "call"), limit);
    let reached = progress.reached.map(|reached| text!("to {day}", day = &reached.to_string()[..10]));
    let all: Vec<Text> = phase.into_iter().chain([rows, calls]).chain(reached).collect();
    Text::join(&all, between)
}

fn span(span: Duration) -> String {
    at_most((span.as_secs_f64().ceil() as u64).max(1))
}

/// How fast the work has been going of late.
#[derive(Debug, Default)]
struct Pace(VecDeque<(Instant, f64)>);

impl Pace {
    /// How long the rest takes at the present pace; none as long as nobody knows.
    fn left(&mut self, now: Instant, done: f64) -> Option<Duration> {
        self.0.push_back((now, done));
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= PACE_OVER) {
            self.0.pop_front();
        }
        let (since, before) = *self.0.front()?;
        let (took, gained) = (now.duration_since(since), done - before);
        if took < PACE_FROM || gained <= 0.0 {
            return None;
        }
        Duration::try_from_secs_f64(took.as_secs_f64() / gained * (1.0 - done)).ok()
    }
}

/// The bars on a terminal: one for all, and with several accounts one for each of the first that are at work.
struct Bars {
    all: ProgressBar,
    pace: Pace,
    of_accounts: Vec<ProgressBar>,
}

impl Bars {
    fn new(accounts: &Accounts) -> Self {
        let add = |_| talk::bars().add(ProgressBar::new(STEPS).with_style(style()));
        let many = if accounts.all > 1 { accounts.all.min(MOST_BARS) } else { 0 };
        Self { all: add(0), pace: Pace::default(), of_accounts: (0..many).map(add).collect() }
    }

    fn draw(&mut self, accounts: &mut Accounts, now: Instant) {
        let (sum, at_work) = accounts.look(self.of_accounts.len());
        let left = self.pace.left(now, sum.all.done);
        let words = words(&sum.all, left, "  ");
        let words = match sum.accounts {
            1 => words,
            _ => {
                text!("{ended} of {accounts} accounts done  {words}", ended = sum.ended, accounts = sum.accounts, words)
            }
        };
        show(&self.all, &sum.all, words.into_told());
        for (at, bar) in self.of_accounts.iter().enumerate() {
            match at_work.get(at) {
                Some((name, progress)) => {
                    show(bar, progress, format!("{name}  {:#}", self::words(progress, None, "  ")))
                }
                None => bar.set_message(""),
            }
        }
    }

    fn clear(&self) {
        self.of_accounts.iter().chain([&self.all]).for_each(ProgressBar::finish_and_clear);
    }
}

fn show(bar: &ProgressBar, progress: &Progress, words: String) {
    bar.set_position(percent(progress) * STEPS / 100);
    bar.set_message(words);
    bar.tick();
}

fn style() -> ProgressStyle {
    // A template that cannot be read would show the bar in its usual form.
    ProgressStyle::with_template("{bar:12} {percent:>3}%  {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::BeijingTime;

    fn walking(done: f64) -> Progress {
        let reached = BeijingTime::parse("2026-07-01 12:00:00");
        Progress { phase: Phase::Walking, done, headers: 12_345, calls: 157, reached, ..Progress::default() }
    }

    #[test]
    fn what_matters_most_stands_first_and_fits() {
        let mut progress = walking(0.42);
        let left = Some(Duration::from_secs(170));
        assert_eq!(words(&progress, left, "  ").english(), "3m left  12,345 rows  157 calls  to 2026-07-01");
        progress.calls_per_minute = Some(60);
        assert_eq!(words(&progress, None, ", ").english(), "12,345 rows, 157 calls (60/min), to 2026-07-01");
        progress.limit_wait = Some(Duration::from_millis(11_300));
        let shown = words(&progress, left, "  ").english().to_owned();
        assert_eq!(shown, "3m left  12,345 rows  157 calls (60/min, next in 12s)  to 2026-07-01");
        // The bar, the percentage, and what is between them take 19 columns.
        assert!(shown.len() + 19 <= 100);
        assert!(words(&walking(0.42), left, "  ").english().len() + 19 <= 80);
        progress.phase = Phase::Finishing;
        assert!(words(&progress, left, "  ").english().starts_with("putting files in order"));
        assert_eq!((percent(&walking(1.0)), percent(&walking(0.129))), (99, 12), "the end is what ends it");
    }

    #[test]
    fn time_to_go_is_that_of_the_present_pace() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        let mut left = |seconds, done| pace.left(began + Duration::from_secs(seconds), done).map(|left| left.as_secs());
        assert_eq!(left(0, 0.0), None);
        assert_eq!(left(1, 0.01), None, "too early to say");
        assert_eq!(left(10, 0.1), Some(90));
        assert_eq!(left(100, 0.1), Some(900), "it stands");
        assert_eq!(left(120, 0.2), Some(480));
        assert_eq!(left(240, 0.8), Some(40), "the last two minutes count");
        assert_eq!(left(241, 1.0), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_terminal_a_line_comes_every_thirty_seconds() {
        let mut accounts = Accounts::new(vec![("acme".parse().expect("a name"), Meter::default())]);
        let (mut pace, mut lines) = (Pace::default(), Vec::new());
        let work = tokio::time::sleep(Duration::from_secs(95));
        every(LINE_EVERY, work, |now| lines.push(line(&mut accounts, &mut pace, now))).await;
        let lines: Vec<&str> = lines.iter().map(Text::english).collect();
        assert_eq!(lines, ["0%, opening the lake, 0 rows, 0 calls"; 3]);
        let mut many = Accounts::new(["a", "b"].map(|name| (name.parse().expect("a name"), Meter::default())).into());
        let said = line(&mut many, &mut Pace::default(), Instant::now());
        assert_eq!(said.english(), "0 of 2 accounts done, 0 at work, 0%, opening the lake, 0 rows, 0 calls");
    }
}
