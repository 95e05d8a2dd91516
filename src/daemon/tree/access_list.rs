//! POSIX access lists (`acl(5)`) in the kernel's form as extended attributes: a version, then
//! entries of eight bytes.
//!
//! If a file has an access list, the group bits of its mode show the list's mask. If the list can't
//! be restored, those bits must not stay. They would give the file's group the rights of the users
//! and groups named in the list.

use rustix::fs::Mode;

/// The group bits of a mode ([`Mode::RWXG`]).
pub(crate) type GroupBits = Mode;

/// The list that decides the access to the file.
pub(crate) const ACCESS: &str = "system.posix_acl_access";
/// Both lists. New files in a folder get the second one.
pub(crate) const NAMES: [&str; 2] = [ACCESS, "system.posix_acl_default"];

/// The version of the layout (`POSIX_ACL_XATTR_VERSION`).
const VERSION: [u8; 4] = 2_u32.to_le_bytes();
/// The tag of the entry for the file's group (`ACL_GROUP_OBJ`).
const GROUP: u16 = 4;
/// The tag of the mask (`ACL_MASK`).
const MASK: u16 = 0x10;

/// What the list allows the file's own group, with the mask applied. No rights if the list can't be
/// parsed.
pub(crate) fn group_bits(list: &[u8]) -> GroupBits {
    let Some((&VERSION, entries)) = list.split_first_chunk() else { return Mode::empty() };
    let find = |wanted: u16| {
        entries.chunks_exact(8).find_map(|entry| match *entry {
            [tag, tag_high, bits, _, ..] if u16::from_le_bytes([tag, tag_high]) == wanted => {
                Some(bits)
            }
            _ => None,
        })
    };
    let bits = find(GROUP).unwrap_or(0) & find(MASK).unwrap_or(7) & 7;
    Mode::from_raw_mode(u32::from(bits) << 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let entry = |(tag, bits, id): &(u16, u16, u32)| {
            [&tag.to_le_bytes()[..], &bits.to_le_bytes()[..], &id.to_le_bytes()[..]].concat()
        };
        VERSION.into_iter().chain(entries.iter().flat_map(entry)).collect()
    }

    #[test]
    fn the_groups_own_entry_counts_and_not_the_mask() {
        // user::rw- user:1234:rw- group::r-- mask::rw- other::---
        let acl = list(&[
            (1, 6, u32::MAX),
            (2, 6, 1234),
            (4, 4, u32::MAX),
            (0x10, 6, u32::MAX),
            (0x20, 0, u32::MAX),
        ]);
        assert_eq!(group_bits(&acl), Mode::RGRP);
        // A mask that removes rights of the group.
        let acl =
            list(&[(1, 6, u32::MAX), (4, 7, u32::MAX), (0x10, 5, u32::MAX), (0x20, 0, u32::MAX)]);
        assert_eq!(group_bits(&acl), Mode::RGRP | Mode::XGRP);
    }

    #[test]
    fn a_list_that_cannot_be_read_gives_nothing() {
        let acl = list(&[(4, 7, u32::MAX)]);
        for bad in [&b""[..], &acl[..3], &acl[..11], &[&[3], &acl[1..]].concat()] {
            assert_eq!(group_bits(bad), Mode::empty(), "{bad:?}");
        }
    }
}
