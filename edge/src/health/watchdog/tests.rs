use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::health::Board;
use crate::health::document::tests::report;

#[derive(Clone, Default)]
struct Parts {
    flash_hangs: Arc<AtomicBool>,
}

impl Watched for Parts {
    async fn probe_buffer(&self) -> bool {
        while self.flash_hangs.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        true
    }

    fn fixes_pile_up(&self) -> bool {
        false
    }
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Manager for Heard {
    fn tell(&self, words: &[NotifyState<'_>]) {
        let mut heard = self.0.lock().unwrap();
        heard.extend(words.iter().map(|word| match word {
            NotifyState::Ready => "READY".to_owned(),
            NotifyState::Watchdog => "WATCHDOG".to_owned(),
            NotifyState::Status(line) => (*line).to_owned(),
            other => format!("{other:?}"),
        }));
    }
}

impl Heard {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn it_is_ready_when_the_source_has_begun_whether_or_not_there_is_a_link() {
    let (heard, board) = (Heard::default(), Board::default());
    let watching = tokio::spawn(watch(Parts::default(), heard.clone(), report(&board), Some(LIMIT)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(heard.take(), Vec::<String>::new(), "the source has not begun");
    board.receiver.update(|view| view.state = SourceState::Absent { cause: "unplugged".to_owned() });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let words = heard.take();
    assert_eq!(words[0], "READY");
    assert!(words.iter().any(|line| line.contains("60 fixes waiting; not connected")), "{words:?}");
    watching.abort();
}

#[tokio::test(start_paused = true)]
async fn pings_come_twice_within_the_limit_and_stop_while_the_flash_hangs() {
    let (parts, heard, board) = (Parts::default(), Heard::default(), Board::default());
    board.receiver.update(|view| view.state = SourceState::Reading);
    let watching = tokio::spawn(watch(parts.clone(), heard.clone(), report(&board), Some(LIMIT)));
    let pings = || heard.take().iter().filter(|word| *word == "WATCHDOG").count();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(pings() >= 9);

    parts.flash_hangs.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(75)).await;
    heard.take();
    tokio::time::sleep(Duration::from_secs(100)).await;
    let words = heard.take();
    assert!(!words.contains(&"WATCHDOG".to_owned()), "{words:?}");
    assert!(
        words.iter().any(|line| line.starts_with("the buffer's flash has made no progress")),
        "{words:?}"
    );

    parts.flash_hangs.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(pings() >= 1);
    watching.abort();
}
