//! Whether a volume's newest good backup is new enough: the pure rule, and the sentence for people.
//!
//! The first of these that applies says how old that backup may become:
//! 1. `BKUP_MAX_BACKUP_AGE` limits the age of the data in it.
//! 2. A line of the crontab that backs the volume up: the first due time after the backup was made,
//!    plus the time that a run may take.
//! 3. The usual distance of the volume's backups: twice that, or the longest one that is usual plus
//!    the time that a run may take, and a day at least.
//! 4. Seven days.
//!
//! A volume without a backup ages itself, in the place of a backup. Where the crontab has lines and
//! none of them backs it up, it is not safe at once; without lines, something else starts backups.
//!
//! The rule does not ask why the backup is missing: the script never ran, a lock was never
//! released, the daemon is gone, the list is empty.
//!
//! A new verdict is a variant of [`State`]; the compiler then asks for the rest of this file and
//! for the places that draw a state (`cli/status.rs`) or end an alert (`status/alerts.rs`).

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::distance::UsualDistance;
use crate::units::format_duration;

/// How old the newest good backup may be if nothing else says so.
const DEFAULT_LIMIT: Duration = Duration::from_hours(7 * 24);
/// The least that the usual distance of backups allows: one backup may fail and be repeated.
const SHORTEST_LIMIT_BY_DISTANCE: Duration = Duration::from_hours(24);

/// The two times of a volume's newest good backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newest {
    /// When its snapshot was taken: how old the data in it is.
    pub(crate) snapshot_time: Timestamp,
    pub(crate) made: Timestamp,
}

/// What says how old a volume's newest good backup may be.
pub(super) struct Allowed<'a> {
    /// The greatest age of the data in the newest good backup; `None` if the configuration sets no
    /// limit.
    pub(crate) max_age: Option<Duration>,
    /// When the first backup after this time is due by the crontab; `None` if no line backs the
    /// volume up.
    pub(crate) due_after: &'a (dyn Fn(Timestamp) -> Option<Timestamp> + Sync),
    /// How long a run may take.
    pub(crate) run_time: Duration,
    /// The usual distance of the volume's last backups; `None` if too few are known.
    pub(super) usual_distance: Option<UsualDistance>,
    /// Whether the crontab has lines. Without, it says nothing of whether backups are made.
    pub(crate) has_lines: bool,
    /// Whether the volume was restored: the backup that it came from has its first data.
    pub(crate) is_restored: bool,
}

/// Where the limit of a volume's newest good backup comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LimitSource {
    /// `BKUP_MAX_BACKUP_AGE`.
    Setting,
    /// The crontab's lines that back the volume up.
    Crontab,
    /// The usual distance of the volume's backups.
    Distance,
    /// The limit where nothing else says anything.
    Default,
}

impl Allowed<'_> {
    /// The moment at which a backup that ages from `start` is too old. Without a backup, the volume
    /// itself ages.
    fn limit(&self, start: Timestamp, has_backup: bool) -> (Timestamp, LimitSource) {
        let (from, time, source) = if let Some(age) = self.max_age {
            (start, age, LimitSource::Setting)
        } else if let Some(due) = (self.due_after)(start) {
            (due, self.run_time, LimitSource::Crontab)
        } else if let Some(distance) = self.usual_distance.filter(|_| has_backup) {
            let twice = distance.median.saturating_mul(2);
            let longest = distance.longest.saturating_add(self.run_time);
            let limit = twice.max(longest).max(SHORTEST_LIMIT_BY_DISTANCE);
            (start, limit, LimitSource::Distance)
        } else {
            (start, DEFAULT_LIMIT, LimitSource::Default)
        };
        // A limit so far away that it has no date is never reached.
        (from.checked_add(time).unwrap_or(Timestamp::MAX), source)
    }
}

/// The state of a volume's newest good backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// The newest good backup is new enough.
    Fresh,
    /// The volume has no good backup, and the first one is not overdue yet.
    Awaited,
    /// A newer good backup should exist by now.
    Overdue,
    /// The volume has no good backup, and none of the crontab's lines makes one.
    Missing,
}

/// How urgent a state is; the dashboard has a colour and an icon for each level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Good,
    #[default]
    Unknown,
    Warning,
    Bad,
}

/// How a volume is shown in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) level: Level,
    pub(crate) word: &'static str,
    /// The position in lists: the lowest number comes first.
    pub(crate) order: u8,
}

impl State {
    /// Whether a volume in this state is not safe.
    pub(crate) fn is_wrong(self) -> bool {
        match self {
            Self::Overdue | Self::Missing => true,
            Self::Fresh | Self::Awaited => false,
        }
    }

