//! Sizes (`40G`) and durations (`7d`), as people write and read them.

use std::time::Duration;

use crate::error::{Error, Result};

/// Parses a size: `512`, `10k`, `40G`, `1TiB`. Numbers are whole, units are binary (as Convoy
/// counts), in upper or lower case. The result is in bytes, at most `i64::MAX`.
///
/// # Errors
/// A usage error for anything else, such as `1.5g` or `-1`.
pub(crate) fn parse_size(text: &str) -> Result<u64> {
    let wrong = || {
        Error::usage(format!("\"{text}\" is not a size"))
            .with_hint("write a whole number with K, M, G or T behind it, such as 40G or 512M")
    };
    let trimmed = text.trim();
    let digits = trimmed.chars().take_while(char::is_ascii_digit).count();
    let (number, unit) = trimmed.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or_else(wrong)
}

/// A size in bytes for people: `0 B`, `12 KiB`, `3.4 GiB`.
pub(crate) fn format_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    if value < 10.0 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

/// Parses a duration: `90s`, `15m`, `5h`, `7d`, `2w`, `1y`, or several in a row (`1d12h`). A day is
/// 24 hours, a year 365 days; the limit is 1000 years.
///
/// # Errors
/// A usage error for anything else, such as a number without a unit.
pub(crate) fn parse_duration(text: &str) -> Result<Duration> {
    let wrong = || {
        Error::usage(format!("\"{text}\" is not a duration")).with_hint(
            "write a whole number with s, m, h, d, w or y behind it, such as 36h, 7d or 1d12h",
        )
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut seconds: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        let (number, behind) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = behind.chars().next().ok_or_else(wrong)?;
        let factor = match unit.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            'y' => 365 * 86_400,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(factor).ok_or_else(wrong)?;
        seconds =
            seconds.checked_add(part).filter(|s| *s <= 1_000 * 365 * 86_400).ok_or_else(wrong)?;
        rest = &behind[unit.len_utf8()..];
    }
    Ok(Duration::from_secs(seconds))
}

/// A duration for people, in its two largest units: `45s`, `3m 20s`, `5h`, `12d 4h`.
pub(crate) fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut words = Vec::new();
    let mut left = seconds;
    for (size, unit) in parts {
        if left >= size && words.len() < 2 {
            words.push(format!("{}{unit}", left / size));
            left %= size;
        } else if !words.is_empty() {
            break;
        }
    }
    if words.is_empty() { "0s".into() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_numbers_with_binary_units() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("10k", 10 << 10),
            ("40G", 40 << 30),
            ("40g", 40 << 30),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "1.5g", "-1", "G", "10 G B", "10x", "9999999999T", "1e9"] {
            let error = parse_size(text).unwrap_err();
            assert!(error.message.contains(&format!("\"{text}\"")), "{error}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("7d", 604_800), ("1d12h", 129_600), ("2W", 1_209_600)]
        {
            assert_eq!(parse_duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "5", "d", "1.5h", "-1h", "1h2", "99999999999y"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_and_durations_read_well() {
        assert_eq!(format_size(0), "0 B");
        assert_eq!(format_size(1536), "1.5 KiB");
        assert_eq!(format_size(40 << 30), "40 GiB");
        assert_eq!(format_duration(Duration::from_secs(0)), "0s");
        assert_eq!(format_duration(Duration::from_secs(200)), "3m 20s");
        assert_eq!(format_duration(Duration::from_secs(86_400 * 12 + 4 * 3_600 + 5)), "12d 4h");
        assert_eq!(format_duration(Duration::from_secs(86_400 + 5)), "1d");
    }
}
