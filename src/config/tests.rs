use std::path::Path;

use super::*;
use crate::error::Error;

fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// Reads settings as an ordinary user whose home is `/home/me`.
fn read(pairs: &[(&str, &str)], overrides: &[Override]) -> Result<(Config, Vec<Warning>)> {
    let home = environment(&[("HOME", "/home/me"), ("PATH", "/bin")]);
    Config::for_user(
        SystemSettings::default(),
        home.into_iter().chain(environment(pairs)),
        overrides,
        false,
    )
}

fn config(pairs: &[(&str, &str)]) -> Config {
    read(pairs, &[]).unwrap().0
}

fn wrong(pairs: &[(&str, &str)]) -> Error {
    let error = read(pairs, &[]).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    error
}

fn flag(name: &'static str, flag: &'static str, value: &str) -> Override {
    Override { name, flag, value: value.into() }
}

fn line(config: &Config, name: &str) -> Effective {
    config.effective().into_iter().find(|line| line.name == name).unwrap()
}

#[test]
fn the_defaults_are_those_that_users_know() {
    let config = config(&[]);
    assert!(config.backup_url.is_none() && config.convoy.is_none() && config.api.token.is_none());
    assert!(config.delete_old_snapshots && config.console_log.enabled);
    assert!(!config.file_log.enabled && !config.syslog.enabled && !config.email.enabled);
    assert_eq!(config.console_log.level, LevelFilter::Debug);
    assert_eq!(config.file_log.location, Path::new("/tmp/backups.log"));
    assert_eq!((config.syslog.server.as_str(), config.syslog.port), ("10.10.10.10", 3030));
    assert_eq!(config.email.transport, EmailTransport::Smtp);
    assert_eq!(
        (config.email.smtp_host.as_str(), config.email.smtp_port),
        ("smtp.sendgrid.net", 465)
    );
    assert_eq!(
        (config.email.from.as_str(), config.email.to.join(",")),
        ("support@newco.co", "alert@newco.co".into())
    );
    assert_eq!(config.run_timeout, Duration::from_secs(5 * 3_600));
    assert_eq!(config.lock_wait, Duration::from_secs(300));
}

#[test]
fn what_is_set_is_taken() {
    let config = config(&[
        ("BKUP_BACKUP_URL", "s3://bkt@us-east-1/host1"),
        ("BKUP_S3_ENDPOINT", "http://minio:9000"),
        ("BKUP_DELETE_OLD_SNAPSHOTS", "No"),
        ("BKUP_SCRIPTS_DIR", "/etc/scripts"),
        ("BKUP_CRONTAB", "/etc/crontab"),
        ("BKUP_API_LISTEN", "[::1]:8080"),
        ("BKUP_RUN_TIMEOUT", "1d12h"),
        ("BKUP_LOCK_WAIT", "0s"),
        ("BKUP_HOST", "db1"),
        ("BKUP_EMAIL_TRANSPORT", "SES"),
        ("BKUP_EMAIL_TO", "a@example.com, Bea <b@example.com>"),
    ]);
    assert_eq!(config.backup_url.unwrap().to_string(), "s3://bkt@us-east-1/host1");
    assert_eq!(config.s3_endpoint.unwrap(), "http://minio:9000");
    assert!(!config.delete_old_snapshots);
    assert_eq!(config.scripts_dir.unwrap(), Path::new("/etc/scripts"));
    assert_eq!(config.crontab.unwrap(), Path::new("/etc/crontab"));
    assert_eq!(config.api.listen.unwrap().port(), 8080);
    assert_eq!((config.run_timeout.as_secs(), config.lock_wait.as_secs()), (129_600, 0));
    assert_eq!(config.host.unwrap(), "db1");
    assert_eq!(config.email.transport, EmailTransport::Ses);
    assert_eq!(config.email.to, ["a@example.com", "Bea <b@example.com>"]);
}

#[test]
fn truth_is_understood_in_every_usual_spelling() {
    for (text, value) in [
        ("true", true),
        ("1", true),
        ("YES", true),
        ("On", true),
        (" true ", true),
        ("false", false),
        ("0", false),
        ("no", false),
        ("OFF", false),
    ] {
        assert_eq!(config(&[("BKUP_EMAIL_ENABLED", text)]).email.enabled, value, "{text}");
    }
}

