//! What a stream of sentences becomes, as a specification.

use avl_shared::fix::{Fix, FixMode, Quality, Verdict};
use proptest::prelude::*;

use super::testing::{fixes, log, observe, sentence};
use super::{Counts, Observation, Receiver};

const RMC: &str = "GPRMC,021417.00,A,3725.58362,N,12205.61915,W,12.028,65.13,070220,,,A";
const GGA: &str = "GPGGA,021417.00,3725.58362,N,12205.61915,W,1,12,0.76,4.4,M,-30.0,M,,";
const VTG: &str = "GPVTG,65.13,T,,M,12.028,N,22.276,K,A";
const GSA: &str = "GPGSA,A,3,17,02,06,28,,,,,,,,,1.48,0.76,1.27";
const GLL: &str = "GPGLL,3725.58362,N,12205.61915,W,021417.00,A,A";
const NEXT_RMC: &str = "GPRMC,021418.00,A,3725.58962,N,12205.61015,W,12.1,65.0,070220,,,A";
const NEXT_GGA: &str = "GPGGA,021418.00,3725.58962,N,12205.61015,W,1,12,0.77,4.5,M,-30.0,M,,";

/// 2020-02-07T02:14:17Z
const TIME: i64 = 1_581_041_657_000;

fn one(bodies: &[&str]) -> Fix {
    let all = fixes(bodies);
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0].clone()
}

fn places(fixes: &[Fix]) -> Vec<Option<String>> {
    fixes.iter().map(|fix| fix.latitude.map(|latitude| latitude.to_string())).collect()
}

fn times(fixes: &[Fix]) -> Vec<Option<i64>> {
    fixes.iter().map(|fix| fix.time.map(|time| time - TIME)).collect()
}

/// The body at another time of day.
fn at(body: &str, time: &str) -> String {
    body.replace("021417.00", time)
}

#[test]
fn sentences_of_one_instant_become_one_fix_with_every_printed_digit() {
    let fix = one(&[RMC, VTG, GGA, GSA, GLL]);
    assert_eq!(fix.time, Some(TIME));
    assert_eq!(fix.latitude.unwrap().to_string(), "2245.58362");
    assert_eq!(fix.longitude.unwrap().to_string(), "-7325.61915");
    assert_eq!(fix.altitude.unwrap().to_string(), "4.4");
    assert_eq!(fix.speed.unwrap().to_string(), "12.028");
    assert_eq!(fix.course.unwrap().to_string(), "65.13");
    assert_eq!(fix.hdop.unwrap().to_string(), "0.76");
    assert_eq!((fix.satellites, fix.quality, fix.verdict), (Some(12), Quality::Gps, Verdict::empty()));
}

#[test]
fn the_order_within_an_epoch_makes_no_difference() {
    let expected = fixes(&[RMC, GGA, VTG, GSA, GLL, NEXT_RMC, NEXT_GGA]);
    for first in [
        [GGA, RMC, VTG, GSA, GLL],
        [GLL, GSA, VTG, GGA, RMC],
        [GSA, GGA, GLL, RMC, VTG],
        [VTG, GSA, GLL, RMC, GGA],
    ] {
        let mut bodies = first.to_vec();
        bodies.extend([NEXT_GGA, NEXT_RMC]);
        assert_eq!(fixes(&bodies), expected, "{first:?}");
    }
}

#[test]
fn each_sentence_alone_is_a_fix_if_it_has_a_position() {
    let rmc = one(&[RMC]);
    assert_eq!((rmc.time, rmc.speed.is_some(), rmc.altitude), (Some(TIME), true, None));
    let gga = one(&[GGA]);
    assert_eq!((gga.time, gga.verdict), (None, Verdict::NO_TIME));
    assert_eq!(places(&fixes(&[GLL])), [Some("2245.58362".to_owned())]);
    let gns = one(&["GNGNS,021417.00,3725.58362,N,12205.61915,W,AADN,21,0.76,4.4,-30.0,,,V"]);
    assert_eq!((gns.satellites, gns.quality), (Some(21), Quality::Dgps));
    assert!(fixes(&[VTG, GSA, "GPZDA,021417.00,07,02,2020,00,00", "GPGST,021417.00,1,,,,1,1,1"]).is_empty());
}

