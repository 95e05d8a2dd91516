//! Commands in the containers of the engine in memory: processes of this machine, which see programs in
//! the engine's folder `bin` first. Their output is sent as engine 20.10.24 does.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

use super::Contents;

/// A command that was asked for.
#[derive(Debug, Clone, Default)]
pub struct FakeExec {
    container: String,
    script: String,
    environment: Vec<String>,
    runs: bool,
    code: Option<i32>,
}

/// Answers what is about commands; false if the request is another one.
pub fn answer(
    (method, route): (&str, &str),
    body: &Value,
    (stream, folder): (&mut UnixStream, &Path),
    contents: &Arc<Mutex<Contents>>,
) -> bool {
    let words: Vec<_> = route.trim_start_matches('/').split('/').collect();
    match (method, words.as_slice()) {
        ("POST", ["containers", id, "exec"]) => {
            let (status, answer) = made(&mut contents.lock().unwrap(), id, body);
            send(stream, status, &answer);
        }
        ("POST", ["exec", id, "start"]) => started(id, stream, folder, contents),
        ("GET", ["exec", id, "json"]) => {
            let contents = contents.lock().unwrap();
            match contents.execs.get(*id) {
                Some(exec) => {
                    let told = json!({ "ID": id, "Running": exec.runs, "ExitCode": exec.code });
                    send(stream, "200 OK", &told);
                }
                None => send(stream, "404 Not Found", &no_such(id)),
            }
        }
        _ => return false,
    }
    true
}

fn no_such(id: &str) -> Value {
    json!({ "message": format!("No such exec instance: {id}") })
}

fn send(stream: &mut UnixStream, status: &str, body: &Value) {
    let body = body.to_string();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nApi-Version: 1.41\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    _ = stream.write_all(format!("{head}{body}").as_bytes());
}

fn made(contents: &mut Contents, id: &str, body: &Value) -> (&'static str, Value) {
    let Some(container) = contents.containers.iter().find(|it| it["Id"] == id) else {
        return ("404 Not Found", json!({ "message": format!("No such container: {id}") }));
    };
    let conflict =
        |why: &str| ("409 Conflict", json!({ "message": format!("Container {id} {why}") }));
    match container["State"].as_str() {
        Some("running") => {}
        Some("paused") => return conflict("is paused, unpause the container before exec"),
        _ => return conflict("is not running"),
    }
    let name = container["Names"][0].as_str().unwrap_or_default().trim_matches('/').to_owned();
    let script = body["Cmd"][2].as_str().unwrap_or_default().to_owned();
    let kills = script.starts_with("for process in /proc/");
    let user = body["User"].as_str().filter(|user| !user.is_empty());
    let user = user.map(|user| format!(" as {user}")).unwrap_or_default();
    contents.acts.push(match script.lines().count() {
        _ if kills => format!("kill in {name}"),
        1 => format!("exec in {name}{user}: {script}"),
        _ => format!("dump in {name}{user}"),
    });
    let environment = body["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let exec = FakeExec {
        container: name,
        script,
        environment: environment.map(str::to_owned).collect(),
        runs: false,
        code: None,
    };
    let id = format!("{:064x}", 0xe0 + contents.execs.len());
    contents.execs.insert(id.clone(), exec);
    ("201 Created", json!({ "Id": id }))
}

fn started(id: &str, stream: &mut UnixStream, folder: &Path, contents: &Arc<Mutex<Contents>>) {
    let (exec, most) = {
        let mut contents = contents.lock().unwrap();
        let most = contents.faults.output_breaks_after;
        let Some(exec) = contents.execs.get_mut(id) else {
            return send(stream, "404 Not Found", &no_such(id));
        };
        exec.runs = true;
        (exec.clone(), most)
    };
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &exec.script]).env_clear().env("PATH", path).env("TMPDIR", folder);
    command.env("CONTAINER", &exec.container).current_dir(folder);
    for variable in &exec.environment {
        let (name, value) = variable.split_once('=').unwrap();
        command.env(name, value);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    _ = stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\nApi-Version: 1.41\r\n\r\n",
    );
    let (out, error) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let sent = Mutex::new((stream.try_clone().unwrap(), most));
    let ended = thread::scope(|threads| {
        let errors = threads.spawn(|| copy(2, error, &sent));
        let whole = copy(1, out, &sent);
        errors.join().unwrap() && whole
    });
    if !ended {
        // The client went away, or the engine died: what was started goes on.
        _ = stream.shutdown(std::net::Shutdown::Both);
    }
    let code = child.wait().unwrap().code().unwrap_or(137);
    if let Some(exec) = contents.lock().unwrap().execs.get_mut(id) {
        (exec.runs, exec.code) = (false, Some(code));
    }
    _ = stream.shutdown(std::net::Shutdown::Both);
}

/// Sends what is printed as frames; false if it could not be sent.
fn copy(number: u8, mut from: impl Read, sent: &Mutex<(UnixStream, Option<usize>)>) -> bool {
    let mut piece = [0; 32 << 10];
    loop {
        let got = match from.read(&mut piece) {
            Ok(0) | Err(_) => return true,
            Ok(got) => got,
        };
        let length = u32::try_from(got).unwrap().to_be_bytes();
        let frame = [&[number, 0, 0, 0], &length[..], &piece[..got]].concat();
        let mut sent = sent.lock().unwrap();
        let (stream, most) = &mut *sent;
        if let Some(left) = most {
            let part = &frame[..frame.len().min(*left)];
            _ = stream.write_all(part);
            *left -= part.len();
            if part.len() < frame.len() {
                _ = stream.shutdown(std::net::Shutdown::Both);
                return false;
            }
        } else if stream.write_all(&frame).is_err() {
            return false;
        }
    }
}
