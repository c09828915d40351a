//! Positions as GPX 1.1 (topografix.com/GPX/1/1): one track, a new segment wherever the track was interrupted.
//!
//! GPX has no place for speed and course, so they stand in Garmin's TrackPointExtension v2, which most programs read.
//! A point without a position cannot be written and is left out; the CSV has it.

use avl_shared::fix::{Decimal, FixMode, Quality, UtcMillis};
use avl_shared::identity::VehicleKey;
use avl_shared::sequence::Epoch;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::export::{ExportError, ExportFormat};
use crate::api::shape::PositionRow;
use crate::store::Position;

/// "To represent a single GPS track where GPS reception was lost, or the GPS receiver was turned off, start a new
/// Track Segment" (GPX 1.1, trksegType). A gateway reports at least every two minutes while it moves.
const INTERRUPTION_MILLIS: i64 = 5 * 60 * 1000;

const GPX_NAMESPACE: &str = "http://www.topografix.com/GPX/1/1";
const EXTENSION_NAMESPACE: &str = "http://www.garmin.com/xmlschemas/TrackPointExtension/v2";

pub(super) struct Gpx {
    name: String,
    /// Where the open segment ends so far; `None` before the first point.
    last: Option<(Epoch, UtcMillis)>,
}

impl Gpx {
    pub(super) fn new(vehicle: &VehicleKey) -> Self {
        Self { name: vehicle.to_string(), last: None }
    }

    /// Whether a segment is open, and whether this point continues it.
    fn segment(&mut self, position: &Position) -> Segment {
        let here = (position.epoch, position.time());
        let segment = match self.last {
            None => Segment::First,
            Some((epoch, time)) if epoch == here.0 && here.1 - time <= INTERRUPTION_MILLIS => Segment::Same,
            Some(_) => Segment::Next,
        };
        self.last = Some(here);
        segment
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    First,
    Same,
    Next,
}

impl ExportFormat for Gpx {
    const MEDIA_TYPE: &'static str = "application/gpx+xml";
    const EXTENSION: &'static str = "gpx";

    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), ExportError> {
        let mut xml = Writer::new(out);
        let mut root = BytesStart::new("gpx");
        root.push_attribute(("version", "1.1"));
        root.push_attribute(("creator", concat!("avl-cloud ", env!("CARGO_PKG_VERSION"))));
        root.push_attribute(("xmlns", GPX_NAMESPACE));
        root.push_attribute(("xmlns:gpxtpx", EXTENSION_NAMESPACE));
        let mut write = || {
            xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
            xml.write_event(Event::Start(root.borrow()))?;
            xml.write_event(Event::Start(BytesStart::new("trk")))?;
            text(&mut xml, "name", &self.name)
        };
        write().map_err(|error| failed(&error))
    }

    fn rows(&mut self, rows: &[Position], out: &mut Vec<u8>) -> Result<(), ExportError> {
        let mut xml = Writer::new(out);
        for position in rows {
            if position.fix.latitude.is_none() || position.fix.longitude.is_none() {
                continue;
            }
            let segment = self.segment(position);
            point(&mut xml, &segment, position).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), ExportError> {
        let mut xml = Writer::new(out);
        let open = if self.last.is_some() { &["trkseg", "trk", "gpx"][..] } else { &["trk", "gpx"][..] };
        for name in open {
            xml.write_event(Event::End(BytesEnd::new(*name))).map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

/// The order of a point's elements is fixed by the schema (wptType).
fn point(xml: &mut Writer<&mut Vec<u8>>, segment: &Segment, position: &Position) -> std::io::Result<()> {
    if *segment == Segment::Next {
        xml.write_event(Event::End(BytesEnd::new("trkseg")))?;
    }
    if *segment != Segment::Same {
        xml.write_event(Event::Start(BytesStart::new("trkseg")))?;
    }
    let (fix, row) = (&position.fix, PositionRow::from(position));
    let degrees = |value: Option<f64>| value.unwrap_or_default().to_string();
    let mut start = BytesStart::new("trkpt");
    start.push_attribute(("lat", degrees(row.lat).as_str()));
    start.push_attribute(("lon", degrees(row.lon).as_str()));
    xml.write_event(Event::Start(start))?;
    optional(xml, "ele", fix.altitude)?;
    optional(xml, "time", row.time)?;
    if !fix.verdict.is_empty() {
        text(xml, "cmt", &format!("doubted: {}", row.verdict))?;
    }
    optional(xml, "fix", fix_type(fix.quality, fix.mode))?;
    optional(xml, "sat", row.satellites)?;
    optional(xml, "hdop", fix.hdop)?;
    optional(xml, "vdop", fix.vdop)?;
    optional(xml, "pdop", fix.pdop)?;
    if row.speed_mps.is_some() || fix.course.is_some() {
        xml.write_event(Event::Start(BytesStart::new("extensions")))?;
        xml.write_event(Event::Start(BytesStart::new("gpxtpx:TrackPointExtension")))?;
        optional(xml, "gpxtpx:speed", row.speed_mps)?;
        optional(xml, "gpxtpx:course", fix.course.map(Decimal::canonical))?;
        xml.write_event(Event::End(BytesEnd::new("gpxtpx:TrackPointExtension")))?;
        xml.write_event(Event::End(BytesEnd::new("extensions")))?;
    }
    xml.write_event(Event::End(BytesEnd::new("trkpt")))
}

/// GPX knows none, 2d, 3d, dgps and pps; a plain fix whose gateway does not send the mode says nothing.
fn fix_type(quality: Quality, mode: Option<FixMode>) -> Option<&'static str> {
    match quality {
        Quality::NoFix => Some("none"),
        Quality::Dgps | Quality::Rtk | Quality::FloatRtk => Some("dgps"),
        Quality::Pps => Some("pps"),
        Quality::Gps | Quality::DeadReckoning | Quality::Manual | Quality::Simulation => {
            mode.map(FixMode::name)
        }
    }
}

fn optional(xml: &mut Writer<&mut Vec<u8>>, name: &str, value: Option<impl ToString>) -> std::io::Result<()> {
    match value {
        Some(value) => text(xml, name, &value.to_string()),
        None => Ok(()),
    }
}

fn text(xml: &mut Writer<&mut Vec<u8>>, name: &str, value: &str) -> std::io::Result<()> {
    xml.create_element(name).write_text_content(BytesText::new(value)).map(|_| ())
}

fn failed(error: &std::io::Error) -> ExportError {
    ExportError::Write { format: "GPX", cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avl_shared::fix::Fix;

    fn at(epoch: u32, time: UtcMillis) -> Position {
        let fix = Fix { time: Some(time), ..Fix::default() };
        Position { epoch: Epoch(epoch), sequence: 0, fix, received_at: 0 }
    }

    #[test]
    fn a_segment_ends_where_the_track_was_interrupted() {
        let mut gpx = Gpx::new(&"acme/truck-7".parse().unwrap());
        assert_eq!(gpx.segment(&at(1, 0)), Segment::First);
        assert_eq!(gpx.segment(&at(1, INTERRUPTION_MILLIS)), Segment::Same);
        assert_eq!(gpx.segment(&at(1, 2 * INTERRUPTION_MILLIS + 1)), Segment::Next);
        assert_eq!(gpx.segment(&at(2, 2 * INTERRUPTION_MILLIS + 2)), Segment::Next, "a reflashed gateway");
    }
}