#[test]
fn levels_have_the_names_of_the_node_version_too() {
    for (text, level) in [
        ("error", LevelFilter::Error),
        ("WARN", LevelFilter::Warn),
        ("warning", LevelFilter::Warn),
        ("info", LevelFilter::Info),
        ("http", LevelFilter::Info),
        ("verbose", LevelFilter::Debug),
        ("debug", LevelFilter::Debug),
        ("silly", LevelFilter::Trace),
        ("trace", LevelFilter::Trace),
        ("off", LevelFilter::Off),
    ] {
        assert_eq!(config(&[("BKUP_LOGGER_FILE_LEVEL", text)]).file_log.level, level, "{text}");
    }
}

#[test]
fn what_is_wrong_names_the_variable_the_value_and_what_is_expected() {
    for (name, value, message, hint) in [
        (
            "BKUP_DELETE_OLD_SNAPSHOTS",
            "maybe",
            "\"maybe\" is not true or false",
            "write true or false",
        ),
        ("BKUP_BACKUP_URL", "vfs://backups", "must be absolute", "vfs:///absolute/folder"),
        ("BKUP_BACKUP_URL", "ftp://host/x", "\"ftp\" is not known", "vfs:///absolute/folder"),
        ("BKUP_BACKUP_URL", "\"vfs:///backups\"", "is not known", "take the quotes away"),
        ("BKUP_LOGGER_CONSOLE_LEVEL", "loud", "\"loud\" is not a log level", "error, warn, info"),
        ("BKUP_LOGGER_SYSLOG_PORT", "0", "\"0\" is not a port", "1 to 65535"),
        ("BKUP_EMAIL_SMTP_PORT", "65536", "\"65536\" is not a port", "1 to 65535"),
        ("BKUP_RUN_TIMEOUT", "5", "\"5\" is not a duration", "5h"),
        ("BKUP_RUN_TIMEOUT", "0s", "\"0s\" is not a duration", "5h"),
        ("BKUP_LOCK_WAIT", "-1s", "\"-1s\" is not a duration", "5h"),
        ("BKUP_API_LISTEN", "8080", "\"8080\" is not an address to listen on", "127.0.0.1:8080"),
        ("BKUP_CONVOY", "/var/run/convoy.sock", "is not a volume daemon", "unix:///var/run"),
        ("BKUP_CONVOY", "unix://convoy.sock", "is not a volume daemon", "unix:///var/run"),
        ("BKUP_CONVOY", "unix:///", "is not a volume daemon", "unix:///var/run"),
        ("BKUP_CONVOY", "builtin:data", "is not a volume daemon", "builtin:/absolute"),
        ("BKUP_CONVOY", "builtin:/", "is not a volume daemon", "builtin:/absolute"),
        ("BKUP_DATA_DIR", "data", "\"data\" is not an absolute folder", "/var/lib"),
        ("BKUP_S3_ENDPOINT", "minio:9000", "\"minio:9000\" is not an endpoint", "http://host:port"),
        ("BKUP_HOST", "a b", "\"a b\" is not a host name", "without spaces"),
        ("BKUP_EMAIL_TRANSPORT", "pigeon", "\"pigeon\" is not a way", "smtp or ses"),
        ("BKUP_EMAIL_TO", "a@example.com,", "is not an e-mail address", "name@example.com"),
        ("BKUP_EMAIL_FROM", "me\r\nBcc: you@example.com", "control character", ""),
        ("BKUP_SCRIPTS_DIR", "   ", "only white space", ""),
    ] {
        let error = wrong(&[(name, value)]);
        assert!(error.message.starts_with(name) && error.message.contains(message), "{error}");
        assert!(error.hint.unwrap_or_default().contains(hint), "{error}", error = error.message);
    }
}

#[test]
fn a_socket_longer_than_a_socket_can_be_is_refused() {
    let path = format!("unix:///{}", "s".repeat(120));
    assert!(wrong(&[("BKUP_CONVOY", &path)]).message.contains("is not a volume daemon"));
}

