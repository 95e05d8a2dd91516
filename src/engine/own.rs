//! What this program must never hold: the container that it is in, and those that may be what it
//! speaks to the engine through. Pure, but for [`Own::seen`].

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Container, model::ContainerMount};
use crate::files::real_path;

/// Where an engine's socket is on most hosts.
const USUAL_SOCKETS: [&str; 4] = [
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/var/run/podman/podman.sock",
    "/run/podman/podman.sock",
];
/// How many digits of its id are a container's host name, where it has no other.
const SHORT_ID: usize = 12;

/// What this process sees of the container that it may be in.
#[derive(Debug, Default)]
struct Seen {
    /// `/proc/self/cgroup`.
    cgroup: String,
    /// `/proc/self/mountinfo`.
    mounts: String,
    hostname: String,
}

/// This program's own container, and the sockets that it may need.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// The ids of its container; several where it can't be told which of them it is.
    ids: Vec<String>,
    /// The paths on the host of sockets through which the engine is spoken to.
    sockets: Vec<PathBuf>,
}

impl Own {
    /// What this process is among these containers, with the engine behind this socket.
    pub(crate) fn seen(containers: &[Container], socket: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let seen = Seen {
            cgroup: read("/proc/self/cgroup"),
            mounts: read("/proc/self/mountinfo"),
            hostname: read("/proc/sys/kernel/hostname").trim().to_owned(),
        };
        Self::of(&seen, containers, socket)
    }

    fn of(seen: &Seen, containers: &[Container], socket: &Path) -> Self {
        let ids = own_ids(seen, containers, socket);
        let mut sockets: Vec<PathBuf> = USUAL_SOCKETS.iter().map(PathBuf::from).collect();
        sockets.extend([socket.to_owned(), real_path(socket)]);
        // In a container, the socket has another path than on the host.
        let own = containers.iter().filter(|container| ids.contains(&container.id));
        for mount in own.flat_map(|container| &container.mounts) {
            if let Ok(inside) = socket.strip_prefix(&mount.destination) {
                let is_itself = inside.as_os_str().is_empty();
                let source = &mount.source;
                sockets.push(if is_itself { source.clone() } else { source.join(inside) });
            }
        }
        Self { ids, sockets }
    }

    /// Those of these containers that this program is not in.
    pub(crate) fn others<'a>(
        &'a self,
        containers: &'a [Container],
    ) -> impl Iterator<Item = &'a Container> {
        containers.iter().filter(|container| !self.is(container))
    }

    /// Whether this container is, or may be, the one that this program is in.
    pub(super) fn is(&self, container: &Container) -> bool {
        self.ids.contains(&container.id)
    }

    /// Whether a container has the engine's socket, or a folder that it is in: it may be what this
    /// program speaks through, and could not be let go on.
    pub(super) fn may_speak_through(&self, container: &Container) -> bool {
        container.mounts.iter().flat_map(ContainerMount::places).any(|place| {
            place.ends_with("docker.sock")
                || place.ends_with("podman.sock")
                || self.sockets.iter().any(|it| it.starts_with(place))
        })
    }
}

fn is_id(part: &&str) -> bool {
    part.len() == 64 && part.bytes().all(|it| it.is_ascii_hexdigit())
}

fn own_ids(seen: &Seen, containers: &[Container], socket: &Path) -> Vec<String> {
    let is_known = |id: &&str| containers.iter().any(|container| container.id == *id);
    let in_cgroup = seen.cgroup.rsplit(|it: char| !it.is_ascii_hexdigit()).filter(is_id);
    if let Some(id) = in_cgroup.into_iter().find(is_known) {
        return vec![id.to_owned()];
    }
    if let Some(id) = container_of(&seen.mounts) {
        return of_one_network(&id, containers, socket);
    }
    let hostname = seen.hostname.as_str();
    let is_short = hostname.len() == SHORT_ID && hostname.bytes().all(|it| it.is_ascii_hexdigit());
    let named = containers.iter().filter(|it| is_short && it.id.starts_with(hostname));
    named.map(|container| container.id.clone()).collect()
}