    /// How a volume in this state is shown if it has no other problem.
    pub(crate) fn summary(self) -> Summary {
        let (level, word, order) = match self {
            Self::Overdue => (Level::Bad, "overdue", 0),
            // 1 is for other problems.
            Self::Awaited | Self::Missing => (Level::Unknown, "no backup yet", 2),
            Self::Fresh => (Level::Good, "safe", 3),
        };
        Summary { level, word, order }
    }
}

/// The rule's verdict on a volume. Times are in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    #[serde(rename = "backup")]
    pub(crate) state: State,
    /// When the newest good backup becomes, or became, too old; of a volume without one, when the
    /// first should be there.
    #[serde(rename = "backup_due_by")]
    pub(crate) limit: Timestamp,
    #[serde(rename = "backup_limit_from")]
    pub(crate) limit_source: LimitSource,
    /// The moment from which the newest good backup ages: when its snapshot was taken if the age of
    /// the data is limited, else when it was made. `None` if there is no backup.
    #[serde(rename = "backup_counted_from")]
    pub(crate) counted_from: Option<Timestamp>,
    /// The verdict for people, without the volume's name.
    #[serde(rename = "backup_sentence")]
    pub(crate) sentence: String,
}

impl Verdict {
    /// By when a good backup should have been made, if it is overdue.
    pub(crate) fn overdue_since(&self) -> Option<Timestamp> {
        (self.state == State::Overdue).then_some(self.limit)
    }
}

/// Judges a volume by its newest good backup. A volume without one (`None`) ages from
/// `known_since`; if no date of the volume can be right (`None`), its backup is overdue.
pub(super) fn judge(
    newest: Option<Newest>,
    known_since: Option<Timestamp>,
    allowed: &Allowed<'_>,
    now: Timestamp,
) -> Verdict {
    let counted_from = newest
        .map(|newest| if allowed.max_age.is_some() { newest.snapshot_time } else { newest.made });
    let start = counted_from.or(known_since);
    let (limit, limit_source) = allowed.limit(start.unwrap_or(now), newest.is_some());
    let limit = if start.is_some() { limit } else { now };
    let state = if start.is_none() || limit < now {
        State::Overdue
    } else if newest.is_some() {
        State::Fresh
    } else if limit_source == LimitSource::Default && allowed.has_lines && !allowed.is_restored {
        State::Missing
    } else {
        State::Awaited
    };
    let sentence = match state {
        State::Fresh => fresh(limit_source, start.unwrap_or(now), limit),
        State::Awaited => awaited(allowed.is_restored, limit, now),
        State::Overdue if start.is_none() => {
            "it has no good backup, and no date of it can be right: some clock was wrong".to_owned()
        }
        State::Overdue => overdue(counted_from, limit_source, limit, now),
        State::Missing => "it has no good backup, and no line of the crontab makes one".to_owned(),
    };
    Verdict { state, limit, limit_source, counted_from, sentence }
}

fn between(from: Timestamp, until: Timestamp) -> String {
    format_duration(until.duration_since(from).unsigned_abs())
}

fn fresh(source: LimitSource, from: Timestamp, limit: Timestamp) -> String {
    let age = between(from, limit);
    let may_be = match source {
        LimitSource::Setting | LimitSource::Crontab => String::new(),
        LimitSource::Distance => {
            format!(": it may be {age} old, by the usual distance of its backups ({UNSCHEDULED})")
        }
        LimitSource::Default => format!(": it may be {age} old ({UNSCHEDULED})"),
    };
    format!("its newest good backup is new enough{may_be}")
}

/// Why the crontab says nothing of how old a backup may be.
const UNSCHEDULED: &str = "no line of the crontab backs it up";

fn awaited(is_restored: bool, limit: Timestamp, now: Timestamp) -> String {
    let yet = if is_restored {
        "it was restored, and has no good backup of its own yet"
    } else {
        "it has no good backup yet"
    };
    format!("{yet}: the first should be there in {}", between(now, limit))
}

/// The sentence for a volume whose newest good backup ages from `counted_from` (`None`: it has
/// none) and became too old at `limit`.
fn overdue(
    counted_from: Option<Timestamp>,
    source: LimitSource,
    limit: Timestamp,
    now: Timestamp,
) -> String {
    let Some(from) = counted_from else {
        let late = between(limit, now);
        return format!("it has no good backup: one should have been there {late} ago");
    };
    let why = match source {
        LimitSource::Setting | LimitSource::Crontab => String::new(),
        LimitSource::Distance => format!(" by the usual distance of its backups ({UNSCHEDULED})"),
        LimitSource::Default => format!(" ({UNSCHEDULED})"),
    };
    format!(
        "its newest good backup is too old: {} old, should be under {}{why}",
        between(from, now),
        between(from, limit)
    )
}

#[cfg(test)]
mod tests;