#[test]
fn a_value_that_is_not_utf_8_is_an_error_and_foreign_ones_are_left_alone() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = OsString::from_vec(vec![0xff]);
    let read = |name: &str| {
        Config::for_user(
            SystemSettings::default(),
            [("HOME".into(), "/home/me".into()), (name.into(), bytes.clone())],
            &[],
            false,
        )
        .map(|_| ())
    };
    assert!(read("BKUP_HOST").unwrap_err().message.contains("BKUP_HOST is not valid UTF-8"));
    read("OTHER").unwrap();
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let config = config(&[
        ("BKUP_BACKUP_URL", ""),
        ("BKUP_RUN_TIMEOUT", ""),
        ("BKUP_EMAIL_SMTP_PASS_FILE", ""),
    ]);
    assert!(config.backup_url.is_none() && config.email.smtp_password.is_none());
    assert_eq!(line(&config, "BKUP_RUN_TIMEOUT").source, "default");
}

#[test]
fn a_flag_wins_over_the_environment() {
    let flags = [flag("BKUP_BACKUP_URL", "--backup-url", "vfs:///other")];
    let (config, _) = read(&[("BKUP_BACKUP_URL", "vfs:///backups")], &flags).unwrap();
    assert_eq!(config.backup_url.as_ref().unwrap().to_string(), "vfs:///other");
    assert_eq!(line(&config, "BKUP_BACKUP_URL").source, "flag --backup-url");
    let error = read(&[], &[flag("BKUP_BACKUP_URL", "--backup-url", "x")]).unwrap_err();
    assert!(error.message.starts_with("--backup-url: \"x\""), "{error}");
}

#[test]
fn a_file_holds_a_value_without_the_newline_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let name = path.to_str().unwrap();
    for (content, value) in [
        ("token", "token"),
        ("token\n", "token"),
        ("token\r\n", "token"),
        (" to ken \n\n", " to ken \n"),
    ] {
        std::fs::write(&path, content).unwrap();
        let config = config(&[("BKUP_EMAIL_SMTP_PASS_FILE", name)]);
        assert_eq!(config.email.smtp_password.as_ref().unwrap().expose(), value);
        assert_eq!(line(&config, "BKUP_EMAIL_SMTP_PASS").source, format!("file {name}"));
    }
    std::fs::write(&path, "vfs:///backups\n").unwrap();
    assert_eq!(
        config(&[("BKUP_BACKUP_URL_FILE", name)]).backup_url.unwrap().to_string(),
        "vfs:///backups"
    );
    std::fs::write(&path, "nonsense\n").unwrap();
    let error = wrong(&[("BKUP_BACKUP_URL_FILE", name)]);
    assert!(
        error.message.starts_with(&format!("BKUP_BACKUP_URL (in the file \"{name}\"): ")),
        "{error}"
    );
}

#[test]
fn a_file_that_holds_no_value_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    for (path, why) in [
        (folder.path().join("missing").to_str().unwrap().to_owned(), "No such file"),
        (folder.path().to_str().unwrap().to_owned(), "directory"),
        (file("empty", b"\n"), "is empty"),
        (file("binary", b"\xff\xfe"), "not valid UTF-8"),
        (file("large", &[b'x'; 65_537]), "larger than 64 KiB"),
    ] {
        let error = wrong(&[("BKUP_API_TOKEN_FILE", &path)]);
        assert!(
            error.message.starts_with("BKUP_API_TOKEN_FILE: ") && error.message.contains(why),
            "{error}"
        );
        assert!(error.message.contains(&path) && error.hint.is_some(), "{error}");
    }
}

#[test]
fn a_variable_and_its_file_together_are_an_error() {
    let error = wrong(&[("BKUP_HOST", "a"), ("BKUP_HOST_FILE", "/x")]);
    assert_eq!(error.message, "BKUP_HOST and BKUP_HOST_FILE are both set");
}

