//! `avl-demo` starts, shows the way, survives a killed gateway, and leaves nothing behind.

use std::process::Stdio;
use std::time::Duration;

use hil_tests::process::program;
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::stage::{PATIENCE, play};

#[test]
fn the_demo_runs_recovers_and_stops_cleanly() {
    play(async {
        let mut demo = Command::new(program("avl-demo")?)
            .args(["--vehicles", "5", "--duration", "20"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
        let mut said = String::new();
        let mut killed = false;
        while let Some(line) = tokio::time::timeout(PATIENCE, lines.next_line()).await?? {
            println!("{line}");
            if let Some(pid) = line.trim().strip_prefix("kill -9 ").and_then(|rest| rest.split(' ').next())
                && !killed
            {
                rustix::process::kill_process(Pid::from_raw(pid.parse()?).unwrap(), Signal::KILL)?;
                killed = true;
            }
            said.push_str(&line);
            said.push('\n');
        }
        let status = tokio::time::timeout(Duration::from_secs(30), demo.wait()).await??;
        assert!(status.success(), "{status}\n{said}");
        assert!(killed, "the demo did not say how to kill the gateway");
        for expected in
            ["/sign-in?code=", "avl-edge was killed; started it again", "6 of 6 vehicles complete"]
        {
            assert!(said.contains(expected), "no {expected:?} in\n{said}");
        }
        let data = said.split_once("--data-dir ").and_then(|(_, rest)| rest.split(' ').next()).unwrap();
        assert!(!std::path::Path::new(data).exists(), "{data} was left behind");
        Ok(())
    });
}