/// The engine mounts three files of the folder of the container that the network is of, which is
/// named by its id. So this may be another container with the same network: one that has the engine's
/// socket where this process has it.
fn of_one_network(id: &str, containers: &[Container], socket: &Path) -> Vec<String> {
    let name = containers.iter().find(|it| it.id == id).map(Container::name);
    let has_network = |container: &&Container| {
        let of = container.network_of();
        container.id == id || of == Some(id) || (of.is_some() && of == name)
    };
    let all: Vec<_> = containers.iter().filter(has_network).collect();
    let has_socket = |container: &&&Container| {
        container.mounts.iter().any(|mount| {
            mount.destination.parent().is_some() && socket.starts_with(&mount.destination)
        })
    };
    let ids = |all: &[&Container]| all.iter().map(|it| it.id.clone()).collect::<Vec<_>>();
    match all.len() {
        0 | 1 => vec![id.to_owned()],
        _ => {
            let with_socket: Vec<_> = all.iter().filter(has_socket).copied().collect();
            if with_socket.is_empty() { ids(&all) } else { ids(&with_socket) }
        }
    }
}

fn container_of(mounts: &str) -> Option<String> {
    let own = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        own.contains(&at).then(|| root.split('/').rfind(is_id)).flatten().map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SOCKET: &str = "/var/run/docker.sock";

    fn id(digit: &str) -> String {
        digit.repeat(64)
    }

    fn container(digit: &str, network: &str, mounts: &Value) -> Container {
        serde_json::from_value(json!({
            "Id": id(digit), "Names": [format!("/{digit}")], "State": "running",
            "HostConfig": { "NetworkMode": network }, "Mounts": mounts,
        }))
        .unwrap()
    }

    fn mount(source: &str, destination: &str) -> Value {
        json!({ "Type": "bind", "Source": source, "Destination": destination, "RW": true })
    }

    fn in_container(digit: &str) -> Seen {
        let folder = format!("/docker/volumes/{}/_data/containers/{}", id("e"), id(digit));
        let mounts = format!("36 1 8:1 {folder}/hostname /etc/hostname rw - ext4 /dev/sda rw");
        Seen { cgroup: "0::/\n".into(), mounts, hostname: "web".into() }
    }

    fn own(seen: &Seen, containers: &[Container]) -> Vec<String> {
        Own::of(seen, containers, Path::new(SOCKET)).ids
    }

    #[test]
    fn a_container_with_the_network_of_another_is_told_from_it() {
        let bare = container("a", "bridge", &json!([]));
        let socket = json!([mount(SOCKET, SOCKET)]);
        let ours = container("b", &format!("container:{}", id("a")), &socket);
        let third = container("c", "container:a", &json!([]));
        let seen = in_container("a");
        assert_eq!(own(&seen, std::slice::from_ref(&bare)), [id("a")]);
        assert_eq!(own(&seen, &[]), [id("a")], "the engine may be another");
        assert_eq!(own(&seen, &[bare.clone(), ours.clone(), third.clone()]), [id("b")]);
        let all = [bare.clone(), third.clone(), ours.clone()];
        let seen_in = Own::of(&seen, &all, Path::new(SOCKET));
        assert_eq!(seen_in.others(&all).map(Container::name).collect::<Vec<_>>(), ["a", "c"]);
        // Where nothing tells which one it is, none of them is held.
        assert_eq!(own(&seen, &[bare.clone(), third.clone()]), [id("a"), id("c")]);
        let cgroup = format!("12:pids:/docker/{}/docker-{}.scope\n", id("d"), id("c"));
        let seen = Seen { cgroup, ..seen };
        assert_eq!(own(&seen, &[bare.clone(), third]), [id("c")]);
        let seen = Seen { mounts: String::new(), hostname: "a".repeat(12), ..Seen::default() };
        assert_eq!(own(&seen, &[bare]), [id("a")]);
        assert!(own(&Seen::default(), &[]).is_empty());
    }

    #[test]
    fn what_has_the_folder_of_the_socket_may_be_spoken_through() {
        let speaks = |socket: &str, source: &str| {
            let ours = container("a", "bridge", &json!([mount("/run/user/7", "/var/run/engine")]));
            let own = Own::of(&in_container("a"), &[ours], Path::new(socket));
            own.may_speak_through(&container("b", "bridge", &json!([mount(source, "/x")])))
        };
        for source in ["/var/run/docker.sock", "/run", "/var/run", "/", "/odd/docker.sock"] {
            assert!(speaks(SOCKET, source), "{source}");
        }
        assert!(speaks("/odd/engine/socket", "/odd/engine"));
        assert!(speaks("/var/run/engine/docker.sock", "/run/user/7"), "the host's path");
        for source in ["/srv/run", "/run/user/7", "", "/var/run2"] {
            assert!(!speaks(SOCKET, source), "{source}");
        }
    }
}
