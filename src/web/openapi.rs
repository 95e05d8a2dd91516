//! `/openapi.json`: the API as OpenAPI 3.1 describes it, with a path for every script, made from
//! what the scripts declare.

mod parameters;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use warp::reply::Response;

use super::{
    answer::{blocking, json_answer},
    core::Core,
    problem::Problem,
};
use crate::{
    run_words::{RunStatus, Trigger},
    script::Script,
};
use parameters::{DURATION, SOME_TIME, Sent, arguments};

/// GET /openapi.json
pub(super) async fn show(core: Arc<dyn Core>) -> Result<Response, Problem> {
    let scripts = blocking(move || {
        let library = core.library()?;
        let names = library.list()?.into_iter().map(|listed| listed.name);
        Ok(names.filter_map(|name| library.load(&name).ok()).collect::<Vec<_>>())
    });
    Ok(json_answer(&document(&scripts.await?)))
}

/// The document, for these scripts.
pub(crate) fn document(scripts: &[Script]) -> Value {
    let mut paths = fixed_paths();
    for script in scripts {
        // A script may be called as a fixed path is: then it is what is posted there.
        let path = paths.entry(format!("/api/{}", script.name)).or_insert_with(|| json!({}));
        path["post"] = script_operation(script);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "convoy-backups",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Snapshots, backups, pruning and restores of Docker volumes",
            "description": "Every script is a path of its own. What went wrong is application/problem+json (RFC 9457).",
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }],
        "tags": [
            { "name": "scripts", "description": "Run a script, or see which there are." },
            { "name": "runs", "description": "What ran, and what runs." },
            { "name": "schedule", "description": "The crontab's entries." },
            { "name": "operations", "description": "How the program is." },
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "BKUP_API_TOKEN, or BKUP_API_READ_TOKEN for what only reads." },
            },
            "schemas": schemas(),
            "responses": { "Problem": {
                "description": "What was wrong, and what to do next",
                "content": { "application/problem+json": { "schema": reference("Problem") } },
            } },
        },
    })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// The answers of an operation: this one, and every problem.
fn answers(status: &str, description: &str, schema: &Value) -> Value {
    json!({
        status: { "description": description, "content": { "application/json": { "schema": schema } } },
        "default": { "$ref": "#/components/responses/Problem" },
    })
}

fn query(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "required": false, "description": description, "schema": schema })
}

/// `?name`, `?name=true`, and what else [`Query::flag`](super::query::Query::flag) takes.
fn flag(name: &str, description: &str) -> Value {
    let values = json!([true, false, "yes", "no", "1", "0", ""]);
    query(name, description, &json!({ "type": ["boolean", "string"], "enum": values }))
}

/// A number from `least` to `most`; empty is none.
fn number(name: &str, description: &str, least: u64, most: u64, default: u64) -> Value {
    let schema = json!({ "type": ["integer", "string"], "minimum": least, "maximum": most, "maxLength": 0, "default": default });
    query(name, description, &schema)
}

fn prefer(description: &str) -> Value {
    json!({ "name": "Prefer", "in": "header", "required": false, "description": description,
        "schema": { "type": "string", "examples": ["respond-async"] } })
}

/// The headers of an answer that is about a run.
fn run_headers() -> Value {
    json!({
        "Run-Id": { "description": "The run", "schema": { "type": "string" } },
        "Location": { "description": "Where the run is", "schema": { "type": "string" } },
    })
}

fn path(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": { "type": "string", "minLength": 1 } })
}

