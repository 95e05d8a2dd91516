//! Whole crontabs: what is accepted, and the errors of the rest.

use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

use super::{testing::surroundings, *};
use crate::{config::Override, diagnostic::render};

fn checked(text: &str) -> Checked {
    parse(text, "crontab", &surroundings(&[]))
}

#[track_caller]
fn entry(line: &str) -> Arc<CrontabEntry> {
    let checked = checked(line);
    assert!(checked.errors.is_empty(), "{line}: {:?}", checked.errors);
    checked.crontab.entries[0].clone()
}

/// The only error of these lines: its location and its text.
#[track_caller]
fn error(text: &str) -> (usize, usize, String) {
    let checked = checked(text);
    let [error] = &checked.errors[..] else { panic!("{text}: {:#?}", checked.errors) };
    let place = error.location.as_ref().unwrap();
    (place.line, place.column, format!("{error} | {}", error.hint.clone().unwrap_or_default()))
}

#[test]
fn a_line_is_a_schedule_options_and_a_script_with_arguments() {
    let entry = entry(
        "  */15 1-5 * jan,mar mon-fri\t@catchup=off @jitter=30s @timeout=2h backup --volume 'vol1' --create-snapshot # why",
    );
    assert_eq!(entry.schedule.text(), "*/15 1-5 * jan,mar mon-fri");
    assert_eq!(
        (entry.script.as_str(), entry.arguments_text().as_str()),
        ("backup", "--volume vol1 --create-snapshot")
    );
    assert_eq!(
        (entry.catch_up, entry.jitter, entry.timeout),
        (false, Duration::from_secs(30), Duration::from_secs(7_200))
    );
    let (script, arguments) = entry.load().unwrap();
    assert_eq!(
        (script.name.as_str(), arguments.get("create_snapshot").unwrap()),
        ("backup", &serde_json::json!(true))
    );
    for name in ["hourly", "daily", "midnight", "weekly", "monthly", "yearly", "annually"] {
        assert_eq!(self::entry(&format!("@{name} snapshot")).schedule.text(), format!("@{name}"));
    }
    let plain = self::entry("0 0 * * * snapshot");
    assert_eq!(
        (plain.catch_up, plain.jitter, plain.timeout.as_secs()),
        (true, Duration::ZERO, 5 * 3_600)
    );
}

#[test]
fn the_default_crontab_is_right_and_snapshots_hourly_and_backs_up_daily() {
    let checked = checked(crate::schedule::source::BUILT_IN);
    assert!(checked.errors.is_empty() && checked.warnings.is_empty(), "{checked:?}");
    let lines: Vec<_> = checked
        .crontab
        .entries
        .iter()
        .map(|e| format!("{} {}", e.schedule.text(), e.script))
        .collect();
    assert_eq!(lines, ["0 * * * * snapshot", "30 3 * * * backup"]);
    // The lines that are commented out must be valid, too.
    let example = crate::schedule::source::BUILT_IN
        .lines()
        .find_map(|line| line.strip_prefix("# 0 5"))
        .unwrap();
    assert_eq!(entry(&format!("0 5{example}")).script, "prune");
}

#[test]
fn settings_hold_for_the_lines_below_them() {
    let text = "0 0 * * * snapshot\nBKUP_BACKUP_URL=vfs:///one\nCRON_TZ=America/New_York\n0 0 * * * backup\n\
                BKUP_BACKUP_URL=\"vfs:///two\"\nCRON_TZ=\nBKUP_CATCHUP=off\nBKUP_JITTER=5s\nBKUP_RUN_TIMEOUT=1h\n0 0 * * * backup\n";
    let surroundings =
        surroundings(&[("BKUP_BACKUP_URL", "vfs:///zero"), ("BKUP_LOCK_WAIT", "7m")]);
    let (crontab, warnings) = parse(text, "crontab", &surroundings).accept().unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let urls: Vec<_> =
        crontab.entries.iter().map(|e| e.config.backup_url.as_ref().unwrap().to_string()).collect();
    assert_eq!(urls, ["vfs:///zero", "vfs:///one", "vfs:///two"]);
    assert_eq!(crontab.entries[1].schedule.zone().iana_name(), Some("America/New_York"));
    let last = &crontab.entries[2];
    assert_eq!(last.schedule.zone(), &TimeZone::UTC);
    assert_eq!((last.catch_up, last.jitter.as_secs(), last.timeout.as_secs()), (false, 5, 3_600));
    assert_eq!(last.config.lock_wait.as_secs(), 420, "the environment's stays");
}

