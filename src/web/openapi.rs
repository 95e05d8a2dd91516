//! `/openapi.json`: the description of the API by OpenAPI 3.1. Each script has a path, made from
//! its declarations.

mod parameters;

use serde_json::{Map, Value, json};
use warp::reply::Response;

use super::{
    answer::{blocking, json_answer},
    problem::Problem,
    request::ApiRequest,
};
use crate::script::Script;
use parameters::{SOME_TIME, Sent, arguments};

/// GET /openapi.json
pub(super) async fn show(request: ApiRequest) -> Result<Response, Problem> {
    let core = request.core;
    let scripts = blocking(move || {
        let library = core.library()?;
        let names = library.list()?.into_iter().map(|listed| listed.name);
        Ok(names.filter_map(|name| library.load(&name).ok()).collect::<Vec<_>>())
    });
    Ok(json_answer(&document(&scripts.await?)))
}

/// The part of the document that does not depend on the scripts. [`document`] adds the rest.
const FIXED: &str = include_str!("openapi/document.json");

/// Makes the document for these scripts.
pub(crate) fn document(scripts: &[Script]) -> Value {
    let mut document: Value = serde_json::from_str(FIXED).unwrap_or_default();
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    for script in scripts {
        // A script may have the name of a fixed path. A POST to that path runs the script.
        document["paths"][format!("/api/{}", script.name)]["post"] = script_operation(script);
    }
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    for operation in paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        operation["responses"]["default"] = json!({ "$ref": "#/components/responses/Problem" });
    }
    document
}

fn script_operation(script: &Script) -> Value {
    let mut lines = script.doc.lines();
    let summary = lines.next().unwrap_or_default().trim().to_owned();
    json!({
        "tags": ["scripts"],
        "operationId": format!("run_{}", script.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")),
        "summary": summary,
        "description": script.doc,
        "parameters": script_parameters(),
        "requestBody": {
            "required": script.parameters.iter().any(|parameter| parameter.required),
            "content": {
                "application/json": { "schema": arguments(script, Sent::Json) },
                "application/x-www-form-urlencoded": { "schema": arguments(script, Sent::Form) },
            },
        },
        "responses": {
            "200": {
                "description": "What the script returned",
                "content": { "application/json": { "schema": {} } },
                "headers": {
                    "Run-Id": { "description": "The run", "schema": { "type": "string" } },
                    "Location": { "description": "Where the run is", "schema": { "type": "string" } },
                },
            },
            "202": {
                "description": "With \"Prefer: respond-async\": the run was started",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Started" } } },
            },
        },
        "x-read-only": script.read_only,
    })
}

/// The parameters that every script has beside its own.
fn script_parameters() -> Value {
    json!([
        {
            "name": "dry_run", "in": "query", "required": false,
            "description": "Read for real, write nothing; the answer is what would be done",
            // All values that [`super::query::Query::flag`] accepts.
            "schema": { "type": ["boolean", "string"], "enum": [true, false, "yes", "no", "1", "0", ""] },
        },
        {
            "name": "timeout", "in": "query", "required": false,
            "description": "How long it may take, such as 2h",
            "schema": {
                "type": "string", "examples": ["2h"],
                "anyOf": [{ "pattern": SOME_TIME }, { "maxLength": 0 }],
            },
        },
        {
            "name": "Prefer", "in": "header", "required": false,
            "description": "respond-async: do not wait for the end",
            "schema": { "type": "string", "examples": ["respond-async"] },
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::{parameters::DURATION, *};
    use crate::{
        run_words::{RunStatus, Trigger},
        script::Library,
    };

    #[test]
    fn what_the_fixed_part_repeats_of_the_code_is_as_the_code_has_it() {
        let document = document(&[]);
        let statuses: Vec<_> = RunStatus::ALL.iter().map(|status| status.as_str()).collect();
        let run = &document["components"]["schemas"]["Run"]["properties"];
        assert_eq!(run["status"]["enum"], json!(statuses));
        assert_eq!(run["trigger"]["enum"], json!(Trigger::ALL));
        let parameters = document["paths"]["/api/runs"]["get"]["parameters"].as_array().unwrap();
        let schema = |name: &str| {
            let parameter = parameters.iter().find(|parameter| parameter["name"] == name).unwrap();
            &parameter["schema"]
        };
        let or_none: Vec<_> = statuses.iter().copied().chain([""]).collect();
        assert_eq!(schema("status")["enum"], json!(or_none));
        assert_eq!(schema("since")["anyOf"][0]["pattern"], DURATION);
    }

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
