//! One sentence → what it reports, the same shape for every type.
//!
//! What the `nmea` crate is used for, and what not. It knows the sentence formatters, so it says which type a sentence
//! is, and the tests hold every value read here against its parsers wherever those succeed. The values themselves
//! cannot come from it: it parses into binary floats, while a fix keeps the decimals that were printed, and it refuses
//! sentences that real receivers print (second 60, GNS with more than two mode characters, GSA with empty or integer
//! dilutions, more than 102 bytes, VTG with empty knots). Its aggregate type `Nmea` mixes epochs and can panic; it is
//! not used anywhere.

use avl_shared::fix::{Decimal, FixMode, Quality};
use nmea::SentenceType;

use super::calendar::{Date, TimeOfDay};
use super::extras::Antenna;
use super::fields::{
    Coordinates, Field, coordinates, course, decimal, dilution, knots_from_kmh, not_negative, time_of_day,
};
use super::sky::{self, Active, InView};

/// Two characters: `GP`, `GN`, `BD` and so on.
pub(super) type Talker = [u8; 2];

/// The solution of all constellations together.
pub(super) const COMBINED: Talker = *b"GN";

/// Fields of the longest sentence in use: GSV has 21 with its address. More are not looked at.
const MAX_FIELDS: usize = 21;

/// The types in use. GST is recognised; nothing of it is in a fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rmc,
    Gga,
    Gns,
    Gll,
    Vtg,
    Zda,
    Gsa,
    Gsv,
    Gst,
}

/// What one sentence says about its instant. A sentence that calls itself invalid (status V, quality 0, mode N)
/// reports time and satellites, but neither position nor motion: those it prints are old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub kind: Kind,
    pub talker: Talker,
    pub time: Field<TimeOfDay>,
    pub date: Field<Date>,
    /// `None` when the type of sentence does not say.
    pub quality: Option<Quality>,
    pub position: Field<Coordinates>,
    pub altitude: Option<Decimal>,
    pub speed: Option<Decimal>,
    pub course: Option<Decimal>,
    pub hdop: Option<Decimal>,
    pub satellites: Option<u8>,
}

/// What GSA alone prints of the solution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dilution {
    pub mode: Option<FixMode>,
    pub pdop: Option<Decimal>,
    pub vdop: Option<Decimal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // taken apart at once, never stored
pub(super) enum Reading {
    Report(Report),
    /// GSA: what it says of the solution, and the satellites used.
    Active(Report, Dilution, Active),
    /// GSV.
    InView(InView),
    /// A text, or a proprietary sentence, that tells how the antenna is.
    Antenna(Antenna),
    /// Of a type that is not used, or proprietary.
    Unknown,
    /// Of a type that is used, but with fewer fields than any version of the standard gives it.
    Malformed,
}

/// Reads what stood between `$` and `*`.
#[must_use]
pub(super) fn read(body: &str) -> Reading {
    let mut fields = [""; MAX_FIELDS];
    let mut count = 0;
    for (slot, field) in fields.iter_mut().zip(body.split(',')) {
        *slot = field.trim_ascii();
        count += 1;
    }
    let Some((talker, kind)) = identify(fields[0]) else {
        return Antenna::of(&fields[..count]).map_or(Reading::Unknown, Reading::Antenna);
    };
    if count < kind.least_fields() {
        return Reading::Malformed;
    }
    let mut report = Report {
        kind,
        talker,
        time: Field::Empty,
        date: Field::Empty,
        quality: None,
        position: Field::Empty,
        altitude: None,
        speed: None,
        course: None,
        hdop: None,
        satellites: None,
    };
    match kind {
        Kind::Rmc => rmc(&fields, &mut report),
        Kind::Gga => gga(&fields, &mut report),
        Kind::Gns => gns(&fields, &mut report),
        Kind::Gll => gll(&fields, &mut report),
        Kind::Vtg => vtg(&fields, &mut report),
        Kind::Zda => zda(&fields, &mut report),
        Kind::Gsa => {
            report.hdop = dilution(fields[16]);
            return Reading::Active(report, gsa(&fields), sky::active(talker, &fields[..count]));
        }
        Kind::Gsv => {
            return sky::in_view(talker, &fields[..count]).map_or(Reading::Malformed, Reading::InView);
        }
        Kind::Gst => {}
    }
    Reading::Report(report)
}

