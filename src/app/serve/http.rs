//! HTTP beside the crontab: listens, answers, and lets the runs of HTTP end when the program ends.

use std::{sync::Arc, time::Duration};

use hyper_util::service::TowerToHyperService;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::program::Program;
use crate::{
    blocking,
    clock::SystemClock,
    config::Config,
    error::Result,
    runs::Store,
    text::counted,
    web::{
        auth::{Gate, Gated},
        events::{self, EventName},
        routes::routes,
        server::{self, Limits, Listener},
    },
};

/// The limit for cancelled runs to end.
const CANCELLED_RUNS_TIMEOUT: Duration = Duration::from_secs(10);

/// Listens, and reads or makes the token. No request is answered yet. `None` if HTTP is off.
///
/// # Errors
/// A configuration error if the address, the token or the files of TLS can't be used.
pub(super) async fn listen(config: &Config) -> Result<Option<(Listener, Arc<Gate>)>> {
    let Some(listener) = server::bind(&config.api).await? else { return Ok(None) };
    let gate = Gate::new(config, Arc::new(SystemClock))?;
    Ok(Some((listener, Arc::new(gate))))
}

/// Answers until `stop`, and sends events to connected clients.
pub(super) fn answer(
    listener: Listener,
    gate: Arc<Gate>,
    program: Arc<Program>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let (config, hub) = (program.shared.config.clone(), program.shared.hub.clone());
    let limits = Limits::of(&config.api);
    // This connection is separate from the recorder's, so it sees what this process writes, too.
    let (store, followed) = (Store::new(&config.data_dir), hub.clone());
    let mut report = program.freshness.report();
    let (events_hub, ended) = (hub.clone(), stop.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                changed = report.changed() => match changed {
                    Ok(()) => events_hub.publish(EventName::Status),
                    Err(_) => return,
                },
            }
        }
    });
    tokio::spawn(async move {
        // Events are followed before any request is answered, so that a client gets all events from
        // then on.
        let following = blocking::run(move || events::follow(store, &followed)).await;
        log::info!("listening on {listener}");
        let service = TowerToHyperService::new(warp::service(routes(program, hub)));
        server::serve(listener, Gated::new(gate, service), limits, stop).await;
        drop(following);
    })
}

/// How the runs of HTTP ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// The runs that went on after the grace time and were cancelled.
    pub(super) cut_off: usize,
    /// The runs among them that did not end even then.
    pub(super) left_behind: usize,
}

/// When the program is told to end, waits for the grace time, and then cancels the runs that go on.
pub(super) async fn end_runs(program: &Program) -> Ended {
    program.shared.ending.cancelled().await;
    program.running.close();
    if tokio::time::timeout(program.shared.config.shutdown_grace, program.running.wait())
        .await
        .is_ok()
    {
        return Ended::default();
    }
    let cut_off = program.running.len();
    log::warn!(
        "{} over HTTP, and cut off",
        counted(cut_off, "run was asked for", "runs were asked for")
    );
    program.cut_off.cancel();
    let _ = tokio::time::timeout(CANCELLED_RUNS_TIMEOUT, program.running.wait()).await;
    Ended { cut_off, left_behind: program.running.len() }
}