#[test]
fn unknown_names_are_warned_about_with_the_nearest_known_one() {
    let (_, warnings) = read(
        &[
            ("BKUP_BACKUP_ULR", "vfs:///x"),
            ("BKUP_API_TOKN_FILE", "/x"),
            ("BKUP_FOO", "1"),
            ("BACKUP_URL", "x"),
        ],
        &[],
    )
    .unwrap();
    let shown: Vec<_> = warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        shown,
        [
            "\"BKUP_API_TOKN_FILE\" is not a setting, so it has no effect (did you mean \"BKUP_API_TOKEN\"?)",
            "\"BKUP_BACKUP_ULR\" is not a setting, so it has no effect (did you mean \"BKUP_BACKUP_URL\"?)",
            "\"BKUP_FOO\" is not a setting, so it has no effect",
        ]
    );
}

#[test]
fn secrets_are_shown_nowhere() {
    let value = |name: &str| match name {
        "BKUP_WEBHOOK_URL" => "https://hooks.example.com/hunter2",
        "BKUP_API_TOKEN" => "hunter2-hunter2-hunter2",
        "BKUP_API_READ_TOKEN" => "hunter2-hunter2-hunter2-hunter2",
        _ => "hunter2",
    };
    let secrets = SETTINGS
        .iter()
        .filter(|setting| setting.is_secret())
        .map(|setting| (setting.name, value(setting.name)));
    let secrets: Vec<_> = secrets.collect();
    assert_eq!(secrets.len(), 10);
    let config = config(&secrets);
    assert_eq!(config.email.ses_access_key_id.as_ref().unwrap().expose(), "hunter2");
    let listing = serde_json::to_string(&config.effective()).unwrap();
    for shown in [format!("{config:?}"), listing, format!("{:?}", config.public_values())] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert_eq!(line(&config, "BKUP_EMAIL_SMTP_PASS").value, "(set)");
    assert_eq!(line(&self::config(&[]), "BKUP_EMAIL_SMTP_PASS").value, "(not set)");
}