#[test]
fn flags_win_over_settings_and_a_lines_own_over_all() {
    let mut surroundings = surroundings(&[]);
    surroundings.overrides = vec![Override {
        name: "BKUP_BACKUP_URL",
        flag: "--destination",
        value: "vfs:///flag".into(),
    }];
    let text = "BKUP_BACKUP_URL=vfs:///line\n0 0 * * * backup\n0 0 * * * backup --destination vfs:///own --dry-run\n";
    let (crontab, _) = parse(text, "crontab", &surroundings).accept().unwrap();
    let url = |index: usize| crontab.entries[index].config.backup_url.as_ref().unwrap().to_string();
    assert_eq!((url(0), url(1)), ("vfs:///flag".into(), "vfs:///own".into()));
    assert!(crontab.entries[1].dry_run && !crontab.entries[0].dry_run);
}

#[test]
fn lines_in_the_form_of_etc_crontab_are_understood_and_said_to_be_old() {
    for (line, arguments, new) in [
        (
            "0 * * * * root cd /deploy && node create.js --backup --volume vol2 --createSnapshot",
            "--volume vol2 --createSnapshot",
            "write \"0 * * * * backup --volume vol2 --createSnapshot\"",
        ),
        (
            "@daily root /usr/bin/node /deploy/create.js --volume vol2 --backup >> /var/log/backup.log 2>&1",
            "--volume vol2",
            "write \"@daily backup --volume vol2\"",
        ),
        (
            "0 * * * * cd /deploy; node create.js --backup | logger -t x",
            "",
            "write \"0 * * * * backup\"",
        ),
        (
            "0 * * * * root bash -c 'cd /x && node create.js --backup --volume v1'",
            "--volume v1",
            "backup --volume v1\"",
        ),
        ("0 * * * * --backup --volume vol1", "--volume vol1", "backup --volume vol1\""),
        (
            "0 * * * * /usr/bin/convoy-backups backup --volume vol1 --timeout 2h",
            "--volume vol1",
            "vol1 --timeout 7200s\"",
        ),
        (
            "0 * * * * @jitter=5m convoy-backups run backup",
            "",
            "write \"0 * * * * @jitter=5m backup\"",
        ),
    ] {
        let checked = checked(line);
        assert!(checked.errors.is_empty(), "{line}: {:?}", checked.errors);
        let entry = &checked.crontab.entries[0];
        assert_eq!(
            (entry.script.as_str(), entry.arguments_text().as_str()),
            ("backup", arguments),
            "{line}"
        );
        let [warning] = &checked.warnings[..] else { panic!("{line}: {:?}", checked.warnings) };
        assert!(warning.hint.as_ref().unwrap().contains(new), "{line}: {warning:?}");
        let again = self::checked(
            warning.hint.as_ref().unwrap().trim_start_matches("write ").trim_matches('"'),
        );
        assert!(
            again.errors.is_empty() && again.warnings.is_empty(),
            "the new form is right: {again:?}"
        );
        assert_eq!(again.crontab.entries[0].timeout, entry.timeout);
    }
    assert!(
        error("0 * * * * root node create.js --backup && rm -r /x")
            .2
            .contains("behind \"&&\" can't be run")
    );
    assert!(
        error("0 * * * * BKUP_BACKUP_URL=vfs:///x node create.js --backup")
            .2
            .contains("line of its own")
    );
    assert!(error("0 * * * * root node create.js --bakup").2.contains("did you mean"));
}

