//! Which of the engine's volumes are backed up, and why the others are not. Pure.

use std::collections::BTreeMap;

use super::{Container, EngineVolume};

/// The label that says for one volume whether it is backed up: `true` or `false`. On a container it
/// is about the volumes that have none themselves.
pub(crate) const ENABLE_LABEL: &str = "convoy-backups.enable";

/// Which volumes are backed up where no label says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Policy {
    /// All that have a name.
    #[default]
    All,
    /// Those with the label `convoy-backups.enable=true` only.
    Labelled,
}

/// The label of a container that says whether the folders of the host that it mounts are backed up:
/// `true` or `false`.
pub(crate) const BINDS_LABEL: &str = "convoy-backups.binds";

/// Which folders of the host that containers mount are backed up, where no label says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Binds {
    /// None, whatever labels say.
    Off,
    /// None.
    #[default]
    Labelled,
    /// Those of the containers of compose projects.
    Project,
}

/// Which volumes an operator wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Selection {
    pub(crate) policy: Policy,
    /// Patterns of names with `*` for any characters; if there are any, a name fits one of them.
    pub(crate) include: Vec<String>,
    /// Patterns of names that are left out.
    pub(crate) exclude: Vec<String>,
    pub(crate) binds: Binds,
}

/// What the operator said of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum EngineUse {
    /// It is not to be used: its volumes are none of ours.
    Off,
    /// It is used where it is there. Where it is not, nothing says that its volumes are gone.
    IfThere,
    /// It is used.
    #[default]
    Always,
}

/// Why a volume is not backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// It has no name, so nobody can ask for it again.
    Anonymous,
    /// Its files are in memory only: no backup of it can be due.
    InMemory,
    /// Its files are another program's: the name of that driver.
    OtherDriver(String),
    /// A label, a pattern or the policy says so.
    NotWanted(&'static str),
    /// The policy wants a label, and it has none.
    NotLabelled,
    /// The label on it, or on a container that has it, is neither `true` nor `false`: its value.
    BadLabel(String),
}

impl Selection {
    /// Whether the folders of the host that a container mounts are backed up.
    ///
    /// # Errors
    /// The label's value, if it says nothing.
    pub(crate) fn wants_binds(&self, container: &Container) -> Result<bool, String> {
        match (self.binds, label(&container.labels, BINDS_LABEL)?) {
            (Binds::Off, _) => Ok(false),
            (_, Some(said)) => Ok(said),
            (binds, None) => Ok(binds == Binds::Project && container.project().is_some()),
        }
    }

    /// Whether the patterns of names leave a name out.
    pub(crate) fn leaves_out_name(&self, name: &str) -> bool {
        let fits = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, name));
        fits(&self.exclude) || (!self.include.is_empty() && !fits(&self.include))
    }

    /// Whether there are patterns for what is backed up, and none of these names fits any.
    pub(crate) fn includes_none<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> bool {
        let is_included = |name: &str| self.include.iter().any(|pattern| fits(pattern, name));
        !self.include.is_empty() && !names.any(is_included)
    }

    /// Why a volume is left out; `None` if it is backed up.
    pub(crate) fn leaves_out(
        &self,
        volume: &EngineVolume,
        containers: &[Container],
    ) -> Option<LeftOut> {
        if volume.driver != "local" {
            return Some(LeftOut::OtherDriver(volume.driver.clone()));
        }
        // It is gone with its last container.
        if volume.options.get("type").is_some_and(|kind| kind == "tmpfs") {
            return Some(LeftOut::InMemory);
        }
        let label = match enabled(volume, containers) {
            Ok(label) => label,
            Err(value) => return Some(LeftOut::BadLabel(value)),
        };
        if label == Some(false) {
            return Some(LeftOut::NotWanted("the label convoy-backups.enable=false"));
        }
        if label == Some(true) {
            return None;
        }
        if volume.is_anonymous() {
            return Some(LeftOut::Anonymous);
        }
        let fits = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, &volume.name));
        if fits(&self.exclude) {
            return Some(LeftOut::NotWanted("BKUP_DOCKER_EXCLUDE"));
        }
        if !self.include.is_empty() && !fits(&self.include) {
            return Some(LeftOut::NotWanted("BKUP_DOCKER_INCLUDE"));
        }
        (self.policy == Policy::Labelled).then_some(LeftOut::NotLabelled)
    }
}

/// Whether containers that have a volume ask for it, by a label that it does not have itself. `None`
/// where no container has it, so that none can say.
pub(crate) fn asked_for_by_containers(
    volume: &EngineVolume,
    containers: &[Container],
) -> Option<bool> {
    let has_own = volume.labels.contains_key(ENABLE_LABEL);
    let is_used = containers.iter().any(|container| container.uses(&volume.name));
    let asks = || enabled(volume, containers) == Ok(Some(true));
    if has_own { Some(false) } else { is_used.then(asks) }
}

/// What the label says about a volume: its own, else that of a container that has it. One `true`
/// among containers is enough.
///
/// # Errors
/// The label's value, if it says nothing.
fn enabled(volume: &EngineVolume, containers: &[Container]) -> Result<Option<bool>, String> {
    if let Some(own) = label(&volume.labels, ENABLE_LABEL)? {
        return Ok(Some(own));
    }
    let users = containers.iter().filter(|container| container.uses(&volume.name));
    let said = users
        .map(|container| label(&container.labels, ENABLE_LABEL))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(said.into_iter().flatten().reduce(|one, other| one || other))
}

fn label(labels: &BTreeMap<String, String>, name: &str) -> Result<Option<bool>, String> {
    match labels.get(name).map(|value| (value.trim().to_ascii_lowercase(), value)) {
        None => Ok(None),
        Some((word, _)) if word == "true" => Ok(Some(true)),
        Some((word, _)) if word == "false" => Ok(Some(false)),
        Some((_, value)) => Err(value.chars().take(40).collect()),
    }
}

