//! restic stores a file's mode in Go's bits (`io/fs.FileMode`), not in the system's.

const PERMISSIONS: u32 = 0o777;

/// The special bits: the system's bit and Go's.
const SPECIAL: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

/// Go's bits for the kinds of files, by the system's format. A character device has two bits.
const KINDS: [(u32, u32); 6] = [
    (0o040_000, 1 << 31),
    (0o120_000, 1 << 27),
    (0o060_000, 1 << 26),
    (0o020_000, 1 << 26 | 1 << 21),
    (0o010_000, 1 << 25),
    (0o140_000, 1 << 24),
];

/// A mode of the system (`st_mode`) in Go's bits.
pub(crate) fn to_restic(mode: u32) -> u32 {
    let special: u32 = SPECIAL.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, go)| go).sum();
    let kind =
        KINDS.iter().find(|(format, _)| mode & 0o170_000 == *format).map_or(0, |(_, go)| *go);
    mode & PERMISSIONS | special | kind
}

/// The permissions in a mode in Go's bits, with set-user-id, set-group-id and sticky. The kind of
/// the file is stored in the node.
pub(crate) fn permissions(go: u32) -> u32 {
    let special: u32 = SPECIAL.iter().filter(|(_, bit)| go & bit != 0).map(|(bit, _)| bit).sum();
    go & PERMISSIONS | special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_what_go_writes() {
        for (system, go) in [
            (0o100_644, 0o644),
            (0o104_755, 0o755 | 1 << 23),
            (0o041_777, 0o777 | 1 << 20 | 1 << 31),
            (0o020_660, 0o660 | 1 << 26 | 1 << 21),
            (0o010_600, 0o600 | 1 << 25),
        ] {
            assert_eq!(to_restic(system), go);
            assert_eq!(permissions(go), system & 0o7777);
        }
    }
}