#[test]
fn a_line_that_is_wrong_is_pointed_at() {
    for (line, column, words) in [
        ("61 * * * * snapshot", 1, "\"61\" is not a minute | minutes go from 0 to 59"),
        ("* * * *", 8, "five fields, and here are 4 | write minute, hour, day, month and weekday"),
        ("* * * * snapshot", 9, "five fields, and here are 4"),
        ("0 0 30 2 * backup", 5, "\"0 0 30 2 *\" is never due"),
        ("0 0 31 2,4,jun * backup", 5, "never due"),
        ("0 0 * * * * backup", 1, "six or more"),
        ("snapshot", 1, "begins with a schedule"),
        ("@dayly snapshot", 1, "did you mean \"@daily\"?"),
        ("@reboot snapshot", 1, "made up for at its start"),
        ("@catchup=off 0 0 * * * backup", 1, "options stand behind the schedule"),
        ("0 0 * * *", 10, "the line runs nothing"),
        ("0 0 * * * # backup", 11, "the line runs nothing"),
        ("0 0 * * *  backp", 12, "no script named \"backp\" | did you mean \"backup\"?"),
        ("0 0 * * * root backup --volume v1", 11, "write \"0 0 * * * backup --volume v1\""),
        ("0 0 * * * backup --volumes v1", 18, "\"--volumes\" | did you mean \"--volume\"?"),
        ("0 0 * * * create --volume v1 --size 1.5g", 37, "\"1.5g\" is not a size"),
        ("0 0 * * * create --volume v1", 11, "needs --size"),
        ("0 0 * * * backup --volume v1 --volume v2", 30, "given twice"),
        ("0 0 * * * backup vol1 stray", 23, "does not expect the word \"stray\""),
        ("0 0 * * * backup 'x", 18, "not closed"),
        ("0 0 * * * backup > /x", 18, "no shell runs the line"),
        ("0 0 * * * backup --data-dir /x", 18, "not for a line"),
        ("0 0 * * * backup --destination x", 18, "is not a backup destination"),
        ("0 0 * * * @catchup=maybe backup", 20, "neither on nor off"),
        ("0 0 * * * @jitter=5 backup", 19, "\"5\" is not a duration"),
        ("0 0 * * * @jiter=5s backup", 11, "did you mean \"@jitter\"?"),
        ("0 0 * * * @timeout=0s backup", 20, "no time at all"),
        ("0 0 * * * doctor", 11, "\"doctor\" is no script"),
        ("0 0 * * * é\u{7}", 12, "control character"),
        ("CRON_TZ=Europe/Berln", 9, "did you mean \"Europe/Berlin\"?"),
        ("CRON_TZ=berlin", 9, "did you mean \"Europe/Berlin\"?"),
        ("BKUP_RUN_TIMOUT=5h", 1, "did you mean \"BKUP_RUN_TIMEOUT\"?"),
        ("BKUP_RUN_TIMEOUT = soon", 20, "\"soon\" is not a duration"),
        ("BKUP_JITTER=5s # a lot", 13, "on a line of its own"),
        ("BKUP_SCRIPTS_DIR=/no/such", 18, "/no/such"),
    ] {
        let (number, at, said) = error(&format!("# first\n{line}\n"));
        assert_eq!((number, at), (2, column), "{line}: {said}");
        assert!(said.contains(words), "{line}: {said}");
    }
    let checked = checked("0 0 * * * backup --volumes v1");
    assert_eq!(
        render(&checked.errors[0], false),
        "error: \"backup\" has no argument \"--volumes\"\n --> crontab:1:18\n  |\n1 | 0 0 * * * backup --volumes v1\n  |                  ^\n\
         hint: did you mean \"--volume\"? usage: backup [VOLUME] [--project STRING] [--create-snapshot]\n"
    );
    assert_eq!(checked.errors[0].exit_code(), 2);
}

#[test]
fn everything_that_is_wrong_is_found_at_once_and_the_rest_is_read() {
    let checked = checked(
        "61 * * * * snapshot\nBKUP_JITTER=x\n0 0 * * * backup\r\nCRON_TZ=Mars\n0 0 * * * nope\n",
    );
    assert_eq!(checked.errors.len(), 4);
    assert_eq!(checked.crontab.entries.len(), 1);
    assert!(checked.accept().is_err());
}

#[test]
fn lines_of_one_built_in_daemon_have_its_settings() {
    for setting in ["BKUP_REPOSITORY_PASSWORD=another", "BKUP_S3_ENDPOINT=http://minio:9000"] {
        let own = checked(&format!("BKUP_CONVOY=builtin:/other\n{setting}\n0 0 * * * snapshot"));
        assert!(own.errors.is_empty(), "{:?}", own.errors);
        let shared = checked(&format!("{setting}\n0 0 * * * snapshot"));
        assert!(
            shared.errors.iter().any(|error| error.message.contains("one for all lines")),
            "{setting}: {shared:?}"
        );
    }
}

#[test]
fn what_does_nothing_is_warned_of() {
    for (text, words) in [
        ("MAILTO=ops@example.com", "BKUP_EMAIL_TO"),
        ("PATH=/bin", "no shell"),
        ("SHELL=/bin/bash", "no shell"),
        ("TZ=Europe/Berlin", "CRON_TZ"),
        ("FOO=bar", "only CRON_TZ and BKUP_"),
        ("BKUP_LOGGER_CONSOLE_LEVEL=info", "program as a whole"),
        ("BKUP_DATA_DIR=/x", "program as a whole"),
        ("BKUP_S3_ACCESS_KEY_ID=x", "program as a whole"),
        ("*/90 * * * * snapshot", "step of 90"),
        ("0 0 * * * backup --json", "do nothing in a crontab"),
        ("0 0 * * * backup\n0 0 * * *  backup", "the same as line 1"),
    ] {
        let checked = checked(text);
        assert!(checked.errors.is_empty(), "{text}: {:?}", checked.errors);
        let [warning] = &checked.warnings[..] else { panic!("{text}: {:?}", checked.warnings) };
        let said = format!("{warning} {}", warning.hint.clone().unwrap_or_default());
        assert!(said.contains(words), "{text}: {said}");
    }
}