#[test]
fn a_webhook_that_is_no_address_is_refused_without_showing_it() {
    for address in
        ["hooks.example.com/hunter2", "https:///hunter2", "ftp://x/hunter2", "https://x/ hunter2"]
    {
        let error = wrong(&[("BKUP_WEBHOOK_URL", address)]);
        assert!(!format!("{error:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn how_smtp_is_secured_goes_by_the_port_unless_it_is_said() {
    let security = |port, security| {
        config(&[("BKUP_EMAIL_SMTP_PORT", port), ("BKUP_EMAIL_SMTP_SECURITY", security)])
            .email
            .smtp_security
    };
    assert_eq!(security("465", "auto"), SmtpSecurity::Tls);
    assert_eq!(security("587", "auto"), SmtpSecurity::StartTls);
    assert_eq!(security("25", "auto"), SmtpSecurity::StartTls);
    assert_eq!(security("465", "starttls"), SmtpSecurity::StartTls);
    assert_eq!(security("25", "none"), SmtpSecurity::None);
    wrong(&[("BKUP_EMAIL_SMTP_SECURITY", "ssl3")]);
}

#[test]
fn an_endpoint_with_a_password_is_refused_without_showing_it() {
    let error = wrong(&[("BKUP_S3_ENDPOINT", "http://me:hunter2@minio:9000")]);
    assert!(!format!("{error:?}").contains("hunter2"), "{error}");
}

#[test]
fn the_listing_has_every_setting_with_its_value_and_source() {
    let config = config(&[("BKUP_HOST", "db1")]);
    let listing = config.effective();
    assert_eq!(listing.len(), SETTINGS.len());
    let host = line(&config, "BKUP_HOST");
    assert_eq!((host.value.as_str(), host.source.as_str()), ("db1", "environment"));
    assert_eq!(line(&config, "BKUP_RUN_TIMEOUT").value, "5h");
    assert_eq!(line(&config, "BKUP_DATA_DIR").value, "/home/me/.local/share/convoy-backups");
    assert_eq!(config.public_values()["host"], "db1");
}

#[test]
fn the_data_folder_depends_on_who_asks() {
    let data_dir = |pairs: &[(&str, &str)], is_root| {
        Config::for_user(SystemSettings::default(), environment(pairs), &[], is_root)
            .map(|(config, _)| config.data_dir)
    };
    let home = ("HOME", "/home/me");
    assert_eq!(data_dir(&[home], true).unwrap(), Path::new("/var/lib/convoy-backups"));
    assert_eq!(
        data_dir(&[home], false).unwrap(),
        Path::new("/home/me/.local/share/convoy-backups")
    );
    assert_eq!(
        data_dir(&[home, ("XDG_DATA_HOME", "/data")], false).unwrap(),
        Path::new("/data/convoy-backups")
    );
    assert_eq!(
        data_dir(&[home, ("XDG_DATA_HOME", "relative")], false).unwrap(),
        Path::new("/home/me/.local/share/convoy-backups")
    );
    assert_eq!(data_dir(&[("BKUP_DATA_DIR", "/d")], false).unwrap(), Path::new("/d"));
    for pairs in [&[][..], &[("HOME", "")], &[("HOME", "me")]] {
        let error = data_dir(pairs, false).unwrap_err();
        assert!(error.hint.unwrap().contains("BKUP_DATA_DIR"));
    }
}

#[test]
fn relative_paths_are_made_absolute_at_once() {
    let here = std::env::current_dir().unwrap();
    assert_eq!(
        config(&[("BKUP_SCRIPTS_DIR", "scripts")]).scripts_dir.unwrap(),
        here.join("scripts")
    );
    let (config, _) = read(&[], &[flag("BKUP_DATA_DIR", "--data-dir", "data")]).unwrap();
    assert_eq!(config.data_dir, here.join("data"));
}

#[test]
fn the_daemon_is_the_one_asked_for_else_convoy_else_the_built_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let (there, missing) = (folder.path().join("there"), folder.path().join("missing"));
    std::fs::write(&there, "").unwrap();
    let asked = config(&[("BKUP_CONVOY", "builtin:/d//x/")]).daemon_beside(&there);
    assert_eq!(asked.choice, DaemonChoice::Builtin("/d/x".into()));
    assert_eq!(asked.why, "BKUP_CONVOY is \"builtin:/d/x\"");
    let asked = config(&[("BKUP_CONVOY", "unix:///run/c.sock")]);
    assert_eq!(asked.daemon_beside(&missing).choice, DaemonChoice::Socket("/run/c.sock".into()));
    let unset = config(&[("BKUP_DATA_DIR", "/d")]);
    let found = unset.daemon_beside(&there);
    assert_eq!(found.choice, DaemonChoice::Socket(there.clone()));
    assert!(found.why.ends_with("is there"), "{found:?}");
    for nothing in [missing, there.join("below a file")] {
        let found = unset.daemon_beside(&nothing);
        assert_eq!(found.choice, DaemonChoice::Builtin("/d/daemon".into()));
        assert!(found.why.contains("there is no"), "{found:?}");
    }
}

#[test]
fn a_socket_that_can_not_be_looked_at_is_not_taken_for_missing() {
    let unreadable = PathBuf::from(format!("/{}", "x".repeat(300)));
    let found = config(&[("BKUP_DATA_DIR", "/d")]).daemon_beside(&unreadable);
    assert_eq!(found.choice, DaemonChoice::Socket(unreadable));
}

#[test]
fn another_daemon_than_the_remembered_one_is_refused_until_somebody_settles_it() {
    let folder = tempfile::tempdir().unwrap();
    let (there, missing) = (folder.path().join("there"), folder.path().join("missing"));
    std::fs::write(&there, "").unwrap();
    let data = folder.path().join("data").display().to_string();
    let unset = config(&[("BKUP_DATA_DIR", &data)]);
    let socket = DaemonChoice::Socket(there.clone());
    let builtin = DaemonChoice::Builtin(unset.builtin_root());

    unset.remember_run(&socket, None).unwrap();
    assert!(unset.daemon_beside(&there).refusal.is_none());
    let refused = unset.daemon_beside(&missing);
    assert_eq!(refused.choice, socket, "what is known is known of the remembered one");
    let (error, hint) = (refused.refusal.clone().unwrap(), refused.refusal.unwrap().hint.unwrap());
    assert!(error.message.contains(&format!("belong to \"{socket}\"")), "{error}");
    assert!(hint.contains("daemon use builtin") && hint.contains("BKUP_CONVOY"), "{hint}");
    unset.remember_run(&builtin, None).unwrap();
    assert!(unset.daemon_beside(&missing).refusal.is_some(), "a run settles it once");

    let set = config(&[("BKUP_DATA_DIR", &data), ("BKUP_CONVOY", "builtin:/other")]);
    assert!(set.daemon_beside(&missing).refusal.is_none());
    set.remember_run(&DaemonChoice::Builtin("/other".into()), None).unwrap();
    assert_eq!(unset.remembered_daemon().unwrap().unwrap().choice, socket);

    let used = RememberedDaemon { choice: builtin.clone(), settled: Settled::Use, same: None };
    unset.remember_daemon(&used).unwrap();
    let settled = unset.daemon_beside(&there);
    assert!(settled.refusal.is_none() && settled.choice == builtin, "{settled:?}");

    std::fs::write(folder.path().join("data/daemon.json"), "{").unwrap();
    assert!(unset.daemon_beside(&there).refusal.is_some(), "what can't be read settles nothing");
}

#[test]
fn the_way_of_a_built_in_daemon_that_serves_the_socket_is_no_other_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let (there, missing) = (folder.path().join("there"), folder.path().join("missing"));
    std::fs::write(&there, "").unwrap();
    let data = folder.path().join("data").display().to_string();
    let unset = config(&[("BKUP_DATA_DIR", &data)]);
    let own = DaemonChoice::Builtin(unset.builtin_root());
    unset.remember_run(&DaemonChoice::Socket(there.clone()), Some(&own)).unwrap();
    let stopped = unset.daemon_beside(&missing);
    assert!(stopped.refusal.is_none() && stopped.choice == own, "{stopped:?}");
    let roots_own = DaemonChoice::Socket(unset.builtin_root().join("convoy.sock"));
    assert!(own.is_same(&roots_own) && !own.is_same(&DaemonChoice::Socket(there)));
}

#[test]
fn a_flag_is_for_one_command_and_is_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let flag = [flag("BKUP_CONVOY", "--convoy", "builtin:/other")];
    let (flagged, _) = read(&[("BKUP_DATA_DIR", &data)], &flag).unwrap();
    flagged.remember_run(&DaemonChoice::Builtin("/other".into()), None).unwrap();
    assert_eq!(flagged.remembered_daemon().unwrap(), None);
    let (set, _) =
        read(&[("BKUP_DATA_DIR", &data), ("BKUP_CONVOY", "builtin:/other")], &[]).unwrap();
    set.remember_run(&DaemonChoice::Builtin("/other".into()), None).unwrap();
    assert!(set.remembered_daemon().unwrap().is_some());
}

