//! What happens past the program: Docker makes and removes volumes, Convoy's lists are short once, and
//! cron(8) starts backups.

use jiff::{SignedDuration, Timestamp};

use super::{hosts::Command, model::Moment, world::World};
use crate::{
    convoy::{Name, NewVolume},
    status::State,
};

/// So many weekly backups, the last ones after some by hand.
const WEEKS: usize = 6;
/// After how many of them a person backs up by hand, on the next days.
const WEEKS_BEFORE_HANDS: usize = 5;
const DAYS_BY_HAND: usize = 4;
const DAY: SignedDuration = SignedDuration::from_hours(24);

impl World {
    /// A volume goes away.
    pub(super) fn lose(&mut self, host: usize, name: &str) {
        if self.hosts[host].is_silent() {
            return;
        }
        if let Some(number) = self.removed(host, name) {
            self.model.volumes[number].is_missed = true;
            let own = self.hosts[host].own();
            let name = Name::volume(name).unwrap();
            self.runtime.block_on(own.delete_volume(&name, None, false)).unwrap();
        }
    }

    /// Docker makes a volume, and no run sees it at first.
    pub(super) fn appear(&mut self, host: usize, name: &str) {
        let own = self.hosts[host].own();
        let volume = NewVolume::named(Name::volume(name).unwrap());
        self.runtime.block_on(own.create_volume(&volume)).unwrap();
        self.new_volume(host, name, 0);
    }

    /// The list of volumes lacks one for some hours, and `serve` looks meanwhile. The first backup of
    /// the volume is not awaited any longer for that.
    pub(super) fn list_short(&mut self, host: usize, name: &str, hours: i64) {
        if self.model.named(host, name).is_none() {
            self.appear(host, name);
        }
        let before = self.due_by(host, name);
        self.hosts[host].leave_out(Some(name));
        self.pass(SignedDuration::from_hours(hours));
        self.runtime.block_on(self.hosts[host].look());
        self.hosts[host].leave_out(None);
        let Some(number) = self.model.named(host, name) else { return };
        let Moment { truly, shown } = self.model.volumes[number].made;
        if self.model.newest(number).is_none() && truly == shown && self.reaches(host) {
            assert_eq!(self.due_by(host, name), before, "\"{name}\" of host {host} is new again");
        }
    }

    /// When a volume is overdue, as `status` says.
    fn due_by(&self, host: usize, name: &str) -> Option<Timestamp> {
        let report = self.runtime.block_on(self.hosts[host].look());
        let volume = report.volumes.iter().find(|volume| volume.name == name);
        volume.map(|volume| volume.verdict.limit)
    }

    /// cron(8) backs a volume up each week; between two of these, a person does so on some days. It is
    /// not overdue before the next week is over.
    pub(super) fn back_up_weekly(&mut self, host: usize, name: &str) {
        let words = format!("--volume {name} --create-snapshot");
        let back_up = Command { script: "backup", words, by_crontab: false };
        for week in 1..=WEEKS {
            self.run(host, &back_up);
            if self.failed[host].contains(&back_up) {
                return;
            }
            for day in 1..7 {
                self.pass(DAY);
                if week == WEEKS_BEFORE_HANDS && day <= DAYS_BY_HAND {
                    self.run(host, &back_up);
                }
                if week == WEEKS {
                    self.is_not_overdue(host, name);
                }
            }
            self.pass(DAY);
        }
        // The next one comes in time.
        self.run(host, &back_up);
    }

    fn is_not_overdue(&self, host: usize, name: &str) {
        let report = self.runtime.block_on(self.hosts[host].look());
        let volume = report.volumes.iter().find(|volume| volume.name == name);
        let verdict = &volume.unwrap().verdict;
        assert_eq!(verdict.state, State::Fresh, "\"{name}\" of host {host}: {verdict:?}");
    }
}
