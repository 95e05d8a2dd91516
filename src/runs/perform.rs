//! Performs a run whose turn has come: builds guards, dry run and host for the script, runs the
//! script on a thread, and records the end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    deletions::Deletions,
    environment::RunEnvironment,
    finished::{self, FinishedRun, INTERRUPTED_BY_SERVE},
    missing,
    record::{Deleted, RunRecord},
    recording::Recording,
    request::RunRequest,
};
use crate::{
    convoy::{
        Daemon,
        dry_run::DryRun,
        guards::{Deletable, Guards, Observation},
    },
    error::{Error, ErrorKind, Result},
    locks::Locks,
    run_words::{RunStatus, Trigger},
    scope::{self, Scope},
    script::{self, Effect, Failure, Host, Outcome, RunIdentity, Speaker},
    text::command_line,
};

/// So long is waited for the end of what was begun for a run; and at the end of the program, which gives
/// its runs ten seconds for their records.
const WORK_ENDS_WITHIN: Duration = Duration::from_mins(1);
const WORK_ENDS_AT_THE_END: Duration = Duration::from_secs(5);

/// A run that has its permit, or that was cancelled in the queue.
pub(super) struct DueRun {
    pub(super) environment: RunEnvironment,
    pub(super) request: RunRequest,
    pub(super) cancellation: CancellationToken,
    pub(super) record: RunRecord,
    pub(super) recording: Option<Recording>,
    pub(super) scope: Scope,
}

impl DueRun {
    /// Runs the script on a new thread and records the end. `began` is `false` for a run that was
    /// cancelled in the queue: its script is not called.
    pub(super) async fn perform(self, began: bool) -> FinishedRun {
        let start = Instant::now();
        let dry_run = self.dry_run();
        let guards = Arc::new(self.guards(dry_run.clone()));
        let host = self.host(guards.clone(), start);
        if began {
            self.announce();
        }
        let lost = self.lost_record();
        let script = &self.request.script;
        let (read_only, does) = (script.read_only, script.does.clone());
        let takes_volume = script.parameters.iter().any(|parameter| parameter.name == "volume");
        let work = move || self.work(host, &guards, dry_run.as_deref(), start);
        let finished = match script::threads::run(work) {
            Ok(working) => working
                .await
                .unwrap_or_else(|_| Err(Error::internal("the script's thread is gone"))),
            Err(error) => Err(error),
        };
        let finished = finished
            .unwrap_or_else(|error| FinishedRun::new(&lost, Err(error), None, start.elapsed()));
        FinishedRun { began, read_only, does, takes_volume, ..finished }
    }

    fn dry_run(&self) -> Option<Arc<DryRun>> {
        let RunEnvironment { daemon, clock, .. } = &self.environment;
        self.request.dry_run.then(|| Arc::new(DryRun::new(daemon.clone(), clock.clone())))
    }

    /// The guards that stand between the script and the daemon.
    fn guards(&self, dry_run: Option<Arc<DryRun>>) -> Guards {
        let RunEnvironment { daemon, clock, lock_folder, lock_wait, .. } = &self.environment;
        let daemon = dry_run.map_or_else(|| daemon.clone(), |dry_run| dry_run as Arc<dyn Daemon>);
        let guards = if self.request.script.read_only {
            Guards::read_only(daemon, clock.clone())
        } else {
            let holder = format!("\"{}\", run {}", self.record.script, self.record.id);
            let locks = Locks::new(lock_folder, *lock_wait, holder);
            Guards::new(daemon, (!self.request.dry_run).then_some(locks), clock.clone())
        };
        let guards = guards
            .looking_at(self.environment.settings.destination.as_ref())
            .deleting_only(self.request.script.deletable())
            .expecting_known_backups(lock_folder)
            .looking_at_data(self.environment.data_look.clone());
        let Some(recorder) = &self.environment.recorder else { return guards };
        let guards = guards.knowing(recorder.store().clone());
        if self.request.dry_run {
            return guards;
        }
        guards.recording_deletions(Arc::new(Deletions {
            store: recorder.store().clone(),
            run: self.record.id.clone(),
            clock: clock.clone(),
        }))
    }

    /// The host that the primitives of the script work with.
    fn host(&self, guards: Arc<Guards>, start: Instant) -> Arc<Host> {
        let mut host = Host::new(guards, tokio::runtime::Handle::current());
        host.cancellation = self.cancellation.clone();
        // A deadline beyond the clock's range is no deadline.
        host.deadline = start.checked_add(self.request.timeout);
        host.clock = self.environment.clock.clone();
        host.settings = self.environment.settings.clone();
        host.run = RunIdentity {
            id: self.record.id.clone(),
            trigger: self.request.trigger,
            dry_run: self.request.dry_run,
        };
        host.listener = self.environment.listener.clone();
        host.message_sink = self.environment.message_sink.clone();
        Arc::new(host)
    }

    /// Notifies the channels that want to know of every run that this one begins.
    fn announce(&self) {
        let speaker = Speaker { script: self.record.script.clone(), run: self.record.id.clone() };
        let read_only = self.request.dry_run || self.request.script.read_only;
        self.environment.message_sink.run_started(&speaker, read_only);
    }

