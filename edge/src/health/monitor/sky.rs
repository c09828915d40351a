//! The sky as seen from the antenna: north up, the horizon at the edge, overhead in the middle.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::Model;
use crate::health::seen::SeenSatellite;

/// A character cell is about twice as high as wide.
const ASPECT: f64 = 2.0;

pub(super) fn draw(buffer: &mut Buffer, area: Rect, model: &Model) {
    if area.width < 12 || area.height < 5 {
        return;
    }
    let plot = Plot::inside(area);
    plot.rings(buffer, if model.ascii { "." } else { "·" });
    let sky = &model.seen.receiver.sky;
    // The strongest last, so that they stand on top.
    let mut order: Vec<&SeenSatellite> = sky.iter().collect();
    order.sort_by_key(|satellite| (satellite.used, satellite.cn0_dbhz));
    for satellite in order {
        if let Some(at) = plot.place(satellite) {
            plot.write(buffer, at, &label(satellite), style(satellite));
        }
    }
    if sky.is_empty() {
        let words = "no satellites in view";
        let x = area.x + area.width.saturating_sub(21) / 2;
        buffer.set_stringn(x, area.y + area.height / 2, words, usize::from(area.width), Style::new());
    }
}

#[derive(Clone, Copy)]
struct Plot {
    area: Rect,
    middle: (f64, f64),
    radius_rows: f64,
}

impl Plot {
    fn inside(area: Rect) -> Self {
        let middle = (f64::from(area.width - 1) / 2.0, f64::from(area.height - 1) / 2.0);
        let radius_rows = middle.1.min(middle.0 / ASPECT);
        Self { area, middle, radius_rows }
    }

    /// Column and row within the area; `distance` is 0 in the middle and 1 at the horizon.
    fn at(&self, azimuth_deg: f64, distance: f64) -> (u16, u16) {
        let angle = azimuth_deg.to_radians();
        let x = self.middle.0 + angle.sin() * distance * self.radius_rows * ASPECT;
        let y = self.middle.1 - angle.cos() * distance * self.radius_rows;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within the area, which is u16
        let cell = |value: f64, size: u16| (value.round().max(0.0) as u16).min(size - 1);
        (cell(x, self.area.width), cell(y, self.area.height))
    }

    fn rings(&self, buffer: &mut Buffer, dot: &str) {
        for distance in [0.5, 1.0] {
            for degrees in (0_u16..360).step_by(10) {
                self.write(
                    buffer,
                    self.at(f64::from(degrees), distance),
                    dot,
                    Style::new().fg(Color::DarkGray),
                );
            }
        }
        for (degrees, letter) in [(0.0, "N"), (90.0, "E"), (180.0, "S"), (270.0, "W")] {
            self.write(buffer, self.at(degrees, 1.0), letter, Style::new().add_modifier(Modifier::DIM));
        }
        self.write(buffer, self.at(0.0, 0.0), "+", Style::new().fg(Color::DarkGray));
    }

    fn place(&self, satellite: &SeenSatellite) -> Option<(u16, u16)> {
        let elevation = f64::from(satellite.elevation_deg?.clamp(0, 90));
        Some(self.at(f64::from(satellite.azimuth_deg?), (90.0 - elevation) / 90.0))
    }

    /// Around the place, but never over the edge.
    fn write(&self, buffer: &mut Buffer, (x, y): (u16, u16), text: &str, style: Style) {
        let width = u16::try_from(text.chars().count()).unwrap_or(1);
        let x = x.saturating_sub(width / 2).min(self.area.width.saturating_sub(width));
        buffer.set_stringn(self.area.x + x, self.area.y + y, text, usize::from(width), style);
    }
}

/// `G12` used in the fix, `g12` not.
fn label(satellite: &SeenSatellite) -> String {
    let letter = match satellite.constellation.as_str() {
        "gps" => 'G',
        "glonass" => 'R',
        "galileo" => 'E',
        "beidou" => 'C',
        "qzss" => 'J',
        "navic" => 'I',
        "sbas" => 'S',
        _ => '?',
    };
    let letter = if satellite.used { letter } else { letter.to_ascii_lowercase() };
    format!("{letter}{:02}", satellite.number)
}

fn style(satellite: &SeenSatellite) -> Style {
    let colour = match satellite.cn0_dbhz {
        None | Some(0) => Color::DarkGray,
        Some(signal) if signal >= 40 => Color::Green,
        Some(signal) if signal >= 30 => Color::Yellow,
        Some(_) => Color::Red,
    };
    let style = Style::new().fg(colour);
    if satellite.used { style.add_modifier(Modifier::BOLD) } else { style }
}
