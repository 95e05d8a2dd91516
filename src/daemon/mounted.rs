//! Who has a volume mounted. It is in the volume's state, because containers outlive a restart of
//! the daemon: without it, the first container that ends would unmount a volume that others still
//! use, and that volume could be deleted. Neither containers nor clients outlive a boot of the
//! machine, so a mark of another boot counts for nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::clock::boot;

/// Who mounts a volume.
#[derive(Debug, Clone, Copy)]
pub(super) enum User<'a> {
    /// A client of the API.
    Client,
    /// A container of Docker's, by the id that Docker gives to the mount.
    Docker(&'a str),
}

/// Who has a volume mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(crate) struct Mounted {
    /// Linux's id of the boot in which it was mounted; `None` if an older version did not tell.
    boot: Option<String>,
    /// The ids that Docker gave with its mounts. Each is of one mount of one container.
    docker: BTreeSet<String>,
    /// Whether a client of the API has it mounted.
    client: bool,
}

/// In the state file: `false`, or who has it mounted. Older versions wrote `true`, and the ids of
/// Docker in a file of their own ([`Kept`]).
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Flag(bool),
    Now { boot: String, docker: BTreeSet<String>, client: bool },
}

impl From<Written> for Mounted {
    fn from(written: Written) -> Self {
        match written {
            Written::Flag(mounted) => Self { client: mounted, ..Self::default() },
            Written::Now { boot, docker, client } => Self { boot: Some(boot), docker, client },
        }
    }
}

impl From<Mounted> for Written {
    fn from(mounted: Mounted) -> Self {
        match mounted.boot {
            Some(boot) if mounted.client || !mounted.docker.is_empty() => {
                Self::Now { boot, docker: mounted.docker, client: mounted.client }
            }
            _ => Self::Flag(mounted.client),
        }
    }
}

impl Mounted {
    pub(super) fn is_mounted(&self) -> bool {
        self.client || self.has_docker()
    }

    /// Whether a container has it.
    pub(super) fn has_docker(&self) -> bool {
        !self.docker.is_empty()
    }

    /// Whether a client of the API has it.
    pub(super) fn has_client(&self) -> bool {
        self.client
    }

    /// A client mounted it.
    pub(super) fn add_client(&mut self) {
        self.boot = Some(boot());
        self.client = true;
    }

    /// No client has it any more.
    pub(super) fn drop_client(&mut self) {
        self.client = false;
        self.forget_boot();
    }

    /// Docker mounted it for a container.
    pub(super) fn add_docker(&mut self, id: &str) {
        self.boot = Some(boot());
        self.docker.insert(id.to_owned());
    }

    /// Docker unmounted it for a container. An id that is not known unmounts it if no other
    /// container has it, as in Convoy.
    pub(super) fn drop_docker(&mut self, id: &str) {
        if self.docker.remove(id) {
            self.forget_boot();
        } else if self.docker.is_empty() {
            *self = Self::default();
        }
    }

    /// No container has it any more.
    pub(super) fn drop_all_docker(&mut self) {
        self.docker.clear();
        self.forget_boot();
    }

    fn forget_boot(&mut self) {
        if !self.is_mounted() {
            self.boot = None;
        }
    }

    /// The mark as it is in this boot. `kept` is what an older version kept of Docker's mounts.
    pub(super) fn in_this_boot(&self, volume: &str, boot: &str, kept: Option<&Kept>) -> Self {
        match (&self.boot, kept) {
            (Some(own), _) if own != boot => Self::default(),
            (Some(_), _) => self.clone(),
            (None, _) if !self.client => Self::default(),
            (None, Some(kept)) if kept.boot != boot => Self::default(),
            (None, kept) => {
                let docker = kept.and_then(|kept| kept.users.get(volume)).cloned();
                let docker = docker.unwrap_or_default();
                Self { boot: Some(boot.to_owned()), client: docker.is_empty(), docker }
            }
        }
    }
}

/// What older versions kept of Docker's mounts in the file `docker-mounts.json`.
#[derive(Deserialize)]
pub(super) struct Kept {
    pub(super) boot: String,
    pub(super) users: BTreeMap<String, BTreeSet<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_mark(json: &str) -> Mounted {
        serde_json::from_str(json).unwrap()
    }

    fn written(mounted: &Mounted) -> String {
        serde_json::to_string(mounted).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again_and_what_nobody_has_is_written_as_ever() {
        let mut mounted = Mounted::default();
        assert_eq!(written(&mounted), "false");
        mounted.add_docker("c1");
        mounted.add_client();
        assert_eq!(read_mark(&written(&mounted)), mounted);
        mounted.drop_client();
        assert!(mounted.is_mounted() && !mounted.has_client());
        mounted.drop_docker("c1");
        assert_eq!(written(&mounted), "false");
        assert_eq!(mounted, Mounted::default());
    }

    #[test]
    fn a_volume_is_unmounted_when_its_last_container_has_gone() {
        let mut mounted = Mounted::default();
        for id in ["c1", "c2", "c1"] {
            mounted.add_docker(id);
        }
        for id in ["c1", "c1", "c3"] {
            mounted.drop_docker(id);
            assert!(mounted.is_mounted(), "c2 still uses it");
        }
        mounted.drop_docker("c2");
        assert!(!mounted.is_mounted());
        // Docker is believed where no container is known.
        mounted.add_client();
        mounted.drop_docker("c2");
        assert!(!mounted.is_mounted());
    }

    #[test]
    fn the_mark_of_another_boot_counts_for_nothing() {
        let mut mounted = Mounted::default();
        mounted.add_docker("c1");
        mounted.add_client();
        assert_eq!(mounted.in_this_boot("vol1", &boot(), None), mounted);
        assert_eq!(mounted.in_this_boot("vol1", "another", None), Mounted::default());
    }

    #[test]
    fn the_marks_of_older_versions_are_those_of_their_own_boot() {
        let users = BTreeMap::from([("vol1".to_owned(), BTreeSet::from(["c1".to_owned()]))]);
        let kept = Kept { boot: "one".into(), users };
        let (mounted, not) = (read_mark("true"), read_mark("false"));
        let in_boot = |volume: &str, boot: &str| mounted.in_this_boot(volume, boot, Some(&kept));
        assert!(in_boot("vol1", "one").has_docker() && !in_boot("vol1", "one").has_client());
        // Who had it is not known: a client, perhaps.
        assert!(in_boot("vol2", "one").has_client());
        assert!(mounted.in_this_boot("vol1", "one", None).has_client());
        assert!(!in_boot("vol1", "two").is_mounted() && !in_boot("vol2", "two").is_mounted());
        assert!(!not.in_this_boot("vol1", "one", Some(&kept)).is_mounted());
    }
}