fn script_operation(script: &Script) -> Value {
    let mut lines = script.doc.lines();
    let summary = lines.next().unwrap_or_default().trim().to_owned();
    let any = json!({});
    let mut responses = answers("200", "What the script returned", &any);
    responses["200"]["headers"] = run_headers();
    responses["202"] = json!({
        "description": "With \"Prefer: respond-async\": the run was started",
        "content": { "application/json": { "schema": reference("Started") } },
    });
    json!({
        "tags": ["scripts"],
        "operationId": format!("run_{}", script.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")),
        "summary": summary,
        "description": script.doc,
        "parameters": [
            flag("dry_run", "Read for real, write nothing; the answer is what would be done"),
            query("timeout", "How long it may take, such as 2h", &json!({ "type": "string", "anyOf": [{ "pattern": SOME_TIME }, { "maxLength": 0 }], "examples": ["2h"] })),
            prefer("respond-async: do not wait for the end"),
        ],
        "requestBody": {
            "required": script.parameters.iter().any(|parameter| parameter.required),
            "content": {
                "application/json": { "schema": arguments(script, Sent::Json) },
                "application/x-www-form-urlencoded": { "schema": arguments(script, Sent::Form) },
            },
        },
        "responses": responses,
        "x-read-only": script.read_only,
    })
}

fn fixed_paths() -> Map<String, Value> {
    let get = |tag: &str, id: &str, summary: &str, parameters: Value, responses: Value| json!({ "get": { "tags": [tag], "operationId": id, "summary": summary, "parameters": parameters, "responses": responses } });
    let none = || json!([]);
    let id = || path("id", "The run's id, or its beginning where that is enough");
    let statuses: Vec<_> = RunStatus::ALL.iter().map(|status| status.as_str()).collect();
    // An empty one is none: so does a form's field say that it was left as it is.
    let or_none: Vec<_> = statuses.iter().copied().chain([""]).collect();
    let list = json!([
        query("script", "Of this script", &json!({ "type": "string" })),
        query("status", "With this status", &json!({ "type": "string", "enum": or_none })),
        query(
            "since",
            "That began so long ago at most, or at this time or later",
            &json!({ "type": "string", "examples": ["7d"], "anyOf": [
                { "pattern": DURATION }, { "format": "date" }, { "format": "date-time" }, { "maxLength": 0 },
            ] })
        ),
        query("volume", "That have to do with this volume", &json!({ "type": "string" })),
        query(
            "changing",
            "Without dry runs and scripts that only read, but for those that the crontab started",
            &json!({ "type": "boolean", "default": false })
        ),
        number("limit", "So many at most", 1, 500, 50),
        query("before", "Those before the run with this id", &json!({ "type": "string" })),
    ]);
    let mut run = get(
        "runs",
        "show_run",
        "A run, with what it returned",
        json!([id()]),
        answers("200", "The run", &reference("Run")),
    );
    run["delete"] = json!({
        "tags": ["runs"], "operationId": "cancel_run", "summary": "End a run", "parameters": [id()],
        "responses": answers("202", "It was asked to end", &json!({ "type": "object" })),
    });
    let text = |description: &str, kind: &str| {
        json!({
            "200": { "description": description, "content": { kind: { "schema": { "type": "string" } } } },
            "default": { "$ref": "#/components/responses/Problem" },
        })
    };
    let act = |action: &str, summary: &str| {
        json!({ "post": {
            "tags": ["schedule"], "operationId": format!("{action}_entry"), "summary": summary,
            "parameters": [path("key", "The entry's key")],
            "responses": answers("200", "The entry", &json!({ "type": "object" })),
        } })
    };
    let mut run_entry = act("run", "Run an entry now");
    run_entry["post"]["parameters"] = json!([
        path("key", "The entry's key"),
        flag(
            "dry_run",
            "Read for real, write nothing, with the entry's own settings; the answer is what would be done"
        ),
        prefer("respond-async: do not wait for the end of a dry run"),
    ]);
    let mut responses =
        answers("202", "The run was started: the entry, with its run", &reference("Started"));
    responses["200"] = json!({
        "description": "With dry_run: what would be done",
        "content": { "application/json": { "schema": {
            "type": "object", "required": ["dry_run", "plan", "result"], "properties": { "plan": { "type": "array" } },
        } } },
    });
    for status in ["200", "202"] {
        responses[status]["headers"] = run_headers();
    }
    run_entry["post"]["responses"] = responses;
    let events = json!([
        query(
            "after",
            "The last event that was seen (a browser says it in Last-Event-ID)",
            &json!({ "type": "string" })
        ),
        query("run", "The events of this run alone", &json!({ "type": "string" })),
    ]);
    let log = json!([
        id(),
        number("after", "The lines behind this number", 0, u64::MAX, 0),
        number("limit", "So many at most", 1, 10_000, 1_000),
        query(
            "tail",
            "The last so many lines, but for those that after and limit leave out",
            &json!({ "type": ["integer", "string"], "minimum": 1, "maximum": 10_000, "maxLength": 0, "examples": [100] })
        ),
    ]);
    let object = json!({ "type": "object" });
    let mut ready = get(
        "operations",
        "ready",
        "Whether the program can do its work",
        none(),
        answers("200", "It can", &object),
    );
    ready["get"]["responses"]["503"] = json!({ "description": "It can't, and why", "content": { "application/json": { "schema": object } } });
    let mut health = get(
        "operations",
        "health",
        "Whether the program is there",
        none(),
        answers("200", "It is", &object),
    );
    health["get"]["security"] = json!([]);
    let hours = json!([number("hours", "How far ahead due times are listed", 0, 744, 24)]);
    let fresh = json!([flag("fresh", "Look now, instead of answering what was seen last")]);
    Map::from_iter([
        (
            "/api/scripts".into(),
            get(
                "scripts",
                "list_scripts",
                "The scripts",
                none(),
                answers("200", "The scripts", &object),
            ),
        ),
        (
            "/api/scripts/{name}".into(),
            get(
                "scripts",
                "show_script",
                "A script, with its source",
                json!([path("name", "The script's name")]),
                answers("200", "The script", &object),
            ),
        ),
        (
            "/api/runs".into(),
            get(
                "runs",
                "list_runs",
                "The runs, the newest first",
                list,
                answers("200", "A page of runs", &reference("Runs")),
            ),
        ),
        ("/api/runs/{id}".into(), run),
        (
            "/api/runs/{id}/log".into(),
            get("runs", "show_log", "A run's log", log, answers("200", "Lines", &object)),
        ),
        (
            "/api/events".into(),
            get(
                "runs",
                "events",
                "What happens, as server-sent events",
                events,
                text("Events", "text/event-stream"),
            ),
        ),
        (
            "/api/schedule".into(),
            get(
                "schedule",
                "show_schedule",
                "The crontab's entries",
                hours,
                answers("200", "The schedule", &object),
            ),
        ),
        ("/api/schedule/{key}/run".into(), run_entry),
        ("/api/schedule/{key}/pause".into(), act("pause", "Start an entry no more")),
        ("/api/schedule/{key}/resume".into(), act("resume", "Start an entry again")),
        (
            "/api/status".into(),
            get(
                "operations",
                "status",
                "What is known of the volumes",
                fresh,
                answers("200", "The status", &object),
            ),
        ),
        ("/healthz".into(), health),
        ("/readyz".into(), ready),
        (
            "/metrics".into(),
            get(
                "operations",
                "metrics",
                "Figures for Prometheus",
                none(),
                text("Figures", "text/plain"),
            ),
        ),
        (
            "/openapi.json".into(),
            get(
                "operations",
                "document",
                "This document",
                none(),
                answers("200", "OpenAPI 3.1", &object),
            ),
        ),
    ])
}

fn schemas() -> Value {
    let time = json!({ "type": ["string", "null"], "format": "date-time" });
    let text = json!({ "type": ["string", "null"] });
    let statuses = RunStatus::ALL;
    json!({
        "Problem": {
            "type": "object",
            "required": ["type", "title", "status", "detail", "code"],
            "properties": {
                "type": { "type": "string" }, "title": { "type": "string" }, "status": { "type": "integer" },
                "detail": { "type": "string" }, "code": { "type": "string" },
                "hint": { "type": "string", "description": "What to do next" },
                "field": { "type": "string", "description": "The argument at fault" },
                "run": { "type": "string", "description": "The run's id" },
                "failures": { "type": "array", "items": { "type": "object" } },
            },
        },
        "Started": {
            "type": "object", "required": ["run", "status"],
            "properties": { "run": { "type": "string" }, "status": { "enum": [RunStatus::Waiting, RunStatus::Running] } },
        },
        "Run": {
            "type": "object",
            "required": ["id", "script", "arguments", "trigger", "status", "started"],
            "properties": {
                "id": { "type": "string" }, "script": { "type": "string" }, "arguments": { "type": "object" },
                "words": { "type": "array", "items": { "type": "string" } },
                "trigger": { "enum": Trigger::ALL }, "status": { "enum": statuses },
                "started": { "type": "string", "format": "date-time" }, "ended": time,
                "took_seconds": { "type": ["number", "null"] }, "reason": text, "dry_run": { "type": "boolean" },
                "volumes_done": { "type": "array", "items": { "type": "string" } },
                "bytes": { "type": ["integer", "null"] },
            },
        },
        "Runs": {
            "type": "object", "required": ["runs", "next"],
            "properties": { "runs": { "type": "array", "items": reference("Run") }, "next": text },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Library;

    #[test]
    fn every_script_is_a_path_with_what_it_declares_and_every_reference_leads_somewhere() {
        let library = Library::new(None).unwrap();
        let scripts: Vec<_> = library
            .list()
            .unwrap()
            .iter()
            .map(|listed| library.load(&listed.name).unwrap())
            .collect();
        let document = document(&scripts);
        let create = &document["paths"]["/api/create"]["post"]["requestBody"];
        assert_eq!(create["required"], true);
        let schema = &create["content"]["application/json"]["schema"];
        assert_eq!(
            (&schema["required"], &schema["properties"]["iops"]["type"]),
            (&json!(["volume", "size"]), &json!(["integer", "string", "null"]))
        );
        assert_eq!(document["paths"]["/api/volumes"]["post"]["x-read-only"], true);
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 20);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }

    #[test]
    fn a_script_that_is_called_as_a_fixed_path_stands_beside_what_is_read_there() {
        let library = Library::new(None).unwrap();
        let mut script = library.load("volumes").unwrap();
        script.name = "runs".into();
        let document = document(&[script]);
        let path = &document["paths"]["/api/runs"];
        assert_eq!(
            (&path["get"]["operationId"], &path["post"]["operationId"]),
            (&json!("list_runs"), &json!("run_runs"))
        );
    }

    fn collect(value: &Value, references: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| match (name.as_str(), value) {
                    ("$ref", Value::String(reference)) => references.push(reference.clone()),
                    (_, value) => collect(value, references),
                })
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, references)),
            _ => {}
        }
    }
}