#[test]
fn a_receiver_that_prints_gll_alone_gives_a_fix_for_each() {
    let all = fixes(&[GLL, VTG, &at(GLL, "021418.00"), VTG, &at(GLL, "021419.00")]);
    assert_eq!(all.len(), 3);
    assert_eq!(all.iter().filter(|fix| fix.speed.is_some()).count(), 2);
}

#[test]
fn a_lone_gll_of_a_receiver_that_prints_more_is_a_counted_fragment() {
    let bodies = [RMC, GGA, &at(GLL, "021417.50"), NEXT_RMC, NEXT_GGA];
    let (all, counts) = observe(log(&bodies).as_bytes());
    assert_eq!((all.len(), counts.fragments), (2, 1));
}

#[test]
fn a_receiver_reconfigured_to_gll_alone_is_believed_after_a_while() {
    let mut bodies = vec![RMC.to_owned(), GGA.to_owned()];
    bodies.extend((0..30).map(|second| at(GLL, &format!("0215{second:02}.00"))));
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    assert_eq!(fixes(&bodies).len(), 1 + 30 - 9);
}

#[test]
fn ten_and_twenty_hertz_are_told_apart_by_their_fractions() {
    let bodies: Vec<String> =
        (0..20).flat_map(|n| [RMC, GGA].map(|body| at(body, &format!("021417.{:02}", n * 5)))).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let expected: Vec<_> = (0..20).map(|n| Some(n * 50)).collect();
    assert_eq!(times(&fixes(&bodies)), expected);
}

#[test]
fn mixed_talkers_make_one_fix_and_the_combined_solution_speaks() {
    let rmc = |talker: &str, minutes: &str| {
        RMC.replace("GPRMC", &format!("{talker}RMC")).replace("3725.58362", &format!("3725.{minutes}"))
    };
    let all = fixes(&[&rmc("GP", "11111"), &rmc("GL", "22222"), &rmc("GN", "33333"), NEXT_RMC]);
    assert_eq!(places(&all), [Some("2245.33333".to_owned()), Some("2245.58962".to_owned())]);
    let lost = "GLRMC,021417.00,V,,,,,,,070220,,,N";
    assert_eq!(places(&fixes(&[lost, RMC, NEXT_RMC])).len(), 2);
    assert_eq!(one(&[RMC, lost]).verdict, Verdict::empty());
}

#[test]
fn of_two_positions_the_one_with_more_decimals_is_kept() {
    let coarse = GGA.replace("3725.58362", "3725.584").replace("12205.61915", "12205.619");
    for bodies in [[RMC, &coarse], [&coarse, RMC]] {
        assert_eq!(one(&bodies).latitude.unwrap().to_string(), "2245.58362");
    }
    let coarse = RMC.replace("3725.58362", "3725.584").replace("12205.61915", "12205.619");
    assert_eq!(one(&[&coarse, GGA]).latitude.unwrap().to_string(), "2245.58362");
}

#[test]
fn a_companion_without_time_belongs_to_the_epoch_around_it() {
    let speeds = |bodies: &[&str]| -> Vec<Option<String>> {
        fixes(bodies).iter().map(|fix| fix.speed.map(|speed| speed.to_string())).collect()
    };
    let slow = "GPVTG,65.13,T,,M,1.0,N,1.9,K,A";
    let fast = "GPVTG,65.13,T,,M,2.0,N,3.7,K,A";
    let expected = [Some("1.0".to_owned()), Some("2.0".to_owned())];
    assert_eq!(speeds(&[GGA, slow, NEXT_GGA, fast]), expected);
    assert_eq!(speeds(&[slow, GGA, fast, NEXT_GGA]), expected);
}

#[test]
fn dilution_comes_from_gsa_when_there_is_no_gga() {
    assert_eq!(one(&[RMC, GSA]).hdop.unwrap().to_string(), "0.76");
}

#[test]
fn no_fix_has_time_but_never_the_last_position() {
    let lost_rmc = "GPRMC,021418.00,V,3725.58362,N,12205.61915,W,12.028,65.13,070220,,,N";
    let lost_gga = "GPGGA,021418.00,3725.58362,N,12205.61915,W,0,03,99.99,4.4,M,-30.0,M,,";
    let all = fixes(&[RMC, GGA, VTG, lost_rmc, VTG, lost_gga]);
    assert_eq!(times(&all), [Some(0), Some(1000)]);
    let lost = Fix { time: all[1].time, satellites: Some(3), verdict: Verdict::NO_FIX, ..Fix::default() };
    assert_eq!(all[1], lost);
}

