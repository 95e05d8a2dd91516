//! The progress of this process's runs: counted in the built-in daemon's pieces of work, and
//! reported by scripts.
//!
//! Counting costs one addition, whether a client listens or not. [`super::events::follow`] polls
//! the counts a few times a second, and publishes those that have changed.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    progress::{NoProgress, Piece, Progress},
    scope,
    script::Listener,
    sync::lock,
    text::cut,
};

/// How many characters of a script's text are shown.
const MOST_CHARACTERS: usize = 500;
/// How long the progress of a run is kept after its end, so that its last change is published.
const KEPT_AFTER_END: Duration = Duration::from_mins(1);
/// Stands for a total that is not known.
const UNKNOWN_TOTAL: u64 = u64::MAX;

/// The progress of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct RunProgress {
    /// What the run is doing: "backup vol1", or the script's own words.
    pub(super) what: String,
    /// The bytes that are done. `None` for a script's words.
    pub(super) done: Option<u64>,
    /// All bytes there are to do. `None`: not known.
    pub(super) total: Option<u64>,
}

/// The progress of this process's runs. Clones share one state.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunsProgress(Arc<Mutex<HashMap<String, TrackedRun>>>);

#[derive(Debug)]
struct TrackedRun {
    /// The pieces of work that are under way, oldest first. Only the oldest is shown, so that the
    /// display does not jump between them.
    under_way: Vec<Arc<PieceCount>>,
    /// What is shown while no piece of work is under way.
    last: Option<RunProgress>,
    told: Option<RunProgress>,
    /// The run's id. It can't be upgraded any more once no thread works for the run.
    id: Weak<str>,
    touched: Instant,
}

#[derive(Debug)]
struct PieceCount {
    what: String,
    done: AtomicU64,
    total: AtomicU64,
}

impl TrackedRun {
    fn shown(&self) -> Option<RunProgress> {
        self.under_way.first().map(|count| count.shown()).or_else(|| self.last.clone())
    }

    fn is_over(&self) -> bool {
        self.id.strong_count() == 0
            && self.under_way.is_empty()
            && self.touched.elapsed() > KEPT_AFTER_END
    }
}

impl PieceCount {
    fn shown(&self) -> RunProgress {
        let total =
            Some(self.total.load(Ordering::Relaxed)).filter(|total| *total != UNKNOWN_TOTAL);
        RunProgress {
            what: self.what.clone(),
            done: Some(self.done.load(Ordering::Relaxed)),
            total,
        }
    }
}

impl RunsProgress {
    fn runs(&self) -> MutexGuard<'_, HashMap<String, TrackedRun>> {
        lock(&self.0)
    }

    /// Changes the progress of a run, which may be new.
    fn note(&self, id: &Arc<str>, change: impl FnOnce(&mut TrackedRun)) {
        let mut runs = self.runs();
        if !runs.contains_key(&**id) {
            // This drops runs whose end was not published.
            runs.retain(|_, run| !run.is_over());
        }
        let new = || TrackedRun {
            under_way: Vec::new(),
            last: None,
            told: None,
            id: Arc::downgrade(id),
            touched: Instant::now(),
        };
        let run = runs.entry(id.to_string()).or_insert_with(new);
        run.touched = Instant::now();
        change(run);
    }

    /// The progress of a run, if any is known.
    pub(super) fn of(&self, id: &str) -> Option<RunProgress> {
        self.runs().get(id).and_then(TrackedRun::shown)
    }

    /// The progress of a run, if it has changed since the last call.
    pub(super) fn changed_progress_of(&self, id: &str) -> Option<RunProgress> {
        let mut runs = self.runs();
        let run = runs.get_mut(id)?;
        let shown = run.shown().filter(|shown| run.told.as_ref() != Some(shown))?;
        run.told = Some(shown.clone());
        Some(shown)
    }

    /// Forgets a run that has ended.
    pub(super) fn forget(&self, id: &str) {
        self.runs().remove(id);
    }
}

/// A piece of work of a run.
#[derive(Debug)]
struct CountedPiece {
    runs: RunsProgress,
    id: String,
    count: Arc<PieceCount>,
}

impl Progress for RunsProgress {
    /// Begins a piece of work of the run that this thread works for. Work for no run is not
    /// counted.
    fn begin(&self, what: &str, total: Option<u64>) -> Arc<dyn Piece> {
        let Some(scope) = scope::current() else { return Arc::new(NoProgress) };
        let total = AtomicU64::new(total.unwrap_or(UNKNOWN_TOTAL));
        let count = Arc::new(PieceCount { what: what.to_owned(), done: AtomicU64::new(0), total });
        self.note(&scope.run, |run| run.under_way.push(count.clone()));
        Arc::new(CountedPiece { runs: self.clone(), id: scope.run.to_string(), count })
    }
}

