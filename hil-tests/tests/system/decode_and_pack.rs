//! The two commands that others measure with, against the independent parser.

use hil_tests::logs::{ALL, Log, URBAN};
use hil_tests::oracle::api::Row;
use hil_tests::oracle::{truth, verdict};
use hil_tests::process::run;

use crate::stage::play;

#[test]
fn decode_prints_what_the_receiver_printed() {
    play(async {
        for log in ALL {
            let Some(path) = log.path() else { return Ok(()) };
            let name = path.display().to_string();
            let output = run("avl-edge", &["decode", &name, "--format", "jsonl"]).await?.success()?;
            let rows =
                output.stdout.lines().map(serde_json::from_str::<Row>).collect::<Result<Vec<_>, _>>()?;
            let report = verdict::compare(&truth::read(&Log::read(&path)?), &rows);
            println!("{}: {report}\n{}", log.file, output.stderr);
            report.require_clean()?;
            assert_eq!(rows.len(), log.fixes);
        }
        Ok(())
    });
}

/// The value of `name=value` in a line of such pairs.
fn value<'a>(line: &'a str, name: &str) -> anyhow::Result<&'a str> {
    let found = line.split_whitespace().filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    Ok(found.ok_or_else(|| anyhow::anyhow!("no {name}= in {line:?}"))?.1)
}

#[test]
fn pack_is_lossless_on_every_log_and_reaches_its_figures_on_the_urban_one() {
    play(async {
        for log in ALL {
            let Some(path) = log.path() else { return Ok(()) };
            let name = path.display().to_string();
            for (batch, reach) in [(10, 6.7), (60, 4.3), (300, 3.8)] {
                let output =
                    run("avl-edge", &["pack", &name, "--batch", &batch.to_string()]).await?.success()?;
                let line = output.stdout.trim();
                println!("{}: {line}", log.file);
                assert_eq!(value(line, "lossless")?, "yes");
                assert_eq!(value(line, "fixes")?, log.fixes.to_string());
                assert_eq!(value(line, "batch")?, batch.to_string());
                let bytes: f64 = value(line, "bytes_per_fix")?.parse()?;
                assert!(
                    log.file != URBAN.file || bytes <= reach,
                    "{bytes} bytes a fix at {batch}, not {reach}"
                );
            }
        }
        Ok(())
    });
}
