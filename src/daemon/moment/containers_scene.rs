//! A volume of an engine in memory, for tests of holds of containers.

use std::{fs, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{
    clock::SystemClock,
    engine::HoldPolicy,
    error::Error,
    support::engine::{FakeEngine, Faults},
};

pub(super) const HOUR: Duration = Duration::from_hours(1);

/// An engine with the volume `db`.
pub(super) struct Scene {
    pub(super) folder: TempDir,
    pub(super) engine: FakeEngine,
    pub(super) place: Place,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self::with_label(&json!(null))
    }

    pub(super) fn with_label(labels: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = FakeEngine::start(&folder.path().join("docker"));
        let files = engine.volume("db", labels, &json!(null));
        let place = Place {
            volume: "db".into(),
            folder: files,
            beside: None,
            is_of_the_host: true,
            is_of_the_engine: true,
            is_for_containers_only: true,
        };
        Self { folder, engine, place }
    }

    /// A scene with the running container `one`.
    pub(super) fn with_one() -> Self {
        let scene = Self::new();
        scene.runs("one", &json!({}));
        scene
    }

    pub(super) fn runs(&self, name: &str, labels: &Value) {
        self.engine.container(name, "running", labels, &["db"]);
    }

    pub(super) fn moments(&self) -> Moments {
        self.holding(HoldPolicy::Pause, false, HOUR)
    }

    pub(super) fn holding(
        &self,
        policy: HoldPolicy,
        reads_unheld: bool,
        limit: Duration,
    ) -> Moments {
        let root = Root::make(&self.folder.path().join("root")).unwrap();
        root.make_folders().unwrap();
        let socket = self.engine.socket.clone();
        let settled = Duration::from_millis(300);
        let at = ContainerHolds::at(&socket);
        let containers = ContainerHolds { policy, reads_unheld, limit, settled, ..at };
        let options = HoldOptions { commands: None, containers: Some(containers), limit };
        Moments::new(&root, None, Arc::new(SystemClock)).holding(options)
    }

    pub(super) fn notes(&self) -> usize {
        fs::read_dir(self.folder.path().join("root/moments")).map_or(0, Iterator::count)
    }

    pub(super) fn faults(&self, faults: Faults) {
        self.engine.with(|contents| contents.faults = faults);
    }

    pub(super) fn set(&self, name: &str, field: &str, value: Value) {
        let is_it = |container: &&mut Value| container["Names"][0] == format!("/{name}");
        self.engine.with(|contents| {
            contents.containers.iter_mut().find(is_it).unwrap()[field] = value;
        });
    }

    /// Holds and releases; the result is what was done.
    pub(super) fn held(&self, moments: &Moments) -> String {
        let still = moments.still([&self.place]);
        assert!(still.hold().unwrap());
        still.release().unwrap();
        self.engine.acts()
    }

    pub(super) fn fails(&self, moments: &Moments) -> Error {
        moments.still([&self.place]).hold().unwrap_err()
    }
}

/// Holds, and dies.
pub(super) fn die_holding(scene: &Scene, policy: HoldPolicy) {
    let moments = scene.holding(policy, false, HOUR);
    let still = moments.still([&scene.place]);
    assert!(still.hold().unwrap());
    std::mem::forget(still);
    scene.engine.acts();
}
