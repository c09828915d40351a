//! Positions as CSV (RFC 4180): one header row, the columns and values of the JSON rows, nothing for null.

use super::export::{ExportError, ExportFormat};
use crate::api::shape::PositionRow;
use crate::store::Position;

pub(super) struct Csv;

/// The names of [`PositionRow`], in its order. Written apart, so that a period without rows has its header too.
const COLUMNS: [&str; 20] = [
    "epoch",
    "sequence",
    "time",
    "lat",
    "lon",
    "alt_m",
    "speed_mps",
    "course_deg",
    "hdop",
    "satellites",
    "quality",
    "verdict",
    "ignition",
    "inputs",
    "odometer_m",
    "vdop",
    "pdop",
    "satellites_in_view",
    "fix_mode",
    "received_at",
];

impl ExportFormat for Csv {
    const MEDIA_TYPE: &'static str = "text/csv; charset=utf-8; header=present";
    const EXTENSION: &'static str = "csv";

    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), ExportError> {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(COLUMNS).map_err(|error| failed(&error))?;
        writer.flush().map_err(|error| failed(&error))
    }

    fn rows(&mut self, rows: &[Position], out: &mut Vec<u8>) -> Result<(), ExportError> {
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
        for row in rows {
            writer.serialize(PositionRow::from(row)).map_err(|error| failed(&error))?;
        }
        writer.flush().map_err(|error| failed(&error))
    }

    fn end(&mut self, _out: &mut Vec<u8>) -> Result<(), ExportError> {
        Ok(())
    }
}

fn failed(error: &dyn std::error::Error) -> ExportError {
    ExportError::Write { format: "CSV", cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avl_shared::fix::Fix;
    use avl_shared::sequence::Epoch;

    #[test]
    fn the_header_names_the_columns_of_a_row() {
        let position = Position { epoch: Epoch(1), sequence: 2, fix: Fix::default(), received_at: 3 };
        let json = serde_json::to_string(&PositionRow::from(&position)).unwrap();
        let named: Vec<String> = json
            .trim_matches(['{', '}'])
            .split(",\"")
            .map(|pair| pair.split('"').find(|part| !part.is_empty()).unwrap().to_owned())
            .collect();
        assert_eq!(named, COLUMNS);
    }
}
