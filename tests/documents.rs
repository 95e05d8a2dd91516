//! What README.md and the pages of docs/ tell people to type is typed here.
//!
//! A block of commands (```` ```sh ````) is run by bash, those of a page one after the other in one
//! shell, with the page's folders (`/mnt/backups`, `/etc/..`) in a scratch folder and only harmless
//! tools within reach. What a block needs and no reader should see stands above it in a comment,
//! `<!-- first: .. -->`. A block that can't be run here says so, `<!-- not run: why -->`, as a
//! whole page may above its first chapter; the few things that no machine of a test has are known
//! by [`NOT_HERE`]. `cargo test documents -- --nocapture` lists what was not run.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use super::support::{
    running::binary,
    site::{Ran, Site},
};

/// The tools that blocks may use. Nothing else is found, so that no page can do harm where it is
/// tried.
const TOOLS: &[&str] = &[
    "base64",
    "basename",
    "bash",
    "cat",
    "chmod",
    "cmp",
    "cp",
    "cut",
    "date",
    "dd",
    "diff",
    "dirname",
    "env",
    "find",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "hostname",
    "id",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "sed",
    "sh",
    "sha256sum",
    "sha512sum",
    "sort",
    "split",
    "stat",
    "tail",
    "tar",
    "tee",
    "touch",
    "tr",
    "truncate",
    "uname",
    "uniq",
    "wc",
    "xargs",
];

/// Tools that a machine may lack: blocks with them are run where they are.
const MORE_TOOLS: &[&str] = &["curl", "jq", "restic", "rsync"];

/// What a block is about that can't be tried here, and why.
const NOT_HERE: &[(&str, &str)] = &[
    ("?backup=backup-", "it names a made-up backup"),
    ("aws", "it needs Amazon's services"),
    ("cargo", "it builds the program"),
    ("convoy", "it needs Convoy"),
    ("docker", "it needs Docker"),
    ("example.com", "it needs a made-up server"),
    ("apt-get", "it changes the machine"),
    ("mount", "it needs root"),
    ("s3://", "it needs S3"),
    ("sudo", "it needs root"),
    ("systemctl", "it needs systemd"),
];

/// Folders of the pages that are in the scratch folder here.
const FOLDERS: &[&str] = &["/etc", "/home", "/mnt", "/opt", "/root", "/srv", "/tmp", "/var"];

