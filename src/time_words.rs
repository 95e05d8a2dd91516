//! A point in time as people write it: `36h`, `2 hours ago`, `yesterday 18:00`, `2026-11-23`.

use jiff::{SignedDuration, Span, Timestamp, Zoned, civil};

use crate::{
    error::{Error, Result},
    units::parse_duration,
};

/// What a day, a minute or a second means, where it is not said more exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Day {
    /// Its first moment, as where a time is the oldest that counts.
    Begin,
    /// Its last moment, as where a time is the newest that counts, and must be over: `07:00` has all of that
    /// minute, because lists show no seconds.
    End,
}

/// Reads one of these, in upper or lower case:
/// - how long before now: `7d`, `36h`, `2h ago`, `3 days ago`, `now`;
/// - a day: `today`, `yesterday`, `monday` (the last one before today), `2026-11-23`;
/// - a day with a time: `yesterday 18:00`, `2026-11-23 07:00`, `2026-11-23T07:00`; `18:00` is today's;
/// - a time with an offset or a zone: `2026-11-23T07:00:00Z`, `2026-11-23T07:00[Europe/Berlin]`.
///
/// Days and times without an offset are in the zone of `now`.
///
/// # Errors
/// A usage error for any other text.
pub(crate) fn parse(text: &str, now: &Zoned, day: Day) -> Result<Timestamp> {
    let lower = text.trim().to_lowercase();
    let zoned = || Some(text.trim().parse::<Zoned>().ok()?.timestamp());
    let found = ago(&lower, now).or_else(|| lower.to_uppercase().parse().ok()).or_else(zoned);
    let found = found.or_else(|| local(&lower, now, day));
    if day == Day::End
        && let Some(at) = found
        && is_to_come(&lower, at, now)
    {
        return Err(Error::usage(format!("\"{text}\" is still to come")).with_hint(
            "write the day before it, such as \"yesterday 18:00\", or a time that is over",
        ));
    }
    found.ok_or_else(|| {
        Error::usage(format!("\"{text}\" is not a time")).with_hint(
            "write how long ago (36h, 7d), a day (yesterday, monday, 2026-11-23), or both with a time (\"yesterday 18:00\", \"2026-11-23 07:00\")",
        )
    })
}

/// Whether this time, which is no day alone, and no minute that has begun, is still to come.
fn is_to_come(text: &str, at: Timestamp, now: &Zoned) -> bool {
    let minute = SignedDuration::from_mins(1);
    named_day(text, now.date()).is_none_or(|date| date > now.date())
        && at.duration_since(now.timestamp()) > minute
}

/// A length of time before now.
fn ago(text: &str, now: &Zoned) -> Option<Timestamp> {
    if text == "now" {
        return Some(now.timestamp());
    }
    let length = text.strip_suffix("ago").map_or(text, str::trim_end);
    let length = parse_duration(length).ok().or_else(|| parse_duration(&short(length)?).ok())?;
    let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
    Some(now.timestamp().checked_sub(length).unwrap_or(Timestamp::MIN))
}

/// `2 hours` as `2h`.
fn short(length: &str) -> Option<String> {
    let (number, unit) = length.split_once(' ')?;
    let unit = match unit.trim().strip_suffix('s').unwrap_or(unit.trim()) {
        "second" | "sec" => "s",
        "minute" | "min" => "m",
        "hour" => "h",
        "day" => "d",
        "week" => "w",
        "year" => "y",
        _ => return None,
    };
    Some(format!("{}{unit}", if matches!(number, "a" | "an") { "1" } else { number }))
}

/// A day, a time of today, or both, in the zone of `now`. As far as it is not said, the second and the day
/// are at their beginning, or at their end.
fn local(text: &str, now: &Zoned, day: Day) -> Option<Timestamp> {
    let today = now.date();
    let (date, time) = if let Some(date) = named_day(text, today) {
        (date, None)
    } else if let Some((date, time)) =
        text.split_once([' ', 't']).filter(|(date, _)| !date.is_empty())
        && let Some(date) = named_day(date, today)
    {
        (date, Some(time_of_day(time.trim())?))
    } else if let Some((date, time)) = text.rsplit_once(' ')
        && let Some(date) = named_day(date.trim_end(), today)
    {
        (date, Some(time_of_day(time)?))
    } else {
        (today, Some(time_of_day(text)?))
    };
    let zone = now.time_zone().clone();
    let next = match (day, time) {
        (Day::Begin, Some((time, _))) => date.to_datetime(time).to_zoned(zone),
        (Day::Begin, None) => date.to_zoned(zone),
        (Day::End, Some((time, length))) => {
            let at = date.to_datetime(time).to_zoned(zone).ok()?;
            at.checked_add(length)
        }
        (Day::End, None) => date.tomorrow().and_then(|next| next.to_zoned(zone)),
    };
    let next = next.ok()?.timestamp();
    let is_end = day == Day::End;
    if is_end { next.checked_sub(SignedDuration::from_nanos(1)).ok() } else { Some(next) }
}

fn named_day(text: &str, today: civil::Date) -> Option<civil::Date> {
    let back = |days: i64| today.checked_sub(Span::new().days(days)).ok();
    match text {
        "today" => return Some(today),
        "yesterday" => return back(1),
        _ => {}
    }
    let text = text.strip_prefix("last ").unwrap_or(text);
    let weekday = match text {
        "monday" | "mon" => civil::Weekday::Monday,
        "tuesday" | "tue" => civil::Weekday::Tuesday,
        "wednesday" | "wed" => civil::Weekday::Wednesday,
        "thursday" | "thu" => civil::Weekday::Thursday,
        "friday" | "fri" => civil::Weekday::Friday,
        "saturday" | "sat" => civil::Weekday::Saturday,
        "sunday" | "sun" => civil::Weekday::Sunday,
        _ => return day_of(text),
    };
    back(match today.weekday().since(weekday) {
        0 => 7,
        days => days.into(),
    })
}