#[test]
fn a_receiver_that_knows_nothing_yet_gives_one_empty_fix_a_cycle() {
    let cycle = ["GPRMC,,V,,,,,,,,,,N", "GPVTG,,,,,,,,,N", "GPGGA,,,,,,0,00,99.99,,,,,,", "GPGLL,,,,,,V,N"];
    let all = fixes(&[cycle, cycle, cycle].concat());
    assert_eq!(all.len(), 3);
    assert!(
        all.iter().all(|fix| fix.verdict == Verdict::NO_FIX | Verdict::NO_TIME && fix.latitude.is_none())
    );
}

#[test]
fn a_receiver_that_changes_its_talker_as_it_loses_the_fix_still_reports_the_loss() {
    let combined = |body: &str| body.replacen("GP", "GN", 1);
    let got = fixes(&[
        &combined(RMC),
        &combined(GGA),
        "GPRMC,,V,,,,,,,,,,N",
        "GPGGA,,,,,,0,00,99.99,,,,,,",
        &combined(NEXT_RMC),
        &combined(NEXT_GGA),
    ]);
    assert_eq!(times(&got), [Some(0), None, Some(1000)]);
    assert_eq!(got[1].quality, Quality::NoFix);
    assert_eq!(places(&got)[1], None);
}

#[test]
fn a_sentence_without_time_joins_the_epoch_that_has_one() {
    let all = fixes(&[RMC, "GPGLL,,,,,,V,N", NEXT_RMC, "GPGLL,,,,,,V,N"]);
    assert_eq!(times(&all), [Some(0), Some(1000)]);
}

#[test]
fn the_date_of_an_epoch_reaches_every_sentence_order_of_the_first_epoch() {
    assert_eq!(times(&fixes(&[GGA, RMC, NEXT_GGA])), [Some(0), Some(1000)]);
    assert_eq!(times(&fixes(&[GGA, "GPZDA,021417.00,07,02,2020,00,00", NEXT_GGA])), [Some(0), Some(1000)]);
    assert_eq!(times(&fixes(&["GPZDA,021417.00,07,02,2020,00,00", GGA, NEXT_GGA])), [Some(0), Some(1000)]);
}

#[test]
fn without_a_date_time_is_unknown_until_one_comes() {
    let all = fixes(&[GGA, NEXT_GGA, &at(GGA, "021419.00"), &at(RMC, "021419.00")]);
    assert_eq!(times(&all), [None, None, Some(2000)]);
    assert!(all[0].verdict.contains(Verdict::NO_TIME) && !all[2].verdict.contains(Verdict::NO_TIME));
}

#[test]
fn midnight_rolls_over_when_the_new_day_starts_with_gga() {
    let all = fixes(&[
        &at(RMC, "235959.00"),
        &at(GGA, "235959.00"),
        &at(GGA, "000000.00"),
        &at(RMC, "000000.00").replace("070220", "080220"),
        &at(GGA, "000001.00"),
        &at(RMC, "000001.00").replace("070220", "080220"),
        &at(GGA, "000002.00"),
    ]);
    let steps: Vec<_> = all.windows(2).map(|pair| pair[1].time.unwrap() - pair[0].time.unwrap()).collect();
    assert_eq!(steps, [1000; 3]);
    assert!(all.iter().all(|fix| fix.verdict.is_empty()));
}

#[test]
fn a_date_for_the_coming_second_does_not_split_an_epoch() {
    let zda = "GPZDA,021418.00,07,02,2020,00,00";
    let all = fixes(&[GGA, zda, RMC, NEXT_GGA, NEXT_RMC]);
    assert_eq!(times(&all), [Some(0), Some(1000)]);
    assert!(all.iter().all(|fix| fix.altitude.is_some() && fix.speed.is_some()));
}

#[test]
fn a_leap_second_is_a_fix_of_its_own_and_no_jump() {
    let dated = |time: &str, date: &str| at(RMC, time).replace("070220", date);
    let all =
        fixes(&[&dated("235959.00", "311216"), &dated("235960.00", "311216"), &dated("000000.00", "010117")]);
    let steps: Vec<_> = all.windows(2).map(|pair| pair[1].time.unwrap() - pair[0].time.unwrap()).collect();
    assert_eq!(steps, [1000, 0]);
    assert!(all.iter().all(|fix| fix.verdict.is_empty()));
}