    /// The record of a run whose script's thread was lost.
    fn lost_record(&self) -> RunRecord {
        let RunRecord { id, script, trigger, started, .. } = &self.record;
        RunRecord::new(id.clone(), script.clone(), *trigger, *started)
    }

    /// The work of the run's thread: runs the script and records the end.
    fn work(
        self,
        host: Arc<Host>,
        guards: &Guards,
        dry_run: Option<&DryRun>,
        start: Instant,
    ) -> FinishedRun {
        let outcome = self.run_script(host);
        let observed = guards.observed();
        let outcome = outcome.and_then(|outcome| match self.found_nothing(&outcome, guards) {
            Some(error) => Err(error),
            None => Ok(outcome),
        });
        if let Some(worked) = &self.environment.worked_with_volumes
            && !(self.record.dry_run || self.request.script.read_only || observed.is_empty())
        {
            worked();
        }
        let outcome = outcome.map(|mut outcome| {
            outcome.failures.extend(in_doubt(guards));
            outcome
        });
        let plan = dry_run.map(DryRun::plan);
        let mut finished = FinishedRun::new(&self.record, outcome, plan, start.elapsed());
        if !self.record.dry_run {
            let destination = self.environment.settings.destination.as_ref();
            finished.backed_up = finished::backed_up(&observed, destination);
            finished.deleted = observed.iter().filter_map(Deleted::of).collect();
        }
        // What the daemon still does for a run that is over, as after a timeout, is in vain.
        self.scope.ended.cancel();
        self.wait_for_its_work();
        self.explain_cancellation(&mut finished);
        // That a backup replaced older snapshots is no news.
        if self.request.script.deletable() == Deletable::Everything {
            finished.explain_deletions();
        }
        finished.recorded = self.record_end(&finished, guards, &observed);
        finished
    }

    fn run_script(&self, host: Arc<Host>) -> Result<Outcome> {
        let RunRequest { script, arguments, .. } = &self.request;
        scope::within(Some(self.scope.clone()), || {
            let words: Vec<_> =
                std::iter::once(script.name.clone()).chain(self.record.words()).collect();
            let words = command_line(words.iter().map(String::as_str));
            log::debug!("run {}: {words}", self.record.id);
            script::run(script, arguments, host)
        })
    }

    /// Waits for what was begun for the run, so that nothing of it goes on when its record says that it
    /// has ended. What hangs, as on a share that does not answer, is told.
    fn wait_for_its_work(&self) {
        let within = match self.environment.ending.is_cancelled() {
            true => WORK_ENDS_AT_THE_END,
            false => WORK_ENDS_WITHIN,
        };
        if !self.scope.work.wait(within) {
            scope::within(Some(self.scope.clone()), || {
                log::warn!(
                    "something that this run began has not ended within {} s: look at the disk, or at the server of the share",
                    within.as_secs()
                );
            });
        }
    }

    /// Why a run that was to save every volume has failed although its script did not: the daemon
    /// listed no volume, while volumes are known that nobody removed.
    fn found_nothing(&self, outcome: &Outcome, guards: &Guards) -> Option<Error> {
        let RunRequest { script, arguments, .. } = &self.request;
        let saves = |does: &Effect| matches!(does, Effect::Snapshot | Effect::Backup);
        if !script.does.iter().any(saves)
            || arguments.values().get("volume").is_some_and(Value::is_string)
            || !outcome.failures.is_empty()
            || !guards.lists_no_volume()
        {
            return None;
        }
        let store = self.environment.recorder.as_ref()?.store();
        missing::error(&store.volumes().ok()?, &guards.identity())
    }

    /// Adds to the error who cancelled the run. The end of the program interrupts a run and does
    /// not cancel it.
    fn explain_cancellation(&self, finished: &mut FinishedRun) {
        let Err(error) = &mut finished.result else { return };
        if error.kind != ErrorKind::Cancelled {
            return;
        }
        match self.recording.as_ref().and_then(Recording::cancelled_by) {
            Some(by) => error.message = format!("the run was cancelled by {by}"),
            None if self.environment.ending.is_cancelled() => {
                finished.status = RunStatus::Interrupted;
                error.message = INTERRUPTED_BY_SERVE.to_owned();
            }
            None => {}
        }
    }

    /// Records the end of the run. Returns whether the end is recorded.
    fn record_end(self, finished: &FinishedRun, guards: &Guards, observed: &[Observation]) -> bool {
        let Some(recording) = self.recording else { return false };
        let now = self.environment.clock.now();
        let record = finished::ended_record(self.record, finished, observed, now);
        let observed = finished.plan.is_none().then(|| (guards.identity(), guards.unrecorded()));
        let read_only = self.request.script.read_only;
        // Clients ask for lists over HTTP often, and rarely look up their records. So the record
        // may come later.
        let end = if read_only && self.request.trigger == Trigger::Http {
            Recording::end_soon
        } else {
            Recording::end
        };
        end(recording, record, finished::output(finished, read_only), observed)
    }
}

/// The volumes whose data may not have been there when the run copied it, whatever the script made
/// of that.
fn in_doubt(guards: &Guards) -> Vec<Failure> {
    let volumes = guards.volumes_in_doubt().into_iter();
    volumes.map(|(volume, error)| Failure::new(&volume, error)).collect()
}