/// `2026-11-23`, and nothing shorter or longer.
fn day_of(text: &str) -> Option<civil::Date> {
    text.parse().ok().filter(|_| text.len() == "2026-11-23".len())
}

/// `18:00`, which is a minute, or `18:00:30`, which is a second.
fn time_of_day(text: &str) -> Option<(civil::Time, SignedDuration)> {
    if !text.chars().all(|c| c.is_ascii_digit() || c == ':') {
        return None;
    }
    let minute = civil::Time::strptime("%H:%M", text);
    let minute = minute.map(|time| (time, SignedDuration::from_mins(1)));
    let second = || civil::Time::strptime("%H:%M:%S", text);
    minute.or_else(|_| second().map(|time| (time, SignedDuration::from_secs(1)))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Monday.
    fn now() -> Zoned {
        "2026-11-23T12:00:00+01:00[Europe/Berlin]".parse().unwrap()
    }

    fn at(text: &str, day: Day) -> String {
        let at = parse(text, &now(), day).unwrap_or_else(|error| panic!("{text}: {error}"));
        at.to_zoned(now().time_zone().clone()).strftime("%m-%d %H:%M:%S").to_string()
    }

    #[test]
    fn a_time_is_how_long_ago_or_a_day_and_a_time_in_the_local_zone() {
        for (text, time) in [
            ("7d", "11-16 12:00:00"),
            ("2h ago", "11-23 10:00:00"),
            ("2 hours ago", "11-23 10:00:00"),
            ("an hour ago", "11-23 11:00:00"),
            ("3 days", "11-20 12:00:00"),
            ("now", "11-23 12:00:00"),
            ("Yesterday 18:00", "11-22 18:00:00"),
            ("yesterday  18:00:30", "11-22 18:00:30"),
            ("today 07:30", "11-23 07:30:00"),
            ("07:30", "11-23 07:30:00"),
            ("monday 9:05", "11-16 09:05:00"),
            ("last friday 09:05", "11-20 09:05:00"),
            ("sun 00:00", "11-22 00:00:00"),
            ("2026-11-20 07:30", "11-20 07:30:00"),
            ("2026-11-20T07:30", "11-20 07:30:00"),
            ("2026-11-20T07:30:05", "11-20 07:30:05"),
            ("2026-11-20T07:30:00Z", "11-20 08:30:00"),
            ("2026-11-20t07:30:00+01:00", "11-20 07:30:00"),
            ("2026-11-20T07:30[Asia/Tokyo]", "11-19 23:30:00"),
        ] {
            assert_eq!(at(text, Day::Begin), time, "{text}");
            // The end of a minute is within it.
            assert_eq!(at(text, Day::End)[..11], time[..11], "{text}");
        }
    }

    #[test]
    fn a_day_alone_begins_or_ends() {
        for (text, begin) in [
            ("2026-11-20", "11-20 00:00:00"),
            ("yesterday", "11-22 00:00:00"),
            ("today", "11-23 00:00:00"),
            ("Saturday", "11-21 00:00:00"),
        ] {
            assert_eq!(at(text, Day::Begin), begin);
            assert_eq!(at(text, Day::End), begin.replace("00:00:00", "23:59:59"));
        }
        // A day of 25 hours.
        let seconds = |text, day| parse(text, &now(), day).unwrap().as_second();
        let length = seconds("2026-10-25", Day::End) - seconds("2026-10-25", Day::Begin);
        assert_eq!(length, 25 * 3600 - 1);
    }

    #[test]
    fn a_minute_alone_has_all_its_seconds_and_a_second_all_its_fractions() {
        for (text, end) in [
            ("2026-11-20 07:30", "2026-11-20T06:30:59.999999999Z"),
            ("2026-11-20 07:30:05", "2026-11-20T06:30:05.999999999Z"),
            ("2026-11-20", "2026-11-20T22:59:59.999999999Z"),
            ("2026-11-20T06:30:05Z", "2026-11-20T06:30:05Z"),
        ] {
            assert_eq!(parse(text, &now(), Day::End).unwrap(), end.parse().unwrap(), "{text}");
        }
    }

    #[test]
    fn the_newest_that_counts_is_not_to_come() {
        for text in
            ["18:00", "today 18:00", "2026-11-24 07:00", "2999-01-01T00:00:00Z", "2026-11-24"]
        {
            let error = parse(text, &now(), Day::End).unwrap_err();
            assert!(error.message.contains("is still to come"), "{text}: {error}");
            parse(text, &now(), Day::Begin).unwrap();
        }
        for text in ["today", "12:00", "11:59", "now"] {
            parse(text, &now(), Day::End).unwrap();
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_examples() {
        for text in [
            "",
            "tomorrow",
            "7",
            "2026-13-01",
            "2026-11-20 25:00",
            "18",
            "yesterday 6pm",
            "ago",
            "2026",
            "2026-11",
            "x 18:00",
        ] {
            let error = parse(text, &now(), Day::Begin).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{text}");
            assert!(error.message.contains(&format!("\"{text}\"")), "{error}");
        }
    }
}
