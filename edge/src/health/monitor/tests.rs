use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::health::judge::tests::healthy;
use crate::health::seen::SeenSatellite;

fn model() -> Model {
    let mut seen = healthy();
    let satellite = |constellation: &str, number, elevation, azimuth, cn0, used| SeenSatellite {
        constellation: constellation.to_owned(),
        number,
        elevation_deg: Some(elevation),
        azimuth_deg: Some(azimuth),
        cn0_dbhz: cn0,
        used,
    };
    seen.receiver.sky = vec![
        satellite("gps", 12, 90, 0, Some(48), true),
        satellite("glonass", 3, 30, 90, Some(35), true),
        satellite("galileo", 25, 30, 270, Some(25), false),
        satellite("beidou", 7, 45, 180, None, false),
    ];
    seen.receiver.extras.satellites_in_view = Some(22);
    seen.receiver.last_fix.as_mut().unwrap().time = None;
    let mut model = Model { seen, ..Model::default() };
    model.take_log(vec![LogLine { number: 1, text: "INFO connected held=42".to_owned() }]);
    model
}

fn screen(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model)).unwrap();
    let buffer = terminal.backend().buffer();
    (0..height)
        .map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned() + "\n")
        .collect()
}

#[test]
fn a_healthy_agent_on_80_by_24() {
    let shown = screen(&Model { ascii: true, ..model() }, 80, 24);
    let expected = include_str!("healthy-80x24.txt");
    assert_eq!(shown, expected, "\n{shown}");
}

#[test]
fn the_sky_shows_direction_height_and_use() {
    let shown = screen(&model(), 80, 24);
    let at = |label: &str| {
        let (row, line) = shown.lines().enumerate().find(|(_, line)| line.contains(label)).unwrap();
        (line[..line.find(label).unwrap()].chars().count(), row)
    };
    let (overhead, east, west, south) = (at("G12"), at("R03"), at("e25"), at("c07"));
    assert!(west.0 < overhead.0 && overhead.0 < east.0, "{shown}");
    assert_eq!((west.1, east.1), (overhead.1, overhead.1), "{shown}");
    assert!(south.1 > overhead.1, "{shown}");
}

#[test]
fn ascii_means_ascii() {
    let mut model = Model { ascii: true, ..model() };
    model.take_log(vec![LogLine { number: 2, text: "WARN größer → kleiner…".to_owned() }]);
    for help in [false, true] {
        let shown = screen(&Model { help, ..model.clone() }, 80, 24);
        assert!(shown.is_ascii(), "{shown}");
    }
}

#[test]
fn trouble_and_its_cure_stand_in_the_panel_of_their_part() {
    let mut model = model();
    model.seen.link.state = "idle".to_owned();
    model.seen.link.trouble = Some("no answer from 10.0.0.1:7443: check that UDP gets through".to_owned());
    let shown = screen(&model, 100, 30);
    assert!(
        shown.contains("DEGRADED: 1 trouble") && shown.contains("! no answer from 10.0.0.1:7443"),
        "{shown}"
    );
    assert!(shown.contains("check that UDP gets through"), "{shown}");
}

#[test]
fn an_empty_sky_and_a_lost_agent_are_said() {
    let mut model = model();
    model.seen.receiver.sky.clear();
    model.lost = Some("the agent has ended; waiting for it".to_owned());
    let shown = screen(&model, 80, 24);
    assert!(shown.contains("no satellites in view") && shown.contains("the agent has ended"), "{shown}");
}

#[test]
fn any_size_is_drawn_without_panic() {
    for (width, height) in [(1, 1), (20, 5), (60, 16), (61, 17), (80, 24), (200, 60)] {
        let shown = screen(&model(), width, height);
        assert_eq!(shown.lines().count(), usize::from(height));
    }
    assert!(screen(&model(), 40, 10).contains("too small"));
}

#[test]
fn the_log_keeps_its_last_lines() {
    let mut model = Model::default();
    model.take_log((1..=250).map(|number| LogLine { number, text: String::new() }).collect());
    assert_eq!((model.log.len(), model.last_line()), (LOG_LINES, 250));
}
