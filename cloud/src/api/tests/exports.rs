//! CSV and GPX read back by real parsers and compared with the JSON rows.

use super::*;
use quick_xml::events::Event;
use quick_xml::reader::Reader;

const ROWS: u64 = 9_001;

/// More rows than two pages of an export hold.
async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.commit(vec![fixes("van-1", 0..ROWS)]).await;
    fixture
}

async fn json_rows(fixture: &Fixture, query: &str) -> Vec<Value> {
    let page =
        fixture.get(&format!("/api/v1/vehicles/demo/van-1/positions?limit=10000&{query}")).await.json();
    assert_eq!(page["next_cursor"], Value::Null);
    page["positions"].as_array().unwrap().clone()
}

async fn export(fixture: &Fixture, query: &str) -> Answer {
    let answer = fixture.get(&format!("/api/v1/vehicles/demo/van-1/positions?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer
}

#[tokio::test]
async fn csv_holds_the_json_rows() {
    let fixture = fixture().await;
    let answer = export(&fixture, "format=csv").await;
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"demo_van-1_start_now.csv\"");
    let mut reader = csv::Reader::from_reader(answer.body.as_slice());
    let columns = reader.headers().unwrap().clone();
    let expected = json_rows(&fixture, "").await;
    let mut count = 0;
    for (record, row) in reader.records().zip(&expected) {
        let record = record.unwrap();
        assert_eq!(record.len(), row.as_object().unwrap().len());
        for (column, field) in columns.iter().zip(&record) {
            match &row[column] {
                Value::Null => assert_eq!(field, "", "{column} of {row}"),
                Value::String(text) => assert_eq!(field, text, "{column} of {row}"),
                number => {
                    assert_eq!(field.parse::<f64>().unwrap(), number.as_f64().unwrap(), "{column} of {row}");
                }
            }
        }
        count += 1;
    }
    assert_eq!((count, expected.len() as u64), (ROWS, ROWS));
}

#[tokio::test]
async fn an_empty_period_is_a_file_with_a_header() {
    let fixture = fixture().await;
    let answer = export(&fixture, "format=csv&from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z").await;
    assert_eq!(
        answer.header("content-disposition"),
        "attachment; filename=\"demo_van-1_20200101T000000Z_20200102T000000Z.csv\""
    );
    let mut reader = csv::Reader::from_reader(answer.body.as_slice());
    assert_eq!(reader.headers().unwrap().len(), 20);
    assert_eq!(reader.records().count(), 0);

    let answer = export(&fixture, "format=gpx&from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z").await;
    assert_eq!(points(&answer.body), (vec![], 0));
}

/// What a point of the track says; elements that are absent stay empty.
#[derive(Debug, Default, PartialEq)]
struct Point {
    lat: String,
    lon: String,
    values: std::collections::BTreeMap<String, String>,
}

/// The points, and the number of segments. Checks that every element is closed and stands where GPX 1.1 has it.
fn points(xml: &[u8]) -> (Vec<Point>, usize) {
    const ORDER: [&str; 10] =
        ["ele", "time", "cmt", "fix", "sat", "hdop", "vdop", "pdop", "extensions", "end"];
    let mut reader = Reader::from_reader(xml);
    reader.config_mut().check_end_names = true;
    let (mut points, mut segments, mut open) = (Vec::new(), 0, Vec::<String>::new());
    let mut buffer = Vec::new();
    loop {
        match reader.read_event_into(&mut buffer).unwrap() {
            Event::Start(element) => {
                let name = element.name().as_ref().to_owned();
                match name.as_str() {
                    "gpx" => {
                        let attribute =
                            |name: &str| element.try_get_attribute(name).unwrap().unwrap().value.into_owned();
                        assert_eq!(attribute("version"), "1.1");
                        assert_eq!(attribute("xmlns"), "http://www.topografix.com/GPX/1/1");
                    }
                    "trk" => assert_eq!(open, ["gpx"]),
                    "trkseg" => {
                        assert_eq!(open, ["gpx", "trk"]);
                        segments += 1;
                    }
                    "trkpt" => {
                        assert_eq!(open, ["gpx", "trk", "trkseg"]);
                        let attribute =
                            |name: &str| element.try_get_attribute(name).unwrap().unwrap().value.into_owned();
                        points.push(Point {
                            lat: attribute("lat"),
                            lon: attribute("lon"),
                            ..Point::default()
                        });
                    }
                    _ => {}
                }
                open.push(name);
            }
            Event::Text(text) => {
                let text = text.as_ref().to_owned();
                if open.len() > 4
                    && let (Some(point), Some(name)) = (points.last_mut(), open.last())
                {
                    if open.len() == 5 {
                        let rank = |name: &str| ORDER.iter().position(|known| *known == name).unwrap();
                        assert!(
                            point.values.keys().filter(|k| !k.contains(':')).all(|k| rank(k) < rank(name)),
                            "{name}"
                        );
                    }
                    point.values.insert(name.clone(), text);
                }
            }
            Event::End(_) => {
                open.pop();
            }
            Event::Eof => break,
            _ => {}
        }
        buffer.clear();
    }
    assert!(open.is_empty(), "{open:?}");
    (points, segments)
}

#[tokio::test]
async fn gpx_holds_every_row_that_has_a_position() {
    let fixture = fixture().await;
    let answer = export(&fixture, "format=gpx").await;
    assert_eq!(answer.header("content-type"), "application/gpx+xml");
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"demo_van-1_start_now.gpx\"");
    let (points, segments) = points(&answer.body);
    let rows: Vec<Value> =
        json_rows(&fixture, "").await.into_iter().filter(|row| !row["lat"].is_null()).collect();
    assert_eq!((points.len(), segments), (rows.len(), 1));
    assert!(rows.len() < usize::try_from(ROWS).unwrap(), "some rows have no position");
    for (point, row) in points.iter().zip(&rows) {
        let number = |name: &str| point.values.get(name).map(|text| text.parse::<f64>().unwrap());
        assert_eq!(point.lat.parse::<f64>().ok(), row["lat"].as_f64());
        assert_eq!(point.lon.parse::<f64>().ok(), row["lon"].as_f64());
        assert_eq!(number("ele"), row["alt_m"].as_f64());
        assert_eq!(number("gpxtpx:speed"), row["speed_mps"].as_f64());
        assert_eq!(number("gpxtpx:course"), row["course_deg"].as_f64());
        assert_eq!(number("hdop"), row["hdop"].as_f64());
        assert_eq!(number("sat"), row["satellites"].as_f64());
        assert_eq!(point.values.get("time").map(String::as_str), row["time"].as_str());
        let doubt = point.values.get("cmt").map_or("ok", |comment| comment.trim_start_matches("doubted: "));
        assert_eq!(Some(doubt), row["verdict"].as_str());
    }
}

#[tokio::test]
async fn a_gpx_track_is_cut_where_the_vehicle_was_silent() {
    let fixture = Fixture::new();
    fixture.commit(vec![fixes("van-1", 0..10), fixes("van-1", 1000..1010)]).await;
    let (points, segments) = points(&export(&fixture, "format=gpx").await.body);
    assert_eq!((points.len(), segments), (20, 2));
}

#[tokio::test]
async fn exports_at_one_time_are_bounded_and_give_their_place_back() {
    let fixture = Fixture::with(ApiSettings { max_exports: 1, ..ApiSettings::default() });
    fixture.commit(vec![fixes("van-1", 0..10)]).await;
    let path = "/api/v1/vehicles/demo/van-1/positions?format=csv";
    let unread = router(fixture.state.clone()).oneshot(fixture.request("GET", path)).await.unwrap();
    assert_eq!(unread.status(), StatusCode::OK);
    let refused = fixture.get(path).await;
    assert_eq!((refused.status, refused.problem().0.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "busy"));
    assert_eq!(refused.header("retry-after"), "2");
    drop(unread);
    assert_eq!(fixture.get(path).await.status, StatusCode::OK);
}
