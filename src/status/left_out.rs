//! The sentences on what is on a Docker host and not backed up.

use crate::{
    convoy::{NotBackedUp, NotBackedUpKind},
    text::counted,
};

/// One sentence with the numbers of what is left out on purpose, or because nobody asked for it;
/// `None` if there is nothing.
pub(crate) fn not_backed_up(all: &[NotBackedUp]) -> Option<String> {
    let words = [
        (
            NotBackedUpKind::LeftOut,
            "volume left out by a setting or label",
            "volumes left out by settings or labels",
        ),
        (
            NotBackedUpKind::NotLabelled,
            "volume without the label convoy-backups.enable=true (BKUP_DOCKER_VOLUMES=all takes it in)",
            "volumes without the label convoy-backups.enable=true (BKUP_DOCKER_VOLUMES=all takes them in)",
        ),
        (
            NotBackedUpKind::Unseen,
            "volume whose files can't be seen here",
            "volumes whose files can't be seen here",
        ),
        (NotBackedUpKind::Anonymous, "volume without a name", "volumes without a name"),
        (NotBackedUpKind::OtherDriver, "volume of another driver", "volumes of other drivers"),
        (
            NotBackedUpKind::Folder,
            "folder of the host that containers mount",
            "folders of the host that containers mount",
        ),
    ];
    let count = |kind| all.iter().filter(|left| left.kind == kind).count();
    let counts = words.map(|(kind, one, many)| (count(kind), one, many));
    let counts = counts.into_iter().filter(|(count, ..)| *count > 0);
    let counts: Vec<_> = counts.map(|(count, one, many)| counted(count, one, many)).collect();
    (!counts.is_empty()).then(|| {
        format!(
            "Docker has more that is not backed up: {} (which: convoy-backups volumes --not-backed-up)",
            counts.join(", ")
        )
    })
}

/// A sentence on each volume that should be backed up, and can't.
pub(crate) fn should_be_backed_up(all: &[NotBackedUp]) -> impl Iterator<Item = String> {
    let wrong = all.iter().filter(|left| left.kind == NotBackedUpKind::Wrong);
    wrong.map(|left| format!("volume \"{}\" of Docker is not backed up: {}", left.name, left.why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_one_sentence_and_what_is_wrong_one_each() {
        let left = |kind, name: &str| NotBackedUp {
            kind,
            name: name.into(),
            why: "of a reason".into(),
            containers: Vec::new(),
        };
        assert_eq!(not_backed_up(&[]), None);
        let all = [
            left(NotBackedUpKind::Wrong, "odd"),
            left(NotBackedUpKind::Anonymous, "a"),
            left(NotBackedUpKind::Anonymous, "b"),
            left(NotBackedUpKind::Folder, "/srv"),
        ];
        assert_eq!(
            not_backed_up(&all).unwrap(),
            "Docker has more that is not backed up: 2 volumes without a name, 1 folder of the host that containers mount (which: convoy-backups volumes --not-backed-up)"
        );
        assert_eq!(not_backed_up(&all[..1]), None);
        let wrong: Vec<_> = should_be_backed_up(&all).collect();
        assert_eq!(wrong, ["volume \"odd\" of Docker is not backed up: of a reason"]);
    }
}
