//! A day of recording must not wear the flash out, nor let the file grow without end. Alone in its process, because
//! the kernel counts by process. `make bench` does the same for a week.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used)]

use hil_tests::wear::record;

#[test]
fn a_day_is_written_few_times_over_and_the_file_reaches_a_plateau() {
    let state = tempfile::tempdir().unwrap();
    let worn = record(state.path(), 86_400, 60).unwrap();
    println!("{worn:?}: {:.1} times the payload", worn.amplification());
    assert!(worn.amplification() <= 10.0, "{worn:?}");
    assert!(worn.largest_bytes <= worn.half_time_bytes + (1 << 20), "the file still grows: {worn:?}");
    assert!(worn.largest_bytes <= 8 << 20, "{worn:?}");
}