fn identify(address: &str) -> Option<(Talker, Kind)> {
    let (talker, formatter) = address.split_at_checked(2).filter(|(_, formatter)| formatter.len() == 3)?;
    let talker: Talker = talker.as_bytes().try_into().ok()?;
    if talker[0] == b'P' || !talker.iter().all(u8::is_ascii_uppercase) {
        return None;
    }
    let kind = match SentenceType::try_from(formatter).ok()? {
        SentenceType::RMC => Kind::Rmc,
        SentenceType::GGA => Kind::Gga,
        SentenceType::GNS => Kind::Gns,
        SentenceType::GLL => Kind::Gll,
        SentenceType::VTG => Kind::Vtg,
        SentenceType::ZDA => Kind::Zda,
        SentenceType::GSA => Kind::Gsa,
        SentenceType::GSV => Kind::Gsv,
        SentenceType::GST => Kind::Gst,
        _ => return None,
    };
    Some((talker, kind))
}

impl Kind {
    /// With the address, in the shortest version of the standard that is read (2.3, and 2.0 for RMC, GLL and VTG).
    const fn least_fields(self) -> usize {
        match self {
            Self::Rmc | Self::Gga => 10,
            Self::Gns => 9,
            Self::Gll => 7,
            Self::Vtg => 8,
            Self::Zda => 5,
            Self::Gsa => 17,
            Self::Gsv => 4,
            Self::Gst => 2,
        }
    }

    /// Whether a receiver that prints this type describes the whole solution with it; the others add to it.
    pub(super) const fn is_principal(self) -> bool {
        matches!(self, Self::Rmc | Self::Gga | Self::Gns)
    }
}

impl Report {
    pub(super) fn is_valid(&self) -> bool {
        self.quality.is_some_and(|quality| quality != Quality::NoFix)
    }
}

/// `time, status, lat, N, lon, E, knots, course, ddmmyy, variation, E [, mode [, navigational status]]`
fn rmc(fields: &[&str; MAX_FIELDS], report: &mut Report) {
    report.time = time_of_day(fields[1]);
    report.date = match fields[9] {
        "" => Field::Empty,
        text => Date::from_ddmmyy(text).map_or(Field::Implausible, Field::Value),
    };
    let quality = status_and_mode(fields[2], fields[12]);
    report.quality = Some(quality);
    if quality != Quality::NoFix {
        report.position = coordinates(fields[3], fields[4], fields[5], fields[6]);
        report.speed = not_negative(fields[7]);
        report.course = course(fields[8]);
    }
}

/// `time, lat, N, lon, E, quality, satellites, hdop, altitude, M, …`
fn gga(fields: &[&str; MAX_FIELDS], report: &mut Report) {
    report.time = time_of_day(fields[1]);
    report.satellites = fields[7].parse().ok();
    report.hdop = dilution(fields[8]);
    let quality = match fields[6].parse() {
        // Not in the standard; NovAtel and its kin print 9 for a fix corrected by SBAS.
        Ok(9) => Quality::Dgps,
        Ok(code) => Quality::from_code(code).unwrap_or_default(),
        Err(_) => Quality::NoFix,
    };
    report.quality = Some(quality);
    if quality != Quality::NoFix {
        report.position = coordinates(fields[2], fields[3], fields[4], fields[5]);
        report.altitude = decimal(fields[9]);
    }
}

/// `time, lat, N, lon, E, a mode for each constellation, satellites, hdop, altitude, …`
fn gns(fields: &[&str; MAX_FIELDS], report: &mut Report) {
    report.time = time_of_day(fields[1]);
    report.satellites = fields[7].parse().ok();
    report.hdop = dilution(fields[8]);
    let quality = best_mode(fields[6]);
    report.quality = Some(quality);
    if quality != Quality::NoFix {
        report.position = coordinates(fields[2], fields[3], fields[4], fields[5]);
        report.altitude = decimal(fields[9]);
    }
}

/// `lat, N, lon, E, time, status [, mode]`
fn gll(fields: &[&str; MAX_FIELDS], report: &mut Report) {
    report.time = time_of_day(fields[5]);
    let quality = status_and_mode(fields[6], fields[7]);
    report.quality = Some(quality);
    if quality != Quality::NoFix {
        report.position = coordinates(fields[1], fields[2], fields[3], fields[4]);
    }
}

/// `course, T, magnetic course, M, knots, N, km/h, K [, mode]`
fn vtg(fields: &[&str; MAX_FIELDS], report: &mut Report) {
    if fields[9] != "N" {
        report.course = course(fields[1]);
        report.speed = if fields[5].is_empty() { knots_from_kmh(fields[7]) } else { not_negative(fields[5]) };
    }
}

