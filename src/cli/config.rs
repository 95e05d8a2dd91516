//! `config`: the configuration in force and where each value comes from.

use serde_json::json;

use super::{Context, print_json, print_line};
use crate::{error::Result, output};

pub(super) fn config(context: &Context) -> Result<u8> {
    let (_, why) = context.config.daemon();
    let effective = context.config.effective();
    if context.flags.json {
        let settings: Vec<_> = effective
            .iter()
            .map(|setting| json!({ "name": setting.name, "value": setting.value, "source": setting.source, "help": setting.help }))
            .collect();
        print_json(&json!({ "daemon": why, "settings": settings }));
    } else {
        let rows: Vec<Vec<String>> =
            effective.into_iter().map(|setting| vec![setting.name.to_owned(), setting.value, setting.source]).collect();
        print_line(output::table(&["NAME", "VALUE", "FROM"], &rows, context.terminal.width()).trim_end());
        print_line(&format!("\nDaemon: {why}"));
    }
    Ok(0)
}
