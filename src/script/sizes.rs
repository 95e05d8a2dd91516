//! Sizes as numbers. The daemon writes sizes as texts (`"BackupSize": "100008"`). Scripts get a
//! number beside each: `BackupSizeBytes`.

use rhai::{Array, Dynamic, INT, Map};

/// The end of the names of the daemon's sizes, which are bytes: `Size`, `VolumeSize`, `BackupSize`.
const SIZE: &str = "Size";

/// What the name of a size's number has behind the name of its text.
const BYTES: &str = "Bytes";

/// Adds the numbers to a value of the daemon, in all its maps.
pub(super) fn add_numbers(value: &mut Dynamic) {
    in_each_map(value, &mut |map| {
        let numbers: Vec<(String, INT)> = map
            .iter()
            .filter(|(name, _)| name.ends_with(SIZE))
            .filter_map(|(name, text)| Some((format!("{name}{BYTES}"), number(text)?)))
            .collect();
        for (name, number) in numbers {
            map.entry(name.into()).or_insert_with(|| number.into());
        }
    });
}

/// Removes the numbers that stand beside their texts. So the result of a script has the daemon's
/// fields only, and keeps the form that other programs read.
pub(super) fn remove_numbers(value: &mut Dynamic) {
    in_each_map(value, &mut |map| {
        let twins: Vec<_> = map
            .iter()
            .filter(|(name, bytes)| {
                let text = name
                    .strip_suffix(BYTES)
                    .filter(|text| text.ends_with(SIZE))
                    .and_then(|text| map.get(text));
                text.and_then(number).is_some_and(|number| bytes.as_int() == Ok(number))
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in twins {
            map.remove(&name);
        }
    });
}

fn number(text: &Dynamic) -> Option<INT> {
    text.as_immutable_string_ref().ok()?.parse().ok()
}

fn in_each_map(value: &mut Dynamic, change: &mut dyn FnMut(&mut Map)) {
    if let Some(mut map) = value.write_lock::<Map>() {
        map.values_mut().for_each(|inner| in_each_map(inner, change));
        change(&mut map);
    } else if let Some(mut array) = value.write_lock::<Array>() {
        array.iter_mut().for_each(|element| in_each_map(element, change));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn changed(value: Value, change: fn(&mut Dynamic)) -> Value {
        let mut value = rhai::serde::to_dynamic(value).unwrap();
        change(&mut value);
        serde_json::to_value(&value).unwrap()
    }

    #[test]
    fn each_size_gets_a_number_and_loses_it_again() {
        let sent = json!([{ "BackupSize": "5000000000", "VolumeSize": "", "Name": "7", "Info": { "Size": "1" } }]);
        let given = json!([{
            "BackupSize": "5000000000", "BackupSizeBytes": 5_000_000_000_i64, "VolumeSize": "", "Name": "7",
            "Info": { "Size": "1", "SizeBytes": 1 },
        }]);
        assert_eq!(changed(sent.clone(), add_numbers), given);
        assert_eq!(changed(given, remove_numbers), sent);
    }
}
