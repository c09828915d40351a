//! A log that goes on for longer than it was recorded: again and again, with the time of day going on.

use anyhow::Context as _;

use crate::oracle::truth;
use crate::receiver::ublox;

const DAY_MS: u64 = 86_400_000;

/// The log's whole sentences with the times of day of RMC, GGA, GNS and GLL moved on with each round, until it has `fixes` instants.
///
/// # Errors
/// When the log is not of one day, or its rounds go beyond midnight: its dates would be wrong.
pub fn repeated(text: &[u8], fixes: usize) -> anyhow::Result<Vec<u8>> {
    let times: Vec<i64> = truth::read(text).iter().filter_map(|fix| fix.time).collect();
    let (first, last) = times.first().zip(times.last()).context("the log has no instant with a time")?;
    let round_ms = u64::try_from(last - first)? + 1000;
    let sentences = sentences(text);
    let mut out = Vec::new();
    for round in 0..fixes.div_ceil(times.len()) {
        for body in &sentences {
            ublox::push(&mut out, &later(body, round as u64 * round_ms)?);
        }
    }
    Ok(out)
}

/// What stands between `$` and `*`, where the checksum is right.
fn sentences(text: &[u8]) -> Vec<&str> {
    text.split(|&byte| byte == b'\n').filter_map(body).collect()
}

fn body(line: &[u8]) -> Option<&str> {
    truth::checked_fields(line)?;
    Some(std::str::from_utf8(line).ok()?.strip_prefix('$')?.split_once('*')?.0)
}

fn later(body: &str, by_ms: u64) -> anyhow::Result<String> {
    let mut fields: Vec<String> = body.split(',').map(str::to_owned).collect();
    let place = match fields[0].get(2..) {
        Some("RMC" | "GGA" | "GNS") => 1,
        Some("GLL") => 5,
        _ => return Ok(body.to_owned()),
    };
    if let Some(clock) = fields.get_mut(place).filter(|clock| clock.len() >= 6) {
        let number = |part: &str| part.parse::<u64>().context("a time of day that is none");
        let whole = number(&clock[..2])? * 3600 + number(&clock[2..4])? * 60 + number(&clock[4..6])?;
        let moved_ms = whole * 1000 + by_ms;
        anyhow::ensure!(moved_ms < DAY_MS, "repeated so often, this log goes beyond midnight");
        let (seconds, fraction) = (moved_ms / 1000, &clock[6..]);
        *clock = format!("{:02}{:02}{:02}{fraction}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    }
    Ok(fields.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_the_same_fixes_later() {
        let text =
            b"$GNRMC,021417.00,A,3725.58362,N,12205.61915,W,0.028,65.13,070220,13.06,E,F,V*4A\r\nbroken\r\n";
        let next = b"$GNRMC,021418.00,A,3725.58362,N,12205.61915,W,0.028,65.13,070220,13.06,E,F,V*45\r\n";
        let log = [&text[..], next].concat();
        let times: Vec<_> =
            truth::read(&repeated(&log, 5).unwrap()).iter().map(|fix| fix.time.unwrap()).collect();
        assert_eq!(times.len(), 6);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 1000), "{times:?}");
    }
}
