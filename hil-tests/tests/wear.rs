//! A day of recording must not wear the flash out, nor let the file grow without end. Alone in its process, because
//! the kernel counts by process. `make bench` does the same for a week.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used)]

use hil_tests::wear::{Worn, record};

fn recorded(seconds: u64, block_s: u64) -> Worn {
    let state = tempfile::tempdir().unwrap();
    let worn = record(state.path(), seconds, block_s).unwrap();
    println!(
        "{worn:?}: {:.1} times the payload, {:.2} pages an append",
        worn.amplification(),
        worn.pages_an_append()
    );
    worn
}

// One test, because two would run at once.
#[test]
fn a_day_is_written_few_times_over_and_the_file_reaches_a_plateau() {
    let worn = recorded(86_400, 60);
    assert!(worn.amplification() <= 4.0, "{worn:?}");
    assert!(worn.largest_bytes <= worn.half_time_bytes + (1 << 20), "the file still grows: {worn:?}");
    assert!(worn.largest_bytes <= 8 << 20, "{worn:?}");
    // As a gateway is delivered. On a file system in memory there are no pages to count.
    let worn = recorded(86_400, 5);
    assert!(worn.amplification() <= 10.0, "{worn:?}");
    assert!(worn.pages_an_append() <= 1.4, "{worn:?}");
}