/// What stands in front of a page's commands. Services go on in the background, as in a terminal of
/// their own, until the page ends; a port is chosen for them.
const PREAMBLE: &str = r#"
set -eEo pipefail
convoy-backups() {
    case "${1-}" in
    serve | daemon)
        local log="$ROOT/$1.log"
        if test -e "$ROOT/$1.pid"; then
            kill "$(cat "$ROOT/$1.pid")" && wait "$(cat "$ROOT/$1.pid")" || :
        fi
        : > "$log"
        command convoy-backups "$@" >> "$log" 2>&1 &
        echo $! > "$ROOT/$1.pid"
        # A last word that is a path is a socket.
        until grep -q 'listening on http' "$log" || test -S "${@: -1}"; do
            kill -0 "$(cat "$ROOT/$1.pid")" || { cat "$log" >&2; return 1; }
        done ;;
    *) command convoy-backups "$@" ;;
    esac
}
curl() {
    local port
    port=$(sed -n 's|.*listening on http://127.0.0.1:\([0-9]*\).*|\1|p' "$ROOT/serve.log")
    command curl --fail-with-body --silent --show-error "${@//127.0.0.1:3000/127.0.0.1:$port}"
}
end() {
    local pid
    for pid in $(cat "$ROOT"/*.pid 2> /dev/null); do kill "$pid" && wait "$pid" || :; done
}
trap end EXIT
PS4='+ $place: '
set -x
"#;

/// A block of commands in a page.
struct Block {
    /// `README.md:57`.
    place: String,
    commands: String,
    /// Why it is not run.
    left_out: Option<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md, what stands beside it, and the pages below docs/, with their names.
fn pages() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = ["", "docs", "docs/design", "docs/decisions"]
        .iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().display().to_string();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The text of a comment that begins with this word, from this line on, and the line of its end.
fn comment(lines: &[&str], at: usize, word: &str) -> Option<(String, usize)> {
    let rest = lines[at].trim().strip_prefix("<!--")?.trim_start().strip_prefix(word)?;
    let mut text = String::new();
    let mut line = rest;
    for end in at.. {
        if let Some((last, _)) = line.split_once("-->") {
            text += last;
            return Some((text.trim().to_owned(), end));
        }
        text = text + line + "\n";
        line = lines
            .get(end + 1)
            .unwrap_or_else(|| panic!("the comment in line {} has no end", at + 1));
    }
    None
}

/// A page's blocks, those of its comments too. A mark that says nothing, or of no block, is an
/// error.
fn blocks(page: &str, text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks = Vec::new();
    let mut of_page = None;
    let mut mark: Option<String> = None;
    let mut seen_chapter = false;
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at].trim_start();
        let place = format!("{page}:{}", at + 1);
        seen_chapter |= line.starts_with("## ");
        if let Some((why, end)) = comment(&lines, at, "not run:") {
            assert!(!why.is_empty(), "{place}: say why it is not run");
            if seen_chapter {
                mark = Some(why)
            } else {
                of_page = Some(why)
            }
            at = end;
        } else if let Some((commands, end)) = comment(&lines, at, "first:") {
            blocks.push(Block { place, commands, left_out: of_page.clone() });
            at = end;
        } else if let Some(language) = line.strip_prefix("```") {
            let indent = lines[at].len() - line.len();
            let body: Vec<&str> = lines[at + 1..]
                .iter()
                .take_while(|line| !line.trim_start().starts_with("```"))
                .map(|line| line.get(indent..).unwrap_or_default())
                .collect();
            at += body.len() + 1;
            let commands = body.join("\n");
            match language.trim() {
                "sh" => {
                    // What comes behind builds on what was to be done here.
                    if let Some(tool) = lacking(&commands) {
                        of_page = of_page.or(Some(format!("{tool} is not installed")));
                    }
                    let left_out =
                        mark.take().or_else(|| of_page.clone()).or_else(|| reason(&commands));
                    blocks.push(Block { place, commands, left_out });
                }
                "bash" | "shell" | "console" => {
                    panic!("{place}: blocks of commands begin with ```sh")
                }
                _ => {}
            }
        } else if !line.is_empty() {
            assert!(mark.is_none(), "{place}: the mark above it belongs to no block of commands");
        }
        at += 1;
    }
    blocks
}

/// The commands' words, without remarks.
fn words(commands: &str) -> BTreeSet<&str> {
    let without_remarks = commands.lines().map(|line| line.split(" #").next().unwrap_or(line));
    without_remarks
        .flat_map(|line| {
            line.split(|letter: char| letter.is_whitespace() || "();|&`".contains(letter))
        })
        .collect()
}

/// Why no test can run these commands, if that is so.
fn reason(commands: &str) -> Option<String> {
    let words = words(commands);
    let is_word =
        |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
    let here =
        |text: &str| if is_word(text) { words.contains(text) } else { commands.contains(text) };
    NOT_HERE.iter().find(|(text, _)| here(text)).map(|(_, why)| (*why).to_owned())
}

/// The tool that these commands need and this machine lacks.
fn lacking(commands: &str) -> Option<&'static str> {
    let words = words(commands);
    MORE_TOOLS.iter().copied().find(|tool| words.contains(tool) && found(tool).is_none())
}

/// Where a tool is.
fn found(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|path| path.is_file())
}

/// The commands with the pages' folders in the scratch folder.
fn moved(commands: &str, scratch: &str) -> String {
    let mut text = String::new();
    let mut rest = commands;
    while let Some(at) = rest.find('/') {
        let (before, from) = rest.split_at(at);
        text += before;
        let starts = !text
            .ends_with(|letter: char| letter.is_ascii_alphanumeric() || "._-}".contains(letter));
        let folder = FOLDERS.iter().find(|folder| {
            let behind = from.strip_prefix(**folder).map(|behind| behind.chars().next());
            behind.is_some_and(|next| next.is_none_or(|letter| !letter.is_ascii_alphanumeric()))
        });
        if let Some(folder) = folder.filter(|_| starts) {
            text.extend([scratch, folder]);
            rest = &from[folder.len()..];
        } else {
            text.push('/');
            rest = &from[1..];
        }
    }
    text + rest
}

/// Runs a page's blocks in one shell, in which `$PAGE` is the page's file; what went wrong, if
/// anything did.
fn run(page: &str, blocks: &[&Block]) -> Result<(), String> {
    let folder = tempfile::Builder::new().prefix("convoy-backups-page-").tempdir().unwrap();
    let scratch = folder.path().to_str().unwrap();
    for folder in [
        "bin",
        "etc/convoy-backups",
        "mnt",
        "root",
        "srv/website",
        "tmp",
        "var/lib",
        "var/run/convoy",
        "etc/bash_completion.d",
    ] {
        fs::create_dir_all(Path::new(scratch).join(folder)).unwrap();
    }
    fs::write(folder.path().join("srv/website/index.html"), "<p>a page").unwrap();
    fs::copy(root().join("crontab"), folder.path().join("etc/convoy-backups/crontab")).unwrap();
    let link = |tool: &str, path: &Path| {
        std::os::unix::fs::symlink(path, folder.path().join("bin").join(tool)).unwrap()
    };
    for tool in TOOLS.iter().chain(MORE_TOOLS) {
        if let Some(path) = found(tool) {
            link(tool, &path);
        }
    }
    link("convoy-backups", Path::new(env!("CARGO_BIN_EXE_convoy-backups")));

    let mut script = PREAMBLE.to_owned();
    for block in blocks {
        script += &format!(
            "{{ place='{}'; }} 2> /dev/null\n{}\n",
            block.place,
            moved(&block.commands, scratch)
        );
    }
    let program = binary();
    let mut command = std::process::Command::new(found("bash").unwrap());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .args(["-c", &script])
        .env("ROOT", scratch)
        .env("PAGE", root().join(page))
        .env("HOME", folder.path().join("root"))
        .env("PATH", folder.path().join("bin"))
        .env("TMPDIR", folder.path().join("tmp"))
        .env("BKUP_DATA_DIR", folder.path().join("var/lib/convoy-backups"))
        .env("BKUP_CONVOY", format!("builtin:{scratch}/var/lib/convoy-backups/daemon"))
        .env("BKUP_CRONTAB", folder.path().join("etc/convoy-backups/crontab"))
        .env("BKUP_API_LISTEN", "127.0.0.1:0")
        .env_remove("XDG_DATA_HOME")
        .env_remove("XDG_CACHE_HOME")
        .current_dir(folder.path().join("root"))
        .stdin(Stdio::null());
    let ran = Ran::of(String::new(), command.output().unwrap());
    if ran.code == 0 {
        return Ok(());
    }
    let tail = |text: &str| {
        text.lines()
            .rev()
            .take(25)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
            .join("\n")
    };
    Err(format!("exit code {}\n{}\n---\n{}", ran.code, tail(&ran.out), tail(&ran.err)))
}

#[test]
fn every_command_of_the_documents_runs() {
    let pages: Vec<(String, Vec<Block>)> =
        pages().into_iter().map(|(page, text)| (page.clone(), blocks(&page, &text))).collect();
    for block in pages.iter().flat_map(|(_, blocks)| blocks) {
        if let Some(why) = &block.left_out {
            println!("not run: {}: {why}", block.place);
        }
    }
    let here: Vec<(&String, Vec<&Block>)> = pages
        .iter()
        .map(|(page, blocks)| {
            (page, blocks.iter().filter(|block| block.left_out.is_none()).collect())
        })
        .collect();
    let ran: usize = here.iter().map(|(_, blocks)| blocks.len()).sum();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let started: Vec<_> = here
            .iter()
            .filter(|(_, blocks)| !blocks.is_empty())
            .map(|(page, blocks)| {
                scope.spawn(move || run(page, blocks).err().map(|why| format!("{page}: {why}")))
            })
            .collect();
        started.into_iter().filter_map(|page| page.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(ran >= 15, "only {ran} blocks of commands were run");
}

#[test]
fn every_command_and_setting_that_a_document_names_exists() {
    let site = Site::builtin();
    let config = site.run("config --json").json();
    let settings: Vec<&str> = config["settings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|setting| setting["name"].as_str().unwrap())
        .collect();
    let help = site.run("--help").ok().out;
    let is_command =
        |word: &str| help.lines().any(|line| line.split_whitespace().next() == Some(word));
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        for (number, line) in text.lines().enumerate() {
            let place = format!("{page}:{}", number + 1);
            for piece in line.split("BKUP_").skip(1) {
                let name: String = piece
                    .chars()
                    .take_while(|letter| {
                        letter.is_ascii_uppercase() || *letter == '_' || letter.is_ascii_digit()
                    })
                    .collect();
                let name = format!("BKUP_{name}");
                // `BKUP_EMAIL_*` and `BKUP_EMAIL_SMTP_` name all that begin so; `BKUP_X_FILE` is X.
                let known = settings.iter().any(|setting| {
                    *setting == name.strip_suffix("_FILE").unwrap_or(&name)
                        || *setting == name
                        || (name.ends_with('_') && setting.starts_with(&name))
                });
                if !known {
                    wrong.push(format!("{place}: there is no setting {name}"));
                }
            }
            for piece in line.split("`convoy-backups ").skip(1) {
                let word: String = piece
                    .chars()
                    .take_while(|letter| letter.is_ascii_lowercase() || *letter == '-')
                    .collect();
                if !word.is_empty() && !word.starts_with('-') && !is_command(&word) {
                    wrong.push(format!("{place}: there is no command {word}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_link_of_a_document_leads_to_a_file_and_its_heading() {
    // As GitHub names headings: lower case, blanks as hyphens, nothing else but letters and digits.
    let anchor = |heading: &str| -> String {
        let kept = heading
            .trim()
            .chars()
            .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        let folder = root().join(&page).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if file.contains(':') {
                continue;
            }
            let path = if file.is_empty() { root().join(&page) } else { folder.join(file) };
            let Ok(found) = path.canonicalize() else {
                wrong.push(format!("{page}: there is no {link}"));
                continue;
            };
            let is_there = heading.is_empty()
                || fs::read_to_string(found).unwrap_or_default().lines().any(|line| {
                    line.starts_with('#') && anchor(line.trim_start_matches('#')) == heading
                });
            if !is_there {
                wrong.push(format!("{page}: {link} has no such heading"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_line_of_a_document_is_too_long_to_read_but_rows_of_tables() {
    const COLUMNS: usize = 140;
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        let long = text.lines().enumerate().filter(|(_, line)| {
            line.chars().count() > COLUMNS && !line.trim_start().starts_with('|')
        });
        wrong.extend(long.map(|(number, _)| format!("{page}:{}", number + 1)));
    }
    assert!(wrong.is_empty(), "over {COLUMNS} characters: {}", wrong.join(", "));
}

/// The source of the program, as its messages are printed.
fn source(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &fs::read_to_string(&path).unwrap().replace("\\\"", "\"");
        }
    }
}

#[test]
fn every_message_that_a_document_explains_is_one_of_the_programs() {
    let mut program = String::new();
    source(&root().join("src"), &mut program);
    let (mut seen, mut wrong) = (0, Vec::new());
    for (page, text) in pages() {
        let mut explains = false;
        for (number, line) in text.lines().enumerate() {
            explains = line.starts_with("| it says |") || explains && line.starts_with('|');
            let Some(message) = line
                .strip_prefix("| `")
                .filter(|_| explains)
                .and_then(|rest| rest.split('`').next())
            else {
                continue;
            };
            seen += 1;
            // ".." stands for what differs.
            if let Some(missing) = message
                .split("..")
                .find(|part| part.trim().len() > 3 && !program.contains(part.trim()))
            {
                wrong.push(format!("{page}:{}: the program does not say {missing:?}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 40, "{seen}");
}

#[test]
fn a_block_is_left_out_only_where_it_or_its_page_says_why() {
    let page = "# Page\n\n## One\n\n```sh\nls /mnt\n```\n\n<!-- not run: it is slow -->\n```sh\nls\n```\n\n  ```sh\n  docker ps\n  ```\n<!-- first:\ntouch a\n-->\n";
    let blocks = blocks("p.md", page);
    let seen: Vec<_> = blocks
        .iter()
        .map(|block| (block.place.as_str(), block.commands.as_str(), block.left_out.as_deref()))
        .collect();
    assert_eq!(
        seen,
        [
            ("p.md:5", "ls /mnt", None),
            ("p.md:10", "ls", Some("it is slow")),
            ("p.md:14", "docker ps", Some("it needs Docker")),
            ("p.md:17", "touch a", None),
        ]
    );
    assert!(
        super::documents::blocks("p.md", "<!-- not run: no Docker -->\n## A\n```sh\nls\n```")
            .iter()
            .all(|block| block.left_out.is_some())
    );
}

#[test]
fn the_folders_of_a_page_are_in_the_scratch_folder() {
    let moved = |text| moved(text, "/s");
    assert_eq!(
        moved("vfs:///mnt/backups '/etc/x' a/etc/x /var /variable"),
        "vfs:///s/mnt/backups '/s/etc/x' a/etc/x /s/var /variable"
    );
    assert_eq!(moved("/dev/null $HOME/etc/x"), "/dev/null $HOME/etc/x");
}
