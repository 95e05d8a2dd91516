//! How each database is dumped, and how a whole dump is told from a torn one. Pure.
//!
//! Passwords come from the container's own environment. They are given to programs in theirs, or in a
//! file, and never on a command line, which everybody on the host can see.

use std::fmt::Write as _;

use crate::engine::DumpKind;

/// What all scripts have: the value of the first of some variables that has one (or the content of the
/// file that `NAME_FILE` names), and the first of some programs that is there.
const COMMON: &str = r#"set -eu
given() {
    for name in "$@"; do
        eval "value=\${$name-} file=\${${name}_FILE-}"
        if [ -n "$file" ]; then value=$(cat "$file"); fi
        if [ -n "$value" ]; then printf %s "$value"; return; fi
    done
}
first() {
    for program in "$@"; do
        if command -v "$program" >/dev/null; then echo "$program"; return; fi
    done
    echo "the container has none of these programs: $*" >&2
    return 127
}
"#;

const POSTGRES: &str = r#"program=$(first pg_dumpall)
user=$(given POSTGRES_USER POSTGRESQL_USERNAME)
PGPASSWORD=$(given POSTGRES_PASSWORD POSTGRESQL_POSTGRES_PASSWORD POSTGRESQL_PASSWORD)
if [ -n "$PGPASSWORD" ]; then export PGPASSWORD; else unset PGPASSWORD; fi
"$program" --no-password --username "${user:-postgres}"
"#;

/// Of MySQL and of MariaDB: `PROGRAMS` and `VARIABLES` stand for their own names, those first. The end of a
/// whole dump is a comment, which the container's own configuration may leave out.
const MYSQL: &str = r#"program=$(first PROGRAMS)
MYSQL_PWD=$(given VARIABLES)
if [ -n "$MYSQL_PWD" ]; then export MYSQL_PWD; else unset MYSQL_PWD; fi
"$program" --user=root --all-databases --single-transaction --quick --routines --events --hex-blob \
    --flush-privileges --comments --skip-dump-date --default-character-set=utf8mb4
"#;

const MONGODB: &str = r#"program=$(first mongodump)
user=$(given MONGO_INITDB_ROOT_USERNAME MONGODB_ROOT_USER)
if [ -n "$user" ]; then
    password=$(given MONGO_INITDB_ROOT_PASSWORD MONGODB_ROOT_PASSWORD | sed "s/'/''/g")
    "$program" --quiet --archive --username "$user" --authenticationDatabase admin --config /dev/stdin <<END
password: '$password'
END
else
    "$program" --quiet --archive
fi
"#;

const REDIS: &str = r#"program=$(first redis-cli valkey-cli)
REDISCLI_AUTH=$(given REDIS_PASSWORD VALKEY_PASSWORD)
if [ -n "$REDISCLI_AUTH" ]; then export REDISCLI_AUTH; else unset REDISCLI_AUTH; fi
"$program" --rdb -
"#;

/// A copy of one moment, which is whole before it is read. What a killed one left is removed.
const SQLITE: &str = r#"program=$(first sqlite3)
if [ ! -f "$file" ]; then echo "there is no file $file" >&2; exit 1; fi
rm -rf "${TMPDIR:-/tmp}"/.convoy-backups-dump.*
folder=$(mktemp -d "${TMPDIR:-/tmp}/.convoy-backups-dump.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM PIPE
"$program" -bail "$file" ".timeout 60000" "vacuum into '$folder/copy'" >&2
cat "$folder/copy"
"#;

/// The script that dumps a database to its standard output, with `end` behind it if that went well.
pub(super) fn script(kind: &DumpKind, end: &str) -> String {
    let mut script = String::new();
    let dump = match kind {
        DumpKind::Postgres => POSTGRES.to_owned(),
        DumpKind::Mysql => MYSQL
            .replace("PROGRAMS", "mysqldump mariadb-dump")
            .replace("VARIABLES", "MYSQL_ROOT_PASSWORD MARIADB_ROOT_PASSWORD"),
        DumpKind::Mariadb => MYSQL
            .replace("PROGRAMS", "mariadb-dump mysqldump")
            .replace("VARIABLES", "MARIADB_ROOT_PASSWORD MYSQL_ROOT_PASSWORD"),
        DumpKind::Mongodb => MONGODB.to_owned(),
        DumpKind::Redis => REDIS.to_owned(),
        DumpKind::Sqlite(file) => {
            let path = file.display().to_string().replace('\'', r"'\''");
            _ = writeln!(script, "file='{path}'");
            SQLITE.to_owned()
        }
    };
    // A shell does not stop at what fails in a part of a condition, so none is around the dump.
    format!("(\n{script}{COMMON}{dump})\ncode=$?\n[ $code = 0 ] || exit $code\nprintf %s '{end}'\n")
}

/// The longest part of a name that comes from outside, in characters: a file system takes 255 bytes.
const LONGEST: usize = 100;

/// The name of a dump's file.
pub(super) fn file_name(container: &str, kind: &DumpKind) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let plain = |name: &str| -> String {
        name.chars().map(|letter| if plain(letter) { letter } else { '-' }).collect()
    };
    let container: String = plain(container).chars().take(LONGEST).collect();
    match kind {
        DumpKind::Postgres | DumpKind::Mysql | DumpKind::Mariadb => {
            format!("{container}.{}.sql", kind.as_str())
        }
        DumpKind::Mongodb => format!("{container}.mongodb.archive"),
        DumpKind::Redis => format!("{container}.redis.rdb"),
        DumpKind::Sqlite(file) => {
            let path = file.display().to_string();
            let path = plain(path.trim_start_matches('/'));
            let end = &path[path.len().saturating_sub(LONGEST)..];
            format!("{container}.sqlite.{end}")
        }
    }
}

