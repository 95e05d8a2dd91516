//! The house reads downwards: rooms use only rooms below them, as the map in `src/lib.rs` has
//! them, and no files use each other in a circle. Tests are left out; a re-export counts for the
//! file that defines what it gives.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A module's path: `["script", "host"]` for `src/script/host.rs`.
type Module = Vec<String>;

/// What a file imports, and under which names.
#[derive(Default)]
struct Source {
    /// Paths in `use` items that are no re-exports, and in the code.
    used: Vec<Vec<String>>,
    /// Every name that a `use` item brings, with its path.
    names: BTreeMap<String, Vec<String>>,
    /// Those names that are re-exports.
    given: BTreeSet<String>,
}

fn words(path: &str) -> Vec<String> {
    path.split("::").map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

/// The paths of a `use` tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(tree: &str, before: &[String], paths: &mut Vec<(Vec<String>, String)>) {
    if tree.is_empty() {
        return;
    }
    let (head, inner) = match tree.split_once('{') {
        Some((head, inner)) => (head, inner.trim().strip_suffix('}')),
        None => (tree, None),
    };
    let mut path = before.to_vec();
    let (head, alias) =
        head.split_once(" as ").map_or((head, None), |(head, name)| (head, Some(name)));
    path.extend(words(head));
    let Some(inner) = inner else {
        if path.last().is_some_and(|word| word == "self") {
            path.pop();
        }
        if let Some(name) = path.last().cloned() {
            paths.push((path, alias.map_or(name, |alias| alias.trim().to_owned())));
        }
        return;
    };
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in inner.char_indices().chain([(inner.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(inner[start..at].trim(), &path, paths);
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The code without comments and test modules.
fn code(text: &str) -> String {
    let mut code = String::new();
    let (mut skipped_until, mut is_test) = (None, false);
    for line in text.lines() {
        let (bare, indentation) = (line.trim(), line.len() - line.trim_start().len());
        if let Some(end) = skipped_until {
            skipped_until = (bare != "}" || indentation > end).then_some(end);
        } else if is_test && bare.ends_with('{') {
            skipped_until = Some(indentation);
        } else if !(bare.starts_with("//") || is_test) {
            code += bare;
            code.push('\n');
        }
        is_test = bare.starts_with("#[cfg(test)]") || (is_test && bare.starts_with("#["));
    }
    code
}

fn read(text: &str) -> Source {
    let mut source = Source::default();
    let code = code(text);
    for item in code.split_inclusive(';') {
        let lines: Vec<_> = item.lines().collect();
        let import = lines.iter().rposition(|line| {
            let bare =
                line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub(super) "));
            bare.or_else(|| line.strip_prefix("pub ")).unwrap_or(line).starts_with("use ")
        });
        let (before, import) = lines.split_at(import.unwrap_or(lines.len()));
        if !import.is_empty() {
            let text = import.join(" ");
            let tree = text.split_once("use ").map_or("", |(_, tree)| tree.trim_end_matches(';'));
            let mut paths = Vec::new();
            expand(tree, &[], &mut paths);
            for (path, name) in paths {
                if text.starts_with("pub") {
                    source.given.insert(name.clone());
                } else {
                    source.used.push(path.clone());
                }
                source.names.entry(name).or_insert(path);
            }
        }
        let in_code = before.join("\n");
        let is_path = |letter: char| letter.is_alphanumeric() || "_:".contains(letter);
        let paths = in_code.split(|letter| !is_path(letter)).filter(|word| word.contains("::"));
        source.used.extend(paths.map(words));
    }
    source
}

/// Every file of `src/`, but for tests.
fn sources() -> BTreeMap<Module, Source> {
    fn visit(folder: &Path, module: &[String], sources: &mut BTreeMap<Module, Source>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let mut inner = module.to_vec();
            if !matches!(name.as_str(), "mod" | "lib") {
                inner.push(name.clone());
            }
            if name.ends_with("tests") || matches!(name.as_str(), "testing" | "main") {
            } else if path.is_dir() {
                visit(&path, &inner, sources);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.insert(inner, read(&fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut all = BTreeMap::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &[], &mut all);
    all
}

/// The file that defines what `path` names, where `module` says it.
fn find(
    sources: &BTreeMap<Module, Source>,
    module: &[String],
    path: &[String],
    depth: usize,
) -> Option<Module> {
    let mut current = module.to_vec();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => current.clear(),
        "self" => {}
        "super" => _ = current.pop(),
        name => {
            let child = [module, &[name.to_owned()]].concat();
            if depth > 20
                || !(sources.contains_key(&child) || sources[module].names.contains_key(name))
            {
                return None;
            }
        }
    }
    if matches!(path[0].as_str(), "crate" | "self" | "super") {
        rest = &path[1..];
        while rest.first().is_some_and(|word| word == "super") {
            current.pop();
            rest = &rest[1..];
        }
    }
    while let Some(name) = rest.first() {
        let child = [&current[..], std::slice::from_ref(name)].concat();
        if sources.contains_key(&child) {
            current = child;
            rest = &rest[1..];
            continue;
        }
        // A private import is seen from the modules within alone.
        let source = sources
            .get(&current)
            .filter(|source| source.given.contains(name) || module.starts_with(&current));
        let given = source.and_then(|source| source.names.get(name));
        return match given.filter(|given| depth <= 20 && given[..] != *rest) {
            Some(given) => {
                let path = [&given[..], &rest[1..]].concat();
                find(sources, &current, &path, depth + 1).or(Some(current))
            }
            None => Some(current),
        };
    }
    Some(current)
}

/// Which file uses which.
fn arrows(sources: &BTreeMap<Module, Source>) -> BTreeSet<(Module, Module)> {
    let mut arrows = BTreeSet::new();
    for (module, source) in sources.iter().filter(|(module, _)| !module.is_empty()) {
        for path in &source.used {
            if let Some(used) = find(sources, module, path, 0)
                && used != *module
                && !used.is_empty()
            {
                arrows.insert((module.clone(), used));
            }
        }
    }
    arrows
}

/// Those of the arrows that lie in a circle: what they lead to leads back.
fn circles<T: Ord + Clone>(arrows: &BTreeSet<(T, T)>) -> BTreeSet<(T, T)> {
    let mut below: BTreeMap<&T, Vec<&T>> = BTreeMap::new();
    for (user, used) in arrows {
        below.entry(user).or_default().push(used);
    }
    let leads_to = |from: &T, to: &T| {
        let (mut seen, mut open) = (BTreeSet::from([from]), vec![from]);
        while let Some(next) = open.pop() {
            if next == to {
                return true;
            }
            open.extend(below.get(next).into_iter().flatten().filter(|used| seen.insert(used)));
        }
        false
    };
    arrows.iter().filter(|(user, used)| leads_to(used, user)).cloned().collect()
}

/// The rooms of the map in `src/lib.rs`, with their floor from the top.
fn floors() -> BTreeMap<String, usize> {
    let lines = include_str!("../src/lib.rs").lines();
    let floors = lines.filter_map(|line| line.strip_prefix("//! ")?.split_once(". `"));
    let floors =
        floors.filter_map(|(number, rest)| Some((number.parse().ok()?, rest.split(':').next()?)));
    floors
        .flat_map(|(floor, rooms): (usize, _)| {
            rooms.split(", ").map(move |room| (room.trim_matches('`').to_owned(), floor))
        })
        .collect()
}

fn shown(arrows: &BTreeSet<(Module, Module)>) -> String {
    let line =
        |(user, used): &(Module, Module)| format!("{} uses {}", user.join("::"), used.join("::"));
    arrows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_room_uses_only_rooms_below_it() {
    let (floors, sources) = (floors(), sources());
    let rooms: BTreeSet<_> = sources.keys().filter_map(|module| module.first()).collect();
    assert_eq!(floors.keys().collect::<BTreeSet<_>>(), rooms, "the map in src/lib.rs");
    let mut between = arrows(&sources);
    between.retain(|(user, used)| user[0] != used[0]);
    let upwards = between.iter().filter(|(user, used)| floors[&user[0]] > floors[&used[0]]);
    assert_eq!(shown(&upwards.cloned().collect()), "", "arrows upwards");
    let rooms = between.into_iter().map(|(user, used)| (user[0].clone(), used[0].clone()));
    assert_eq!(circles(&rooms.collect()), BTreeSet::new(), "rooms of one floor in a circle");
}

#[test]
fn the_page_on_architecture_has_the_rooms_of_the_map() {
    let page = include_str!("../docs/architecture.md");
    let lowest = floors().values().copied().max().unwrap();
    // What everything stands on is shown by examples.
    for (room, floor) in floors().into_iter().filter(|(_, floor)| *floor < lowest) {
        let row = format!("| {floor} |");
        let is_there = page.lines().any(|line| {
            line.starts_with(&row)
                && [format!("`{room}`"), format!("`{room}/`")]
                    .iter()
                    .any(|name| line.contains(name))
        });
        assert!(is_there, "{room} is not in a row of floor {floor}");
    }
}

#[test]
fn one_function_removes_folders_with_their_content() {
    let of_the_system = |source: &Source| {
        let names = |path: &Vec<String>| path.last().is_some_and(|name| name == "remove_dir_all");
        source.used.iter().any(names)
    };
    let users: Vec<_> = sources()
        .into_iter()
        .filter(|(_, source)| of_the_system(source))
        .map(|(module, _)| module.join("::"))
        .collect();
    assert_eq!(
        users,
        Vec::<String>::new(),
        "files::remove_all stops at mounts, the system's does not"
    );
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    assert_eq!(shown(&circles(&arrows(&sources()))), "");
}

/// Whether a path of the project is one of these, or in one.
fn is_in(all: &[&str], path: &str) -> bool {
    all.iter().any(|part| path == *part || path.starts_with(&format!("{part}/")))
}

#[test]
fn what_the_program_is_built_from_is_in_the_context_of_its_image() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = fs::read_to_string(top.join(".dockerignore")).unwrap();
    let context: Vec<_> = rules.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let build = fs::read_to_string(top.join("build.rs")).unwrap();
    let sources = build.split_once("const SOURCES").unwrap().1.split_once(';').unwrap().1;
    let sources: Vec<_> =
        sources.split_once(';').unwrap().0.split('"').skip(1).step_by(2).collect();
    assert!(sources.iter().all(|source| is_in(&context, source)), "{sources:?} {context:?}");
    let mut folders = vec![top.join("src")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            let included = text.split("include_str!(\"").chain(text.split("include_bytes!(\""));
            for file in included.filter_map(|rest| rest.split_once("\")")).map(|(file, _)| file) {
                let Ok(file) = folder.join(file).canonicalize() else { continue };
                let file = file.strip_prefix(top.canonicalize().unwrap()).unwrap().to_owned();
                let file = file.to_str().unwrap();
                if !file.starts_with("tests/") && !path.to_string_lossy().contains("tests") {
                    assert!(is_in(&context, file), "{file} of {}", path.display());
                    assert!(is_in(&sources, file), "{file} of {}", path.display());
                    files += 1;
                }
            }
        }
    }
    assert!(files > 1);
}
