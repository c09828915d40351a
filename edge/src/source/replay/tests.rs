use std::io::Write;

use super::super::testing::config_of;
use super::super::{Kind, Surroundings, run};
use super::*;
use crate::receiver::sentence_for_tests as sentence;

fn log(seconds: impl IntoIterator<Item = u32>) -> String {
    seconds
        .into_iter()
        .flat_map(|second| {
            let time = format!("{:02}{:02}{:02}.00", second / 3600, second / 60 % 60, second % 60);
            [
                format!("GPGGA,{time},3725.58362,N,12205.61915,W,1,12,0.76,4.4,M,-30.0,M,,"),
                format!("GPRMC,{time},A,3725.58362,N,12205.61915,W,0.028,65.13,070220,,,A"),
            ]
        })
        .map(|body| sentence(&body) + "\r\n")
        .collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn config(path: &Path, speed: f64) -> SourceConfig {
    SourceConfig { path: Some(path.to_owned()), speed, ..config_of(Kind::Replay) }
}

/// Replays to the end, or until `limit` fixes were taken.
async fn replay(path: &Path, resume: Option<ReplayCursor>, limit: usize) -> Vec<Observed> {
    let (sender, mut queue) = mpsc::channel(1);
    let running =
        tokio::spawn(run(config(path, 0.0), resume, sender, View::default(), Surroundings::default()));
    let mut all = Vec::new();
    while all.len() < limit {
        match queue.recv().await {
            Some(observed) => all.push(observed),
            None => break,
        }
    }
    drop(queue);
    running.await.unwrap().unwrap();
    all
}

#[tokio::test]
async fn a_replay_stopped_behind_any_fix_goes_on_with_the_next() {
    let text = log(0..12);
    let log = file(&text);
    let whole = replay(log.path(), None, usize::MAX).await;
    assert_eq!(whole.len(), 12);
    for kept in 1..=12 {
        let first = replay(log.path(), None, kept).await;
        let stored = first[kept - 1].cursor.as_ref().unwrap().to_bytes();
        let cursor = ReplayCursor::from_bytes(&stored).unwrap();
        let rest = replay(log.path(), Some(cursor), usize::MAX).await;
        assert_eq!([first, rest].concat(), whole, "stopped behind fix {kept}");
    }
}

#[tokio::test]
async fn a_log_that_has_grown_is_continued_and_its_last_epoch_not_repeated() {
    let text = log(0..3);
    // The log ends in the middle of its last epoch.
    let cut = text.rfind("$GPRMC").unwrap();
    let mut file = file(&text[..cut]);
    let first = replay(file.path(), None, usize::MAX).await;
    file.write_all(&text.as_bytes()[cut..]).unwrap();
    file.write_all(log(3..5).as_bytes()).unwrap();
    let rest = replay(file.path(), first[2].cursor.clone(), usize::MAX).await;
    let seconds: Vec<i64> =
        first.iter().chain(&rest).map(|seen| seen.fix.time.unwrap() / 1000 % 60).collect();
    assert_eq!(seconds, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn another_log_under_the_same_name_starts_at_its_beginning() {
    let (old, new) = (file(&log(0..5)), file(&log(100..105)));
    let stopped = replay(old.path(), None, 3).await[2].cursor.clone();
    assert_eq!(replay(new.path(), stopped.clone(), usize::MAX).await.len(), 5);
    let shorter = file(&log(0..1));
    assert_eq!(replay(shorter.path(), stopped, usize::MAX).await.len(), 1);
}

#[tokio::test]
async fn an_empty_log_ends_at_once_and_a_missing_one_names_itself() {
    assert!(replay(file("").path(), None, 1).await.is_empty());
    let (sender, _queue) = mpsc::channel(1);
    let missing = config(Path::new("/no/such/drive.nmea"), 0.0);
    let error =
        run(missing, None, sender, View::default(), Surroundings::default()).await.unwrap_err().to_string();
    assert!(error.contains("/no/such/drive.nmea") && error.contains("source.path"), "{error}");
}

#[tokio::test]
async fn a_cursor_that_is_damaged_is_refused() {
    let cursor = replay(file(&log(0..2)).path(), None, 2).await[1].cursor.clone().unwrap();
    let bytes = cursor.to_bytes();
    assert!(bytes.len() < 1000, "{}", bytes.len());
    assert!(ReplayCursor::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    assert!(ReplayCursor::from_bytes(b"").is_err());
}

#[test]
fn real_time_is_the_time_between_fixes_and_a_night_is_not_waited_for() {
    let start = Instant::now();
    let due = |speed: f64, times: &[Option<i64>]| -> Vec<Option<u64>> {
        let mut pace = Pace::new(speed);
        let millis = |due: Instant| u64::try_from((due - start).as_millis()).unwrap();
        times.iter().map(|time| pace.due(*time, start).map(millis)).collect()
    };
    let times =
        [Some(0), Some(1000), Some(1050), Some(41_050), Some(9_000_000), Some(9_001_000), None, Some(0)];
    assert_eq!(due(1.0, &times), [0, 1000, 1050, 41_050, 41_050, 42_050, 43_050, 44_050].map(Some));
    assert_eq!(due(10.0, &times[..3]), [0, 100, 105].map(Some));
    assert_eq!(due(0.0, &times[..2]), [None, None]);
    assert_eq!(due(1.0, &[Some(5000), Some(4000), Some(5000)]), [0, 0, 1000].map(Some));
}
