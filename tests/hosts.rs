//! What hosts without containers are set up with: what the service manager is told, the manual, the
//! settings' file.

use std::{fs, os::unix::net::UnixDatagram, path::Path, process::Command, time::Duration};

use crate::support::{running::Running, site::Site};

/// A service manager's ear.
fn listener(site: &Site) -> UnixDatagram {
    let socket = UnixDatagram::bind(site.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

fn next(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).expect("the service manager is told something");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// Starts a service that is told of this service manager, and of no watchdog unless there is one.
fn start(site: &Site, words: &[&str]) -> Running {
    let mut command = site.command();
    command.args(words).env("NOTIFY_SOCKET", site.path("notify")).env_remove("WATCHDOG_PID");
    Running::start(command, &site.path("daemon/convoy.sock"), site.path("service.log"))
}

fn with_crontab(site: Site, text: &str) -> Site {
    let path = site.path("crontab");
    fs::write(&path, text).unwrap();
    site.with("BKUP_CRONTAB", path.display().to_string())
}

#[test]
fn serve_tells_when_it_serves_that_it_lives_and_how_long_its_end_may_take() {
    let site = with_crontab(Site::builtin(), "0 0 1 1 *  backup\n")
        .with("BKUP_SHUTDOWN_GRACE", "10m")
        .with("WATCHDOG_USEC", "600000000");
    let socket = listener(&site);
    let mut running = start(&site, &["serve"]);
    let ready = next(&socket);
    assert!(ready.starts_with("READY=1\nSTATUS=serving ") && ready.contains("1 entry"), "{ready}");
    assert_eq!(next(&socket), "WATCHDOG=1");
    running.signal("TERM");
    assert_eq!(next(&socket), "STOPPING=1\nSTATUS=ending\nEXTEND_TIMEOUT_USEC=630000000");
    assert!(running.wait().success(), "{}", running.log());
}

#[test]
fn the_daemon_tells_when_its_socket_is_there_and_when_it_ends() {
    let site = Site::builtin();
    let socket = listener(&site);
    let docker = site.path("docker.sock");
    let mut running = start(&site, &["daemon", "--socket", &docker.display().to_string()]);
    let ready = next(&socket);
    assert!(ready.starts_with("READY=1\nSTATUS=serving the volumes in "), "{ready}");
    assert!(docker.exists());
    assert!(running.terminate().success(), "{}", running.log());
    assert!(next(&socket).starts_with("STOPPING=1\n"));
}

#[test]
fn a_serve_that_cannot_start_never_says_that_it_is_ready() {
    let site = with_crontab(Site::builtin(), "0 0 1 1 *  backp\n");
    let socket = listener(&site);
    let output =
        site.command().arg("serve").env("NOTIFY_SOCKET", site.path("notify")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 64]).is_err());
}

#[test]
fn the_manual_has_its_pages_and_their_roff_is_without_a_warning() {
    let site = Site::bare();
    let folder = site.path("man");
    site.run(&format!("man {}", folder.display())).ok();
    let mut pages: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|page| page.unwrap().path()).collect();
    pages.sort();
    assert!(pages.len() > 30, "{pages:?}");
    for page in pages {
        // Where there is no groff, what it would say is not known.
        let Ok(output) =
            Command::new("groff").args(["-t", "-man", "-Tutf8", "-ww", "-z"]).arg(&page).output()
        else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{}: {said}", page.display());
    }
}

#[test]
fn the_crontab_in_the_manual_is_in_order() {
    let source = fs::read_to_string(project("packaging/man/convoy-backups-crontab.5")).unwrap();
    let examples =
        source.split(".SH EXAMPLES\n.EX\n").nth(1).unwrap().split("\n.EE").next().unwrap();
    let site = with_crontab(Site::builtin(), &format!("{}\n", examples.replace("\\-", "-")));
    let checked = site.run("crontab check").ok();
    assert!(!checked.err.contains("warning"), "{checked:?}");
}

#[test]
fn every_setting_in_the_services_settings_is_one() {
    let site = Site::builtin();
    let known = site.run("config --json").ok().out;
    let text = fs::read_to_string(project("packaging/default/convoy-backups")).unwrap();
    let settings: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .map(|(name, _)| name)
        .collect();
    assert!(settings.len() > 10, "{settings:?}");
    for name in settings.into_iter().filter(|name| name.starts_with("BKUP_")) {
        let name = name.strip_suffix("_FILE").unwrap_or(name);
        assert!(known.contains(&format!("\"{name}\"")), "{name}");
    }
}

fn project(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn commands_go_by_the_settings_of_the_services_where_the_environment_says_nothing() {
    let site = Site::builtin();
    let settings = site.path("default");
    let elsewhere = site.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let text = format!(
        "# as installed\nBKUP_LOGGER_CONSOLE_LEVEL=info\nBKUP_BACKUP_URL=\"vfs://{}\"\nBKUP_DATA_DIR=/no/such\nexport BKUP_HOST=x\nBKUP_REPOSITORY_PASSWORD='a b'\n",
        elsewhere.display()
    );
    fs::write(&settings, text).unwrap();
    let site =
        site.with("BKUP_DEFAULTS", settings.display().to_string()).without("BKUP_BACKUP_URL");
    site.create("vol1", &[("file", "precious")]);

    let backed_up = site.run("backup --volume vol1 --json").ok();
    assert!(backed_up.out.contains(&elsewhere.display().to_string()), "{}", backed_up.out);
    assert_eq!(
        backed_up.err.lines().count(),
        1,
        "quiet but for the line without effect: {}",
        backed_up.err
    );
    assert!(backed_up.err.contains("line 5 of ") && backed_up.err.contains("without \"export\""));

    let config = site.run("config --json").json();
    let of = |name: &str| {
        config["settings"].as_array().unwrap().iter().find(|line| line["name"] == name).unwrap()
    };
    assert_eq!(of("BKUP_BACKUP_URL")["source"], format!("file {}", settings.display()));
    assert_eq!(of("BKUP_DATA_DIR")["source"], "environment");
    assert!(site.run("doctor").out.contains("settings"));

    let wrong = site.without("BKUP_DEFAULTS").with("BKUP_DEFAULTS", "/no/such/file").run("volumes");
    assert_eq!(wrong.code, 2, "{}", wrong.err);
}

#[test]
fn the_crontabs_lines_go_by_the_settings_of_the_services_too() {
    let site = Site::builtin();
    let settings = site.path("default");
    fs::write(&settings, format!("BKUP_BACKUP_URL=vfs://{}\n", site.path("backups").display()))
        .unwrap();
    let site =
        site.with("BKUP_DEFAULTS", settings.display().to_string()).without("BKUP_BACKUP_URL");
    let site = with_crontab(site, "BKUP_LOCK_WAIT=1m\n0 3 * * *  backup\n");
    let checked = site.run("crontab check").ok();
    assert!(
        !format!("{}{}", checked.out, checked.err).contains("no backup destination"),
        "{}",
        checked.out
    );
    let refused = with_crontab(site, "BKUP_DEFAULTS=off\n0 3 * * *  backup\n").run("crontab check");
    assert!(
        refused.err.contains("setting of the program as a whole")
            || refused.out.contains("as a whole")
    );
}