/// Whether a name fits a pattern, in which `*` stands for any characters, also none.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str, driver: &str, enable: Option<&str>) -> EngineVolume {
        let label = enable.map(|value| (ENABLE_LABEL.to_owned(), value.to_owned()));
        EngineVolume {
            name: name.into(),
            driver: driver.into(),
            mountpoint: "/m".into(),
            labels: label.into_iter().collect(),
            options: BTreeMap::new(),
        }
    }

    fn container(volume: &str, enable: &str) -> Container {
        let mount = serde_json::json!({ "Type": "volume", "Name": volume, "RW": true });
        let labels = serde_json::json!({ ENABLE_LABEL: enable });
        serde_json::from_value(
            serde_json::json!({ "Id": "1", "Labels": labels, "Mounts": [mount] }),
        )
        .unwrap()
    }

    #[test]
    fn every_named_volume_is_backed_up_unless_a_label_a_pattern_or_its_driver_says_otherwise() {
        let patterns = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let all = Selection::default();
        let some = Selection {
            include: patterns("shop_* web"),
            exclude: patterns("*_cache"),
            ..all.clone()
        };
        let labelled = Selection { policy: Policy::Labelled, ..all.clone() };
        let anonymous = "0123456789abcdef".repeat(4);
        let left_out = |selection: &Selection, name: &str, driver: &str, label: Option<&str>| {
            selection.leaves_out(&volume(name, driver, label), &[])
        };
        assert_eq!(left_out(&all, "db", "local", None), None);
        assert_eq!(left_out(&all, &anonymous, "local", None), Some(LeftOut::Anonymous));
        assert_eq!(left_out(&all, &anonymous, "local", Some("true")), None);
        let mut labelled_by_a_person = volume(&anonymous, "local", None);
        labelled_by_a_person.labels.insert("com.docker.compose.volume".into(), "data".into());
        assert_eq!(all.leaves_out(&labelled_by_a_person, &[]), None);
        assert_eq!(
            left_out(&all, "db", "convoy", Some("true")),
            Some(LeftOut::OtherDriver("convoy".into()))
        );
        assert!(matches!(
            left_out(&all, "db", "local", Some("False")),
            Some(LeftOut::NotWanted(_))
        ));
        assert_eq!(
            left_out(&all, "db", "local", Some("yes")),
            Some(LeftOut::BadLabel("yes".into()))
        );
        assert_eq!(left_out(&some, "shop_db", "local", None), None);
        assert_eq!(
            left_out(&some, "shop_cache", "local", None),
            Some(LeftOut::NotWanted("BKUP_DOCKER_EXCLUDE"))
        );
        assert_eq!(left_out(&some, "shop_cache", "local", Some("true")), None);
        assert_eq!(
            left_out(&some, "web2", "local", None),
            Some(LeftOut::NotWanted("BKUP_DOCKER_INCLUDE"))
        );
        assert!(left_out(&labelled, "db", "local", None).is_some());
        assert_eq!(left_out(&labelled, "db", "local", Some("true")), None);
        let mut in_memory = volume("db", "local", Some("true"));
        in_memory.options.insert("type".into(), "tmpfs".into());
        assert!(all.leaves_out(&in_memory, &[]).is_some());
    }

    #[test]
    fn a_containers_label_is_about_the_volumes_without_one() {
        let labelled = Selection { policy: Policy::Labelled, ..Selection::default() };
        let of = |volume: &EngineVolume, label: &str| {
            labelled.leaves_out(volume, &[container("db", label), container("other", "false")])
        };
        let db = volume("db", "local", None);
        assert_eq!(of(&db, "true"), None);
        assert!(of(&db, "false").is_some());
        assert_eq!(of(&db, "1"), Some(LeftOut::BadLabel("1".into())));
        let own = volume("db", "local", Some("false"));
        assert!(matches!(of(&own, "true"), Some(LeftOut::NotWanted(_))));
    }

    #[test]
    fn folders_that_containers_mount_are_wanted_by_label_or_by_project() {
        let container = |label: Option<&str>, project: bool| -> Container {
            let mut labels = serde_json::Map::new();
            labels.extend(label.map(|value| (BINDS_LABEL.to_owned(), value.into())));
            labels
                .extend(project.then(|| ("com.docker.compose.project".to_owned(), "shop".into())));
            serde_json::from_value(serde_json::json!({ "Id": "1", "Labels": labels })).unwrap()
        };
        let wants = |binds, label, project| {
            let selection = Selection { binds, ..Selection::default() };
            selection.wants_binds(&container(label, project))
        };
        let yes = Some("true");
        for (binds, label, project, wanted) in [
            (Binds::Off, yes, true, false),
            (Binds::Labelled, yes, false, true),
            (Binds::Labelled, None, true, false),
            (Binds::Project, None, true, true),
            (Binds::Project, None, false, false),
            (Binds::Project, Some("false"), true, false),
            (Binds::Project, yes, false, true),
        ] {
            assert_eq!(wants(binds, label, project), Ok(wanted), "{binds:?} {label:?} {project}");
        }
        assert_eq!(wants(Binds::Project, Some("1"), true), Err("1".into()));
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, does) in [
            ("db", "db", true),
            ("db", "db2", false),
            ("db*", "db2", true),
            ("*", "", true),
            ("*_data", "shop_data", true),
            ("*_data", "shop_data2", false),
            ("s*p_*", "shop_db", true),
            ("a*a", "a", false),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
        ] {
            assert_eq!(fits(pattern, name), does, "{pattern} {name}");
        }
    }
}