#[test]
fn another_daemon_in_the_services_settings_is_remembered_in_place_of_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let file = folder.path().join("services");
    std::fs::write(&file, "BKUP_CONVOY=builtin:/other\n").unwrap();
    let unset = config(&[("BKUP_DATA_DIR", &data)]);
    unset.remember_run(&DaemonChoice::Builtin(unset.builtin_root()), None).unwrap();

    let named = environment(&[("BKUP_DEFAULTS", file.to_str().unwrap())]).into_iter().collect();
    let system = SystemSettings::find(&named).unwrap();
    let (set, _) =
        Config::for_user(system, environment(&[("BKUP_DATA_DIR", &data)]), &[], true).unwrap();
    set.remember_run(&set.daemon().choice, None).unwrap();
    let remembered = unset.remembered_daemon().unwrap().unwrap();
    assert_eq!(remembered.choice, DaemonChoice::Builtin("/other".into()));
}

#[test]
fn the_console_is_quiet_unless_serving_or_asked() {
    let default = config(&[]);
    let asked = config(&[("BKUP_LOGGER_CONSOLE_LEVEL", "info")]);
    let off = config(&[("BKUP_LOGGER_CONSOLE_ENABLED", "false")]);
    for (config, serving, verbose, quiet, level) in [
        (&default, false, 0, false, LevelFilter::Warn),
        (&default, true, 0, false, LevelFilter::Debug),
        (&default, false, 1, false, LevelFilter::Info),
        (&default, false, 2, true, LevelFilter::Debug),
        (&default, true, 9, false, LevelFilter::Trace),
        (&default, false, 0, true, LevelFilter::Error),
        (&asked, false, 0, false, LevelFilter::Info),
        (&asked, true, 0, false, LevelFilter::Info),
        (&off, true, 0, false, LevelFilter::Off),
        (&off, false, 1, false, LevelFilter::Info),
    ] {
        assert_eq!(config.console_level(serving, verbose, quiet), level);
    }
}

