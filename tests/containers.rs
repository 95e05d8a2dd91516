//! What the container files rely on: `healthcheck`, and that docker-compose.yml has every setting
//! with its default.

use convoy_backups::SETTINGS;

use crate::{
    serve::until,
    support::{running::Running, site::Site},
};

fn serve(site: &Site) -> Running {
    let crontab = site.path("crontab");
    std::fs::write(&crontab, "0 0 1 1 *  backup\n").unwrap();
    let mut command = site.command();
    command.arg("serve").env("BKUP_CRONTAB", crontab);
    let sign = site.path("data/serve.running");
    Running::start_until(command, site.path("serve.log"), || sign.exists())
}

#[test]
fn healthcheck_is_well_while_serve_answers_and_only_then() {
    let data = format!("{}/tests/data/tls", env!("CARGO_MANIFEST_DIR"));
    for (site, listens) in [
        (Site::builtin().with("BKUP_API_LISTEN", "0.0.0.0:0"), "http://0.0.0.0:"),
        (Site::builtin().with("BKUP_API_LISTEN", "off"), "serving"),
        (
            Site::builtin()
                .with("BKUP_API_TLS_CERTIFICATE", format!("{data}/first-certificate.pem"))
                .with("BKUP_API_TLS_KEY", format!("{data}/first-key.pem")),
            "https://127.0.0.1:",
        ),
    ] {
        site.run("healthcheck").fails(1, &["no \"serve\" runs", "hint: "]);
        let mut running = serve(&site);
        until("it does not listen", &running, || running.log().contains(listens));
        let well = site.run("healthcheck").ok();
        assert_eq!((well.out.as_str(), well.err.as_str()), ("", ""));
        // Stopped, it holds its lock and its port, and answers nobody.
        if listens.starts_with("http") {
            running.signal("STOP");
            site.run("healthcheck").fails(1, &["no answer within"]);
            running.signal("CONT");
        }
        running.kill();
        site.run("healthcheck").fails(1, &["no \"serve\" runs"]);
    }
}

#[test]
fn healthcheck_asks_the_daemon_too() {
    Site::builtin().run("healthcheck --daemon").ok();
    let site = Site::bare();
    std::fs::write(site.path("file"), "").unwrap();
    let socket = format!("unix://{}", site.path("file").display());
    site.with("BKUP_CONVOY", socket)
        .run("healthcheck --daemon")
        .fails(1, &["is not a socket", "mount its socket's folder"]);
}

#[test]
fn the_compose_file_has_every_setting_with_its_default() {
    let file =
        std::fs::read_to_string(format!("{}/docker-compose.yml", env!("CARGO_MANIFEST_DIR")))
            .unwrap();
    // What differs in a container, or would hold for the commands in it, too.
    let own = ["BKUP_API_LISTEN", "BKUP_LOGGER_CONSOLE_LEVEL"];
    // A container has no services' file.
    for setting in SETTINGS.iter().filter(|setting| setting.name != "BKUP_DEFAULTS") {
        let line = |name: &str| {
            file.lines().map(str::trim).find_map(|line| {
                line.trim_start_matches("# ")
                    .strip_prefix(name)?
                    .strip_prefix(": ")
                    .map(|value| (line.starts_with('#'), value))
            })
        };
        let name = if setting.is_secret() {
            format!("{}_FILE", setting.name)
        } else {
            setting.name.to_owned()
        };
        let (is_comment, value) =
            line(&name).unwrap_or_else(|| panic!("docker-compose.yml lacks {name}"));
        // Not to set them means less: in the folder of an earlier release, and for folders of the host.
        let unset = [("BKUP_DOCKER_VOLUMES", "all"), ("BKUP_DOCKER_HOLD", "pause")];
        if let Some((_, default)) = unset.iter().find(|(name, _)| *name == setting.name) {
            assert_eq!((is_comment, value), (true, *default));
            continue;
        }
        if let Some(default) = setting.default.filter(|_| !own.contains(&setting.name)) {
            assert_eq!((is_comment, value.trim_matches('"')), (false, default), "{name}");
        }
        assert!(!setting.is_secret() || value.starts_with("/run/secrets/"), "{name}");
    }
}

#[test]
fn what_the_other_compose_files_set_are_settings() {
    for file in ["docker-compose-docker.yml", "docker-compose-nfs.yml", "docker-stack.yml"] {
        let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let set = text.lines().filter_map(|line| {
            line.trim().trim_start_matches("# ").split_once(": ").map(|(name, _)| name)
        });
        let set: Vec<_> = set.filter(|name| name.starts_with("BKUP_")).collect();
        assert!(!set.is_empty(), "{file}");
        for name in set {
            let is_it = |known: &str| name == known || name.strip_suffix("_FILE") == Some(known);
            assert!(SETTINGS.iter().any(|setting| is_it(setting.name)), "{file}: {name}");
        }
    }
}