impl Piece for CountedPiece {
    fn set_total(&self, total: u64) {
        self.count.total.store(total, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) {
        self.count.done.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for CountedPiece {
    fn drop(&mut self) {
        // Work may go on after the run was cancelled and forgotten.
        if let Some(run) = self.runs.runs().get_mut(&self.id) {
            run.under_way.retain(|count| !Arc::ptr_eq(count, &self.count));
            run.last = Some(self.count.shown());
            run.touched = Instant::now();
        }
    }
}

impl Listener for RunsProgress {
    fn progress(&self, text: &str) {
        if let Some(scope) = scope::current() {
            let words =
                RunProgress { what: cut(text, MOST_CHARACTERS).into(), done: None, total: None };
            self.note(&scope.run, |run| run.last = Some(words));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::scope::Scope;

    fn of_run<T>(id: &str, work: impl FnOnce() -> T) -> T {
        scope::within(Some(Scope::of(id)), work)
    }

    fn shown(shown: Option<RunProgress>) -> Value {
        serde_json::to_value(shown).unwrap()
    }

    #[test]
    fn two_runs_that_work_at_a_time_count_for_themselves() {
        let runs = RunsProgress::default();
        let one = of_run("run-1", || runs.begin("backup vol1", None));
        let two = of_run("run-2", || runs.begin("snapshot vol2", Some(100)));
        one.set_total(10);
        one.advance(4);
        two.advance(50);
        two.advance(25);
        assert_eq!(
            shown(runs.of("run-1")),
            json!({ "what": "backup vol1", "done": 4, "total": 10 })
        );
        assert_eq!(
            shown(runs.of("run-2")),
            json!({ "what": "snapshot vol2", "done": 75, "total": 100 })
        );
        drop(one);
        two.advance(1);
        assert_eq!(shown(runs.of("run-1"))["done"], 4, "where it ended");
        assert_eq!(shown(runs.of("run-2"))["done"], 76);
        assert_eq!(runs.of("run-3"), None);
    }

    #[test]
    fn of_several_pieces_of_one_run_the_one_that_began_first_is_shown() {
        let runs = RunsProgress::default();
        let [one, two] = of_run("run-1", || ["one", "two"].map(|what| runs.begin(what, Some(9))));
        two.advance(5);
        one.advance(1);
        assert_eq!(shown(runs.of("run-1")), json!({ "what": "one", "done": 1, "total": 9 }));
        drop(one);
        assert_eq!(shown(runs.of("run-1")), json!({ "what": "two", "done": 5, "total": 9 }));
    }

    #[test]
    fn what_the_script_says_is_shown_while_nothing_is_counted() {
        let runs = RunsProgress::default();
        of_run("run-1", || Listener::progress(&runs, "volume 1 of 2"));
        assert_eq!(
            shown(runs.of("run-1")),
            json!({ "what": "volume 1 of 2", "done": null, "total": null })
        );
        let piece = of_run("run-1", || runs.begin("snapshot vol1", None));
        assert_eq!(
            shown(runs.of("run-1")),
            json!({ "what": "snapshot vol1", "done": 0, "total": null })
        );
        drop(piece);
        of_run("run-1", || Listener::progress(&runs, "volume 2 of 2"));
        assert_eq!(shown(runs.of("run-1"))["what"], "volume 2 of 2");
    }

    #[test]
    fn each_word_is_news_once_and_the_last_one_too() {
        let runs = RunsProgress::default();
        let piece = of_run("run-1", || runs.begin("backup vol1", Some(10)));
        assert_eq!(shown(runs.changed_progress_of("run-1"))["done"], 0);
        assert_eq!(runs.changed_progress_of("run-1"), None);
        piece.advance(3);
        piece.advance(3);
        assert_eq!(shown(runs.changed_progress_of("run-1"))["done"], 6);
        piece.advance(4);
        drop(piece);
        assert_eq!(shown(runs.changed_progress_of("run-1"))["done"], 10);
        assert_eq!(runs.changed_progress_of("run-1"), None);
    }

    #[test]
    fn work_for_no_run_or_for_one_that_ended_is_not_kept() {
        let runs = RunsProgress::default();
        runs.begin("backup vol1", None).advance(1);
        Listener::progress(&runs, "of nobody");
        let piece = of_run("run-1", || runs.begin("backup vol1", None));
        runs.forget("run-1");
        drop(piece);
        assert!(runs.runs().is_empty());
    }

    #[test]
    fn runs_whose_end_nobody_watched_for_are_not_kept_for_ever() {
        let runs = RunsProgress::default();
        let Some(before) = Instant::now().checked_sub(KEPT_AFTER_END * 2) else { return };
        let goes_on: Arc<str> = "run-2".into();
        for run in [Arc::from("run-1"), goes_on.clone()] {
            scope::within(Some(Scope { run, ..Scope::of("") }), || {
                Listener::progress(&runs, "works")
            });
        }
        runs.runs().values_mut().for_each(|run| run.touched = before);
        of_run("run-3", || Listener::progress(&runs, "works"));
        assert_eq!(runs.of("run-1"), None);
        assert!(runs.of("run-2").is_some() && runs.of("run-3").is_some());
    }
}