#[test]
fn http_is_answered_on_this_machine_only_unless_it_is_said_or_turned_off() {
    let api = config(&[]).api;
    assert_eq!(api.listen.unwrap().to_string(), "127.0.0.1:3000");
    assert!(api.tls.is_none() && api.hosts.is_empty() && api.allow_origins.is_empty());
    assert_eq!(api.max_connections, 256);
    assert!(config(&[("BKUP_API_LISTEN", "Off")]).api.listen.is_none());
}

#[test]
fn a_token_that_could_be_guessed_or_not_be_sent_is_refused_without_showing_it() {
    for (token, why) in [
        ("hunter2hunter2", "shorter than 16"),
        ("hunter2 hunter2 hunter2", "can't stand in a header"),
        ("hunter2-hunter2-hüntér2", "can't stand in a header"),
        ("hunter2-hunter2-hunter2\n", "can't stand in a header"),
    ] {
        for name in ["BKUP_API_TOKEN", "BKUP_API_READ_TOKEN"] {
            let error = wrong(&[(name, token)]);
            assert!(error.message.starts_with(name) && error.message.contains(why), "{error}");
            assert!(error.hint.is_some() && !format!("{error:?}").contains("hunter2"), "{error}");
        }
    }
    let twice = "hunter2-hunter2-hunter2";
    let error = wrong(&[("BKUP_API_TOKEN", twice), ("BKUP_API_READ_TOKEN", twice)]);
    assert!(error.message.contains("the same"), "{error}");
}

#[test]
fn tls_needs_the_certificate_and_the_key() {
    let (certificate, key) =
        (("BKUP_API_TLS_CERTIFICATE", "/tls/cert.pem"), ("BKUP_API_TLS_KEY", "/tls/key.pem"));
    let files = config(&[certificate, key]).api.tls.unwrap();
    assert_eq!(
        (files.certificate.as_path(), files.key.as_path()),
        (Path::new("/tls/cert.pem"), Path::new("/tls/key.pem"))
    );
    assert!(wrong(&[certificate]).message.contains("BKUP_API_TLS_KEY"));
    assert!(wrong(&[key]).message.contains("BKUP_API_TLS_CERTIFICATE"));
}

#[test]
fn names_and_origins_are_lists() {
    let api = config(&[
        ("BKUP_API_HOSTS", "Backups.example.com, host1"),
        ("BKUP_API_ALLOW_ORIGIN", "https://Tools.example.com,http://10.0.0.1:8080/"),
    ])
    .api;
    assert_eq!(api.hosts, ["backups.example.com", "host1"]);
    assert_eq!(api.allow_origins, ["https://tools.example.com", "http://10.0.0.1:8080"]);
    for hosts in ["https://host", "host:3000", "host/", "a,,b", "*"] {
        assert!(wrong(&[("BKUP_API_HOSTS", hosts)]).message.contains("host names"), "{hosts}");
    }
    for origins in ["*", "null", "host", "https://host/path", "https://", "https://*.example.com"] {
        assert!(
            wrong(&[("BKUP_API_ALLOW_ORIGIN", origins)]).message.contains("origins"),
            "{origins}"
        );
    }
}

