//! Drives the built-in daemon one call a process, to measure it: `builtin ROOT snapshot VOLUME`, and so on.

use std::{path::PathBuf, sync::Arc, time::Instant};

use convoy_backups::{
    clock::SystemClock,
    convoy::{BackupUrl, Daemon, Destination, Name, NewVolume},
    daemon::{BuiltinDaemon, BuiltinOptions},
    error::{Error, Result},
    progress,
};

const USAGE: &str = "builtin ROOT list | create VOLUME | snapshot VOLUME NAME | backup NAME DESTINATION | backups DESTINATION | inspect URL | restore VOLUME URL | delete-snapshot NAME | delete-backup URL | delete VOLUME";

#[tokio::main]
async fn main() {
    if let Err(error) = run().await {
        eprintln!("error: {error}");
        if let Some(hint) = error.hint {
            eprintln!("hint: {hint}");
        }
        std::process::exit(1);
    }
}

async fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [root, words @ ..] = words.as_slice() else { return Err(Error::usage(USAGE)) };
    let begun = Instant::now();
    let daemon = BuiltinDaemon::open(BuiltinOptions {
        root: PathBuf::from(root),
        password: std::env::var("BKUP_REPOSITORY_PASSWORD").ok(),
        host: "bench".into(),
        progress: progress::none(),
        clock: Arc::new(SystemClock),
    })?;
    for sentence in daemon.recovered() {
        eprintln!("{sentence}");
    }
    let opened = begun.elapsed();
    match words {
        ["list"] => println!("{} volumes", daemon.volumes().await?.len()),
        ["create", volume] => drop(daemon.create_volume(&NewVolume::named(Name::volume(volume)?)).await?),
        ["snapshot", volume, name] => {
            drop(daemon.create_snapshot(&Name::volume(volume)?, &Name::snapshot(name)?).await?);
        }
        ["backup", name, destination] => {
            println!("{}", daemon.create_backup(&Name::snapshot(name)?, &Destination::parse(destination)?).await?);
        }
        ["backups", destination] => {
            for backup in daemon.backups(&Destination::parse(destination)?, None).await? {
                println!("{}", backup.field("BackupURL"));
            }
        }
        ["inspect", url] => println!("{:?}", daemon.backup(&BackupUrl::parse(url)?).await?.fields()),
        ["restore", volume, url] => {
            drop(daemon.create_volume(&NewVolume::from_backup(Name::volume(volume)?, BackupUrl::parse(url)?)).await?);
        }
        ["delete-snapshot", name] => daemon.delete_snapshot(&Name::snapshot(name)?).await?,
        ["delete-backup", url] => daemon.delete_backup(&BackupUrl::parse(url)?).await?,
        ["delete", volume] => daemon.delete_volume(&Name::volume(volume)?, false).await?,
        _ => return Err(Error::usage(USAGE)),
    }
    eprintln!("opened in {opened:.2?}, all done in {:.2?}", begun.elapsed());
    Ok(())
}
