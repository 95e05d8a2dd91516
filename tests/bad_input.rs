//! Bad input gets a clear error and changes nothing.

use std::fs;

use crate::support::site::Site;

#[test]
fn an_unknown_script_is_named_with_the_nearest_one() {
    let site = Site::builtin();
    site.run("backp").fails(2, &["no script named \"backp\"", "did you mean \"backup\"?"]);
    site.run("run backp").fails(2, &["did you mean \"backup\"?"]);
    site.run("--bakup").fails(2, &["did you mean"]);
    assert!(!site.path("data").exists(), "a wrong command makes no folders");
}

#[test]
fn wrong_arguments_are_refused_with_the_signature() {
    let site = Site::builtin();
    for (line, words) in [
        ("backup --volumes vol1", ["\"--volumes\"", "volume"]),
        ("backup --volume vol1 --volume vol2", ["--volume is given twice", "usage: backup"]),
        ("restore --volume vol1", ["--volume needs --backupurl", "restore vol1"]),
        ("create --volume vol1 --size 1.5g", ["1.5g", "40G"]),
        ("create --volume vol1 --size -1", ["-1", "40G"]),
        ("create --volume a --size 1G", ["\"a\"", "two are the least"]),
        ("create --volume ../x --size 1G", ["\"../x\"", "'/'"]),
        ("prune --keep-last many", ["many", "--keep-last"]),
        ("prune --keep-daily -1", ["-1", "not a number of items"]),
        ("backup vol1 stray", ["\"stray\"", "usage: backup [VOLUME]"]),
        ("prune", ["keep", "--keep-daily"]),
        ("restore --volume vol1 --backupurl nonsense", ["nonsense", "vfs:///"]),
    ] {
        site.run(line).fails(2, &words);
    }
    let long = format!("create --volume {} --size 1G", "x".repeat(300));
    site.run(&long).fails(2, &["300 characters"]);
    assert_eq!(site.run("volumes --json").json(), serde_json::json!([]));
}

#[test]
fn a_wrong_destination_is_refused_before_anything_is_made() {
    let site = Site::builtin();
    site.create("vol1", &[("file", "content")]);
    fs::write(site.path("a-file"), "").unwrap();
    for (destination, code, words) in [
        ("vfs://relative", 2, "absolute"),
        ("ftp://host/x", 2, "ftp"),
        ("/no/scheme", 2, "://"),
        ("vfs:///nowhere/at/all", 1, "/nowhere/at/all"),
        (&format!("vfs://{}", site.path("a-file").display()), 1, "a-file"),
    ] {
        site.run(&format!("backup --volume vol1 --destination {destination}"))
            .fails(code, &[words]);
    }
    let before = site.snapshots("vol1");
    let site = site.without("BKUP_BACKUP_URL");
    site.create("vol2", &[("file", "content")]);
    site.run("backup").fails(2, &["no backup destination is set", "BKUP_BACKUP_URL"]);
    assert!(
        site.snapshots("vol1") == before && site.snapshots("vol2").is_empty(),
        "nothing was done"
    );
}

#[test]
fn wrong_configuration_names_the_variable() {
    for (name, value, word) in [
        ("BKUP_RUN_TIMEOUT", "soon", "soon"),
        ("BKUP_DELETE_OLD_SNAPSHOTS", "perhaps", "perhaps"),
        ("BKUP_LOGGER_CONSOLE_LEVEL", "loud", "loud"),
        ("BKUP_CONVOY", "tcp://host", "tcp://host"),
        ("BKUP_BACKUP_URL_FILE", "/nowhere/at/all", "/nowhere/at/all"),
    ] {
        Site::bare()
            .without("BKUP_BACKUP_URL")
            .with(name, value)
            .run("volumes")
            .fails(2, &[name, word]);
    }
    let warned = Site::builtin().with("BKUP_BACKUP_URI", "vfs:///x").run("volumes").ok();
    assert!(
        warned.err.contains("BKUP_BACKUP_URI") && warned.err.contains("BKUP_BACKUP_URL"),
        "{warned:?}"
    );
}

#[test]
fn a_script_that_is_wrong_is_shown_with_its_place() {
    let site = Site::builtin();
    site.run_script("fn main(args) {\n    let x = ;\n}", "")
        .fails(1, &["mine.rhai:2:", "let x = ;", "^"]);
    site.run_script("fn main(args) { convoy::volumse() }", "")
        .fails(1, &["mine.rhai:1:", "did you mean", "convoy::volume"]);
    site.run_script("fn main(args) { nonsense }", "").fails(1, &["nonsense"]);
    site.run_script("let x = 1;", "").fails(1, &["main"]);
}

#[test]
fn a_script_cannot_eat_the_machine_or_reach_outside() {
    let site = Site::builtin();
    site.run_script("fn main(args) { loop {} }", "--timeout 1s").fails(1, &["time is up"]);
    site.run_script("fn deep(n) { deep(n + 1) } fn main(args) { deep(0) }", "")
        .fails(1, &["error:"]);
    site.run_script("fn main(args) { let s = \"x\"; loop { s += s; } }", "")
        .fails(1, &["mine.rhai", "grew too large"]);
    site.run_script("import \"../../etc/passwd\" as p; fn main(args) { 1 }", "")
        .fails(1, &["../../etc/passwd"]);
    site.run_script("import \"/etc/passwd\" as p; fn main(args) { 1 }", "")
        .fails(1, &["/etc/passwd"]);
    site.run_script("fn main(args) { eval(\"1\") }", "").fails(1, &["eval"]);
    std::os::unix::fs::symlink("/etc/passwd", site.path("scripts/link.rhai")).unwrap();
    site.run_script("import \"link\" as p; fn main(args) { 1 }", "").fails(2, &["link"]);
    site.run_script("fn main(args) { time::sleep(3600) }", "--timeout 1s")
        .fails(1, &["time is up"]);
}