/// Reads settings over a file of the system's services with this text.
fn over(
    text: &str,
    pairs: &[(&str, &str)],
    overrides: &[Override],
) -> (tempfile::TempDir, Result<(Config, Vec<Warning>)>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("convoy-backups");
    std::fs::write(&path, text).unwrap();
    let named = environment(&[("BKUP_DEFAULTS", path.to_str().unwrap())]).into_iter().collect();
    let system = SystemSettings::find(&named).unwrap();
    let home = environment(&[("HOME", "/home/me")]);
    let config =
        Config::for_user(system, home.into_iter().chain(environment(pairs)), overrides, false);
    (folder, config)
}

#[test]
fn the_services_settings_hold_where_the_environment_has_none() {
    let text = "BKUP_HOST=services\nBKUP_LOCK_WAIT=1m\nBKUP_RUN_TIMEOUT=1h\nBKUP_JITTER='2m'\n";
    let pairs = [("BKUP_LOCK_WAIT", "2m"), ("BKUP_RUN_TIMEOUT", "")];
    let (folder, config) = over(text, &pairs, &[flag("BKUP_JITTER", "--jitter", "3m")]);
    let config = config.unwrap().0;
    let from = |name: &str| {
        let line = line(&config, name);
        (line.value, line.source)
    };
    let file = format!("file {}", folder.path().join("convoy-backups").display());
    assert_eq!(from("BKUP_HOST"), ("services".into(), file));
    assert_eq!(from("BKUP_LOCK_WAIT"), ("2m".into(), "environment".into()));
    assert_eq!(
        from("BKUP_RUN_TIMEOUT"),
        ("5h".into(), "default".into()),
        "an empty variable leaves the file's out"
    );
    assert_eq!(from("BKUP_JITTER"), ("3m".into(), "flag --jitter".into()));
}

#[test]
fn a_secrets_file_that_the_environment_names_wins_over_the_services_value() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "mine\n").unwrap();
    let pairs = [("BKUP_REPOSITORY_PASSWORD_FILE", secret.path().to_str().unwrap())];
    let (_folder, config) = over("BKUP_REPOSITORY_PASSWORD=theirs", &pairs, &[]);
    assert_eq!(config.unwrap().0.repository_password.unwrap().expose(), "mine");
    let (_folder, config) =
        over(&format!("BKUP_REPOSITORY_PASSWORD_FILE={}", secret.path().display()), &[], &[]);
    assert_eq!(config.unwrap().0.repository_password.unwrap().expose(), "mine");
}

#[test]
fn what_is_wrong_in_the_services_settings_names_their_file() {
    let (folder, config) = over("BKUP_LOCK_WAIT=soon", &[], &[]);
    let error = config.unwrap_err();
    let file = folder.path().join("convoy-backups");
    assert!(
        error.to_string().contains(&format!("BKUP_LOCK_WAIT (in the file \"{}\")", file.display())),
        "{error}"
    );
    let (_folder, config) = over("BKUP_LOCKWAIT=1m", &[("BKUP_LOCKWAIT", "1m")], &[]);
    let warnings = config.unwrap().1;
    assert_eq!(
        warnings.len(),
        1,
        "once, though services have it in their environment, too: {warnings:?}"
    );
}

#[test]
fn how_much_the_services_log_says_nothing_of_a_command() {
    let (_folder, config) = over("BKUP_LOGGER_CONSOLE_LEVEL=info", &[], &[]);
    let config = config.unwrap().0;
    assert_eq!(config.console_level(true, 0, false), LevelFilter::Info);
    assert_eq!(config.console_level(false, 0, false), LevelFilter::Warn);
}

#[test]
fn a_named_file_of_settings_must_be_there_and_can_be_left_out() {
    let find = |value: &str| {
        SystemSettings::find(&environment(&[("BKUP_DEFAULTS", value)]).into_iter().collect())
    };
    assert!(find("off").unwrap().path.is_none());
    for (value, expected) in
        [("/no/such/file", "cannot read"), ("settings", "not an absolute path, or off")]
    {
        let error = find(value).unwrap_err();
        assert!(
            error.exit_code() == 2 && error.message.contains(expected) && error.hint.is_some(),
            "{error}"
        );
    }
}