#[test]
fn a_secret_is_not_shown_with_what_is_wrong_around_it() {
    for line in [
        "BKUP_EMAIL_SMTP_PASWORD=hush",
        "BKUP_WEBHOOK_URL=hush",
        "BKUP_API_TOKEN=hush",
        "AWS_SECRET_ACCESS_KEY=hush",
    ] {
        let checked = checked(line);
        for error in checked.errors.iter().chain(&checked.warnings) {
            let shown = format!("{}{}", render(error, false), crate::diagnostic::to_json(error));
            assert!(!shown.contains("hush"), "{shown}");
        }
        assert_eq!(checked.errors.len() + checked.warnings.len(), 1, "{line}");
    }
}

#[test]
fn an_entry_is_the_same_wherever_its_line_stands_and_another_when_it_changes() {
    let key = |text: &str| checked(text).crontab.entries.last().unwrap().key.clone();
    let first = key("0 0 * * * backup --volume v1");
    assert_eq!(
        first,
        key("# moved\n\n0  0 * * *   @catchup=off backup --volume 'v1' # and told of")
    );
    assert_eq!(
        first,
        key("BKUP_EMAIL_SMTP_PASS=hush\n0 0 * * * backup --volume v1"),
        "secrets leave no trace"
    );
    for other in [
        "0 1 * * * backup --volume v1",
        "0 0 * * * backup --volume v2",
        "0 0 * * * snapshot --volume v1",
        "CRON_TZ=Europe/Berlin\n0 0 * * * backup --volume v1",
        "BKUP_BACKUP_URL=vfs:///x\n0 0 * * * backup --volume v1",
        "0 0 * * * backup --volume v1\n0 0 * * * backup --volume v1",
    ] {
        assert_ne!(first, key(other), "{other}");
    }
}

#[test]
fn ten_thousand_lines_are_read_at_once_and_junk_ends_early() {
    let text: String = (0..10_000)
        .map(|n| format!("{} {} * * {} backup --volume vol{n}\n", n % 60, n % 24, n % 7))
        .collect();
    let begun = Instant::now();
    assert_eq!(checked(&text).crontab.entries.len(), 10_000);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}, unoptimised", begun.elapsed());
    let junk = checked(&"x\n".repeat(1_000_000));
    assert_eq!(junk.errors.len(), MOST_ERRORS + 1);
    assert!(junk.errors.last().unwrap().message.contains("too many errors"));
}

#[test]
fn a_prune_that_would_refuse_to_run_is_an_error_at_once() {
    for (line, words) in [
        ("0 5 * * * prune", "needs to know what to keep | give at least one of --keep-last"),
        ("0 5 * * * prune --keep-daily 0 --snapshots", "needs to know what to keep"),
        ("0 5 * * * prune --keep-daily=-1", "-1 is not a number of items to keep"),
    ] {
        let (line_number, column, message) = error(line);
        assert!(message.contains(words), "{line}: {message}");
        assert_eq!((line_number, column), (1, 11));
    }
    entry("0 5 * * * prune --keep-within 7d");
}

#[test]
fn a_line_that_may_back_up_is_told_from_one_that_does_not() {
    let folder = crate::script::testing::folder(&[
        ("nightly.rhai", "fn main() { [] }"),
        ("report.rhai", "const READ_ONLY = true;\nfn main() { [] }"),
        ("copy.rhai", "const DOES = [\"backup\"];\nfn main() { [] }"),
        ("tidy.rhai", "const DOES = [\"prune\"];\nfn main() { [] }"),
    ]);
    let text = "0 1 * * * backup\n0 2 * * * backup --dry-run\n0 3 * * * snapshot\n0 4 * * * nightly\n0 5 * * * report\n0 6 * * * copy\n0 7 * * * tidy\n";
    let surroundings = surroundings(&[("BKUP_SCRIPTS_DIR", folder.path().to_str().unwrap())]);
    let (crontab, _) = parse(text, "crontab", &surroundings).accept().unwrap();
    let may: Vec<bool> = crontab.entries.iter().map(|entry| entry.may_back_up).collect();
    assert_eq!(may, [true, false, false, true, false, true, false]);
}
