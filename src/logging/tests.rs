//! Which messages go to which destination.

use std::sync::Mutex;

use jiff::Timestamp;

use super::*;

/// Whether a destination of this level would write the record.
fn is_written(level: LevelFilter, record: &log::Record<'_>) -> bool {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (_, logger) =
        dispatch(level, fern::Output::call(move |_| sender.send(()).unwrap())).into_log();
    logger.log(record);
    receiver.try_recv().is_ok()
}

#[test]
fn other_crates_are_heard_from_warnings_on() {
    for (limit, level, target, written) in [
        (LevelFilter::Debug, Level::Debug, "backup", true),
        (LevelFilter::Debug, Level::Debug, "convoy_backups::daemon", true),
        (LevelFilter::Debug, Level::Trace, "backup", false),
        (LevelFilter::Debug, Level::Info, "rustic_core::commands", false),
        (LevelFilter::Debug, Level::Info, "rustic_core", false),
        (LevelFilter::Debug, Level::Warn, "rustic_core", true),
        (LevelFilter::Trace, Level::Trace, "rustic_core", false),
        (LevelFilter::Error, Level::Warn, "rustic_core", false),
        (LevelFilter::Trace, Level::Warn, "aws_smithy_runtime::client::orchestrator", false),
        (LevelFilter::Trace, Level::Trace, "aws_config", false),
        (LevelFilter::Trace, Level::Trace, "tracing::span::active", false),
        (LevelFilter::Trace, Level::Error, "h2::codec", false),
        (LevelFilter::Off, Level::Error, "backup", false),
    ] {
        let record = log::Record::builder().level(level).target(target).build();
        assert_eq!(is_written(limit, &record), written, "{limit} {level} {target}");
    }
}

/// A run's log that keeps its lines.
#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

impl scope::Lines for Kept {
    fn line(&self, _: Timestamp, level: Level, target: &str, message: &str) {
        self.0.lock().unwrap().push(format!("{level} {target} {message:?}"));
    }
}

#[test]
fn a_runs_own_log_has_its_lines_from_debug_on() {
    let (greatest, logger) = to_runs().into_log();
    assert_eq!(greatest, LevelFilter::Debug);
    let log = |level, target| {
        logger.log(
            &log::Record::builder().level(level).target(target).args(format_args!("a\nb")).build(),
        );
    };
    let kept = Arc::new(Kept::default());
    let scope = scope::Scope { lines: Some(kept.clone()), ..scope::Scope::of("r1") };
    log(Level::Error, "backup");
    scope::within(Some(scope), || {
        log(Level::Debug, "convoy_backups::convoy::guards");
        log(Level::Trace, "convoy_backups::convoy::guards");
        log(Level::Warn, "backup");
        log(Level::Info, "rustic_core::repofile");
    });
    assert_eq!(
        *kept.0.lock().unwrap(),
        ["DEBUG convoy::guards \"a\\nb\"", "WARN backup \"a\\nb\""]
    );
}

#[test]
fn a_file_and_a_run_get_what_a_quiet_console_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let file = Arc::new(LogFile::open(&path).unwrap());
    let (_, logger) = to_file(file, LevelFilter::Info, LogFormat::Json, "h").into_log();
    for level in [Level::Error, Level::Info, Level::Debug] {
        logger.log(
            &log::Record::builder()
                .level(level)
                .target(SHOWN_TARGET)
                .args(format_args!("text"))
                .build(),
        );
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let levels: Vec<_> =
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect();
    assert_eq!(
        levels.iter().map(|line| line["level"].as_str().unwrap()).collect::<Vec<_>>(),
        ["error", "info"]
    );
    assert_eq!(levels[0]["target"], "outcome");
}
