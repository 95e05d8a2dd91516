//! Where scripts are found, and what imports can reach.

use std::{path::PathBuf, sync::Arc};

use crate::{
    error::ErrorKind,
    script::{
        Library, Origin, run,
        testing::{folder, given, memory},
    },
};

/// The names of the scripts in the folder from which the default scripts are built.
fn default_scripts() -> Vec<String> {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts-rhai")).unwrap();
    let mut names: Vec<String> = files
        .filter_map(|file| {
            let file = file.unwrap().file_name().into_string().unwrap();
            file.strip_suffix(".rhai").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

#[test]
fn the_default_scripts_are_there_and_described() {
    let library = Library::new(None).unwrap();
    let listed = library.list().unwrap();
    let names: Vec<&str> = listed.iter().map(|script| script.name.as_str()).collect();
    assert_eq!(names, default_scripts());
    assert!(names.contains(&"backup"), "{names:?}");
    for script in &listed {
        assert_eq!(script.origin, Origin::BuiltIn);
        assert!(script.doc.as_ref().unwrap().ends_with('.'), "{}", script.name);
        let script = library.load(&script.name).unwrap();
        assert!(
            script.read_only || !script.does.is_empty(),
            "{} declares neither READ_ONLY nor DOES",
            script.name
        );
    }
}

#[test]
fn the_readme_has_a_row_for_every_default_script() {
    let readme = include_str!("../../../README.md");
    for name in default_scripts() {
        let is_row = |line: &str| {
            let rest = line.strip_prefix("| `").and_then(|line| line.strip_prefix(name.as_str()));
            rest.is_some_and(|rest| rest.starts_with(['`', ' ']))
        };
        assert!(readme.lines().any(is_row), "README.md has no row for \"{name}\"");
    }
}

#[test]
fn every_parameter_of_the_default_scripts_has_help() {
    let library = Library::new(None).unwrap();
    for script in library.list().unwrap() {
        for parameter in library.load(&script.name).unwrap().parameters {
            assert!(parameter.help.len() > 10, "{} {}", script.name, parameter.name);
        }
    }
}

#[test]
fn a_script_of_the_users_overrides_the_default_one() {
    let folder = folder(&[
        ("backup.rhai", "//! Mine.\nfn main() { 1 }"),
        ("extra.rhai", "//! More.\nfn main() { 2 }"),
        ("broken.rhai", "fn main( {"),
        ("lib/helper.rhai", "fn help() { 3 }"),
        ("Not A Script.rhai", ""),
    ]);
    let library = Library::new(Some(folder.path().to_owned())).unwrap();
    let listed = library.list().unwrap();
    let find = |name: &str| listed.iter().find(|script| script.name == name).unwrap();
    // Two of the user's three scripts are new; "backup" replaces the default one.
    assert_eq!(listed.len(), default_scripts().len() + 2);
    assert_eq!(find("backup").doc.as_deref().unwrap(), "Mine.");
    assert!(matches!(&find("backup").origin, Origin::File { overrides: true, .. }));
    assert!(matches!(&find("extra").origin, Origin::File { overrides: false, .. }));
    assert!(find("broken").doc.as_ref().unwrap_err().location.is_some());
    assert_eq!(library.source("backup").unwrap().0, "//! Mine.\nfn main() { 1 }");
}

#[test]
fn an_unknown_script_is_answered_with_the_nearest_one() {
    let library = Library::new(None).unwrap();
    let error = library.load("backp").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
    assert_eq!(error.message, "no script named \"backp\"");
    assert_eq!(error.hint.as_deref(), Some("did you mean \"backup\"?"));
    for name in ["../backup", "/etc/passwd", "Backup", "lib/volumes", ""] {
        assert_eq!(library.load(name).unwrap_err().kind, ErrorKind::Usage, "{name}");
    }
}

#[test]
fn a_folder_that_is_missing_or_none_is_a_configuration_error() {
    let folder = folder(&[("a.rhai", "")]);
    for path in [folder.path().join("missing"), folder.path().join("a.rhai")] {
        let error = Library::new(Some(path.clone())).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Configuration);
        assert!(error.message.contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn a_symbolic_link_out_of_the_folder_is_refused() {
    let outside = folder(&[("secret.rhai", "fn main() { 1 }")]);
    let inside = folder(&[("uses.rhai", "import \"stolen\" as s; fn main() { s::main() }")]);
    std::os::unix::fs::symlink(
        outside.path().join("secret.rhai"),
        inside.path().join("stolen.rhai"),
    )
    .unwrap();
    let library = Library::new(Some(inside.path().to_owned())).unwrap();
    let error = library.load("stolen").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Configuration);
    assert!(error.message.contains("symbolic link out of the folder"), "{error}");
    let script = library.load("uses").unwrap();
    let error = run(&script, &given(&script, "").unwrap(), Arc::new(memory(&[]).1)).unwrap_err();
    assert!(error.message.contains("symbolic link out of the folder"), "{error}");
}

#[test]
fn imports_stay_inside_the_folders() {
    let outside = folder(&[("evil.rhai", "fn f() { 1 }")]);
    for path in [
        "../../etc/passwd",
        "/etc/passwd",
        "lib/../../x",
        "./x",
        "",
        "lib//x",
        &outside.path().join("evil").display().to_string(),
    ] {
        let folder =
            folder(&[("test.rhai", &format!("import \"{path}\" as x;\nfn main() {{ x::f() }}"))]);
        let script = Library::new(Some(folder.path().to_owned())).unwrap().load("test").unwrap();
        let error =
            run(&script, &given(&script, "").unwrap(), Arc::new(memory(&[]).1)).unwrap_err();
        assert!(
            error.message.contains("can import only what lies in the scripts' folders"),
            "{path}: {error}"
        );
        assert_eq!(error.location.unwrap().line, 1, "{path}");
    }
}

#[test]
fn imports_find_the_users_files_and_the_built_in_ones() {
    let folder = folder(&[
        (
            "test.rhai",
            "import \"lib/mine\" as mine;\nimport \"lib/volumes\" as volumes;\nfn main() { volumes::each_of([\"a\"], |name| mine::twice(name)) }",
        ),
        ("lib/mine.rhai", "import \"lib/deeper\" as deeper;\nfn twice(x) { deeper::add(x, x) }"),
        ("lib/deeper.rhai", "fn add(a, b) { a + b }"),
    ]);
    let script = Library::new(Some(folder.path().to_owned())).unwrap().load("test").unwrap();
    let outcome = run(&script, &given(&script, "").unwrap(), Arc::new(memory(&[]).1)).unwrap();
    assert_eq!(outcome.result, serde_json::json!(["aa"]));
}

#[test]
fn a_missing_import_and_one_in_a_circle_are_told() {
    for (text, message) in [
        ("import \"lib/volume\" as v;\nfn main() {}", "there is no such file"),
        ("import \"lib/a\" as a;\nfn main() {}", "imports itself"),
        ("import \"lib/broken\" as b;\nfn main() {}", "expecting"),
    ] {
        let folder = folder(&[
            ("test.rhai", text),
            ("lib/a.rhai", "import \"lib/b\" as b;"),
            ("lib/b.rhai", "import \"lib/a\" as a;"),
            ("lib/broken.rhai", "\nfn f( {}"),
        ]);
        let script = Library::new(Some(folder.path().to_owned())).unwrap().load("test").unwrap();
        let error =
            run(&script, &given(&script, "").unwrap(), Arc::new(memory(&[]).1)).unwrap_err();
        assert!(error.message.contains(message), "{text}: {error}");
        let location = error.location.unwrap();
        if message == "expecting" {
            assert!(location.file.ends_with("lib/broken.rhai"), "{location:?}");
            assert_eq!((location.line, location.source_line.as_str()), (2, "fn f( {}"));
        }
    }
}

#[test]
fn a_file_that_is_too_long_or_none_is_not_read() {
    let folder = folder(&[("long.rhai", &format!("fn main() {{}}\n{}", "//\n".repeat(400_000)))]);
    let fifo = folder.path().join("fifo.rhai");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let device = folder.path().join("device.rhai");
    std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
    let library = Library::new(Some(folder.path().to_owned())).unwrap();
    let long = folder.path().join("long.rhai");
    for error in [&long, &fifo, &device].map(|path| library.load_file(path).unwrap_err()) {
        assert_eq!(error.kind, ErrorKind::Configuration, "{error}");
        assert!(error.message.contains("is not a file of at most 1 MiB"), "{error}");
    }
    for name in ["long", "fifo"] {
        let error = library.load(name).unwrap_err();
        assert!(error.message.contains("is not a file of at most 1 MiB"), "{error}");
    }
}

#[test]
fn a_file_anywhere_can_be_checked() {
    let folder = folder(&[("good.rhai", "fn main() {}"), ("Bad Name.rhai", "fn main() {}")]);
    let library = Library::new(None).unwrap();
    assert_eq!(library.load_file(&folder.path().join("good.rhai")).unwrap().name, "good");
    assert!(
        library
            .load_file(&folder.path().join("Bad Name.rhai"))
            .unwrap_err()
            .message
            .contains("can't be a script's name")
    );
    assert_eq!(
        library.load_file(&PathBuf::from("/nowhere/x.rhai")).unwrap_err().kind,
        ErrorKind::Io
    );
}

#[test]
fn the_built_in_scripts_import_the_built_in_libraries_whatever_the_user_has() {
    let folder = folder(&[
        (
            "lib/volumes.rhai",
            "fn each(name, action) { \"mine\" }\nfn each_of(names, action) { \"mine\" }",
        ),
        (
            "own.rhai",
            "import \"lib/volumes\" as volumes;\nfn main() { volumes::each(\"vol1\", |name| name) }",
        ),
        // A script of the user's that imports a built-in one, which imports a library, and after it the user's library.
        (
            "both.rhai",
            "import \"snapshot\" as snapshot;\nimport \"lib/volumes\" as volumes;\nfn main() { [snapshot::main(#{ volume: (), if_cheap: false }).len(), volumes::each(\"vol1\", |name| name)] }",
        ),
        (
            "reversed.rhai",
            "import \"lib/volumes\" as volumes;\nimport \"snapshot\" as snapshot;\nfn main() { [snapshot::main(#{ volume: (), if_cheap: false }).len(), volumes::each(\"vol1\", |name| name)] }",
        ),
    ]);
    let library = Library::new(Some(folder.path().to_owned())).unwrap();
    let run_it = |name: &str, line: &str| {
        let script = library.load(name).unwrap();
        let given = given(&script, line).unwrap();
        run(&script, &given, Arc::new(memory(&["vol1"]).1)).unwrap().result
    };
    assert_eq!(run_it("snapshot", "--volume vol1").as_array().unwrap().len(), 1);
    assert!(run_it("prune", "--keep-daily 3").is_array());
    assert_eq!(run_it("own", ""), "mine");
    assert_eq!(run_it("both", ""), serde_json::json!([1, "mine"]));
    assert_eq!(run_it("reversed", ""), serde_json::json!([1, "mine"]));
}