/// How much of a dump's beginning and end is looked at, in bytes.
const BEGINNING: usize = 32;
const ENDING: usize = 1 << 10;
/// A copy of Redis's data by replication may have this behind it: the mark of the transfer.
const REDIS_MARK: usize = 40;

/// The beginning and the end of a dump.
#[derive(Debug, Default)]
pub(super) struct Shape {
    beginning: Vec<u8>,
    ending: Vec<u8>,
    bytes: u64,
}

impl Shape {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let more = BEGINNING - self.beginning.len();
        self.beginning.extend_from_slice(&bytes[..bytes.len().min(more)]);
        let last = &bytes[bytes.len().saturating_sub(ENDING)..];
        let over = (self.ending.len() + last.len()).saturating_sub(ENDING);
        self.ending.drain(..over.min(self.ending.len()));
        self.ending.extend_from_slice(last);
        self.bytes += bytes.len() as u64;
    }

    /// Whether this is a whole dump of such a database.
    pub(super) fn is_whole(&self, kind: &DumpKind) -> bool {
        let ends = |mark: &str| self.ending.windows(mark.len()).any(|it| it == mark.as_bytes());
        match kind {
            DumpKind::Postgres => ends("-- PostgreSQL database cluster dump complete"),
            DumpKind::Mysql | DumpKind::Mariadb => ends("-- Dump completed"),
            DumpKind::Mongodb => self.beginning.starts_with(&0x8199_e26d_u32.to_le_bytes()),
            DumpKind::Redis => {
                // The last code of all, and a check of eight bytes.
                let is_end = |behind: usize| {
                    let at = self.ending.len().checked_sub(9 + behind);
                    at.is_some_and(|at| self.ending[at] == 0xff)
                };
                let is_begin =
                    [&b"REDIS"[..], b"VALKEY"].iter().any(|it| self.beginning.starts_with(it));
                is_begin && (is_end(0) || is_end(REDIS_MARK))
            }
            DumpKind::Sqlite(_) => self.is_sqlite(),
        }
    }

    /// Whether the size is the one that the header tells.
    fn is_sqlite(&self) -> bool {
        let number = |at: usize, length: usize| {
            let bytes = self.beginning.get(at..at + length)?;
            Some(bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
        };
        let page = number(16, 2).map(|size| if size == 1 { 65_536 } else { size });
        let told = page.zip(number(28, 4)).map(|(page, pages)| page * pages);
        self.beginning.starts_with(b"SQLite format 3\0") && told == Some(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn shape(content: &[u8]) -> Shape {
        let mut shape = Shape::default();
        content.chunks(7).for_each(|part| shape.add(part));
        shape
    }

    #[test]
    fn a_torn_dump_is_told_from_a_whole_one() {
        let redis = [b"REDIS0010", &[0xfa; 2000][..], b"\xff12345678"].concat();
        let mut sqlite = b"SQLite format 3\0".to_vec();
        sqlite.extend([0x10, 0, 1, 1, 0, 64, 32, 32, 0, 0, 0, 1, 0, 0, 0, 2]);
        sqlite.resize(2 * 4096, 0);
        for (kind, whole) in [
            (
                DumpKind::Postgres,
                b"--\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n".to_vec(),
            ),
            (DumpKind::Mariadb, b"INSERT\n\n-- Dump completed\n".to_vec()),
            (DumpKind::Mysql, b"INSERT\n-- Dump completed on 2026-11-27\n".to_vec()),
            (DumpKind::Redis, redis.clone()),
            (DumpKind::Redis, [&redis[..], &[b'e'; 40]].concat()),
            (DumpKind::Sqlite("/a.db".into()), sqlite),
        ] {
            assert!(shape(&whole).is_whole(&kind), "{kind:?}");
            let torn = &whole[..whole.len() - 30.min(whole.len() / 2)];
            assert!(!shape(torn).is_whole(&kind), "{kind:?}");
            assert!(!shape(b"").is_whole(&kind), "{kind:?}");
        }
        assert!(shape(b"\x6d\xe2\x99\x81archive").is_whole(&DumpKind::Mongodb));
        assert!(!shape(b"archive").is_whole(&DumpKind::Mongodb));
    }

    #[test]
    fn names_of_files_are_plain_and_tell_whose_dump_it_is() {
        assert_eq!(file_name("shop-db-1", &DumpKind::Postgres), "shop-db-1.postgres.sql");
        let file = DumpKind::Sqlite("/data/my app/../x.db".into());
        assert_eq!(file_name("a/b", &file), "a-b.sqlite.data-my-app-..-x.db");
    }

    /// Runs a script with programs of its own, and gives the code, the output and the errors.
    fn run(
        kind: &DumpKind,
        programs: &[(&str, &str)],
        variables: &[(&str, &str)],
    ) -> (i32, String, String) {
        let folder = tempfile::tempdir().unwrap();
        for (name, script) in programs {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, mode).unwrap();
        }
        for name in ["sh", "cat", "sed", "rm", "mktemp", "ls"] {
            let real = ["/bin", "/usr/bin"].iter().map(|it| format!("{it}/{name}"));
            let real = real.into_iter().find(|path| std::path::Path::new(path).exists()).unwrap();
            std::os::unix::fs::symlink(real, folder.path().join(name)).unwrap();
        }
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script(kind, "THE END")]).env_clear().env("PATH", folder.path());
        command.env("TMPDIR", folder.path()).envs(variables.iter().copied());
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    #[test]
    fn a_password_comes_from_the_containers_environment_and_is_on_no_command_line() {
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "it's $a\n").unwrap();
        let secret = secret.path().to_str().unwrap();
        let shows = "echo \"$PGPASSWORD|$*\"";
        let variables = [("POSTGRES_PASSWORD_FILE", secret), ("POSTGRES_USER", "shop")];
        let (_, out, _) = run(&DumpKind::Postgres, &[("pg_dumpall", shows)], &variables);
        assert_eq!(out, "it's $a|--no-password --username shop\nTHE END");
        let (_, out, _) = run(&DumpKind::Postgres, &[("pg_dumpall", shows)], &[]);
        assert_eq!(out, "|--no-password --username postgres\nTHE END");
        let shows = "echo \"$MYSQL_PWD|$1\"";
        for variable in ["MARIADB_ROOT_PASSWORD_FILE", "MYSQL_ROOT_PASSWORD_FILE"] {
            for program in ["mariadb-dump", "mysqldump"] {
                let (_, out, _) =
                    run(&DumpKind::Mariadb, &[(program, shows)], &[(variable, secret)]);
                assert_eq!(out, "it's $a|--user=root\nTHE END");
            }
        }
        let shows = "echo \"$*\"; cat /dev/stdin";
        let variables =
            [("MONGO_INITDB_ROOT_PASSWORD_FILE", secret), ("MONGO_INITDB_ROOT_USERNAME", "root")];
        let (_, out, _) = run(&DumpKind::Mongodb, &[("mongodump", shows)], &variables);
        assert!(out.ends_with("/dev/stdin\npassword: 'it''s $a'\nTHE END"), "{out}");
        let (_, out, _) = run(
            &DumpKind::Redis,
            &[("redis-cli", "echo \"$REDISCLI_AUTH|$*\"")],
            &[("REDIS_PASSWORD", "pw")],
        );
        assert_eq!(out, "pw|--rdb -\nTHE END");
    }

    #[test]
    fn what_fails_has_no_end_and_a_program_that_is_not_there_is_told() {
        for kind in [DumpKind::Postgres, DumpKind::Mysql, DumpKind::Mongodb, DumpKind::Redis] {
            let (code, out, error) = run(&kind, &[], &[]);
            assert_eq!((code, out.as_str()), (127, ""), "{kind:?}");
            assert!(error.contains("the container has none of these programs: "), "{error}");
        }
        // A password that can't be had is told, and nothing is tried without one.
        let variables = [("POSTGRES_PASSWORD_FILE", "/no/such/secret")];
        let (code, out, error) =
            run(&DumpKind::Postgres, &[("pg_dumpall", "echo rows")], &variables);
        assert!(code != 0 && out.is_empty() && error.contains("/no/such/secret"), "{out}{error}");
        let fails = [("pg_dumpall", "echo rows; exit 2")];
        let (code, out, _) = run(&DumpKind::Postgres, &fails, &[]);
        assert_eq!((code, out.as_str()), (2, "rows\n"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let kind = DumpKind::Sqlite(file.path().to_owned());
        let (code, out, error) =
            run(&kind, &[("sqlite3", "echo locked >&2; ls \"$TMPDIR\" >&2; exit 5")], &[]);
        assert_eq!((code, out.as_str()), (5, ""));
        assert!(error.contains("locked") && error.contains("\n"), "{error}");
        let (code, _, error) =
            run(&DumpKind::Sqlite("/no/such.db".into()), &[("sqlite3", "")], &[]);
        assert!(code == 1 && error.contains("there is no file /no/such.db"), "{error}");
    }
}
