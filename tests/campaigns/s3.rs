//! A service that fails at random requests.

use super::{Random, faults, world::World};
use crate::support::{s3::S3, site::Site};

const COMMANDS: [&str; 4] =
    ["backup --create-snapshot", "backup --create-snapshot", "prune --keep-last 3", "backups"];
const ANSWERS: [(u16, &str); 4] =
    [(500, "InternalError"), (503, "SlowDown"), (403, "AccessDenied"), (404, "NoSuchKey")];

#[test]
fn nothing_is_lost_where_a_bucket_fails() {
    let s3 = S3::start();
    let site = Site::builtin()
        .with("BKUP_REPOSITORY_PASSWORD", "secret")
        .with("BKUP_BACKUP_URL", "s3://bucket@eu-west-1/host1")
        .with("BKUP_S3_ENDPOINT", s3.endpoint())
        .with("AWS_ACCESS_KEY_ID", "the-keys-id")
        .with("AWS_SECRET_ACCESS_KEY", "the-secret");
    let mut world = World::new(site, "vol1", Random::new(4));
    world.first_backup();
    for _ in 0..faults(8) {
        world.change();
        let line = *world.random.one_of(&COMMANDS);
        let (answer, mut random) = (*world.random.one_of(&ANSWERS), world.random.clone());
        // A key that may do less fails each time; a service that is ill now and then.
        let odds = if answer.0 == 403 { 12 } else { 5 };
        s3.fault(move |_| (random.below(odds) == 0).then_some(answer));
        world.random.next();
        let ran = world.site.run(line);
        s3.mend();
        world.counts.add(if ran.code == 0 { "got by" } else { "failed" });
        world.ended(line, &ran);
    }
    let last = world.site.run("backup --create-snapshot").ok();
    world.acknowledged(&last);
    for url in world.listed() {
        world.restored(&url).unwrap_or_else(|why| panic!("{url} can't be restored: {why}"));
    }
    println!("{:?}", world.counts);
}