#[test]
fn the_same_epoch_printed_twice_in_a_row_is_one_fix() {
    assert_eq!(fixes(&[RMC, GGA, RMC, GGA, NEXT_RMC, NEXT_GGA]).len(), 2);
}

#[test]
fn a_log_put_behind_itself_is_marked_where_time_goes_backwards() {
    let all = fixes(&[RMC, GGA, NEXT_RMC, NEXT_GGA, RMC, GGA, NEXT_RMC, NEXT_GGA]);
    let verdicts: Vec<_> = all.iter().map(|fix| fix.verdict).collect();
    assert_eq!(verdicts, [Verdict::empty(), Verdict::empty(), Verdict::TIME_JUMP, Verdict::empty()]);
}

#[test]
fn implausible_values_are_left_out_and_said() {
    let off_the_globe = one(&[&RMC.replace("3725.58362", "10042.0")]);
    assert_eq!((off_the_globe.latitude, off_the_globe.longitude), (None, None));
    assert_eq!((off_the_globe.verdict, off_the_globe.time), (Verdict::IMPLAUSIBLE, Some(TIME)));
    let no_such_hour = one(&[&at(RMC, "251417.00")]);
    assert_eq!((no_such_hour.time, no_such_hour.verdict), (None, Verdict::IMPLAUSIBLE | Verdict::NO_TIME));
    assert!(no_such_hour.latitude.is_some());
    let backwards = one(&[&RMC.replace("12.028", "-12.028")]);
    assert_eq!((backwards.speed, backwards.verdict), (None, Verdict::empty()));
    let unknown_dilution = one(&[RMC, &GGA.replace("0.76", "99.99")]);
    assert_eq!((unknown_dilution.hdop, unknown_dilution.verdict), (None, Verdict::empty()));
}

#[test]
fn a_teleport_is_marked_in_the_stream() {
    let far = NEXT_RMC.replace("3725.", "3825.");
    let all = fixes(&[RMC, &far, &at(RMC, "021419.00")]);
    let verdicts: Vec<_> = all.iter().map(|fix| fix.verdict).collect();
    assert_eq!(verdicts, [Verdict::empty(), Verdict::TELEPORT, Verdict::empty()]);
}

#[test]
fn what_is_not_understood_is_counted_and_nothing_else() {
    let mut stream = log(&["GPRMB,A", "PGRME,2.3,M", "GPRMC,1,2", "GPGSV,1,1,00", GGA]);
    stream.push_str("$GPRMC,021417.00,A,3725.58362,N,12205.61915,W,12.028,65.13,070220,,,A\r\nnoise\r\n");
    let (all, counts) = observe(stream.as_bytes());
    assert_eq!(all.len(), 1);
    let expected = Counts {
        sentences: 5,
        bad_checksums: 1,
        unknown: 2,
        malformed: 1,
        garbage_bytes: 5,
        fixes: 1,
        ..Counts::default()
    };
    assert_eq!(counts, expected);
}

/// Feeds one sentence at a time to a live receiver; returns after which sentence each fix came.
fn live(bodies: &[&str]) -> (Vec<(usize, Fix)>, Receiver) {
    let (mut receiver, mut all) = (Receiver::live(), Vec::new());
    for (at, body) in bodies.iter().enumerate() {
        receiver
            .push(sentence(body).as_bytes(), Some(at as u64), |observation| all.push((at, observation.fix)));
    }
    (all, receiver)
}

#[test]
fn a_live_receiver_is_learnt_and_then_delivers_with_its_last_useful_sentence() {
    let cycles: Vec<String> = (0..8)
        .flat_map(|second| [RMC, VTG, GGA, GSA, GLL].map(|body| at(body, &format!("0214{second:02}.00"))))
        .collect();
    let bodies: Vec<&str> = cycles.iter().map(String::as_str).collect();
    let (all, receiver) = live(&bodies);
    // First with the first sentence of the next cycle, then with GSA: what GLL says is known by then.
    let delivered: Vec<usize> = all.iter().map(|(sentence, _)| *sentence).collect();
    assert_eq!(delivered, [5, 10, 15, 18, 23, 28, 33, 38]);
    assert_eq!(receiver.counts().late, 0);
    let recorded = fixes(&bodies);
    assert!(all.iter().map(|(_, fix)| fix).eq(&recorded));
}

