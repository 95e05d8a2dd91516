//! Hints for the daemon's errors: Convoy's own words do not say what to do.

/// Texts that must all occur in the daemon's words, and the hint for them. The first entry that
/// fits counts.
const ADVICE: [(&[&str], &str); 17] = [
    (
        &["Driver ", " is not supported!"],
        "this daemon keeps no backups at such a place: the built-in one takes vfs:///folder (a mounted network share, for \
         instance) and s3://bucket@region/path",
    ),
    (
        &["Cannot find driver "],
        "leave --driver out for the daemon's own; others are those that Convoy was started with (--drivers)",
    ),
    (
        &["Invalid volume type "],
        "Convoy's EBS driver takes --type gp2, io1, st1, sc1 or standard; EBS.md says how a volume becomes gp3",
    ),
    (&["IOPS", " volume type io1"], "--type io1 needs --iops, and no other type takes it"),
    (
        &["VFS path ", " doesn't exist or is not a directory"],
        "mount the share, or make the folder; it has to be there where the daemon runs, on the host or in its container",
    ),
    (&["Timeout executing"], COMMAND_TIME_LIMIT),
    (
        &["RequestLimitExceeded"],
        "Amazon refuses too many requests; Convoy then also calls snapshots removed that are there: try again later",
    ),
    (&["Copy snapshot is needed"], "copy it into this region first: aws ec2 copy-snapshot"),
    (&["NoSuchBucket"], "make the bucket first, or correct the destination: the daemon makes none"),
    (&["RequestTimeTooSkewed"], "set the clock of the machine that the daemon runs on"),
    (&["AuthorizationHeaderMalformed"], REGION),
    (&["PermanentRedirect"], REGION),
    (&["InvalidAccessKeyId"], CREDENTIALS),
    (&["SignatureDoesNotMatch"], CREDENTIALS),
    (&["NoCredentialProviders"], CREDENTIALS),
    (&["AccessDenied"], CREDENTIALS),
    (
        &["no space left on device"],
        "make room where the daemon keeps its files, or at the destination",
    ),
];

const COMMAND_TIME_LIMIT: &str = "Convoy gives each command that it runs (tar, gzip, cp) one minute unless told otherwise: stop it, set \"CmdTimeout\" to \
                                  \"24h\" in convoy.cfg in its folder (/var/lib/rancher/convoy), start it, and try again";
const REGION: &str = "the bucket is in another region: correct the one in the destination";
const CREDENTIALS: &str = "the daemon's own credentials count, not this program's: its machine's role, or AWS_ variables and \
                           ~/.aws where it runs (the built-in one: BKUP_S3_ACCESS_KEY_ID, too); docs/s3.md has the rights that it needs";

/// The hint for the daemon's words, if they are known.
pub(super) fn about(words: &str) -> Option<&'static str> {
    let fits = |parts: &[&str]| parts.iter().all(|part| words.contains(part));
    ADVICE.iter().find(|(parts, _)| fits(parts)).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_convoy_says_is_explained() {
        for (words, hint) in [
            ("Driver ebs is not supported!", "s3://bucket@region/path"),
            ("Cannot find driver nosuch", "leave --driver out"),
            ("Invalid volume type gp3", "gp2, io1"),
            ("Invalid IOPS for volume type io1", "needs --iops"),
            ("IOPS only valid for volume type io1", "needs --iops"),
            ("VFS path /mnt/backups doesn't exist or is not a directory", "mount the share"),
            ("AWS Error:  AccessDenied Access Denied <nil> 403", "own credentials"),
            ("write /a/b: no space left on device", "make room"),
            (
                "Timeout executing: tar [cf /a.tar -C /vols/vol1 .], output , error <nil>",
                "\"CmdTimeout\" to \"24h\" in convoy.cfg",
            ),
            (
                "AWS Error: RequestLimitExceeded Request limit exceeded. <nil> 400",
                "try again later",
            ),
        ] {
            assert!(about(words).is_some_and(|known| known.contains(hint)), "{words}");
        }
        assert_eq!(about("Volume vol1 is still mounted"), None);
    }
}
