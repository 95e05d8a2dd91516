//! Tests that no script runs forever, grows without end, or reaches what it must not.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    error::ErrorKind,
    script::{
        Host, Listener,
        testing::{memory, run_text, value},
    },
};

/// Cancels the run when the script says anything.
struct CancelOnWord(CancellationToken);

impl Listener for CancelOnWord {
    fn log(&self, _level: log::Level, _message: &str) {
        self.0.cancel();
    }
}

fn cancelling_host() -> Host {
    let (_, mut host) = memory(&["vol1"]);
    host.listener = Arc::new(CancelOnWord(host.cancellation.clone()));
    host
}

#[test]
fn cancelling_ends_a_loop_a_wait_and_all_threads() {
    for body in [
        "log::info(1); loop {}",
        "log::info(1); time::sleep(3600);",
        "log::info(1); sleep(3600);",
        "log::info(1); sleep(3600.5);",
        "log::info(1); convoy::volumes()",
        "try { log::info(1); loop {} } catch { 5 }",
        "try { log::info(1); time::sleep(3600); } catch (e) { log::info(e); }",
        "parallel([1, 2, 3], 3, |i| { if i == 1 { log::info(i); } time::sleep(3600); })",
        "parallel([1, 2, 3], 3, |i| { if i == 1 { log::info(i); } loop {} })",
    ] {
        let begun = Instant::now();
        let error = run_text(cancelling_host(), &format!("fn main() {{ {body} }}")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled, "{body}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{body} took {:?}", begun.elapsed());
    }
}

#[test]
fn the_deadline_ends_a_loop_and_a_wait() {
    for body in [
        "loop {}",
        "time::sleep(3600)",
        "try { time::sleep(3600) } catch { }",
        "parallel([1, 2], 2, |i| time::sleep(3600))",
    ] {
        let (_, mut host) = memory(&[]);
        host.deadline = Some(Instant::now() + Duration::from_millis(30));
        let error = run_text(host, &format!("fn main() {{ {body} }}")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::DeadlineExceeded, "{body}: {error}");
    }
}

#[test]
fn a_run_that_is_over_before_it_begins_does_nothing() {
    let (daemon, host) = memory(&["vol1"]);
    host.cancellation.cancel();
    let error = run_text(host, "fn main() { convoy::create_snapshot(\"vol1\") }").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert!(daemon.calls().is_empty());
}

#[test]
fn steps_are_counted_over_all_threads() {
    for body in [
        "loop {}",
        "parallel([1, 2, 3, 4], 4, |i| { for n in 0..60000 { } })",
        "try { loop {} } catch { }",
    ] {
        let (_, mut host) = memory(&[]);
        host.max_operations = 100_000;
        let error = run_text(host, &format!("fn main() {{ {body} }}")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Limit, "{body}: {error}");
        assert!(error.message.contains("too many steps"), "{error}");
    }
}

#[test]
fn what_grows_without_end_is_stopped() {
    for (body, message) in [
        ("let s = \"x\"; loop { s += s; }", "too large"),
        ("let s = \"x\"; s.pad(1000000000, \"y\"); s", "too large"),
        ("let s = \"x\"; s.pad(1000000, 'y'); let t = s; s.replace(\"y\", t); s", "too large"),
        ("let a = [1]; loop { a += a; }", "too large"),
        ("let a = []; a.pad(1000000000, 0); a", "too large"),
        ("let a = []; loop { a = [a, a]; }", "too large"),
        ("let b = blob(1000000000); b", "too large"),
        ("let m = #{}; let i = 0; loop { m[`k${i}`] = [m, m]; i += 1; }", "too large"),
    ] {
        let error = value(body).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Limit, "{body}: {error}");
        assert!(error.message.contains(message), "{body}: {error}");
    }
}

#[test]
fn what_one_function_holds_is_bounded() {
    let sixteen_mebibytes = "let s = \"x\"; while s.len() < 16777216 { s += s; }";
    value(sixteen_mebibytes).unwrap();
    let error = value(&format!("{sixteen_mebibytes} s += \"x\";")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Limit, "{error}");

    let variables =
        |count: usize| (0..count).map(|index| format!("let v{index} = 0; ")).collect::<String>();
    value(&variables(150)).unwrap();
    let error = value(&variables(201)).unwrap_err();
    assert_eq!(
        (error.kind, error.message.contains("too many variables")),
        (ErrorKind::Limit, true),
        "{error}"
    );
}

#[test]
fn endless_recursion_is_stopped_also_through_parallel_and_closures() {
    for text in [
        "fn f(n) { f(n + 1) } fn main() { f(0) }",
        "fn f(n) { 1 + (2 + (3 + (4 + (5 + (6 + f(n + 1)))))) } fn main() { f(0) }",
        "fn f(n) { parallel([n], 4, |n| f(n + 1)) } fn main() { f(0) }",
        "fn f(n) { [n].map(|n| f(n + 1)) } fn main() { f(0) }",
    ] {
        let error = run_text(memory(&[]).1, text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Limit, "{text}: {error}");
        assert!(error.message.contains("too deep"), "{text}: {error}");
    }
}

#[test]
fn what_is_nested_too_deep_is_refused_at_once() {
    let text = format!("fn main() {{ {}1{} }}", "(".repeat(5000), ")".repeat(5000));
    let error = run_text(memory(&[]).1, &text).unwrap_err();
    assert!(error.message.contains("nested too deep"), "{error}");
}

#[test]
fn there_is_no_eval_and_no_way_to_files_or_processes() {
    for body in [
        "eval(\"1\")",
        "open_file(\"/etc/passwd\")",
        "exec(\"ls\")",
        "import \"std/fs\" as fs; fs::read(\"x\")",
    ] {
        assert_eq!(value(body).unwrap_err().kind, ErrorKind::Script, "{body}");
    }
}

#[test]
fn what_a_script_prints_goes_to_the_log() {
    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);
    impl Listener for Lines {
        fn log(&self, level: log::Level, message: &str) {
            self.0.lock().unwrap().push(format!("{level} {message}"));
        }
    }
    let lines = Arc::new(Lines::default());
    let (_, mut host) = memory(&[]);
    host.listener = Arc::clone(&lines) as Arc<dyn Listener>;
    run_text(host, "fn main() { print(\"one\"); debug(2); log::debug(\"three\"); log::warn(4); }")
        .unwrap();
    assert_eq!(*lines.0.lock().unwrap(), ["INFO one", "DEBUG 2", "DEBUG three", "WARN 4"]);
}

#[test]
fn nested_parallel_calls_share_the_threads_and_all_get_done() {
    let result = value(
        "let rows = []; for i in 0..20 { rows.push(i); }
         parallel(rows, 100, |i| parallel([1, 2, 3, 4, 5], 100, |j| i * j))",
    )
    .unwrap();
    assert_eq!(result.as_array().unwrap().len(), 20);
    assert_eq!(result[3], serde_json::json!([3, 6, 9, 12, 15]));
}
