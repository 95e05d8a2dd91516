//! Tests that scripts get sizes as numbers, beside the daemon's texts.

use serde_json::json;

use crate::script::testing::{memory, run_text, value};

#[test]
fn a_size_is_a_text_and_a_number() {
    for (body, expected) in [
        (
            "let info = convoy::volume(\"vol1\").DriverInfo; [info.Size, info.SizeBytes]",
            json!(["0", 0]),
        ),
        ("convoy::volumes()[0].DriverInfo.SizeBytes < 10", json!(true)),
    ] {
        let found = value(body).map_err(|error| format!("{error:?}"));
        assert_eq!(found, Ok(expected), "{body}");
    }
}

#[test]
fn the_numbers_are_not_in_the_result_where_their_texts_are() {
    let (_, host) = memory(&["vol1"]);
    let text = r#"fn main() {
        let volume = convoy::volume("vol1");
        #{
            volumes: [volume],
            chosen: #{ Name: volume.Name, SizeBytes: volume.DriverInfo.SizeBytes },
            changed: #{ Size: "5", SizeBytes: 6 },
            other: #{ Colour: "5", ColourBytes: 5 },
        }
    }"#;
    let result = run_text(host, text).unwrap().result;
    assert_eq!(result["volumes"][0]["DriverInfo"], json!({ "Size": "0" }));
    assert_eq!(result["chosen"], json!({ "Name": "vol1", "SizeBytes": 0 }));
    assert_eq!(result["changed"], json!({ "Size": "5", "SizeBytes": 6 }));
    assert_eq!(result["other"], json!({ "Colour": "5", "ColourBytes": 5 }));
}
