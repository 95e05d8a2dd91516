//! `/metrics`: metrics in Prometheus' text format (0.0.4), with names and units by Prometheus'
//! conventions.
//!
//! The counters of runs come from the store, so they cover the runs of every process and outlive
//! restarts.

use std::{collections::BTreeMap, fmt::Write as _};

use warp::{
    http::{HeaderValue, header::CONTENT_TYPE},
    reply::Response,
};

use super::{answer::blocking, problem::Problem, request::ApiRequest};
use crate::{
    runs::record::{DURATION_BUCKETS, Totals},
    status::{Report, VolumeStatus},
};

/// GET /metrics
pub(super) async fn show(request: ApiRequest) -> Result<Response, Problem> {
    let core = request.core;
    let report = core.status(false).await;
    let schedule = core.schedule();
    let mut missed: BTreeMap<String, u64> = BTreeMap::new();
    for status in &schedule.entries {
        *missed.entry(status.entry.script.clone()).or_default() += status.missed;
    }
    let read =
        move || Ok((core.store().totals(), core.store().open_runs(), core.waiting_messages()));
    let (totals, open, waiting) = blocking(read).await?;
    let mut text = Text::default();
    text.gauge(
        "convoy_backups_store_up",
        "Whether the store of runs can be read.",
        f64::from(totals.is_ok()),
    );
    if let (Ok(totals), Ok(open)) = (&totals, &open) {
        runs(&mut text, totals, *open);
    }
    text.family(
        "convoy_backups_missed_ticks_total",
        "counter",
        "Due times of the crontab that passed without a run, since the program was started.",
    );
    missed.iter().for_each(|(script, missed)| {
        text.sample("convoy_backups_missed_ticks_total", &[("script", script)], *missed as f64);
    });
    let paused = schedule.entries.iter().filter(|status| status.paused).count();
    text.gauge(
        "convoy_backups_paused_entries",
        "Lines of the crontab that somebody paused.",
        paused as f64,
    );
    text.gauge("convoy_backups_outbox_messages", "Messages that wait to be sent.", waiting as f64);
    volumes(&mut text, &report.volumes);
    program(&mut text, &report);
    let mut response = Response::new(text.0.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    Ok(response)
}

fn runs(text: &mut Text, totals: &Totals, open: u64) {
    text.family(
        "convoy_backups_runs_total",
        "counter",
        "Runs that ended, but for dry runs, by script and how they ended.",
    );
    for (script, status, count) in &totals.runs {
        text.sample(
            "convoy_backups_runs_total",
            &[("script", script), ("status", status.as_str())],
            *count as f64,
        );
    }
    text.gauge(
        "convoy_backups_runs_in_progress",
        "Runs that go on or wait for their turn.",
        open as f64,
    );
    text.family(
        "convoy_backups_run_duration_seconds",
        "histogram",
        "How long runs took, but for dry runs.",
    );
    for duration in &totals.durations {
        let script = duration.script.as_str();
        let mut count = 0;
        for (index, bucket) in duration.counts.iter().enumerate() {
            count += bucket;
            let limit =
                DURATION_BUCKETS.get(index).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
            let labels = [("script", script), ("le", &limit)];
            text.sample("convoy_backups_run_duration_seconds_bucket", &labels, count as f64);
        }
        text.sample(
            "convoy_backups_run_duration_seconds_sum",
            &[("script", script)],
            duration.seconds,
        );
        text.sample(
            "convoy_backups_run_duration_seconds_count",
            &[("script", script)],
            count as f64,
        );
    }
    text.family(
        "convoy_backups_backup_bytes_total",
        "counter",
        "Bytes of the backups that were made, where the daemon tells.",
    );
    text.sample("convoy_backups_backup_bytes_total", &[], totals.backup_bytes as f64);
}

/// Seconds since 1970.
fn seconds(time: jiff::Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1_000.0
}

fn volumes(text: &mut Text, volumes: &[VolumeStatus]) {
    let mut of_volumes = |name: &str, help: &str, value: &dyn Fn(&VolumeStatus) -> Option<f64>| {
        text.family(name, "gauge", help);
        for (volume, value) in volumes.iter().filter_map(|volume| Some((volume, value(volume)?))) {
            let labels = [
                ("volume", volume.name.as_str()),
                ("daemon", volume.daemon.as_deref().unwrap_or_default()),
            ];
            // To Prometheus, an empty label is the same as no label.
            let labels = if volume.daemon.is_some() { &labels[..] } else { &labels[..1] };
            text.sample(name, labels, value);
        }
    };
    of_volumes(
        "convoy_backups_last_success_timestamp_seconds",
        "When the volume's newest good backup was made.",
        &|volume| volume.last_backup.as_ref().map(|backup| seconds(backup.made)),
    );
    of_volumes(
        "convoy_backups_last_snapshot_timestamp_seconds",
        "When the volume's newest snapshot was taken.",
        &|volume| volume.last_snapshot.map(seconds),
    );
    of_volumes(
        "convoy_backups_last_backup_bytes",
        "The size of the volume's newest good backup.",
        &|volume| {
            volume.last_backup.as_ref().and_then(|backup| backup.bytes).map(|bytes| bytes as f64)
        },
    );
    of_volumes(
        "convoy_backups_backup_overdue",
        "Whether the volume should have a good backup that is new enough, and has none.",
        &|volume| Some(f64::from(volume.verdict.state.is_wrong())),
    );
    of_volumes(
        "convoy_backups_never_backed_up",
        "Whether the volume has no good backup at all.",
        &|volume| Some(f64::from(volume.last_backup.is_none())),
    );
    of_volumes(
        "convoy_backups_volume_problems",
        "How many things are wrong with the volume.",
        &|volume| Some(volume.problems.len() as f64),
    );
}

/// The metrics of the program and of the last report as a whole.
fn program(text: &mut Text, report: &Report) {
    text.gauge(
        "convoy_backups_healthy",
        "Whether nothing is known to be wrong.",
        f64::from(report.ok),
    );
    let looked = seconds(report.looked);
    text.gauge(
        "convoy_backups_status_timestamp_seconds",
        "When the volumes were looked at last.",
        looked,
    );
    let build: &[(&str, &str)] = &[("version", env!("CARGO_PKG_VERSION"))];
    text.family("convoy_backups_build_info", "gauge", "The program's version.");
    text.sample("convoy_backups_build_info", build, 1.0);
}

/// The names of labels and their values.
type Labels<'a> = &'a [(&'a str, &'a str)];

#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.0 += name;
        for (index, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            _ = write!(self.0, "{}{label}=\"{value}\"", if index == 0 { '{' } else { ',' });
        }
        _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_as_prometheus_reads_them_whatever_a_volume_is_called() {
        let mut text = Text::default();
        text.gauge("a_bytes", "Help.", 2e9);
        text.sample("a_bytes", &[("volume", "vol\"1\\\n")], 1.5);
        let lines: Vec<&str> = text.0.lines().collect();
        assert_eq!(
            lines,
            [
                "# HELP a_bytes Help.",
                "# TYPE a_bytes gauge",
                "a_bytes 2000000000",
                r#"a_bytes{volume="vol\"1\\\n"} 1.5"#
            ]
        );
    }
}
