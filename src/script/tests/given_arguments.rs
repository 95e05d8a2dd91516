//! Arguments from a command line and from JSON.

use serde_json::{Map, Value, json};

use crate::{
    error::{Error, ErrorKind},
    script::{
        Library, Script,
        arguments::{from_command_line, from_json},
        testing::{given, script, words},
    },
};

const TEXT: &str = r#"
const PARAMETERS = #{
    volume: #{ type: "volume", required: true },
    create_snapshot: #{ type: "bool" },
    careful: #{ type: "bool", default: true },
    size: #{ type: "size", default: "1G" },
    keep: #{ type: "duration" },
    count: #{ type: "int" },
    fs: #{ type: ["ext4", "xfs"], default: "ext4" },
    tag: #{ type: "list" },
    to: #{ type: "destination" },
};
fn main(args) { args }
"#;

fn sample() -> Script {
    script(TEXT).unwrap()
}

fn json_error(value: Value) -> Error {
    from_json(&sample(), value.as_object().unwrap()).unwrap_err()
}

#[test]
fn every_spelling_of_an_option_means_the_same() {
    let script = sample();
    for line in [
        "--volume vol1 --create-snapshot",
        "--volume=vol1 --createSnapshot",
        "--Volume vol1 --create_snapshot",
        "--create-snapshot=true --volume vol1",
    ] {
        let arguments = given(&script, line).unwrap();
        assert_eq!(arguments.get("volume"), Some(&json!("vol1")), "{line}");
        assert_eq!(arguments.get("create_snapshot"), Some(&json!(true)), "{line}");
    }
    for line in [
        "--volume vol1",
        "--volume vol1 --no-create-snapshot",
        "--volume vol1 --create-snapshot=false",
    ] {
        assert_eq!(
            given(&script, line).unwrap().get("create_snapshot"),
            Some(&json!(false)),
            "{line}"
        );
    }
    assert_eq!(
        given(&script, "--volume vol1 --no-careful").unwrap().get("careful"),
        Some(&json!(false))
    );
}

#[test]
fn the_script_gets_every_parameter_typed() {
    let arguments =
        given(&sample(), "--volume vol1 --keep 7d --count -3 --tag a --tag=b --to vfs:///b")
            .unwrap();
    assert_eq!(
        Value::Object(arguments.values().clone()),
        json!({
            "volume": "vol1", "create_snapshot": false, "careful": true, "size": 1 << 30, "keep": 604_800, "count": -3,
            "fs": "ext4", "tag": ["a", "b"], "to": "vfs:///b",
        })
    );
    let left_out = given(&sample(), "--volume vol1").unwrap();
    assert_eq!((left_out.get("keep"), left_out.get("tag")), (Some(&Value::Null), Some(&json!([]))));
}

#[test]
fn json_and_the_command_line_mean_the_same() {
    let script = sample();
    let body = json!({
        "volume": "vol1", "createSnapshot": true, "size": "2G", "keep": 60, "count": "4", "tag": ["a"], "fs": null,
    });
    let line = "--volume vol1 --create-snapshot --size 2G --keep 60s --count 4 --tag a";
    assert_eq!(
        from_json(&script, body.as_object().unwrap()).unwrap(),
        given(&script, line).unwrap()
    );
    let whole = json!({ "volume": "vol1", "count": 4.0, "keep": 60.0 });
    assert_eq!(
        from_json(&script, whole.as_object().unwrap()).unwrap(),
        given(&script, "--volume vol1 --count 4 --keep 60s").unwrap()
    );
}

#[test]
fn a_wrong_command_line_says_what_is_wrong_and_how_it_should_be() {
    let script = sample();
    for (line, message, hint) in [
        (
            "",
            "\"test\" needs --volume",
            "usage: test --volume VOLUME [--create-snapshot] [--no-careful] [--size SIZE]",
        ),
        ("--volume", "--volume needs a value: VOLUME", "usage: test"),
        ("--volume --create-snapshot", "--volume needs a value", "usage: test"),
        ("--volume vol1 --volume vol2", "--volume is given twice", "usage: test"),
        (
            "--volume vol1 --create-snapsho",
            "has no argument \"--create-snapsho\"",
            "did you mean \"--create-snapshot\"?",
        ),
        ("--volume vol1 --no-size", "has no argument \"--no-size\"", "usage"),
        ("--volume a", "\"a\" is not a volume name", "letters, digits"),
        ("--volume ../x", "'/' can't be in one", "letters, digits"),
        ("--volume vol1 --size 1.5g", "--size: \"1.5g\" is not a size", "40G"),
        ("--volume vol1 --size -1", "\"-1\" is not a size", "40G"),
        ("--volume vol1 --keep 7", "\"7\" is not a duration", "7d"),
        ("--volume vol1 --count many", "\"many\" is not a whole number", "usage"),
        ("--volume vol1 --fs ext5", "\"ext5\" is not one of ext4, xfs", "did you mean \"ext4\"?"),
        ("--volume vol1 --to vfs://relative", "must be absolute", "vfs:///absolute"),
        (
            "--volume vol1 --create-snapshot false",
            "does not expect the word \"false\"",
            "--flag=false",
        ),
        ("--volume vol1 --create-snapshot=maybe", "\"maybe\" is not true or false", "usage"),
        ("vol1", "\"test\" does not expect the word \"vol1\" here", "usage"),
        ("-v", "does not expect the word \"-v\"", "usage"),
    ] {
        let error = from_command_line(&script, &words(line)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Usage, "{line}");
        assert!(error.message.contains(message), "{line}: {error}");
        assert!(error.hint.clone().unwrap_or_default().contains(hint), "{line}: {:?}", error.hint);
        assert!(error.hint.unwrap_or_default().contains("usage: test"), "{line}");
    }
}

#[test]
fn wrong_json_says_what_is_wrong() {
    for (body, message) in [
        (json!({}), "needs --volume"),
        (json!({"volume": 5}), "5 is not a string"),
        (json!({"volume": ""}), "the value is empty"),
        (json!({"volume": "vol1", "volum": "x"}), "has no argument \"volum\""),
        (json!({"volume": "vol1", "createSnapshot": true, "create-snapshot": true}), "given twice"),
        (json!({"volume": "vol1", "create_snapshot": "maybe"}), "not true or false"),
        (json!({"volume": "vol1", "size": -1}), "-1 is not a size"),
        (json!({"volume": "vol1", "count": 1.5}), "1.5 is not a whole number"),
        (json!({"volume": "vol1", "count": 1e19}), "is not a whole number"),
        (json!({"volume": "vol1", "tag": [1]}), "[1] is not a list of strings"),
    ] {
        let error = json_error(body.clone());
        assert!(error.message.contains(message), "{body}: {error}");
        assert!(error.hint.unwrap_or_default().contains("usage: test"), "{body}");
    }
    let nothing =
        from_json(&Library::new(None).unwrap().load("volumes").unwrap(), &Map::new()).unwrap();
    let defaults = json!({"project": null, "forgotten": false, "not_backed_up": false});
    assert_eq!(json!(nothing.values()), defaults);
}
