//! `config`: the configuration in force and where each value comes from.

use clap::Command;
use serde_json::json;

use super::{
    context::Context,
    print::{print_json, print_line},
};
use crate::{
    config::Effective,
    error::Result,
    output::{Column, table},
};

pub(super) fn command() -> Command {
    Command::new("config").about("The configuration in force, and where each value comes from")
}

pub(super) fn config(context: &Context) -> Result<u8> {
    let decision = context.config.daemon();
    let why = format!("{} ({})", decision.choice, decision.why);
    let effective = context.config.effective();
    if context.flags.json {
        let settings: Vec<_> = effective
            .iter()
            .map(|setting| json!({ "name": setting.name, "value": setting.value, "source": setting.source, "help": setting.help }))
            .collect();
        print_json(&json!({ "daemon": why, "settings": settings }));
    } else {
        let row = |setting: Effective| {
            vec![setting.name.into(), setting.value.into(), setting.source.into()]
        };
        let (width, colour) = context.output();
        let columns = [Column::left("NAME"), Column::left("VALUE"), Column::left("FROM")];
        print_line(
            table(&columns, effective.into_iter().map(row).collect(), width, colour).trim_end(),
        );
        print_line(&format!("\nDaemon: {why}"));
        if let Some(refusal) = &decision.refusal {
            print_line(&format!("\n{refusal}"));
            if let Some(hint) = &refusal.hint {
                print_line(&format!("  -> {hint}"));
            }
        }
    }
    Ok(0)
}
