use super::*;
use crate::buffer::Buffer;
use crate::health::Board;
use crate::policy::{Assembled, Remembered, ReportNow, assemble};
use crate::run::{Boot, RecorderSettings, record};
use avl_shared::fix::Fix;
use std::time::Duration;

struct World {
    _folder: tempfile::TempDir,
    fixes: Option<mpsc::Sender<Observed>>,
    levels: mpsc::Sender<Levels>,
    report_now: ReportNow,
    pace: watch::Receiver<Pace>,
    board: Board,
    buffer: Buffer,
    running: tokio::task::JoinHandle<()>,
}

/// Policy, recorder and buffer, with a durability so long that only a flush can write.
fn world(sections: &str) -> World {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let text = format!(
        "state_dir = {:?}\n[source]\nkind = 'replay'\npath = 'x'\n[uplink.quic]\naddress = 'localhost:7443'\n{sections}",
        folder.path().display()
    );
    std::fs::write(&file, text).unwrap();
    let config = crate::config::load(&file).unwrap();
    let (buffer, _thread) = Buffer::launch(folder.path(), &config.buffer).unwrap();
    let board = Board::default();
    let Assembled { parts, handles, asks, pace, .. } =
        assemble(&config, Remembered::default(), &buffer, &board);
    let (fixes, observed) = mpsc::channel(4);
    let (levels, changed) = mpsc::channel(4);
    let (recorder, intake) = mpsc::channel(4);
    let streams = Streams { fixes: observed, levels: changed, asks, recorder };
    let recording = buffer.clone();
    let running = tokio::spawn(async move {
        let settings = RecorderSettings { durability: Duration::from_secs(1 << 30), boot: Boot { id: 1 } };
        let (recorded, ()) = tokio::join!(record(intake, &recording, settings), run(parts, streams));
        recorded.unwrap();
    });
    let report_now = handles.report_now;
    World { _folder: folder, fixes: Some(fixes), levels, report_now, pace, board, buffer, running }
}

impl World {
    async fn fix(&self, second: i64) {
        let fix = Fix { time: Some(second * 1000), ..Fix::default() };
        self.fixes.as_ref().unwrap().send(Observed { fix, ..Observed::default() }).await.unwrap();
    }
}

#[tokio::test]
async fn an_alarm_is_on_flash_and_due_without_waiting_for_a_full_block() {
    let mut world = world("[sensors]\nignition = { line = 17 }\ninputs = [{ name = 'sos', line = 4 }]");
    world.fix(0).await;
    world.levels.send(Some(1)).await.unwrap();
    world.levels.send(Some(3)).await.unwrap();
    let pace = world.pace.wait_for(|pace| pace.urgent_below > 0).await.unwrap().urgent_below;
    let status = world.buffer.status().borrow().clone();
    assert_eq!((pace, status.next_sequence), (2, 2), "the fix and the alarm");
    assert_eq!(world.board.report.read().last_at_once.as_deref(), Some("input 1 on"));
}

#[tokio::test]
async fn who_asks_is_answered_once_it_is_durable() {
    let world = world("");
    for second in 0..3 {
        world.fix(second).await;
    }
    let mut seen = 0;
    // The request may overtake fixes that are still in their queue.
    while seen < 3 {
        seen = world.report_now.report().await.unwrap().below;
        assert!(world.buffer.status().borrow().next_sequence >= seen);
    }
    let reported = world.report_now.report().await.unwrap();
    assert_eq!(reported.newest.unwrap().time.as_deref(), Some("1970-01-01T00:00:02.000Z"));
}

#[tokio::test]
async fn the_end_of_the_source_decides_writes_and_ends() {
    let mut world = world("[report]\nmoving = { interval = '10s' }");
    for second in 0..25 {
        world.fix(second).await;
    }
    world.fixes = None;
    world.running.await.unwrap();
    assert_eq!(world.buffer.status().borrow().next_sequence, 4, "0, 10, 20 and the last");
    let report = world.board.report.read();
    assert_eq!((report.kept, report.withheld), (4, 21));
    assert_eq!(report.history.unwrap().fixes, 21);
    assert!(world.report_now.report().await.is_err());
}
