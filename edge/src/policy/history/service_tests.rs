use super::*;
use crate::buffer::{BufferConfig, UploadLimits};
use avl_shared::batch;

fn fix(second: i64) -> Fix {
    Fix { time: Some(second * 1000), satellites: Some(9), ..Fix::default() }
}

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A start of the agent.
    async fn start<F: Future<Output = ()>>(&self, work: impl FnOnce(History, HistoryHandle, Buffer) -> F) {
        let (buffer, thread) = Buffer::launch(self.folder.path(), &BufferConfig::default()).unwrap();
        buffer.opened().await.unwrap();
        let history = History::open(self.folder.path(), 1 << 20, Duration::from_secs(60), true).unwrap();
        let handle = history.handle(&buffer);
        work(history, handle, buffer).await;
        thread.join();
    }
}

async fn uploaded(buffer: &Buffer) -> Vec<i64> {
    let (mut from, mut seconds) = (0, Vec::new());
    let limits = UploadLimits { max_fixes: 300, max_bytes: 1 << 16 };
    while let Some(upload) = buffer.next_upload(from, limits).await.unwrap() {
        seconds
            .extend(batch::decode(&upload.bytes).unwrap().fixes.iter().map(|fix| fix.time.unwrap() / 1000));
        from = upload.range.last() + 1;
    }
    seconds
}

#[tokio::test]
async fn a_period_is_recalled_once_across_restarts_and_overlaps() {
    let world = World::new();
    world
        .start(async |mut history, handle, buffer| {
            for second in 0..500 {
                history.keep(fix(second), Instant::now()).await;
            }
            history.write().await;
            assert_eq!(history.view().fixes, 500);
            assert_eq!(handle.recall(100_000, 199_999).await.unwrap().fixes, 100);
            assert_eq!(handle.recall(100_000, 199_999).await.unwrap().fixes, 0);
            drop(buffer);
        })
        .await;
    world
        .start(async |_history, handle, buffer| {
            assert_eq!(handle.recall(50_000, 149_999).await.unwrap().fixes, 50);
            assert_eq!(handle.recall(0, 1_000_000).await.unwrap().fixes, 350);
            let mut seconds = uploaded(&buffer).await;
            seconds.sort_unstable();
            assert_eq!(seconds, (0..500).collect::<Vec<_>>());
        })
        .await;
}

#[tokio::test]
async fn a_resumed_replay_does_not_put_the_same_fixes_in_twice() {
    let world = World::new();
    for _ in 0..2 {
        world
            .start(async |mut history, _handle, _buffer| {
                for second in 0..70 {
                    history.keep(fix(second), Instant::now()).await;
                }
                history.write().await;
                assert_eq!(history.view().fixes, 70);
            })
            .await;
    }
    world
        .start(async |mut history, _handle, _buffer| {
            // Behind the first new one, time may do what it likes.
            for second in [69, 80, 20] {
                history.keep(fix(second), Instant::now()).await;
            }
            history.write().await;
            assert_eq!(history.view().fixes, 72);
        })
        .await;
}

#[tokio::test]
async fn a_recall_that_cannot_be_says_why() {
    let world = World::new();
    world
        .start(async |_history, handle, _buffer| {
            assert!(matches!(handle.recall(5, 4).await, Err(RecallError::EmptyPeriod)));
            assert!(matches!(HistoryHandle::off().recall(0, 4).await, Err(RecallError::Off)));
        })
        .await;
}
