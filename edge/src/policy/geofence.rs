//! Areas whose border is worth a report: circles and polygons, with a margin so that a wavering position crosses once.

use super::config::GeofenceConfig;
use super::geodesy::{Place, distance_m, plane_m};

/// The vehicle crossed the border of an area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    pub name: String,
    pub entered: bool,
}

#[derive(Clone, Debug)]
enum Area {
    Circle {
        centre: Place,
        radius_m: f64,
    },
    /// Corners in metres around the first one, which is `origin`.
    Polygon {
        origin: Place,
        corners: Vec<(f64, f64)>,
    },
}

impl Area {
    /// Metres to the border: positive outside, negative inside.
    fn outside_by_m(&self, place: Place) -> f64 {
        match self {
            Self::Circle { centre, radius_m } => distance_m(*centre, place) - radius_m,
            Self::Polygon { origin, corners } => {
                let at = plane_m(*origin, place);
                let edges = || corners.iter().zip(corners.iter().cycle().skip(1));
                let nearest = edges().map(|(a, b)| to_edge(*a, *b, at)).fold(f64::INFINITY, f64::min);
                // Even-odd rule: a ray towards the east crosses the border an odd number of times from inside.
                let crossings = edges().filter(|(a, b)| {
                    (a.1 > at.1) != (b.1 > at.1) && at.0 < (b.0 - a.0) * (at.1 - a.1) / (b.1 - a.1) + a.0
                });
                if crossings.count() % 2 == 1 { -nearest } else { nearest }
            }
        }
    }
}

/// Distance from a point to a line between two others.
fn to_edge(a: (f64, f64), b: (f64, f64), at: (f64, f64)) -> f64 {
    let (along, to) = ((b.0 - a.0, b.1 - a.1), (at.0 - a.0, at.1 - a.1));
    let length = along.0 * along.0 + along.1 * along.1;
    let part = if length > 0.0 { ((to.0 * along.0 + to.1 * along.1) / length).clamp(0.0, 1.0) } else { 0.0 };
    (to.0 - along.0 * part).hypot(to.1 - along.1 * part)
}

#[derive(Clone, Debug)]
struct Fence {
    config: GeofenceConfig,
    area: Area,
    /// `None` until the first position: starting inside is no crossing.
    inside: Option<bool>,
}

/// All areas, and on which side of each the vehicle is.
#[derive(Clone, Debug)]
pub struct Geofences(Vec<Fence>);

impl Geofences {
    /// The configuration must have been validated; what it would have refused is left out.
    #[must_use]
    pub fn new(configs: &[GeofenceConfig]) -> Self {
        let area = |config: &GeofenceConfig| {
            if let (Some(centre), Some(radius_m)) = (config.centre, config.radius_m) {
                return Some(Area::Circle { centre: GeofenceConfig::place(centre), radius_m });
            }
            let origin = GeofenceConfig::place(*config.polygon.first()?);
            let corners =
                config.polygon.iter().map(|corner| plane_m(origin, GeofenceConfig::place(*corner))).collect();
            Some(Area::Polygon { origin, corners })
        };
        let fence = |config: &GeofenceConfig| {
            Some(Fence { area: area(config)?, config: config.clone(), inside: None })
        };
        Self(configs.iter().filter_map(fence).collect())
    }

    /// The crossings that a position makes, of those that are to be reported.
    pub fn at(&mut self, place: Place) -> Vec<Crossing> {
        let mut crossings = Vec::new();
        for fence in &mut self.0 {
            let outside_by = fence.area.outside_by_m(place);
            let inside = match fence.inside {
                Some(true) => outside_by <= fence.config.margin_m,
                Some(false) => outside_by < -fence.config.margin_m,
                None => outside_by < 0.0,
            };
            let wanted = if inside { fence.config.on_enter } else { fence.config.on_exit };
            if fence.inside.replace(inside).is_some_and(|before| before != inside) && wanted {
                crossings.push(Crossing { name: fence.config.name.clone(), entered: inside });
            }
        }
        crossings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(margin_m: f64) -> GeofenceConfig {
        GeofenceConfig {
            name: "depot".to_owned(),
            centre: Some([52.0, 13.0]),
            radius_m: Some(500.0),
            polygon: Vec::new(),
            on_enter: true,
            on_exit: true,
            margin_m,
        }
    }

    /// So many metres north of the centre.
    fn north(metres: f64) -> Place {
        Place { lat: 52.0 + metres / 111_195.0, lon: 13.0 }
    }

    #[test]
    fn starting_inside_is_no_crossing_and_the_margin_keeps_a_wavering_position_quiet() {
        let mut fences = Geofences::new(&[circle(20.0)]);
        let crossed = |crossings: Vec<Crossing>| crossings.first().map(|crossing| crossing.entered);
        let way = [
            (0.0, None),
            (510.0, None),
            (495.0, None),
            (525.0, Some(false)),
            (490.0, None),
            (510.0, None),
            (475.0, Some(true)),
        ];
        for (metres, expected) in way {
            assert_eq!(crossed(fences.at(north(metres))), expected, "{metres}");
        }
    }

    #[test]
    fn only_the_wanted_direction_is_reported() {
        let mut fences = Geofences::new(&[GeofenceConfig { on_exit: false, ..circle(0.0) }]);
        fences.at(north(0.0));
        assert!(fences.at(north(900.0)).is_empty());
        assert_eq!(fences.at(north(0.0)), [Crossing { name: "depot".to_owned(), entered: true }]);
    }

    #[test]
    fn a_polygon_may_be_bent_and_lie_on_the_date_line() {
        // An L around the date line: the notch is north-east.
        let corners = [[0.0, 179.9], [0.0, -179.9], [0.1, -179.9], [0.1, 180.0], [0.2, 180.0], [0.2, 179.9]];
        let config = GeofenceConfig {
            centre: None,
            radius_m: None,
            polygon: corners.to_vec(),
            margin_m: 0.0,
            ..circle(0.0)
        };
        let inside = |lat, lon| {
            let mut fences = Geofences::new(std::slice::from_ref(&config));
            fences.at(Place { lat: 45.0, lon: 0.0 });
            !fences.at(Place { lat, lon }).is_empty()
        };
        assert!(inside(0.05, 180.0) && inside(0.05, -179.95) && inside(0.15, 179.95));
        assert!(!inside(0.15, -179.95) && !inside(-0.05, 180.0) && !inside(0.05, 179.8));
    }
}