/// `A or M, mode, 12 satellites, PDOP, HDOP, VDOP [, system]`
fn gsa(fields: &[&str; MAX_FIELDS]) -> Dilution {
    Dilution {
        mode: fields[2].parse().ok().and_then(FixMode::from_code),
        pdop: dilution(fields[15]),
        vdop: dilution(fields[17]),
    }
}

/// `time, day, month, year, …`
fn zda(fields: &[&str; MAX_FIELDS], report: &mut Report) {
    report.time = time_of_day(fields[1]);
    report.date = match [fields[2], fields[3], fields[4]] {
        ["", "", ""] => Field::Empty,
        [day, month, year] => Date::from_fields(day, month, year).map_or(Field::Implausible, Field::Value),
    };
}

/// Before version 2.3 there was no mode: status A alone is a plain fix.
fn status_and_mode(status: &str, mode: &str) -> Quality {
    match (status, mode) {
        ("A", "") => Quality::Gps,
        ("A", mode) => best_mode(mode),
        _ => Quality::NoFix,
    }
}

/// GNS prints one mode a constellation; the best of them describes the solution. An unknown character says nothing.
fn best_mode(modes: &str) -> Quality {
    const BEST_FIRST: [(u8, Quality); 8] = [
        (b'R', Quality::Rtk),
        (b'F', Quality::FloatRtk),
        (b'P', Quality::Pps),
        (b'D', Quality::Dgps),
        (b'A', Quality::Gps),
        (b'E', Quality::DeadReckoning),
        (b'M', Quality::Manual),
        (b'S', Quality::Simulation),
    ];
    let best = BEST_FIRST.iter().find(|(mode, _)| modes.as_bytes().contains(mode));
    best.map_or(Quality::NoFix, |(_, quality)| *quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(body: &str) -> Report {
        match read(body) {
            Reading::Report(report) | Reading::Active(report, ..) => report,
            other => panic!("{body}: {other:?}"),
        }
    }

    fn place(report: &Report) -> Option<(String, String)> {
        let at = report.position.value()?;
        Some((at.latitude.to_string(), at.longitude.to_string()))
    }

    #[test]
    fn any_two_letters_talk_but_proprietary_sentences_are_unknown() {
        for talker in ["GP", "GN", "GL", "GA", "GB", "BD", "GQ", "QZ", "GI", "II", "XX"] {
            assert!(matches!(read(&format!("{talker}GSV,1,1,00")), Reading::InView(_)), "{talker}");
            assert_eq!(report(&format!("{talker}GST,021417.00,1,,,,1,1,1")).kind, Kind::Gst);
        }
        for body in [
            "PGRME,2.3,M,3.3,M,4.0,M",
            "PUBX,00",
            "PQRMC,1",
            "GPRMB,A",
            "GPTXT,a",
            "AIVDM,1,1",
            "",
            "GP",
            "gprmc,",
        ] {
            assert_eq!(read(body), Reading::Unknown, "{body}");
        }
    }

    #[test]
    fn too_few_fields_are_no_report() {
        for body in [
            "GPRMC",
            "GPRMC,123519,A,4807.038,N",
            "GPGGA,123519,4807.038,N,01131.000,E,1",
            "GPGSA,A,3",
            "GPVTG,1",
        ] {
            assert_eq!(read(body), Reading::Malformed, "{body}");
        }
    }

    #[test]
    fn rmc_of_every_version_is_read() {
        for (tail, quality) in [
            ("", Quality::Gps),
            (",A", Quality::Gps),
            (",D", Quality::Dgps),
            (",R", Quality::Rtk),
            (",F,V", Quality::FloatRtk),
            (",P,S", Quality::Pps),
            (",E", Quality::DeadReckoning),
            (",M", Quality::Manual),
            (",S,V", Quality::Simulation),
        ] {
            let got =
                report(&format!("GNRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,{tail}"));
            assert_eq!(got.quality, Some(quality), "{tail}");
            assert_eq!(place(&got).unwrap(), ("2837.11437".to_owned(), "513.91522".to_owned()));
            assert_eq!(got.speed.unwrap().to_string(), "0.004");
            assert_eq!(got.course.unwrap().to_string(), "77.52");
        }
    }

    #[test]
    fn a_sentence_that_calls_itself_invalid_has_no_position_and_no_motion_but_its_time() {
        for body in [
            "GPRMC,083559.00,V,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,N",
            "GPRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,N",
            "GPRMC,083559.00,,4717.11437,N,00833.91522,E,0.004,77.52,091202,,",
            "GPGGA,083559.00,4717.11437,N,00833.91522,E,0,00,99.99,499.6,M,48.0,M,,",
            "GPGGA,083559.00,4717.11437,N,00833.91522,E,,00,99.99,499.6,M,48.0,M,,",
            "GNGNS,083559.00,4717.11437,N,00833.91522,E,NNN,00,99.99,499.6,48.0,,,V",
            "GPGLL,4717.11437,N,00833.91522,E,083559.00,V,N",
        ] {
            let got = report(body);
            assert_eq!(got.quality, Some(Quality::NoFix), "{body}");
            assert_eq!(
                (got.position, got.altitude, got.speed, got.course),
                (Field::Empty, None, None, None),
                "{body}"
            );
            assert_eq!(got.hdop, None, "{body}");
            assert!(got.time.value().is_some(), "{body}");
        }
    }

    #[test]
    fn gga_keeps_altitude_dilution_and_satellites_as_printed() {
        let got = report("GPGGA,123519,4807.038,N,01131.000,E,2,08,0.90,-045.40,M,46.9,M,,");
        assert_eq!(got.altitude.unwrap().to_string(), "-45.40");
        assert_eq!(got.hdop.unwrap().to_string(), "0.90");
        assert_eq!((got.satellites, got.quality), (Some(8), Some(Quality::Dgps)));
    }

    #[test]
    fn gns_takes_the_best_of_as_many_constellations_as_it_prints() {
        let quality = |modes| {
            report(&format!("GNGNS,122310.2,3722.42,N,12258.85,W,{modes},14,0.9,1005.54,6.5,,,V")).quality
        };
        assert_eq!(quality("AAAANN"), Some(Quality::Gps));
        assert_eq!(quality("NDAN"), Some(Quality::Dgps));
        assert_eq!(quality("RR"), Some(Quality::Rtk));
        assert_eq!(quality("N"), Some(Quality::NoFix));
    }

    #[test]
    fn gsa_gives_its_dilution_even_when_it_is_an_integer_or_its_neighbours_are_empty() {
        let hdop =
            |tail| report(&format!("GNGSA,A,3,17,02,,,,,,,,,,,{tail}")).hdop.map(|hdop| hdop.to_string());
        assert_eq!(hdop("1.48,0.76,1.27,1").as_deref(), Some("0.76"));
        assert_eq!(hdop(",2,").as_deref(), Some("2"));
        assert_eq!(hdop(",,"), None);
    }

    #[test]
    fn gsa_gives_mode_and_the_other_dilutions() {
        let dilution = |body| match read(body) {
            Reading::Active(_, dilution, _) => dilution,
            other => panic!("{other:?}"),
        };
        let got = dilution("GNGSA,A,3,17,02,,,,,,,,,,,1.48,0.76,1.27,1");
        assert_eq!(got.mode, Some(FixMode::ThreeD));
        assert_eq!(
            (got.pdop.unwrap().to_string(), got.vdop.unwrap().to_string()),
            ("1.48".into(), "1.27".into())
        );
        let none = dilution("GNGSA,A,1,,,,,,,,,,,,,99.99,99.99,99.99");
        assert_eq!(none, Dilution { mode: Some(FixMode::None), pdop: None, vdop: None });
    }

    #[test]
    fn vtg_falls_back_on_kilometres_an_hour() {
        assert_eq!(report("GPVTG,65.13,T,52.07,M,0.028,N,0.053,K,D").speed.unwrap().to_string(), "0.028");
        assert_eq!(report("GPVTG,65.13,T,,M,,N,18.52,K,A").speed.unwrap().to_string(), "10.000");
        assert_eq!(report("GPVTG,65.13,T,,M,1.0,N,1.9,K,N").speed, None);
    }

    #[test]
    fn zda_prints_the_whole_year() {
        let got = report("GPZDA,201530.00,04,07,2002,00,00");
        assert_eq!(got.date, Field::Value(Date::from_ddmmyy("040702").unwrap()));
        assert_eq!(report("GPZDA,201530.00,32,07,2002,00,00").date, Field::Implausible);
        assert_eq!(report("GPZDA,,,,,,").date, Field::Empty);
    }

    #[test]
    fn what_cannot_be_meant_is_implausible() {
        assert_eq!(report("GPGLL,10042.0,N,01131.000,E,123519,A,A").position, Field::Implausible);
        assert_eq!(report("GPGLL,4807.038,N,01131.000,E,253519,A,A").time, Field::Implausible);
        assert_eq!(
            report("GPRMC,123519,A,4807.038,N,01131.000,E,-1.0,400,321399,,").date,
            Field::Implausible
        );
    }
}