#[test]
fn a_live_receiver_that_pauses_is_not_waited_for_and_its_stragglers_make_no_second_fix() {
    let (mut all, mut receiver) = live(&[RMC]);
    receiver.pause(None, |observation| all.push((1, observation.fix)));
    receiver.pause(None, |observation| all.push((2, observation.fix)));
    receiver
        .push(log(&[GGA, VTG, GLL, NEXT_RMC]).as_bytes(), None, |observation| all.push((3, observation.fix)));
    assert_eq!(all.iter().map(|(when, _)| *when).collect::<Vec<_>>(), [1]);
}

/// A cycle a second from 02:14:00 on: RMC, GGA and two GSV groups, the levels given for each second.
fn heard_at(levels: impl IntoIterator<Item = Option<u8>>) -> Vec<u8> {
    let mut stream = String::new();
    for (second, level) in levels.into_iter().enumerate() {
        let time = format!("02{:02}{:02}.00", 14 + second / 60, second % 60);
        let place = format!("3725.{:05}", 10_000 + second);
        let body = |body: &str| at(body, &time).replace("3725.58362", &place);
        let mut bodies = vec![body(RMC), body(GGA)];
        if let Some(level) = level {
            for talker in ["GP", "GA"] {
                let rows: String = [(3, 0), (7, 3), (12, 6), (25, 9)]
                    .map(|(number, weaker)| {
                        format!(",{number:02},45,120,{:02}", level.saturating_sub(weaker))
                    })
                    .concat();
                bodies.push(format!("{talker}GSV,1,1,04{rows}"));
            }
        }
        stream.extend(bodies.iter().map(|body| sentence(body) + "\r\n"));
    }
    stream.into_bytes()
}

#[test]
fn a_collapse_of_all_signals_is_marked_in_the_stream_live_and_recorded() {
    let levels = [vec![Some(46); 60], vec![Some(33); 20], vec![Some(46); 10]].concat();
    let (all, _) = observe(&heard_at(levels.clone()));
    let marked: Vec<usize> =
        (0..all.len()).filter(|at| all[*at].fix.verdict.contains(Verdict::JAMMING)).collect();
    // Five seconds after it began, plus the one in which the satellites are printed behind the fix.
    assert_eq!(marked, (66..81).collect::<Vec<_>>());
    assert!(all.iter().all(|seen| seen.fix.verdict.difference(Verdict::JAMMING).is_empty()));
    let (mut receiver, mut live) = (Receiver::live(), Vec::new());
    receiver.push(&heard_at(levels), None, |observation| live.push(observation.fix));
    receiver.finish(None, |observation| live.push(observation.fix));
    assert!(all.iter().map(|seen| &seen.fix).eq(&live));
    assert_eq!(all[50].extras.satellites_in_view, Some(8));
}

#[test]
fn a_loose_antenna_is_not_jamming() {
    let levels = [vec![Some(46); 60], vec![Some(33); 20]].concat();
    let mut stream = heard_at(levels);
    stream.splice(0..0, log(&["GNTXT,01,01,02,ANTSTATUS=OPEN"]).into_bytes());
    let (all, counts) = observe(&stream);
    assert!(all.iter().all(|seen| seen.fix.verdict.is_empty()));
    assert_eq!(counts.unknown, 0);
}

#[test]
fn reading_taken_up_in_the_middle_of_a_collapse_marks_the_same_fixes() {
    let stream =
        heard_at([vec![Some(46); 40], vec![Some(33); 12], vec![None; 3], vec![Some(33); 8]].concat());
    let (all, _) = observe(&stream);
    assert!(all[50].fix.verdict.contains(Verdict::JAMMING));
    for (done, Observation { resume, .. }) in all.iter().enumerate() {
        let (mut receiver, mut rest) = (Receiver::resumed(resume), Vec::new());
        receiver.push(&stream[usize::try_from(resume.offset).unwrap()..], None, |fix| rest.push(fix));
        receiver.finish(None, |fix| rest.push(fix));
        assert_eq!(&rest[..], &all[done + 1..], "behind fix {done}");
    }
}

