//! Periods of time in requests, and times in answers.

use avl_shared::fix::UtcMillis;
use chrono::{DateTime, SecondsFormat, Utc};

use super::problem::ApiError;

/// `from..to` in milliseconds of UTC: the start belongs to it, the end does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) from: UtcMillis,
    pub(crate) to: UtcMillis,
}

impl Period {
    pub(crate) const EVERYTHING: Self = Self { from: UtcMillis::MIN, to: UtcMillis::MAX };

    /// An absent end is open.
    pub(crate) fn parse(from: Option<&str>, to: Option<&str>) -> Result<Self, ApiError> {
        let period = Self {
            from: from.map_or(Ok(UtcMillis::MIN), |value| parse_time("from", value))?,
            to: to.map_or(Ok(UtcMillis::MAX), |value| parse_time("to", value))?,
        };
        match (from, to) {
            (Some(from), Some(to)) if period.to < period.from => {
                Err(ApiError::BackwardPeriod { from: from.to_owned(), to: to.to_owned() })
            }
            _ => Ok(period),
        }
    }
}

/// Rounded up to the millisecond: rows have whole milliseconds, so `t >= from` and `t < to` keep their meaning.
fn parse_time(name: &'static str, value: &str) -> Result<UtcMillis, ApiError> {
    let time = DateTime::parse_from_rfc3339(value).map_err(|error| ApiError::BadTime {
        name,
        value: value.chars().take(80).collect(),
        cause: error.to_string(),
    })?;
    let rest = time.timestamp_subsec_nanos() % 1_000_000;
    Ok(time.timestamp_millis() + i64::from(rest > 0))
}

/// RFC 3339 in UTC with milliseconds. `None` for a time outside the years that can be written.
pub(crate) fn rfc3339(time: UtcMillis) -> Option<String> {
    let time = DateTime::<Utc>::from_timestamp_millis(time)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// For file names: `20261122T083000Z`; the part of a second is dropped.
pub(crate) fn compact(time: UtcMillis) -> Option<String> {
    Some(DateTime::<Utc>::from_timestamp_millis(time)?.format("%Y%m%dT%H%M%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_offset_and_precision_is_understood() {
        let at = |text| parse_time("from", text).unwrap();
        assert_eq!(at("1970-01-01T00:00:01Z"), 1000);
        assert_eq!(at("1970-01-01T01:00:01.5+01:00"), 1500);
        assert_eq!(at("1970-01-01T00:00:00.0001Z"), 1, "rounded up");
        assert_eq!(at("1969-12-31T23:59:59.9995Z"), 0, "rounded up before 1970 too");
    }

    #[test]
    fn what_is_not_a_time_is_refused_with_its_name() {
        for bad in [
            "",
            "yesterday",
            "2026-11-22",
            "2026-13-01T00:00:00Z",
            "2026-11-22T00:00:00",
            "2026-11-22T00:00:00 01:00",
        ] {
            let error = Period::parse(None, Some(bad)).unwrap_err();
            assert!(matches!(error, ApiError::BadTime { name: "to", .. }), "{bad:?}");
        }
    }

    #[test]
    fn a_period_may_be_empty_but_not_backward() {
        let (early, late) = (Some("2026-01-01T00:00:00Z"), Some("2026-01-02T00:00:00Z"));
        assert!(Period::parse(early, late).is_ok());
        assert!(Period::parse(early, early).is_ok());
        assert!(matches!(Period::parse(late, early), Err(ApiError::BackwardPeriod { .. })));
        assert_eq!(Period::parse(None, None).unwrap(), Period::EVERYTHING);
    }

    #[test]
    fn times_are_written_in_utc_with_milliseconds() {
        assert_eq!(rfc3339(1_795_336_200_040).unwrap(), "2026-11-22T08:30:00.040Z");
        assert_eq!(compact(1_795_336_200_040).unwrap(), "20261122T083000Z");
        assert_eq!(rfc3339(UtcMillis::MAX), None);
    }
}