#[test]
fn an_even_sky_alone_is_no_spoofing_and_with_a_jump_of_place_it_is() {
    let even: String = (1..=3)
        .map(|part| {
            let rows: String = (1..=4).map(|number| format!(",{:02},45,120,47", part * 4 + number)).collect();
            sentence(&format!("GPGSV,3,{part},12{rows}")) + "\r\n"
        })
        .collect();
    let mut stream = String::new();
    for second in 0..30 {
        let place = if second < 20 { 25 } else { 45 };
        let body = at(RMC, &format!("0214{second:02}.00"))
            .replace("3725.58362", &format!("37{place}.{:05}", 10_000 + second));
        stream += &(sentence(&body) + "\r\n" + &even);
    }
    let verdicts: Vec<Verdict> = observe(stream.as_bytes()).0.iter().map(|seen| seen.fix.verdict).collect();
    assert!(verdicts[..20].iter().all(Verdict::is_empty), "{verdicts:?}");
    assert_eq!(verdicts[20], Verdict::TELEPORT | Verdict::SPOOFING);
    assert!(verdicts[21..].iter().all(|verdict| *verdict == Verdict::SPOOFING));
}

#[test]
fn a_receiver_whose_time_stands_still_is_frozen_once() {
    let cycles = vec![[RMC, GGA, VTG]; 30].concat();
    let all = fixes(&[&cycles[..], &[NEXT_RMC, NEXT_GGA]].concat());
    let verdicts: Vec<_> = all.iter().map(|fix| fix.verdict).collect();
    assert_eq!(verdicts, [Verdict::FROZEN, Verdict::empty()]);

    // Live it was delivered as a good one; that it was not is said as soon as it is known, not at the end of time.
    let (mut receiver, mut live) = (Receiver::live(), Vec::new());
    for body in [RMC, GGA] {
        receiver.push(sentence(body).as_bytes(), Some(0), |observation| live.push(observation.fix));
    }
    receiver.pause(Some(500), |observation| live.push(observation.fix));
    for (at, body) in cycles.iter().enumerate() {
        receiver
            .push(sentence(body).as_bytes(), Some(500 + at as u64), |observation| live.push(observation.fix));
    }
    let verdicts: Vec<_> = live.iter().map(|fix| fix.verdict).collect();
    assert_eq!(verdicts, [Verdict::empty(), Verdict::FROZEN]);
}

#[test]
fn motion_that_repeats_to_the_last_digit_is_frozen_in_the_stream() {
    let bodies: Vec<String> = (0..6).map(|second| at(RMC, &format!("0214{second:02}.00"))).collect();
    let all = fixes(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let frozen: Vec<bool> = all.iter().map(|fix| fix.verdict.contains(Verdict::FROZEN)).collect();
    assert_eq!(frozen, [false, false, false, true, true, true]);
}

#[test]
fn a_live_receiver_that_is_1024_weeks_behind_is_put_right_and_a_log_never_is() {
    let stream = log(&[RMC, GGA, NEXT_RMC, NEXT_GGA]);
    let (mut receiver, mut live) = (Receiver::live().dating_from(20_454), Vec::new());
    receiver.push(stream.as_bytes(), Some(0), |observation| live.push(observation.fix));
    receiver.finish(Some(0), |observation| live.push(observation.fix));
    assert_eq!(times(&live), [0, 1000].map(|step| Some(step + 1024 * 7 * 86_400_000)));
    assert!(live.iter().all(|fix| fix.verdict == Verdict::WEEK_ROLLOVER));
    assert!(observe(stream.as_bytes()).0.iter().all(|seen| seen.fix.verdict.is_empty()));
}

#[test]
fn a_receiver_that_prints_no_date_is_dated_by_whoever_knows_the_day() {
    let (mut receiver, mut live) = (Receiver::live(), Vec::new());
    receiver.trust_date(TIME - 7_200_000);
    receiver.push(log(&[GGA, NEXT_GGA]).as_bytes(), Some(0), |observation| live.push(observation.fix));
    receiver.finish(Some(0), |observation| live.push(observation.fix));
    assert_eq!(times(&live), [Some(0), Some(1000)]);
    assert!(live.iter().all(|fix| fix.verdict.is_empty()));
}

#[test]
fn mode_and_dilutions_stand_beside_the_fix_live_too() {
    let cycles: Vec<String> = (0..6)
        .flat_map(|second| [RMC, GGA, GSA].map(|body| at(body, &format!("0214{second:02}.00"))))
        .collect();
    let (mut receiver, mut all) = (Receiver::live(), Vec::new());
    for body in &cycles {
        receiver.push(sentence(body).as_bytes(), None, |observation| all.push(observation.extras));
    }
    assert!(all.len() >= 5);
    assert!(all.iter().all(|extras| extras.mode == Some(FixMode::ThreeD)
        && extras.pdop.is_some_and(|pdop| pdop.to_string() == "1.48")
        && extras.vdop.is_some_and(|vdop| vdop.to_string() == "1.27")));
}

fn arbitrary_stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = (0_usize..16, 0_u32..8, any::<bool>()).prop_map(|(what, second, dated)| {
        let date = if dated { "070220" } else { "" };
        let time = format!("0214{:02}.00", second + 10);
        let body = match what {
            0 | 1 => at(RMC, &time).replace("070220", date),
            2 | 3 => at(GGA, &time),
            4 => at(GLL, &time),
            5 => VTG.to_owned(),
            6 => GSA.to_owned(),
            7 => format!("GPZDA,{time},07,02,2020,00,00"),
            8 => "GPRMC,,V,,,,,,,,,,N".to_owned(),
            9 => at("GNRMC,021417.00,V,,,,,,,070220,,,N", &time),
            10 => return b"\xb5\x62$GP".to_vec(),
            11 => "GPGSV,1,1,02,02,25,181,42,06,45,146,45,1".to_owned(),
            12 => format!("GAGSV,2,{},05,02,25,181,42,06,45,146,45,12,45,146,33,13,10,10,,7", second % 2 + 1),
            13 => "GNTXT,01,01,02,ANTSTATUS=OPEN".to_owned(),
            14 => "GPGSA,A,3,17,02,06,28,,,,,,,,,1.48,,1.27,1".to_owned(),
            _ => at("GPGNS,021417.00,1025.58362,S,00205.61915,W,AN,21,0.7,4.4,,,", &time),
        };
        (sentence(&body) + "\r\n").into_bytes()
    });
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_cutting_of_the_bytes_gives_the_same_fixes(stream in arbitrary_stream(), cut in 1_usize..200) {
        let (mut receiver, mut all) = (Receiver::recorded(), Vec::new());
        for chunk in stream.chunks(cut) {
            receiver.push(chunk, None, |observation| all.push(observation));
        }
        receiver.finish(None, |observation| all.push(observation));
        prop_assert_eq!((all, receiver.counts()), observe(&stream));
    }

    #[test]
    fn reading_taken_up_behind_any_fix_gives_exactly_the_fixes_that_follow(stream in arbitrary_stream()) {
        let (all, _) = observe(&stream);
        for (done, Observation { resume, .. }) in all.iter().enumerate() {
            let (mut receiver, mut rest) = (Receiver::resumed(resume), Vec::new());
            receiver.push(&stream[usize::try_from(resume.offset).unwrap()..], None, |fix| rest.push(fix));
            receiver.finish(None, |fix| rest.push(fix));
            prop_assert_eq!(&rest[..], &all[done + 1..], "behind fix {} of\n{}", done, String::from_utf8_lossy(&stream));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(stream in prop::collection::vec(any::<u8>(), 0..400)) {
        observe(&stream);
    }

    #[test]
    fn no_fields_make_it_panic(
        address in prop::sample::select(vec!["GPRMC", "GNGGA", "GNGNS", "GPGLL", "GPVTG", "GPZDA", "GNGSA"]),
        fields in prop::collection::vec("[-+0-9.NSEWAV:eE ]{0,24}", 0..24),
    ) {
        let body = format!("{address},{}", fields.join(","));
        for fix in fixes(&[&body, &body, NEXT_RMC]) {
            prop_assert!(fix.latitude_degrees().is_none_or(|degrees| degrees.abs() <= 90.0));
            prop_assert!(fix.longitude_degrees().is_none_or(|degrees| degrees.abs() <= 180.0));
            prop_assert!(fix.speed.is_none_or(|speed| speed.mantissa() >= 0));
        }
    }
}
